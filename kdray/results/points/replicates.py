"""A row for every seed of every point: what is averaged, compared and explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdray.core import InputError
from kdray.results.files.dictionary_encoding import plain
from kdray.results.files.read import read_parts
from kdray.results.filters import Where, check_columns, matching
from kdray.results.points.table import NOT_NEEDED, PRUNED
from kdray.results.schema import TABLES

if TYPE_CHECKING:
    from kdray.results.results import Results

SWEPT = "swept"
"""Column with what distinguishes a point, as JSON: members call it parameters, which in trials are
the network's."""
POINT = ["sweep", "case", SWEPT]
"""What is the same of all seeds of a point, and of no other point."""
OF_TRIAL = ("trial_id", "seed", "teacher_id", "experiment")
"""Of a trial, what decides what it may be compared with."""
PLACE = {"sweep", "point", "case", "order", SWEPT}
"""Columns that members have, beside the trial's id."""
TRAINING_ONLY = ("augment", "omit_classes")
"""Parts of a data set's description that leave the images alone on which accuracies are
measured."""


def sweeps(results: Results) -> list[str]:
    """The sweeps that have students, in the order in which they first wrote anything."""
    rows = plain(read_parts(results.store, "members", ["sweep", "written_at"]).rows).to_pandas()
    begun = rows.groupby("sweep")["written_at"].min().sort_values(kind="stable").index
    members = results.members(
        ["sweep", "outcome"], [("role", "==", "student"), ("outcome", "!=", NOT_NEEDED)]
    )
    return [str(name) for name in begun if name in set(members["sweep"])]


def replicates(
    results: Results, metrics: list[str], sweep: str | None, where: Where
) -> pd.DataFrame:
    """The completed trials behind every point, in the sweep's order: columns ``sweep``, ``point``,
    ``case``, ``swept``, ``order``, the metrics and :data:`OF_TRIAL`. Points without such a trial
    have one row without a ``trial_id``, unless ``where`` asks for anything but the point.

    :class:`InputError` for an unknown sweep, or a metric that is no column with numbers.
    """
    members = results.members(
        ["sweep", "trial_id", "point", "case", "parameters", "order", "outcome", "role"],
        [("role", "==", "student")],
    )
    members = members[members["outcome"].ne(NOT_NEEDED)]
    # Another sweep may have completed what this one gave up: here it stays given up.
    members.loc[members["outcome"].eq(PRUNED), "trial_id"] = None
    members = members.drop(columns=["role", "outcome"])
    if sweep is not None and sweep not in set(members["sweep"]):
        known = ", ".join(sorted(members["sweep"].unique())) or "none"
        raise InputError(
            f"{results.store.place}: no sweep {sweep!r} with students (there are: {known})"
        )
    if sweep is not None:
        members = members[members["sweep"].eq(sweep)]
    trials = _with_metrics(results, [*metrics, *(name for name, _, _ in where)])
    _check_metrics(trials, metrics)
    joined = members.rename(columns={"parameters": SWEPT}).merge(
        trials[trials["status"].eq("completed")],
        on="trial_id",
        how="left",
        suffixes=("", "_of_trial"),
    )
    joined.loc[joined["status"].isna(), "trial_id"] = None
    found = matching(joined, where).sort_values(["sweep", "point", "order"], kind="stable")
    # Taking hundreds of columns apart by points and putting them together again would take seconds.
    kept = dict.fromkeys([*POINT, "point", "order", *OF_TRIAL, *metrics])
    return found[list(kept)].astype({"point": int}).reset_index(drop=True)


def by_point(rows: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """What says which point it is (sweep, number, case, swept paths), with the rows of its seeds,
    in the sweep's order."""
    found = []
    for _, seeds in rows.groupby(POINT, sort=False, dropna=False):
        first = seeds.iloc[0]
        identity: dict[str, Any] = {name: first[name] for name in ("sweep", "point", "case")}
        found.append((identity | swept(first), seeds[seeds["trial_id"].notna()]))
    return found


def swept(row: pd.Series[Any]) -> dict[str, Any]:
    """What distinguishes a point: path to value."""
    values: dict[str, Any] = {} if pd.isna(row[SWEPT]) else json.loads(row[SWEPT])
    return values


def as_table(
    identities: list[dict[str, Any]], numbers: list[dict[str, Any]], columns: list[str]
) -> pd.DataFrame:
    """One row per point: which it is, then its ``columns``."""
    first: dict[str, Any] = {"sweep": "str", "point": "int64", "case": "str"}
    paths = [
        path
        for path in dict.fromkeys(path for each in identities for path in each)
        if path not in first
    ]
    parts = {
        name: pd.Series([each[name] for each in identities], dtype=dtype)
        for name, dtype in first.items()
    }
    parts |= {path: _as_column([each.get(path) for each in identities]) for path in paths}
    parts |= {
        name: pd.Series([each[name] for each in numbers], dtype=None if numbers else float)
        for name in columns
    }
    return pd.DataFrame(parts)


def _as_column(values: list[Any]) -> pd.Series[Any]:
    """Of a swept path; whole numbers that only some points have stay whole."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype=float)
    return pd.Series(values, dtype="str" if kinds == {str} else object)


def check_same_data(rows: pd.DataFrame, what: str) -> None:
    """:class:`InputError` if the trials were trained and measured on different data."""
    described = {text: data_of(text) for text in rows["experiment"].dropna().unique()}
    kinds = {json.dumps(data, sort_keys=True): data for data in described.values()}
    if len(kinds) > 1:
        raise InputError(
            f"{what}: {different(*list(kinds.values())[:2])}; choose one of them with "
            "sweep= or where="
        )


def different(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How two data sets differ, in one line."""
    return f"different data cannot be compared: {_told(one, other)} and {_told(other, one)}"


def data_of(experiment: str) -> dict[str, Any]:
    """What an experiment's accuracies are measured on."""
    data = json.loads(experiment).get("data") or {}
    return {name: value for name, value in data.items() if name not in TRAINING_ONLY}


def _told(data: dict[str, Any], other: dict[str, Any]) -> str:
    apart = {
        name: value for name, value in data.items() if name != "name" and other.get(name) != value
    }
    stated = ", ".join(f"data.{name}={json.dumps(value)}" for name, value in sorted(apart.items()))
    return f"{data.get('name')} ({stated})" if stated else str(data.get("name"))


def _with_metrics(results: Results, names: list[str]) -> pd.DataFrame:
    """The trials; with all numbers only if some name is none of theirs, because these take longer
    to read."""
    asked = set(names) - PLACE
    if asked <= {
        column.name for column in TABLES["trials"]
    }:  # the configuration, hundreds of columns, is not needed
        return results.trials(sorted({*OF_TRIAL, "status", *asked}))
    trials = results.trials()
    beyond = set(names) - set(trials.columns) - PLACE
    return results.frame() if beyond else trials


def _check_metrics(trials: pd.DataFrame, metrics: list[str]) -> None:
    numeric = trials.select_dtypes("number").columns
    check_columns(metrics, numeric, "metric")
