"""The table of a sweep's points: what their seeds gave, on average."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdray.results.metrics import is_headline
from kdray.results.points.best import with_objectives
from kdray.results.points.replicates import POINT, replicates, swept_values
from kdray.results.record import sweep_objectives
from kdray.results.tables import Tables


def points(tables: Tables, sweep: str) -> pd.DataFrame:
    """The students of ``sweep`` that count, by point, in the sweep's order: ``point``, ``case``,
    the swept values, ``n`` and, for every metric of its objectives and every headline metric, its
    ``mean``, ``std`` (ddof 1; none for one seed) and ``n`` over the seeds that have it, in
    columns (metric, "mean" | "std" | "n").
    """
    rows = replicates(tables)
    own = rows[rows["sweep"].eq(sweep) & rows["counts"]]
    if own.empty:
        return pd.DataFrame()
    frame = tables.measured_trials(sweep)
    objectives = sweep_objectives(tables.store, sweep)
    headlines = [
        column
        for column in map(str, frame)
        if is_headline(column) and column not in objectives.metrics
    ]
    joined = own.merge(frame[["trial_id", *headlines]], on="trial_id")
    joined = with_objectives(joined, tables, sweep, objectives)
    metrics = [
        metric for metric in (*objectives.metrics, *headlines) if joined[metric].notna().any()
    ]
    described = [
        _row(seeds, metrics) for _, seeds in joined.groupby(POINT, sort=False, dropna=False)
    ]
    # A parameter that only some cases have comes after those that all have; the numbers come last.
    keys = dict.fromkeys(key for row in described for key in row)
    order = sorted(keys, key=lambda key: (key[1] != "", key[0] == "n"))
    # Whole numbers that only some points have stay whole.
    columns = {
        key: pd.Series(
            [row.get(key) for row in described],
            dtype=None if all(key in row for row in described) else object,
        )
        for key in order
    }
    return pd.DataFrame(columns, columns=pd.MultiIndex.from_tuples(order))


def _row(seeds: pd.DataFrame, metrics: list[str]) -> dict[tuple[str, str], Any]:
    """The row of one point."""
    first = seeds.iloc[0]
    row: dict[tuple[str, str], Any] = {("point", ""): int(first["point"])}
    if not pd.isna(first["case"]):
        row["case", ""] = first["case"]
    row |= {(path, ""): value for path, value in swept_values(first).items()}
    row["n", ""] = len(seeds)
    for metric in metrics:
        values = seeds[metric].astype(float)
        row[metric, "mean"] = values.mean()
        row[metric, "std"] = values.std(ddof=1)
        row[metric, "n"] = int(values.count())
    return row
