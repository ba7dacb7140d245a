"""Which of many metrics a figure is about."""

from __future__ import annotations

from kdray.report.page.group import Group

CLEAN = ("test_accuracy", "val_accuracy")
ATTACKS = ("autoattack", "pgd", "fgsm", "transfer")
"""Kinds of evaluation, the strongest first."""


def is_share(metric: str) -> bool:
    """Whether a metric is a fraction of 1."""
    return "accuracy" in metric


def clean(group: Group) -> str | None:
    """Accuracy on images as they are."""
    return next((name for name in CLEAN if name in group.metrics), None)


def robust(group: Group) -> str | None:
    """One accuracy on changed images, of those that most points have: under the strongest attack,
    else the mean over corruptions, else under the most noise."""
    numbers = group.results.robustness()
    kinds = numbers.drop_duplicates("label").set_index("label")["evaluation"]
    found = [
        name
        for name in group.metrics
        if kinds.get(name.partition(".")[0]) not in (None, "clean", "gradients")
    ]
    accuracies = [
        name
        for name in found
        if name.partition(".")[2].partition("[")[0] in ("accuracy", "mean_accuracy")
    ]
    known = {name: int(group.points[name].notna().sum()) for name in accuracies}
    accuracies = [name for name in accuracies if known[name] == max(known.values())]
    for kind in ATTACKS:
        of_kind = [name for name in accuracies if kinds[name.partition(".")[0]] == kind]
        if of_kind:
            return min(of_kind, key=lambda name: group.points[name].mean())  # the strongest
    means = [name for name in accuracies if "mean_accuracy" in name]
    return (
        means[0]
        if means
        else min(accuracies, key=lambda name: group.points[name].mean(), default=None)
    )


def trade_off(group: Group) -> tuple[str, str] | None:
    """Clean and robust accuracy, where both are known."""
    first, second = clean(group), robust(group)
    if first is None or second is None or len(group.points.dropna(subset=[first, second])) < 2:
        return None
    return first, second
