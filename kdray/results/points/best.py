"""Points by one metric, or by several: what their seeds gave, and which are best.

A point can be the best only if it is whole: all its seeds completed, with a finite number of
everything that points are compared by, and its mean keeps to the constraints that the sweep was
last run with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdray.core import InputError
from kdray.results.files.warn import SelectedOnTest, warn
from kdray.results.filters import Where
from kdray.results.metrics import Mode, default_mode
from kdray.results.points.data_sets import data_sets
from kdray.results.points.estimates import STATISTICS, statistics
from kdray.results.points.machines import warn_of_several_machines
from kdray.results.points.objective import Objectives, metric_of, violation
from kdray.results.points.pareto import fronts
from kdray.results.points.replicates import (
    POINT,
    as_table,
    by_point,
    check_same_data,
    check_same_evaluations,
    measured_replicates,
    replicates,
)
from kdray.results.record import sweep_objectives
from kdray.results.tables import Tables


def points(tables: Tables, metric: str, sweep: str | None, where: Where) -> pd.DataFrame:
    """See :meth:`Results.points`."""
    rows = measured_replicates(tables, [metric], sweep, where)
    rows = rows[rows.groupby("sweep")[metric].transform("count") > 0]
    seeds = [seeds for _, seeds in by_point(rows)]
    warn_of_several_machines(tables, [metric], seeds, "averaged")
    return _statistics_table(rows, metric)


def best(
    tables: Tables, metric: str, mode: Mode, sweep: str | None, where: Where, count: int
) -> pd.DataFrame:
    """See :meth:`Results.best`."""
    _check_modes([mode])
    rows = _of_whole_points(tables, [metric], sweep, where)
    check_same_data(rows, f"the best {metric}")
    check_same_evaluations(tables, rows, [metric], f"the best {metric}")
    warn_of_several_machines(tables, [metric], [rows], "ranked")
    if any(split_of(tables, metric, name) == "test" for name in rows["sweep"].unique()):
        warn(
            f"{metric} is of the test split: chosen by it, it no longer says how well a "
            "point will do",
            SelectedOnTest,
        )
    table = _statistics_table(rows, metric)
    order = np.argsort(fronts(table[["mean"]], [mode]), kind="stable")
    return table.iloc[order].head(count).reset_index(drop=True)


def pareto(
    tables: Tables,
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
    rows = _of_whole_points(tables, metrics, sweep, where)
    check_same_data(rows, "pareto")
    check_same_evaluations(tables, rows, metrics, "pareto")
    warn_of_several_machines(tables, metrics, [rows], "ranked")
    found = by_point(rows)
    numbers: list[dict[str, Any]] = [
        {"n": len(seeds), **seeds[metrics].mean()} for _, seeds in found
    ]
    table = as_table([description for description, _ in found], numbers, ["n", *metrics])
    return table.assign(front=fronts(table[metrics], modes))


def best_points(tables: Tables, sweep: str) -> list[int]:
    """The numbers of the best points of ``sweep`` by its own objectives (:func:`the_best`), of each
    data set, if it has several."""
    objectives = sweep_objectives(tables.store, sweep)
    rows = with_objectives(replicates(tables, sweep), tables, sweep, objectives)
    found: list[int] = []
    for _, its in rows.groupby(data_sets(rows["experiment"]), dropna=True):
        found += the_best(leaders(its, objectives), objectives)
    return sorted(found)


def the_best(leading: list[int], objectives: Objectives) -> list[int]:
    """What is called the best of the points that no other surpasses: of several objectives all, the
    Pareto front; of one the first in the sweep's order."""
    return leading if len(objectives.objectives) > 1 else leading[:1]


def leaders(rows: pd.DataFrame, objectives: Objectives) -> list[int]:
    """The numbers of the points that no other of these surpasses, in order; ``rows`` are
    replicates of one sweep with a column for each metric of ``objectives``."""
    scores = {
        point: objectives.worth(numbers)
        for point, numbers in _numbers(rows, list(objectives.metrics)).items()
    }
    able = {point: score.values for point, score in scores.items() if score.feasible}
    ranks = fronts(list(able.values()), [each.mode for each in objectives.objectives])
    return [point for point, rank in zip(able, ranks, strict=True) if rank == 0]


def with_objectives(
    rows: pd.DataFrame, tables: Tables, sweep: str, objectives: Objectives
) -> pd.DataFrame:
    """``rows`` (by ``trial_id``) with a column for each metric of ``objectives``; a metric of an
    evaluation is found by what the sweep's label means, whatever its column is called."""
    frame = tables.measured_trials(sweep).set_index("trial_id")
    numbers = tables.numbers(sweep)
    missing = [name for name in objectives.metrics if name not in frame]
    meant = numbers[numbers["label"].add(".").add(numbers["metric"]).isin(missing)]
    for name, its in meant.groupby(meant["label"] + "." + meant["metric"]):
        if its["evaluation_id"].nunique() > 1:  # of a folder that does not say which is meant
            continue
        once = its[~its.duplicated("trial_id", keep=False)]
        frame[name] = once.set_index("trial_id")["value"]
    columns = frame.reindex(columns=[name for name in objectives.metrics if name not in rows])
    return rows.merge(columns, left_on="trial_id", right_index=True, how="left")


def split_of(tables: Tables, metric: str, sweep: str) -> str | None:
    """The split that a metric of ``sweep`` is of, where all its numbers are of one; None for sizes
    and times."""
    if metric in ("val_accuracy", "test_accuracy"):
        return metric.partition("_")[0]
    if "." not in metric:
        return None
    numbers = tables.numbers(sweep)
    splits = numbers.loc[numbers["column"].eq(metric), "split"].dropna().unique()
    return str(splits[0]) if len(splits) == 1 else None


def _of_whole_points(
    tables: Tables, metrics: list[str], sweep: str | None, where: Where
) -> pd.DataFrame:
    """The replicates of points that can be the best."""
    return whole_points(measured_replicates(tables, metrics, sweep, where), tables, metrics)


def whole_points(rows: pd.DataFrame, tables: Tables, metrics: list[str]) -> pd.DataFrame:
    """Those of ``rows``, replicates with a column for each metric, whose points can be the best by
    ``metrics``."""
    rows = rows[_are_whole(rows, metrics)]
    for name in rows["sweep"].unique():
        objectives = sweep_objectives(tables.store, name)
        if objectives.constraints:
            kept = _keeping_constraints(tables, name, objectives)
            rows = rows[rows["sweep"].ne(name) | rows["point"].isin(kept)]
    return rows


def _are_whole(rows: pd.DataFrame, metrics: list[str]) -> pd.Series[bool]:
    """Whether all seeds of each row's point completed, with finite numbers of ``metrics``."""
    finite = np.isfinite(rows[metrics].to_numpy(float)).all(axis=1)
    seeds = pd.Series(finite, rows.index).groupby([rows[name] for name in POINT], dropna=False)
    return rows["complete"] & seeds.transform("all")


def _numbers(rows: pd.DataFrame, metrics: list[str]) -> dict[int, list[dict[str, float]]]:
    """By the number of each whole point, in order: of every seed, metric to value."""
    whole = rows[_are_whole(rows, metrics)]
    return {
        int(point): [
            dict(zip(metrics, seed, strict=True))
            for seed in whole.loc[whole["point"].eq(point), metrics].to_numpy(float).tolist()
        ]
        for point in sorted(whole["point"].unique())
    }


def _keeping_constraints(tables: Tables, sweep: str, objectives: Objectives) -> list[int]:
    """The points of ``sweep`` whose means are known to keep to its constraints."""
    limits = objectives.constraints
    rows = with_objectives(replicates(tables, sweep), tables, sweep, objectives)
    by_number = _numbers(rows, list(dict.fromkeys(map(metric_of, limits))))
    return [
        point
        for point, numbers in by_number.items()
        if all(violation(limit, numbers) <= 0 for limit in limits)
    ]


def _statistics_table(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    found = by_point(rows)
    numbers = [statistics(seeds[metric].dropna().to_numpy(float)) for _, seeds in found]
    return as_table([description for description, _ in found], numbers, STATISTICS)


def _check_modes(modes: Sequence[str]) -> None:
    for mode in modes:
        if mode not in ("max", "min"):
            raise InputError(f"mode: {mode!r} is neither 'max' nor 'min'")
