"""One row per point of a sweep: what its seeds gave, on average."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from kdray.core import parse
from kdray.results.points.objective import Objective, Objectives
from kdray.results.points.pareto import fronts
from kdray.results.results import Results

NOT_NEEDED, PRUNED = "not needed", "pruned"
ACCURACIES = ("val_accuracy", "test_accuracy")


def points(results: Results, sweep: str) -> pd.DataFrame:
    """The completed students of ``sweep`` by point, in the sweep's order: ``point``, ``case``, the
    swept parameters, ``n`` and, for every metric, its ``mean`` and ``std`` over the seeds (ddof 1;
    none for one seed), in columns (metric, "mean" | "std").
    """
    members = results.members()
    members = members[(members["sweep"] == sweep) & (members["role"] == "student")]
    # Another sweep may have completed what this one gave up: here it stays given up.
    members = members[~members["outcome"].isin([NOT_NEEDED, PRUNED])]
    frame = results.frame()
    metrics = [c for c in frame.columns if c in ACCURACIES or is_tabulated(c)]
    joined = members[["trial_id", "point", "case", "parameters", "order"]].merge(
        frame.loc[frame["status"] == "completed", ["trial_id", *metrics]], on="trial_id"
    )
    metrics = [metric for metric in metrics if joined[metric].notna().any()]
    rows: list[dict[tuple[str, str], Any]] = []
    for _, seeds in joined.sort_values(["point", "order"]).groupby(
        ["case", "parameters"], sort=False, dropna=False
    ):
        first = seeds.iloc[0]
        row: dict[tuple[str, str], Any] = {("point", ""): int(first["point"])}
        if not pd.isna(first["case"]):
            row["case", ""] = first["case"]
        row |= {(path, ""): value for path, value in json.loads(first["parameters"]).items()}
        row["n", ""] = len(seeds)
        for metric in metrics:
            row[metric, "mean"] = seeds[metric].mean()
            row[metric, "std"] = seeds[metric].std(ddof=1)
        rows.append(row)
    if not rows:
        return pd.DataFrame()
    # A parameter that only some cases have comes after those that all have; the numbers come last.
    keys = dict.fromkeys(key for row in rows for key in row)
    order = sorted(keys, key=lambda key: (key[1] != "", key[0] == "n"))
    # Whole numbers that only some points have stay whole.
    columns = {
        key: pd.Series(
            [row.get(key) for row in rows],
            dtype=None if all(key in row for row in rows) else object,
        )
        for key in order
    }
    return pd.DataFrame(columns, columns=pd.MultiIndex.from_tuples(order))


def best_points(results: Results, sweep: str) -> list[int]:
    """The numbers of the best points of ``sweep``: one, or, of several objectives, its Pareto
    front; in the sweep's order.

    Only points count all of whose seeds have completed and that keep to the constraints, by the
    objectives that the sweep was last run with.
    """
    aims = sweep_aims(results, sweep)
    members = results.members()
    members = members[
        (members["sweep"] == sweep)
        & (members["role"] == "student")
        & (members["outcome"] != NOT_NEEDED)
    ]
    frame = results.frame().set_index("trial_id").reindex(columns=list(aims.metrics))
    known = {
        str(trial_id): dict(zip(aims.metrics, row, strict=True))
        for trial_id, *row in frame.itertuples(name=None)
    }
    scores = {}
    for _, seeds in members.groupby(["case", "parameters"], dropna=False):
        numbers = [known.get(trial_id, {}) for trial_id in seeds["trial_id"]]
        whole = len(seeds) == (aims.seeds or len(seeds)) and (seeds["outcome"] == "completed").all()
        if whole and not any(aims.lacking(each) for each in numbers):
            scores[int(seeds["point"].iloc[0])] = aims.worth(numbers)
    able = {point: worth for point, worth in sorted(scores.items()) if worth.feasible}
    found = fronts(
        [worth.values for worth in able.values()], [objective.mode for objective in aims.objectives]
    )
    first = [point for point, front in zip(able, found, strict=True) if front == 0]
    return first if len(aims.objectives) > 1 else first[:1]


def sweep_aims(results: Results, sweep: str) -> Objectives:
    """The objectives and constraints that ``sweep`` was last run with."""
    try:
        return parse(Objectives, json.loads(results.store.read(aims_file(sweep))))
    except (
        FileNotFoundError,
        ValueError,
    ):  # of before there were any, or damaged: the next run writes it anew
        return Objectives(objectives=(Objective(),))


def aims_file(sweep: str) -> str:
    """Where the objectives of a sweep stand within the results."""
    return f"sweeps/{sweep}.objectives.json"


TABULATED = ("accuracy", "seen_accuracy", "omitted_accuracy", "mean_accuracy", "radius")
"""What is read side by side; the hundred accuracies of single classes and corruptions stay in the
frame."""


def is_tabulated(column: str) -> bool:
    """Whether a column of :meth:`Results.frame` is one of :data:`TABULATED`."""
    metric, _, apart = (
        column.rpartition("]")[0].partition("[") if column.endswith("]") else (column, "", "")
    )
    return metric.partition(".")[2] in TABULATED and not any(
        f"{name}=" in apart for name in ("corruption", "source_trial_id")
    )
