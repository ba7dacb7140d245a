"""Tables 1 to 3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from kdray.report import Snapshot, Table, only
from kdray.report.papers.published_table import Column, Line, number_of_each, published_table
from papers.smoothed_models.models import (
    ADVERSARIAL,
    AGGREGATE,
    AGGREGATES,
    CNI,
    DISTILLATION,
    EPSILON,
    PRINTED,
    SMOOTHED,
    SOURCE,
    STUDENT,
    SUITE,
    accuracy_by_attack_step,
    attacked,
    clean_accuracy_of_smoothed,
    pairs_text,
)


def table_1(snapshot: Snapshot) -> Table:
    """Table 1: accuracy on clean images."""
    lines = list(_lines(snapshot, DISTILLATION))
    what = (
        f"Test accuracy of the smoothed teacher{_passes_text(lines)} and of students that learn "
        "from it on clean images"
    )
    columns = [Column("Accuracy", "Clean, %")]
    return published_table(
        "Table 1",
        PRINTED,
        columns,
        lines,
        title="accuracy on clean images",
        what=what,
        source=SOURCE,
    )


def table_2(snapshot: Snapshot) -> Table:
    """Table 2: accuracy on clean images and under PGD."""
    lines = list(_lines(snapshot, ADVERSARIAL))
    what = (
        f"Test accuracy, clean and under PGD (ε 8/255, {_steps_text(lines)}), of the smoothed "
        f"teacher{_passes_text(lines)} and of "
        f"students that learn from it adversarially{_images_text(lines)}"
    )
    columns = [Column("Clean", "Clean, %"), Column("PGD-10", "PGD, %")]
    title = "accuracy after adversarial training, clean and under PGD"
    return published_table(
        "Table 2", PRINTED, columns, lines, title=title, what=what, source=SOURCE
    )


def table_3(snapshot: Snapshot) -> Table:
    """Table 3: transferred attacks."""
    cells = accuracy_by_attack_step(snapshot)
    cells = only(
        cells[np.isclose(cells["epsilon"], EPSILON)], f"no attack by step at ε 8/255: {SUITE}"
    )
    cells = cells[cells["steps"].eq(cells["steps"].max())].rename(columns={"value": "PGD-10"})
    clean = clean_accuracy_of_smoothed(snapshot, cells, "prediction")
    is_smoothed = cells["target"].eq(SMOOTHED)
    cells["Clean"] = cells["test_accuracy"].where(~is_smoothed, number_of_each(cells, clean))
    passes = _passes(
        number_of_each(cells[is_smoothed], clean, "passes"),
        cells.loc[cells["aggregate"].ne(""), "passes"],
    )
    lines = []
    for source, target in (
        (CNI, CNI),
        (STUDENT, CNI),
        (SMOOTHED, SMOOTHED),
        (STUDENT, SMOOTHED),
        (CNI, STUDENT),
        (SMOOTHED, STUDENT),
    ):
        part = cells[cells["source"].eq(source) & cells["target"].eq(target)]
        lines.append(
            Line(f"{source} on {target}", part, role="student" if target == STUDENT else "teacher")
        )
    what = (
        "Test accuracy of the target, clean and on images made with PGD on the attacked "
        "model (ε 8/255, "
        f"{cells['steps'].max():g} steps); KD students are those taught by prediction "
        "smoothing; n counts pairs of models, trials are the target's"
        + (f"; {SMOOTHED} is of {passes}" if passes else "")
    )
    columns = [Column("Clean", "Clean, %"), Column("PGD-10", "PGD, %")]
    title = "attacks made on one model, tried on another"
    return published_table(
        "Table 3",
        PRINTED,
        columns,
        lines,
        title=title,
        what=what,
        source=SOURCE,
        head="Attacked on target",
        over=pairs_text(cells),
    )


def _lines(snapshot: Snapshot, sweep: str) -> Iterator[Line]:
    """The teacher smoothed in both ways, its students, and a student without a teacher."""
    students, teachers = snapshot.students(sweep), snapshot.teachers(sweep)
    under_pgd = attacked(snapshot, students, teachers)
    for aggregate, title in AGGREGATES.items():
        clean = clean_accuracy_of_smoothed(snapshot, teachers, aggregate)
        passes = number_of_each(teachers, clean, "passes")
        yield Line(
            f"Smooth {title}",
            _with_columns_of_tables(
                teachers, number_of_each(teachers, clean), under_pgd[aggregate]
            ).assign(passes=passes),
            role="teacher",
        )
    students = _with_columns_of_tables(students, students["test_accuracy"], under_pgd[""])
    for aggregate, title in AGGREGATES.items():
        yield Line(
            f"KD {title}",
            students[students["case"].eq("distilled") & students[AGGREGATE].eq(aggregate)],
        )
    yield Line("No teacher", students[students["case"].eq("no_teacher")])


def _with_columns_of_tables(
    trials: pd.DataFrame, clean: pd.Series[float], under_pgd: pd.DataFrame
) -> pd.DataFrame:
    """``trials`` with the columns of tables 1 and 2, and of the attack its steps, on how many
    images it was, and in how many passes."""
    return trials.assign(
        **{
            "Accuracy": clean,
            "Clean": clean,
            "PGD-10": number_of_each(trials, under_pgd),
            "attack steps": number_of_each(trials, under_pgd, "steps"),
            "attacked images": number_of_each(trials, under_pgd, "examples"),
            "attacked passes": number_of_each(trials, under_pgd, "passes"),
        }
    )


def _passes_text(lines: Sequence[Line]) -> str:
    smoothed = [line.trials for line in lines if "passes" in line.trials]
    if not smoothed:
        return ""
    together = pd.concat(smoothed)
    text = _passes(together["passes"], together["attacked passes"])
    return f" ({text})" if text else ""


def _passes(clean: pd.Series[float], attacked: pd.Series[float]) -> str:
    """``512 passes``, and how many under attack where these are others."""
    counts, others = (
        " or ".join(f"{n:g}" for n in sorted(numbers.dropna().unique()))
        for numbers in (clean, attacked)
    )
    parts = [f"{counts} passes"] * bool(counts)
    return ", ".join([*parts, f"under attack {others}"] if others not in ("", counts) else parts)


def _steps_text(lines: Sequence[Line]) -> str:
    counts = sorted({int(n) for line in lines for n in line.trials["attack steps"].dropna()})
    return f"{' or '.join(map(str, counts)) or 10} steps"


def _images_text(lines: Sequence[Line]) -> str:
    """On how many images each was attacked, if not all on as many."""
    counts = {
        line.row: [f"{int(n)}" for n in sorted(set(line.trials["attacked images"].dropna()))]
        for line in lines
    }
    known = {row: " or ".join(numbers) for row, numbers in counts.items() if numbers}
    if len(set(known.values())) < 2:
        return ""
    return f"; attacked images: {', '.join(f'{row} {text}' for row, text in known.items())}"
