"""Points by one metric, or by several: what their seeds gave, and which are best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from kdray.core import InputError
from kdray.results.files.warn import SelectedOnTest, warn
from kdray.results.filters import Where
from kdray.results.points.estimates import Floats, bootstrap_interval, spread, t_interval
from kdray.results.points.objective import SIZES
from kdray.results.points.pareto import fronts
from kdray.results.points.replicates import as_table, by_point, check_same_data, replicates

if TYPE_CHECKING:
    from kdray.results.results import Results

Mode = Literal["max", "min"]

LESS_IS_BETTER = {*SIZES, "train_seconds", "peak_memory", "loss", "ece", "brier", "abstained"}
"""Metrics, and last parts of metrics' names."""
STATISTICS = ["n", "mean", "std", "sem", "low", "high", "bootstrap_low", "bootstrap_high"]


def points(results: Results, metric: str, sweep: str | None, where: Where) -> pd.DataFrame:
    """See :meth:`Results.points`."""
    return _points(_having(replicates(results, [metric], sweep, where), metric), metric)


def best(
    results: Results, metric: str, mode: Mode, sweep: str | None, where: Where, count: int
) -> pd.DataFrame:
    """See :meth:`Results.best`."""
    _check_modes([mode])
    rows = replicates(results, [metric], sweep, where)
    rows = rows[rows[metric].notna()]
    check_same_data(rows, f"the best {metric}")
    if split_of(results, metric) == "test":
        warn(
            f"{metric} is of the test split: chosen by it, it no longer says how well a "
            "point will do",
            SelectedOnTest,
        )
    table = _points(rows, metric)
    return (
        table.sort_values("mean", ascending=mode == "min", kind="stable")
        .head(count)
        .reset_index(drop=True)
    )


def pareto(
    results: Results,
    metrics: Sequence[str],
    modes: Sequence[Mode] | None,
    sweep: str | None,
    where: Where,
) -> pd.DataFrame:
    """See :meth:`Results.pareto`."""
    metrics = list(dict.fromkeys(metrics))
    modes = [default_mode(metric) for metric in metrics] if modes is None else list(modes)
    _check_modes(modes)
    if len(modes) != len(metrics) or not metrics:
        raise InputError(
            f"pareto: {len(metrics)} different metrics and {len(modes)} modes; needs one "
            "for each, and a metric"
        )
    rows = replicates(results, metrics, sweep, where)
    rows = rows[rows[metrics].notna().all(axis=1)]
    check_same_data(rows, "pareto")
    found = by_point(rows)
    numbers: list[dict[str, Any]] = [
        {"n": len(seeds), **seeds[metrics].mean()} for _, seeds in found
    ]
    table = as_table([identity for identity, _ in found], numbers, ["n", *metrics])
    return table.assign(front=fronts(table[metrics], modes))


def default_mode(metric: str) -> Mode:
    """Whether less is better of a metric: sizes, times, memory, losses."""
    name = metric.partition("[")[0]
    return "min" if {name, name.rpartition(".")[2]} & LESS_IS_BETTER else "max"


def split_of(results: Results, metric: str) -> str | None:
    """The split that a metric is of, where all its numbers are of one; none for sizes and times."""
    if metric in ("val_accuracy", "test_accuracy"):
        return metric.partition("_")[0]
    if "." not in metric:
        return None
    numbers = results.numbers()
    splits = numbers.loc[numbers["column"].eq(metric), "split"].dropna().unique()
    return str(splits[0]) if len(splits) == 1 else None


def _having(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of sweeps in which some trial has the metric."""
    return rows[rows.groupby("sweep")[metric].transform("count") > 0]


def _points(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    found = by_point(rows)
    numbers = [_statistics(seeds[metric].dropna().to_numpy(float)) for _, seeds in found]
    return as_table([identity for identity, _ in found], numbers, STATISTICS)


def _statistics(values: Floats) -> dict[str, float]:
    n, deviation = len(values), spread(values)
    mean, error = (float(values.mean()), deviation / math.sqrt(n)) if n else (math.nan, math.nan)
    numbers = [n, mean, deviation, error, *t_interval(values), *bootstrap_interval(values)]
    return dict(zip(STATISTICS, numbers, strict=True))


def _check_modes(modes: Sequence[str]) -> None:
    for mode in modes:
        if mode not in ("max", "min"):
            raise InputError(f"mode: {mode!r} is neither 'max' nor 'min'")
