"""Figures 1 to 6: accuracy by epoch and by attack step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from kdray.core.wording import listed, pixels
from kdray.report import (
    Drawing,
    Figure,
    Missing,
    Snapshot,
    caption,
    labelled,
    learning_curves,
    legend,
    lines,
    marks,
    of_one_evaluation,
    of_one_point,
    panels,
)
from kdray.report.papers.published_table import printed
from papers.smoothed_models.models import (
    ADVERSARIAL,
    AGGREGATE,
    AGGREGATES,
    DISTILLATION,
    EPSILON,
    KINDS,
    PAPER,
    PRINTED,
    SMOOTHED,
    SMOOTHED_SUITE,
    SUITE,
    accuracy_by_attack_step,
    pairs_text,
)

OF_EPOCH = " of the epoch"
CASES = {"distilled": "distilled", "no_teacher": "no teacher"}
STARS = "stars: published, after 100 epochs, on the test images of CIFAR-10"


def figure_1(snapshot: Snapshot) -> Figure:
    """Figure 1: accuracy of the distilled student by epoch."""
    students = snapshot.students(DISTILLATION)
    _check_points(students)
    epochs = _epochs(snapshot, students)
    figure, axes = panels(2, share_y=True)
    for axis, (aggregate, title) in zip(axes, AGGREGATES.items(), strict=True):
        part = _of_teacher(epochs, aggregate)
        _by_epoch(axis, part, f"val_accuracy{OF_EPOCH}", f"Teacher: {title}")
        _printed_at_end(axis, part, printed(PRINTED, "Table 1", f"KD {title}", "Accuracy"))
    axes[0].set_ylabel("Validation accuracy (%)")
    legend(figure)
    what = (
        "Accuracy on clean validation images of the student of a smoothed teacher, by epoch; "
        f"{STARS} (table 1)"
    )
    captioned = caption(
        what, students, ["case", AGGREGATE], source=f"{PAPER}, figure 1", band="Bands"
    )
    return Figure(
        "figure_1", "Figure 1: accuracy by epoch, distilled on clean images", captioned, figure
    )


def figures_2_and_3(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figures 2 and 3: accuracy by epoch of adversarially distilled students, clean and
    perturbed."""
    students, rows = snapshot.students(ADVERSARIAL), snapshot.robustness
    _check_points(students)
    clean = _epochs(snapshot, students)
    monitored = rows[
        rows["evaluation"].eq("pgd") & rows["metric"].eq("accuracy") & rows["epoch"].notna()
    ]
    perturbed = of_one_evaluation(
        students[students.columns.difference(monitored.columns.drop("trial_id"), sort=False)].merge(
            monitored, on="trial_id"
        )
    )
    for number, (aggregate, title) in enumerate(AGGREGATES.items(), start=2):
        name, head = (
            f"figure_{number}",
            f"Figure {number}: accuracy by epoch, adversarially distilled, {title}",
        )
        if perturbed.empty:
            yield Missing(
                name,
                head,
                "no accuracy under attack by epoch: training.monitor in "
                "sweeps/smoothed_models/adversarial.yaml",
            )
            continue
        figure, axes = panels(2)
        for axis, frame, y, label, column in (
            (axes[0], clean, f"val_accuracy{OF_EPOCH}", "Clean", "Clean"),
            (axes[1], perturbed, "value", "Perturbed (PGD)", "PGD-10"),
        ):
            part = _of_teacher(frame, aggregate)
            _by_epoch(axis, part, y, label)
            _printed_at_end(axis, part, printed(PRINTED, "Table 2", f"KD {title}", column))
        axes[0].set_ylabel("Validation accuracy (%)")
        legend(figure)
        attack = perturbed.iloc[0]
        what = (
            f"Accuracy by epoch of the student trained adversarially, with {title} of its "
            "teacher: left on clean, right on "
            f"perturbed validation images (PGD, ε {pixels(attack['epsilon'])}, "
            f"{attack['steps']:g} steps, "
            f"{attack['examples']:g} images); {STARS} (table 2)"
        )
        source = f"{PAPER}, figure {number}"
        captioned = caption(
            what, _of_teacher(students, aggregate), ["case"], source=source, band="Bands"
        )
        yield Figure(name, head, captioned, figure)


def figures_4_to_6(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figures 4 to 6: accuracy by attack step."""
    cells = accuracy_by_attack_step(snapshot)
    for number, source in enumerate(KINDS, start=4):
        name, head = (
            f"figure_{number}",
            f"Figure {number}: accuracy by attack step, images attacked on {source}",
        )
        part = cells[cells["source"].eq(source)]
        if part.empty:
            yield Missing(
                name,
                head,
                f"no attack by step on {source}: {SUITE if source != SMOOTHED else SMOOTHED_SUITE}",
            )
            continue
        strengths = sorted(part["epsilon"].unique())
        figure, axes = panels(len(strengths), share_y=True)
        for axis, epsilon in zip(axes, strengths, strict=True):
            at = part[part["epsilon"].eq(epsilon)]
            lines(axis, at, "steps", "value", by="target", order=KINDS)
            labelled(axis, "Attack step", "", f"ε = {pixels(epsilon)}")
            for position, target in enumerate(KINDS):
                value = printed(PRINTED, "Table 3", f"{source} on {target}", "PGD-10")
                if np.isclose(epsilon, EPSILON) and not np.isnan(value):
                    marks(axis, [10], [value], f"{target}, published", position)
        axes[0].set_ylabel("Test accuracy (%)")
        legend(figure)
        what = (
            f"Accuracy of the target models (lines) on {_by_strength(part, 'examples')} test "
            "images attacked step by step on "
            f"{source} (L∞); the KD students are those that learned from prediction "
            f"smoothing in the sweep {ADVERSARIAL}; "
            "stars: published, at step 10, of CIFAR-10 (table 3)"
        )
        captioned = caption(
            what, part, ["target"], source=f"{PAPER}, figure {number}", over=pairs_text(part)
        )
        yield Figure(name, head, captioned, figure)


def _epochs(snapshot: Snapshot, students: pd.DataFrame) -> pd.DataFrame:
    """``students`` with a row for each of their epochs; of a method with several stages, each of
    which counts its own, those of the main one."""
    epochs = snapshot.epochs[snapshot.epochs["stage"].eq("main")]
    return students.merge(epochs, on="trial_id", suffixes=("", OF_EPOCH))


def _by_strength(rows: pd.DataFrame, column: str) -> str:
    """The one value of a column, or the values at each ε: ``100 (ε 4/255) and 1000 (ε 8/255)``."""
    at = rows[[column, "epsilon"]].drop_duplicates().sort_values("epsilon")
    if at[column].nunique() == 1:
        return f"{at[column].iloc[0]:g}"
    return listed(f"{value:g} (ε {pixels(epsilon)})" for value, epsilon in at.to_numpy())


def _check_points(students: pd.DataFrame) -> None:
    for aggregate, title in AGGREGATES.items():
        of_one_point(_of_teacher(students, aggregate), ["case"], f"Accuracy by epoch, {title},")


def _of_teacher(frame: pd.DataFrame, aggregate: str) -> pd.DataFrame:
    """Of the students whose teacher answers with this aggregate, and of those without a teacher."""
    return frame[frame[AGGREGATE].eq(aggregate) | frame["case"].eq("no_teacher")]


def _by_epoch(axes: Axes, frame: pd.DataFrame, y: str, title: str) -> None:
    learning_curves(axes, frame, y, by="case", order=list(CASES), names=CASES)
    labelled(axes, "Epoch", "", title)


def _printed_at_end(axes: Axes, frame: pd.DataFrame, value: float) -> None:
    if not frame.empty:
        marks(axes, [frame["epoch"].max()], [value], "distilled, published", 0)
