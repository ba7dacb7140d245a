"""The table of a sweep's points, as ``kdray run`` and ``kdray status`` print it."""

from __future__ import annotations

import math
import sys
from collections import Counter

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
MOST = 200
"""Points that are printed: the best and the first."""


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
    table = Table()
    names = [column[0] for column in frame.columns if column[1] == ""]
    metrics = [column[0] for column in frame.columns if column[1] == "mean"]
    asked = sweep_objectives(opened.store, sweep).metrics
    # What the star is about first, curves last.
    metrics.sort(key=lambda metric: (metric not in asked, metric.endswith("]")))
    short = short_paths(names)
    columns = {short[name]: list(map(value_text, frame[name, ""])) for name in names}
    columns[BEST] = ["*" if point in best else "" for point in frame["point", ""]]
    titles = _titles(metrics)
    columns |= {titles[metric]: _numbers(frame, metric) for metric in metrics}
    room = console.width - 1
    shown: list[str] = []
    least = len(names) + 1 + max(1, sum(metric in asked for metric in metrics))
    for name, cells in columns.items():
        room -= max(map(len, [name, *cells])) + 3
        if room >= 0 or len(shown) < least:
            shown.append(name)
            table.add_column(escape(name), justify="right")
    for row in zip(*(columns[name] for name in shown), strict=True):
        table.add_row(*map(escape, row))
    console.print(table)
    if len(frame) < total:
        print(
            f"and {total - len(frame)} more points: kdray report {printable(results)} --out "
            "points.csv has all"
        )
    if len(shown) < len(columns):
        print(
            f"and {len(columns) - len(shown)} more numbers: "
            f"kdray.open_results({printable(results)!r}).frame() has all"
        )


def _numbers(frame: pd.DataFrame, metric: str) -> list[str]:
    """Return a metric of every point, with its count of seeds where fewer than the row's have
    it."""
    its, seeds = frame[metric], frame["n", ""]
    return [
        mean_and_deviation(mean, std) + of_fewer(n, of)
        for mean, std, n, of in zip(its["mean"], its["std"], its["n"], seeds, strict=True)
    ]


def _titles(metrics: list[str]) -> dict[str, str]:
    """Return the heading of each metric: short, where no other has the same."""
    short = {metric: metric.replace(".accuracy", "").replace("_accuracy", "") for metric in metrics}
    counts = Counter(short.values())
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
