"""The table of a sweep's points, as ``kdray run`` and ``kdray status`` print it."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection
from itertools import accumulate
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdray.core.wording import mean_and_deviation, of_fewer, short_paths, value_text
from kdray.results import open_results
from kdray.results.files.location import printable
from kdray.results.metrics import ACCURACIES
from kdray.results.points.best import best_points
from kdray.results.points.table import points
from kdray.results.record import sweep_objectives
from kdray.results.schema import NOT_NEEDED

BEST = "best"
"""Of the column that marks the best point, or those of the Pareto front."""
NOT_SWEPT = ("point", "case", "n")
"""Of the columns without a metric."""
SWEPT = "swept"
"""Of the column of all swept values, on a narrow terminal."""
FOLDED = ("case", SWEPT)
"""Columns of text, which may take several lines."""
MOST = 200
"""Points that are printed: the best and the first."""


class Column(NamedTuple):
    """A column of the table as it is printed."""

    heading: str
    cells: list[str]
    is_swept: bool = False

    @property
    def width(self) -> int:
        """Characters, with those that part it from the next."""
        return max(map(len, [self.heading, *self.cells])) + 3


def print_points(results: str, sweep: str) -> None:
    """The table of a sweep's points: mean ± standard deviation over seeds."""
    opened = open_results(results).snapshot()
    frame = points(opened, sweep)
    if frame.empty:
        return
    best, total = best_points(opened, sweep), len(frame)
    is_best = frame["point", ""].isin(best)
    frame = frame[is_best | ((~is_best).cumsum() <= MOST - is_best.sum())]
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    print(f"{sweep}: mean ± standard deviation over seeds")
    least, others = _columns(frame, best, sweep_objectives(opened.store, sweep).metrics)
    room = console.width - 1 - sum(column.width for column in least)
    ends = accumulate(column.width for column in others)
    fitting = [column for column, end in zip(others, ends, strict=True) if end <= room]
    shown = [*(least if room >= 0 else _swept_in_one(least)), *fitting]
    table = Table(show_lines=room < 0)
    for column in shown:
        folds = column.heading in FOLDED
        table.add_column(
            escape(column.heading),
            justify="left" if folds else "right",
            no_wrap=not folds,
            overflow="fold",
        )
    for row in zip(*(column.cells for column in shown), strict=True):
        table.add_row(*map(escape, row))
    console.print(table)
    if len(frame) < total:
        print(
            f"and {total - len(frame)} more points: kdray report {printable(results)} --out "
            "points.csv has all"
        )
    if len(fitting) < len(others):
        print(
            f"and {len(others) - len(fitting)} more numbers: "
            f"kdray.open_results({printable(results)!r}).frame() has all"
        )


def _columns(
    frame: pd.DataFrame, best: Collection[int], asked: Collection[str]
) -> tuple[list[Column], list[Column]]:
    """Return the columns that are shown on the narrowest terminal, which end with the star and what
    it is about, and the other numbers, curves last."""
    names = [column[0] for column in frame.columns if column[1] == ""]
    metrics = [column[0] for column in frame.columns if column[1] == "mean"]
    metrics.sort(key=lambda metric: (metric not in asked, metric.endswith("]")))
    short = short_paths([*names, BEST])
    titles = _titles(metrics, short.values())
    described = [
        Column(short[name], list(map(value_text, frame[name, ""])), name not in NOT_SWEPT)
        for name in names
    ]
    star = Column(BEST, ["*" if point in best else "" for point in frame["point", ""]])
    numbers = [Column(titles[metric], _numbers(frame, metric)) for metric in metrics]
    objectives = max(1, sum(metric in asked for metric in metrics))
    return [*described, star, *numbers[:objectives]], numbers[objectives:]


def _swept_in_one(columns: list[Column]) -> list[Column]:
    """Return columns with the swept values of a point in one cell, which folds, where each in its
    own would leave no room to read them."""
    swept = [column for column in columns if column.is_swept]
    named = [[f"{each.heading}={cell}" if cell else "" for cell in each.cells] for each in swept]
    together = Column(SWEPT, [", ".join(filter(None, row)) for row in zip(*named, strict=True)])
    kept = [column for column in columns if not column.is_swept]
    last = next(place for place, column in enumerate(kept) if column.heading == "n")
    return [*kept[:last], together, *kept[last:]] if swept else kept


def _numbers(frame: pd.DataFrame, metric: str) -> list[str]:
    """Return a metric of every point, with its count of seeds where fewer than the row's have
    it."""
    its, seeds = frame[metric], frame["n", ""]
    return [
        mean_and_deviation(mean, std) + of_fewer(n, of)
        for mean, std, n, of in zip(its["mean"], its["std"], its["n"], seeds, strict=True)
    ]


def _titles(metrics: list[str], taken: Collection[str]) -> dict[str, str]:
    """Return the heading of each metric: short, where neither another metric has the same nor a
    column that is ``taken``."""
    short = {metric: metric.replace(".accuracy", "").replace("_accuracy", "") for metric in metrics}
    counts = Counter([*short.values(), *taken])
    return {metric: title if counts[title] == 1 else metric for metric, title in short.items()}


def print_trials(results: str, sweep: str) -> None:
    """Every trial of a sweep with its id, in the order in which the sweep has them, teachers
    first."""

    opened = open_results(results)
    members = opened.members(where=[("sweep", "==", sweep), ("outcome", "!=", NOT_NEEDED)])
    trials = opened.trials(["trial_id", "seed", *ACCURACIES])
    rows = members.dropna(subset="trial_id").merge(trials, on="trial_id", how="left")
    table = Table()
    names = ["trial_id", "role", "point", "seed", "outcome", *ACCURACIES]
    for name in names:
        table.add_column(
            name, justify="left" if name in ("trial_id", "role", "outcome") else "right"
        )
    for _, row in rows.sort_values(
        ["role", "order"], ascending=[False, True], kind="stable"
    ).iterrows():
        shown = {name: row[name] for name in names} | {
            name: mean_and_deviation(row[name], math.nan) for name in ACCURACIES
        }
        table.add_row(*(value_text(value) for value in shown.values()))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
