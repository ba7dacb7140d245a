"""Tables and figures of Knowledge Distillation via Smoothed Models and Adversarial Robustness
(Katz, Reches 2022).

    python analysis/smoothed_models.py RESULTS --out DIR

Tables 1 and 2 and figures 1 to 3 are of sweeps/smoothed_models/distillation.yaml and
adversarial.yaml. Table 3 and figures 4 to 6 need transferred attacks by step: kdray evaluate
RESULTS --suite sweeps/suites/smoothed_models.yaml, and for the smoothed teacher the same
evaluations with smoothing: {samples: 512, aggregate: prediction}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from kdray.core.wording import pixels
from kdray.report import (
    Draw,
    Drawing,
    Figure,
    Missing,
    Snapshot,
    Table,
    caption,
    labelled,
    learning_curves,
    legend,
    lines,
    marks,
    only,
    panels,
    published,
    run,
)
from kdray.report.papers.published_table import Column, Line, mean_of_each, printed, published_table

TITLE = "Knowledge Distillation via Smoothed Models and Adversarial Robustness"
PAPER = "Katz and Reches 2022"
SOURCE = f"{PAPER}, whose numbers are of CIFAR-10"
PRINTED = published("smoothed_models")
DISTILLATION, ADVERSARIAL = "smoothed-distillation", "smoothed-adversarial"
AGGREGATE = "supervision.smoothing.aggregate"
AGGREGATES = {"prediction": "prediction smoothing", "soft_prediction": "soft prediction smoothing"}
STUDENT, CNI, SMOOTHED = "KD student", "CNI", "Smoothed CNI"
KINDS = (STUDENT, CNI, SMOOTHED)
EPSILON = 8 / 255
OF_EPOCH = " of the epoch"
CASES = {"distilled": "distilled", "no_teacher": "no teacher"}
STARS = "stars: published, after 100 epochs, on the test images of CIFAR-10"
SUITE = "kdray evaluate RESULTS --suite sweeps/suites/smoothed_models.yaml"
SMOOTHED_SUITE = (
    f"{SUITE}, with smoothing: {{samples: 512, aggregate: prediction}} in each of its evaluations"
)


def table_1(snapshot: Snapshot) -> Table:
    """Table 1: accuracy on clean images."""
    found = list(_lines(snapshot, DISTILLATION))
    what = (
        f"Test accuracy of the smoothed teacher{_passes(found)} and of students that learn from "
        "it on clean images"
    )
    columns = [Column("Accuracy", "Clean, %")]
    return published_table(
        "Table 1",
        PRINTED,
        columns,
        found,
        title="accuracy on clean images",
        what=what,
        source=SOURCE,
    )


def table_2(snapshot: Snapshot) -> Table:
    """Table 2: accuracy on clean images and under PGD."""
    found = list(_lines(snapshot, ADVERSARIAL))
    what = (
        f"Test accuracy, clean and under PGD (ε 8/255, {_steps(found)}), of the smoothed "
        f"teacher{_passes(found)} and of "
        "students that learn from it adversarially"
    )
    columns = [Column("Clean", "Clean, %"), Column("PGD-10", "PGD, %")]
    title = "accuracy after adversarial training, clean and under PGD"
    return published_table(
        "Table 2", PRINTED, columns, found, title=title, what=what, source=SOURCE
    )


def table_3(snapshot: Snapshot) -> Table:
    """Table 3: transferred attacks."""
    cells = _by_step(snapshot)
    cells = only(
        cells[np.isclose(cells["epsilon"], EPSILON)], f"no attack by step at ε 8/255: {SUITE}"
    )
    cells = cells[cells["steps"].eq(cells["steps"].max())].rename(columns={"value": "PGD-10"})
    cells["Clean"] = cells["test_accuracy"].where(
        cells["target"].ne(SMOOTHED), mean_of_each(cells, _smoothed(snapshot, cells, "prediction"))
    )
    found = []
    for source, target in (
        (CNI, CNI),
        (STUDENT, CNI),
        (SMOOTHED, SMOOTHED),
        (STUDENT, SMOOTHED),
        (CNI, STUDENT),
        (SMOOTHED, STUDENT),
    ):
        part = cells[cells["source"].eq(source) & cells["target"].eq(target)]
        found.append(
            Line(f"{source} on {target}", part, role="student" if target == STUDENT else "teacher")
        )
    what = (
        "Test accuracy of the target, clean and on images made with PGD on the attacked "
        "model (ε 8/255, "
        f"{cells['steps'].max():g} steps); KD students are those taught by prediction "
        "smoothing; n counts pairs of models, trials are the target's"
    )
    columns = [Column("Clean", "Clean, %"), Column("PGD-10", "PGD, %")]
    title = "attacks made on one model, tried on another"
    return published_table(
        "Table 3",
        PRINTED,
        columns,
        found,
        title=title,
        what=what,
        source=SOURCE,
        head="Attacked on target",
        over=_pairs(cells),
    )


def figure_1(snapshot: Snapshot) -> Figure:
    """Figure 1: accuracy of the distilled student by epoch."""
    students = snapshot.students(DISTILLATION)
    epochs = students.merge(snapshot.epochs, on="trial_id", suffixes=("", OF_EPOCH))
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
    told = caption(what, students, ["case", AGGREGATE], source=f"{PAPER}, figure 1", band="Bands")
    return Figure(
        "figure_1", "Figure 1: accuracy by epoch, distilled on clean images", told, figure
    )


def figures_2_and_3(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figures 2 and 3: accuracy by epoch of adversarially distilled students, clean and
    perturbed."""
    students, rows = snapshot.students(ADVERSARIAL), snapshot.robustness
    clean = students.merge(snapshot.epochs, on="trial_id", suffixes=("", OF_EPOCH))
    monitored = rows[
        rows["evaluation"].eq("pgd") & rows["metric"].eq("accuracy") & rows["epoch"].notna()
    ]
    perturbed = students.merge(monitored, on="trial_id")
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
        told = caption(
            what, _of_teacher(students, aggregate), ["case"], source=source, band="Bands"
        )
        yield Figure(name, head, told, figure)


def figures_4_to_6(snapshot: Snapshot) -> Iterator[Drawing]:
    """Figures 4 to 6: accuracy by attack step."""
    cells = _by_step(snapshot)
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
            f"Accuracy of the target models (lines) on {part['examples'].max():g} test "
            "images attacked step by step on "
            f"{source} (L∞); the KD students are those that learned from prediction "
            f"smoothing in the sweep {ADVERSARIAL}; "
            "stars: published, at step 10, of CIFAR-10 (table 3)"
        )
        told = caption(
            what, part, ["target"], source=f"{PAPER}, figure {number}", over=_pairs(part)
        )
        yield Figure(name, head, told, figure)


def _lines(snapshot: Snapshot, sweep: str) -> Iterator[Line]:
    """The teacher smoothed in both ways, its students, and a student without a teacher."""
    students, teachers = snapshot.students(sweep), snapshot.teachers(sweep)
    for aggregate, title in AGGREGATES.items():
        clean = _smoothed(snapshot, teachers, aggregate)
        attacked = _attacked(snapshot, teachers, aggregate)
        passes = mean_of_each(teachers, clean, "passes")
        yield Line(
            f"Smooth {title}",
            _numbers(teachers, mean_of_each(teachers, clean), attacked).assign(passes=passes),
            role="teacher",
        )
    attacked = _attacked(snapshot, students, None)
    students = _numbers(students, students["test_accuracy"], attacked)
    for aggregate, title in AGGREGATES.items():
        yield Line(
            f"KD {title}",
            students[students["case"].eq("distilled") & students[AGGREGATE].eq(aggregate)],
        )
    yield Line("No teacher", students[students["case"].eq("no_teacher")])


def _numbers(trials: pd.DataFrame, clean: pd.Series[float], attacked: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with the columns of tables 1 and 2, and how many steps the attack had."""
    steps = mean_of_each(trials, attacked, "steps")
    return trials.assign(
        **{
            "Accuracy": clean,
            "Clean": clean,
            "PGD-10": mean_of_each(trials, attacked),
            "attack steps": steps,
        }
    )


def _smoothed(snapshot: Snapshot, trials: pd.DataFrame, aggregate: str) -> pd.DataFrame:
    """Clean accuracy of each of ``trials`` as smoothed with the most ``passes``."""
    rows = _with_smoothing(
        snapshot.measured(trials.drop_duplicates("trial_id"), evaluation="clean")
    )
    rows = rows[rows["aggregate"].eq(aggregate)]
    return rows.sort_values(["passes", "examples"]).drop_duplicates("trial_id", keep="last")


def _attacked(snapshot: Snapshot, trials: pd.DataFrame, aggregate: str | None) -> pd.DataFrame:
    """Accuracy of each of ``trials``, smoothed or not, under PGD, ε 8/255: in the most steps, of
    the most images."""
    rows = _with_smoothing(snapshot.measured(trials, evaluation="pgd"))
    same = (
        rows["norm"].eq("linf")
        & np.isclose(rows["epsilon"].astype(float), EPSILON)
        & rows["restarts"].eq(1)
        & rows["samples"].eq(1)
    )
    rows = rows[same & rows["aggregate"].eq(aggregate or "")]
    return rows.sort_values(["steps", "passes", "examples"]).drop_duplicates(
        "trial_id", keep="last"
    )


def _with_smoothing(rows: pd.DataFrame) -> pd.DataFrame:
    """With ``aggregate`` ("": not smoothed) and ``passes`` of evaluations, which have no columns of
    their own."""
    smoothing = [json.loads(text).get("smoothing") or {} for text in rows["evaluation_parameters"]]
    aggregate = [(each.get("aggregate", "soft_prediction") if each else "") for each in smoothing]
    return rows.assign(aggregate=aggregate, passes=[each.get("samples", 1) for each in smoothing])


def _by_step(snapshot: Snapshot) -> pd.DataFrame:
    """Accuracy of every ``target`` (a row with its trial) on images attacked on every ``source``,
    by ``steps`` and ``epsilon``.

    From transferred attacks; a model under its own attack also from PGD with a list of steps.
    """
    students, teachers = snapshot.students(ADVERSARIAL), snapshot.teachers(ADVERSARIAL)
    students = students[students["case"].eq("distilled") & students[AGGREGATE].eq("prediction")]
    kinds = dict.fromkeys(students["trial_id"], STUDENT) | dict.fromkeys(teachers["trial_id"], CNI)
    trials = pd.concat([students, teachers], ignore_index=True)
    transferred, own = (
        _with_smoothing(snapshot.measured(trials, evaluation=kind)) for kind in ("transfer", "pgd")
    )
    own = own[own.groupby(["trial_id", "evaluation_id"])["steps"].transform("nunique") > 1]
    own = own.assign(source_trial_id=own["trial_id"])
    rows = pd.concat([transferred, own], ignore_index=True)
    rows = rows[rows["norm"].eq("linf") & rows["aggregate"].isin(["", "prediction"])]
    for column, end in (("trial_id", "target"), ("source_trial_id", "source")):
        kind = rows[column].map(kinds)
        # Smoothing does nothing to a student, which draws nothing.
        rows[end] = kind.where(kind.ne(CNI) | rows["aggregate"].eq(""), SMOOTHED)
    rows = rows.dropna(subset=["source", "target"])
    # One student on another is no cell of the table: its own images only.
    rows = rows[rows["source"].ne(rows["target"]) | rows["trial_id"].eq(rows["source_trial_id"])]
    told_apart = ["trial_id", "source_trial_id", "source", "target", "epsilon", "steps"]
    return only(
        rows.drop_duplicates(told_apart),
        f"no accuracy by attack step of the sweep {ADVERSARIAL}: {SUITE}",
    )


def _pairs(cells: pd.DataFrame) -> str:
    """What means of ``cells`` are over; empty where each is of one pair, or of models under their
    own attack: of seeds."""
    if cells["trial_id"].eq(cells["source_trial_id"]).all():
        return ""
    pairs = cells[["source", "target", "source_trial_id", "trial_id"]].drop_duplicates()
    counts = pairs.groupby(["source", "target"]).size()
    low, high = counts.min(), counts.max()
    if high == 1:
        return ""
    count = f"{low} to {high}" if low < high else str(high)
    return f"the pairs of attacked model and target ({count}; the seeds counted are the targets')"


def _of_teacher(frame: pd.DataFrame, aggregate: str) -> pd.DataFrame:
    """Of the students whose teacher answers with this aggregate, and of those without a teacher."""
    return frame[frame[AGGREGATE].eq(aggregate) | frame["case"].eq("no_teacher")]


def _by_epoch(axes: Axes, frame: pd.DataFrame, y: str, title: str) -> None:
    learning_curves(axes, frame, y, by="case", order=list(CASES), names=CASES)
    labelled(axes, "Epoch", "", title)


def _printed_at_end(axes: Axes, frame: pd.DataFrame, value: float) -> None:
    if not frame.empty:
        marks(axes, [frame["epoch"].max()], [value], "distilled, published", 0)


def _passes(found: Sequence[Line]) -> str:
    counts = sorted(
        {
            int(n)
            for line in found
            if "passes" in line.trials
            for n in line.trials["passes"].dropna()
        }
    )
    return f" ({' or '.join(map(str, counts))} passes)" if counts else ""


def _steps(found: Sequence[Line]) -> str:
    counts = sorted({int(n) for line in found for n in line.trials["attack steps"].dropna()})
    return f"{' or '.join(map(str, counts)) or 10} steps"


DRAWS: tuple[Draw, ...] = (table_1, table_2, table_3, figure_1, figures_2_and_3, figures_4_to_6)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
