"""The metrics that figures, statistics and the summary are about, chosen among many."""

from __future__ import annotations

from collections.abc import Iterable

from kdray.report.page.group import Group
from kdray.results.metrics import ACCURACIES as TRAINED
from kdray.results.metrics import WHITE_BOX, metric_named
from kdray.results.points.machines import several_machines

ATTACKS = (*WHITE_BOX, "transfer")
"""Kinds of evaluation, the strongest first."""
ACCURACIES = ("accuracy", "mean_accuracy")
MAX_MACHINES = 4
"""How many of the machines that a time is of a caption names."""


def is_share(metric: str) -> bool:
    """Tell whether a metric is a fraction of 1."""
    return metric_named(metric).unit == "fraction"


def machines_text(group: Group, metrics: Iterable[str]) -> str:
    """Write the sentences, which follow another, of a caption on those of ``metrics`` that are a
    time, a speed or memory of several machines; nothing where none is."""
    sentences = []
    for metric in metrics:
        names = several_machines(group.completed, metric)
        if names:
            more = len(names) - MAX_MACHINES
            shown = [*names[:MAX_MACHINES], *([f"{more} more"] if more > 0 else [])]
            sentences.append(
                f". {metric} is of several machines ({'; '.join(shown)}), of which it says as much "
                "as of the points"
            )
    return "".join(sentences)


def clean(group: Group) -> str | None:
    """Return the accuracy on images as they are: of the test split, else of the validation
    split."""
    return next((name for name in reversed(TRAINED) if name in group.metrics), None)


def robust(group: Group) -> str | None:
    """Return one accuracy on changed images, of those that most points have: under the strongest
    attack, else the mean over corruptions, else under the most noise."""
    kinds = _robust_accuracies(group)
    counts = {name: int(group.points[name].notna().sum()) for name in kinds}
    names = [name for name in kinds if counts[name] == max(counts.values())]
    for kind in ATTACKS:
        attacks = [name for name in names if kinds[name] == kind]
        if attacks:
            return _lowest(group, attacks)
    means = [name for name in names if "mean_accuracy" in name]
    return means[0] if means else _lowest(group, names) if names else None


def trade_off(group: Group) -> tuple[str, str] | None:
    """Return clean and robust accuracy, where two points or more have both."""
    first, second = clean(group), robust(group)
    if first is None or second is None or len(group.points.dropna(subset=[first, second])) < 2:
        return None
    return first, second


def _robust_accuracies(group: Group) -> dict[str, str]:
    """Return the accuracies on changed images, with the kind of evaluation that gave each."""
    numbers = group.results.numbers(group.sweep)
    kinds = numbers.drop_duplicates("column").set_index("column")["evaluation"]
    found = {}
    for name in group.metrics:
        kind, rest = kinds.get(name), name.partition(".")[2]
        if kind not in (None, "clean", "gradients") and rest.partition("[")[0] in ACCURACIES:
            found[name] = str(kind)
    return found


def _lowest(group: Group, names: list[str]) -> str:
    """Return the metric with the lowest mean over the points, which is of the hardest change."""
    return min(names, key=lambda name: group.points[name].mean())
