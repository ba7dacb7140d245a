"""The methods that everybody compares with: clean against robust accuracy and its price, and
distillation's losses beside the published table.

    python analysis/baselines.py RESULTS --out DIR

Of sweeps/baselines/: robust_distillation.yaml, noise_or_adversarial.yaml, cifar100_losses.yaml.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from kdray.core import InputError
from kdray.report import (
    Draw,
    Figure,
    Missing,
    Snapshot,
    Spread,
    Table,
    attack_name,
    attack_text,
    attacks,
    caption,
    labelled,
    legend,
    of_one_evaluation,
    panels,
    published,
    run,
    scatter,
)
from kdray.report.papers.comparable import of_one_machine
from kdray.report.papers.published_table import Column, Line, number_of_each, published_table

TITLE = "The methods that everybody compares with"
ROBUST = {
    "robust-distillation": "Robust distillation and adversarial training",
    "noise-or-adversarial": "Noise or adversarial examples at equal cost",
}
"""Sweeps, and what they compare."""
LOSSES = "cifar100-losses"
HOUR = 3600.0


def losses(snapshot: Snapshot) -> Table:
    """Test accuracy of distillation's losses beside the published table."""
    students = snapshot.students(LOSSES)
    lines = [
        Line(str(case), rows.assign(Accuracy=rows["test_accuracy"]))
        for case, rows in students.groupby("case", sort=False)
    ]
    teachers = snapshot.teachers(LOSSES)
    if len(teachers):
        accuracy = teachers.assign(Accuracy=teachers["test_accuracy"])
        lines.insert(0, Line("teacher", accuracy, role="teacher"))
    return published_table(
        "Table 1",
        published("baselines"),
        [Column("Accuracy", "Test accuracy, %")],
        lines,
        title="distillation's losses on CIFAR-100",
        what="Test accuracy of ResNet-8x4 taught by ResNet-32x4 with each loss",
        source="Tian et al. 2020 and of the papers after it, whose numbers are of the best epoch "
        "on the test set",
    )


def cases(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per point with the number of its seeds, ``n``: over those that have it the mean, the
    deviation and the number (``… n``) of ``clean``, ``pgd``, ``autoattack`` (fractions; NaN if it
    was not measured) and ``hours`` of the student's own training."""
    grouped = trials.groupby("point", sort=True)
    out = grouped.agg(case=("case", "first"), n=("trial_id", "nunique"))
    for name in ("clean", "pgd", "autoattack", "hours"):
        out[name], out[f"{name} std"] = grouped[name].mean(), grouped[name].std(ddof=1)
        out[f"{name} n"] = grouped[name].count()
    return out.reset_index()


class Measured(NamedTuple):
    """The students of a sweep, and what was measured of them."""

    students: pd.DataFrame
    """With what :func:`cases` is of."""
    attacked: pd.DataFrame
    """Their rows of the PGD that most of them have."""
    autoattack: str
    """Which it is, in words."""
    machine: str
    """What a caption says of where the hours were taken."""


def measured(snapshot: Snapshot, sweep: str) -> Measured:
    """What :func:`cases` is of, AutoAttack the one that most students of ``sweep`` have; InputError
    if none was attacked."""
    students = snapshot.students(sweep)
    found = attacks(snapshot, students)
    if not found:
        raise InputError(f"no student of {sweep} was attacked with PGD")
    strong = of_one_evaluation(snapshot.measured(students, evaluation="autoattack"))
    seconds, machine = of_one_machine(students, "train_seconds")
    described = students.assign(
        clean=students["test_accuracy"],
        pgd=number_of_each(students, found[0]),
        autoattack=number_of_each(students, strong),
        hours=seconds / HOUR,
    )
    ensemble = "AutoAttack" if strong.empty else attack_name(strong)
    return Measured(described, found[0], ensemble, machine)


def robust_accuracy(snapshot: Snapshot) -> Iterator[Table | Missing]:
    """Clean and robust accuracy of each method and the hours of its training."""
    for sweep, title in ROBUST.items():
        name = sweep.replace("-", "_")
        try:
            trials, attacked, ensemble, machine = measured(snapshot, sweep)
        except InputError as error:
            yield Missing(name, title, str(error))
            continue
        table = cases(trials)
        frame = pd.DataFrame(
            {
                "method": table["case"].fillna(""),
                "point": table["point"],
                "clean (%)": _spreads(table, "clean", 100),
                f"{attack_name(attacked)} (%)": _spreads(table, "pgd", 100),
                "AutoAttack (%)": _spreads(table, "autoattack", 100),
                "hours": _spreads(table, "hours", 1),
                "n": table["n"],
            }
        )
        what = (
            f"Test accuracy on clean images, under {attack_text(attacked)} and under "
            f"{ensemble} (where it was "
            "measured; of several such evaluations the one that most students have), and the hours "
            f"of the student's own training{machine}"
        )
        captioned = caption(what, attacked, ["point"], band="±")
        yield Table(name, title, captioned, frame, seeds="n")


def trade_off(snapshot: Snapshot) -> Iterator[Figure | Missing]:
    """Robust against clean accuracy, and against the hours of training."""
    for sweep, of in ROBUST.items():
        name, title = f"{sweep.replace('-', '_')}_price", f"{of}: the price"
        try:
            trials, attacked, _, machine = measured(snapshot, sweep)
        except InputError as error:
            yield Missing(name, title, str(error))
            continue
        table = cases(trials)
        order = list(table["case"].drop_duplicates())
        figure, (left, right) = panels(2, height=2.9)
        scatter(left, table, "clean", "pgd", by="case", order=order)
        labelled(left, "Test accuracy (%)", "Accuracy under PGD (%)", "(a)")
        scatter(
            right,
            table,
            "hours",
            "pgd",
            by="case",
            order=order,
            modes=("min", "max"),
            percent=(False, True),
        )
        labelled(right, "Hours of training", "Accuracy under PGD (%)", "(b)")
        legend(figure)
        what = (
            f"Accuracy under {attack_text(attacked)} against (a) clean test accuracy and (b) "
            f"the hours of the student's own training{machine}; the line is the "
            "Pareto front"
        )
        yield Figure(name, title, caption(what, attacked, ["point"]), figure)


def _spreads(table: pd.DataFrame, name: str, scale: float) -> list[Spread]:
    parts = zip(table[name], table[f"{name} std"], table[f"{name} n"], strict=True)
    return [Spread(scale * mean, scale * std, n) for mean, std, n in parts]


DRAWS: tuple[Draw, ...] = (losses, robust_accuracy, trade_off)


def main(argv: Sequence[str] | None = None) -> int:
    return run(TITLE, DRAWS, argv)


if __name__ == "__main__":
    sys.exit(main())
