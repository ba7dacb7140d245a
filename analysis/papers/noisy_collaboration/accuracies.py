"""The figures that show accuracy on unseen images and under attack against the strength of a noise:
figures 1 to 4, 7 to 9 and 12, and one that the paper does not have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from kdray.report import (
    Figure,
    Snapshot,
    absent,
    attack_text,
    caption,
    data_name,
    from_zero,
    labelled,
    legend,
    lines,
    marks,
    of_one_evaluation,
    of_one_point,
    panels,
    reference,
    under_pgd,
)
from kdray.report.settings import parameters
from papers.noisy_collaboration.printed import EVALUATE, TITLE, printed_number
from papers.noisy_collaboration.studies import (
    CORRUPTED,
    Study,
    exponential_family,
    fickle_teacher,
    label_corruption,
    random_swapping,
    signal_dependent,
    soft_randomization,
)

TEST, PGD = "Test accuracy (%)", "Accuracy under PGD (%)"
OTHER_IMAGES = "cinic10"
"""The data set whose images are the paper's of another distribution."""
LEGEND_T = (
    "wrong labels for the student (Corrupted-S), the teacher (T) or both (TS), drawn anew in "
    "every epoch"
)


def accuracies(snapshot: Snapshot, study: Study, which: str) -> pd.DataFrame:
    """The trials of a study with one of the three accuracies as ``value``, those of its reference
    too (``is_reference``), of one evaluation; empty where it was not measured."""
    parts = (study.trials, False), (study.reference, True)
    trials = pd.concat(
        [part.assign(is_reference=told) for part, told in parts if len(part)], ignore_index=True
    )
    match which:
        case "test":
            return trials.assign(value=trials["test_accuracy"]).dropna(subset="value")
        case "ood":
            rows = snapshot.measured(trials, evaluation="out_of_distribution")
            as_in_paper = rows["dataset"].eq(OTHER_IMAGES)
            return of_one_evaluation(rows[as_in_paper] if as_in_paper.any() else rows)
    return under_pgd(snapshot, trials)


def against(
    snapshot: Snapshot,
    study: Study,
    which: Sequence[str],
    *,
    name: str,
    title: str,
    what: str,
    source: str,
    stars: Mapping[str, Mapping[float, float]] | None = None,
) -> Figure:
    """A panel for each accuracy of ``which`` (test, ood, pgd) against what the study varies;
    ``stars``: published numbers of accuracy under PGD by group and x."""
    figure, all_axes = panels(len(which))
    study = study.by_point()
    of_one_point(study.reference, [], f"{title}: the level")
    both = {kind: accuracies(snapshot, study, kind) for kind in which}
    measured = {kind: rows[~rows["is_reference"]] for kind, rows in both.items()}
    shown, lacking = [], []
    for letter, (kind, rows), axes in zip("abc", measured.items(), all_axes, strict=False):
        label = {"test": TEST, "pgd": PGD}.get(kind) or _label_of_other_images(rows)
        labelled(axes, study.xlabel, label, f"({letter})" if len(which) > 1 else "")
        if rows.empty:
            lacking.append(kind)
            absent(axes, "not measured" if kind == "test" else "not measured:\nsee the caption")
            continue
        shown.append(rows.assign(panel=kind))
        if len(study.reference):
            plain = both[kind][both[kind]["is_reference"]]
            reference(axes, plain, "value", study.level)
            shown.append(plain.assign(panel=kind, group="", x=0.0))
        lines(axes, rows, "x", "value", by="group", order=list(study.names), names=study.names)
        for group, at in (stars or {}).items() if kind == "pgd" else ():
            position = list(study.names).index(group) if group in study.names else None
            marks(axes, list(at), list(at.values()), "published", position)
        from_zero(axes)
    legend(figure)
    if "pgd" in which and "pgd" not in lacking:
        what = f"{what} {attack_text(measured['pgd'])}."
    if lacking:
        names = {
            "test": "test accuracy",
            "ood": "out-of-distribution accuracy",
            "pgd": "accuracy under PGD",
        }
        what = f"{what} Not measured: {' and '.join(names[kind] for kind in lacking)} ({EVALUATE})."
    captioned = caption(
        what,
        pd.concat(shown or [study.trials.assign(panel="")]),
        ["panel", "group", "x"],
        source=source and f"{TITLE}, {source}",
        band="Error bars" if shown else "",
    )
    return Figure(name, title, captioned, figure)


def _label_of_other_images(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "Accuracy on other images (%)"
    first = rows.iloc[0]
    stated = parameters(first["evaluation_parameters"]).get("data") or {}
    of_imagenet = "'s\nImageNet images" if stated.get("source") == "imagenet" else ""
    return f"Accuracy on {data_name(first['dataset'])}{of_imagenet} (%)"


def figure_1(snapshot: Snapshot) -> Figure:
    """Signal-dependent noise on the teacher's logits (figure 1)."""
    what = (
        "Signal-dependent noise on the teacher's logits, z (1 + δ), against its standard "
        "deviation: (a) accuracy on the test "
        "set, (b) on images of another distribution, (c) under attack."
    )
    return against(
        snapshot,
        signal_dependent(snapshot),
        ["test", "ood", "pgd"],
        name="figure_1",
        what=what,
        title="Signal-dependent noise on the teacher's logits",
        source="figure 1",
    )


def figure_2(snapshot: Snapshot) -> Figure:
    """Fickle Teacher: dropout that stays active while the teacher is asked (figure 2)."""
    what = (
        "Students of a teacher whose dropout stays active while it is asked, and the "
        "teachers themselves (without active "
        "dropout, all seeds), against the dropout rate: (a) accuracy on the test set, (b) "
        "on images of another "
        "distribution, (c) under attack."
    )
    return against(
        snapshot,
        fickle_teacher(snapshot),
        ["test", "ood", "pgd"],
        name="figure_2",
        what=what,
        title="Fickle Teacher: dropout as noise of the supervision",
        source="figure 2",
    )


def figure_3(snapshot: Snapshot) -> Figure:
    """Soft Randomization: accuracy on unseen images against the noise (figure 3)."""
    what = (
        "Gaussian noise on the student's input with a teacher that sees the clean image, "
        "and without a teacher, against its "
        "standard deviation: accuracy (a) on the test set, (b) on images of another distribution."
    )
    return against(
        snapshot,
        soft_randomization(snapshot),
        ["test", "ood"],
        name="figure_3",
        what=what,
        title="Soft Randomization: accuracy on unseen images",
        source="figure 3",
    )


def figure_4(snapshot: Snapshot) -> Figure:
    """Soft Randomization: accuracy under PGD against the noise (figure 4)."""
    stars = {
        "soft_randomization": {
            0.05: printed_number("section 4.3", "sigma=0.05, soft randomization")
        },
        "no_teacher": {0.05: printed_number("section 4.3", "sigma=0.05, student trained alone")},
    }
    what = (
        "Accuracy under attack of students trained with Gaussian noise on their input, "
        "with and without a teacher that sees "
        "the clean image. Stars, in the colour of their line: the two numbers that the "
        "text gives for "
        "CIFAR-10, of an attack whose ε it does not give."
    )
    return against(
        snapshot,
        soft_randomization(snapshot),
        ["pgd"],
        name="figure_4",
        what=what,
        stars=stars,
        title="Soft Randomization: accuracy under attack",
        source="figure 4 and section 4.3",
    )


def exponential(snapshot: Snapshot) -> Figure:
    """Gaussian, Laplace and uniform noise on the student's input (not in the paper)."""
    what = (
        "Three kinds of noise on the student's input at equal standard deviation: (a) "
        "accuracy on the test set, (b) on images "
        "of another distribution, (c) under attack. Not in the paper, which cites theory "
        "on Gaussian and Laplace noise."
    )
    return against(
        snapshot,
        exponential_family(snapshot),
        ["test", "ood", "pgd"],
        name="exponential_family",
        what=what,
        title="The kind of noise on the student's input",
        source="",
    )


def figure_7(snapshot: Snapshot) -> Figure:
    """Label corruption of teacher, student or both: accuracy on unseen images (figure 7)."""
    study = label_corruption(snapshot).of(*CORRUPTED, "no_teacher")
    what = (
        f"Accuracy (a) on the test set, (b) on images of another distribution, with {LEGEND_T}, "
        "and without a teacher."
    )
    return against(
        snapshot,
        study,
        ["test", "ood"],
        name="figure_7",
        what=what,
        title="Label corruption: accuracy on unseen images",
        source="figure 7",
    )


def figure_8(snapshot: Snapshot) -> Figure:
    """Label corruption of teacher, student or both: accuracy under PGD (figure 8)."""
    stars = {
        "teacher": {
            0.0: printed_number("section 4.4", "teacher, rate=0"),
            5.0: printed_number("section 4.4", "teacher, rate=0.05"),
        }
    }
    study = label_corruption(snapshot).of(*CORRUPTED, "no_teacher", "teacher")
    what = (
        f"Accuracy under attack with {LEGEND_T}, without a teacher, and of the teachers. "
        "Figure 8 has no caption in the text: "
        "section 4.4, which it belongs to, speaks of this accuracy here. Stars: the text's "
        "numbers for the teacher (CIFAR-10)."
    )
    return against(
        snapshot,
        study,
        ["pgd"],
        name="figure_8",
        what=what,
        stars=stars,
        title="Label corruption: accuracy under attack",
        source="figure 8 and section 4.4",
    )


def figure_9(snapshot: Snapshot) -> Figure:
    """Random swapping of classes that the teacher finds about equally likely (figure 9)."""
    what = (
        "Swapping the two likeliest classes (top 2) or all neighbours in rank whose "
        "softened probabilities differ by less than "
        "a threshold, by the probability of doing so: (a) accuracy on the test set, (b) on "
        "images of another distribution, "
        "(c) under attack."
    )
    return against(
        snapshot,
        random_swapping(snapshot),
        ["test", "ood", "pgd"],
        name="figure_9",
        what=what,
        title="Random swapping of the teacher's classes",
        source="figure 9",
    )


def figure_12(snapshot: Snapshot) -> Figure:
    """Wrong labels of the student drawn once, and anew in every epoch (figure 12)."""
    what = (
        "Wrong labels for the student that are drawn once and kept (the paper's figure) "
        "and anew in every epoch: (a) accuracy "
        "on the test set, (b) on images of another distribution, (c) under attack."
    )
    study = label_corruption(snapshot).of("corrupted_s", "fixed")
    return against(
        snapshot,
        study,
        ["test", "ood", "pgd"],
        name="figure_12",
        what=what,
        title="Fixed label corruption",
        source="figure 12",
    )
