"""A row for every replicate (seed) of every point of every sweep: the one join of ``members`` and
``trials``, on which tables, questions, the report and the scripts of papers stand.

A point is told from others by its sweep, its case and its ``point_id``. Its number and its swept
values are for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from kdray.core import InputError
from kdray.results.files.dictionary_encoding import decoded
from kdray.results.files.read import read_parts
from kdray.results.files.warn import SeveralTeachers, warn
from kdray.results.filters import Where, check_columns, matching
from kdray.results.points.data_sets import data_sets, different
from kdray.results.record import sweep_objectives
from kdray.results.schema import KEYS, NOT_NEEDED, PRUNED, TABLES, TRAINED_STATUS
from kdray.results.tables import Tables

POINT = ["sweep", "case", "point_id"]
"""What all replicates of a point share, and those of no other point."""
OF_MEMBER = [
    "sweep",
    "point_id",
    "point",
    "case",
    "swept",
    "trial_id",
    "order",
    "role",
    "outcome",
    "member_error",
    "teacher_selection",
    "teacher_candidates",
]
CHOSEN_FOR_ALL = ("best_validation", "best_test")
"""Selections of a teacher that give all seeds of a point the same one."""
OF_TRIAL = ["seed", "status", "teacher_id", "experiment", "device"]


def sweeps(tables: Tables) -> list[str]:
    """The sweeps that have students, in the order in which they first wrote anything."""
    rows = decoded(read_parts(tables.store, "members", ["sweep", "written_at"]).rows).to_pandas()
    begun = rows.groupby("sweep")["written_at"].min().sort_values(kind="stable").index
    members = tables.members(
        ["sweep", "outcome"], [("role", "==", "student"), ("outcome", "!=", NOT_NEEDED)]
    )
    return [str(name) for name in begun if name in set(members["sweep"])]


def replicates(tables: Tables, sweep: str | None = None) -> pd.DataFrame:
    """A row per student of every point, in the sweep's order: :data:`OF_MEMBER`, :data:`OF_TRIAL`,
    and two columns of truth.

    ``counts``: the trial completed, and this sweep did not give it up (another may have completed
    it). ``complete``: of the row's point every seed that the sweep asks for counts, with all its
    evaluations. A point whose students have no teacher has one row, without a trial.

    :class:`InputError` for an unknown sweep.
    """
    stored = ["error" if name == "member_error" else name for name in OF_MEMBER]
    members = tables.members(stored, [("role", "==", "student"), ("outcome", "!=", NOT_NEEDED)])
    members = members.rename(columns={"error": "member_error"})
    if sweep is not None and sweep not in set(members["sweep"]):
        names = ", ".join(sorted(members["sweep"].unique())) or "none"
        raise InputError(
            f"{tables.store.place}: no sweep {sweep!r} with students (there are: {names})"
        )
    if sweep is not None:
        members = members[members["sweep"].eq(sweep)]
    trials = tables.trials(["trial_id", *OF_TRIAL])
    members = _apart_by_teacher(members, trials, tables)
    members = _with_one_number_each(members, tables).astype({"point": int})
    rows = members.merge(trials, on="trial_id", how="left")
    rows["counts"] = rows["status"].isin(TRAINED_STATUS) & rows["outcome"].ne(PRUNED)
    rows["complete"] = _is_complete(rows, tables)
    return rows.sort_values(["sweep", "point", "order"], kind="stable").reset_index(drop=True)


def measured_replicates(
    tables: Tables, metrics: list[str], sweep: str | None, where: Where
) -> pd.DataFrame:
    """:func:`replicates` with a column for each metric, as far as ``where`` holds. Points without a
    trial that counts have a row without a ``trial_id``, unless ``where`` asks for anything but the
    point.

    :class:`InputError` for an unknown sweep, or a metric that is no column with numbers.
    """
    rows = replicates(tables, sweep)
    own = rows.drop(columns=OF_TRIAL).assign(trial_id=rows["trial_id"].where(rows["counts"]))
    conditions = [name for name, _, _ in where]
    numbers = _numbers(tables, metrics, conditions, list(rows["sweep"].unique()))
    parts = [
        own[own["sweep"].eq(name)].merge(frame, on="trial_id", how="left")
        for name, frame in numbers.items()
    ]
    joined = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    found = matching(joined, where)
    kept = dict.fromkeys([*POINT, "point", "swept", "order", "trial_id", *OF_TRIAL, "complete"])
    return found[[*kept, *(name for name in metrics if name not in kept)]].reset_index(drop=True)


def by_point(rows: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """What describes each point to people (sweep, number, case, swept values), with the rows of the
    seeds that count, in the sweep's order."""
    found = []
    for _, seeds in rows.groupby(POINT, sort=False, dropna=False):
        first = seeds.iloc[0]
        description: dict[str, Any] = {name: first[name] for name in ("sweep", "point", "case")}
        found.append((description | swept_values(first), seeds[seeds["trial_id"].notna()]))
    return found


def swept_values(row: pd.Series[Any]) -> dict[str, Any]:
    """What distinguishes a point: path to value."""
    values: dict[str, Any] = {} if pd.isna(row["swept"]) else json.loads(row["swept"])
    return values


def as_table(
    descriptions: list[dict[str, Any]], numbers: list[dict[str, Any]], columns: list[str]
) -> pd.DataFrame:
    """One row per point: its description, then its ``columns``."""
    first: dict[str, Any] = {"sweep": "str", "point": "int64", "case": "str"}
    paths = [
        path
        for path in dict.fromkeys(path for each in descriptions for path in each)
        if path not in first
    ]
    parts = {
        name: pd.Series([each[name] for each in descriptions], dtype=dtype)
        for name, dtype in first.items()
    }
    parts |= {path: _as_column([each.get(path) for each in descriptions]) for path in paths}
    parts |= {
        name: pd.Series([each[name] for each in numbers], dtype=None if numbers else float)
        for name in columns
    }
    return pd.DataFrame(parts)


def _as_column(values: list[Any]) -> pd.Series[Any]:
    """The values of a swept path; whole numbers that only some points have stay whole."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype=float)
    return pd.Series(values, dtype="str" if kinds == {str} else object)


def check_same_data(rows: pd.DataFrame, what: str) -> None:
    """Raise :class:`InputError` if the trials were trained and measured on different data."""
    kinds = list(map(json.loads, data_sets(rows["experiment"]).dropna().unique()))
    if len(kinds) > 1:
        raise InputError(
            f"{what}: {different(*kinds[:2])}; choose one of them with sweep= or where="
        )


def check_same_evaluations(
    tables: Tables, rows: pd.DataFrame, metrics: Iterable[str], what: str
) -> None:
    """Raise :class:`InputError` if the sweeps of ``rows`` mean different evaluations by one of
    ``metrics``."""
    sweeps = [str(name) for name in rows["sweep"].unique()]
    for metric in (name for name in metrics if "." in name and len(sweeps) > 1):
        meant = {}
        for sweep in sweeps:
            numbers = tables.numbers(sweep)
            meant[sweep] = set(numbers.loc[numbers["column"].eq(metric), "evaluation_id"])
        first = next((sweep for sweep in sweeps if meant[sweep]), None)
        for sweep in sweeps:
            if first is not None and meant[sweep] and meant[sweep] != meant[first]:
                raise InputError(
                    f"{what}: {first} and {sweep} mean different evaluations by {metric}; choose "
                    "one of them with sweep="
                )


def _is_complete(rows: pd.DataFrame, tables: Tables) -> pd.Series[bool]:
    """Whether the point of each row has all its seeds."""
    done = rows["counts"] & rows["outcome"].eq("completed")
    points = done.groupby([rows[name] for name in POINT], dropna=False)
    seeds = {name: sweep_objectives(tables.store, name).seeds for name in rows["sweep"].unique()}
    asked = rows["sweep"].map(lambda name: seeds[name] or 1).astype(int)
    return points.transform("all") & (points.transform("size") >= asked)


def _apart_by_teacher(members: pd.DataFrame, trials: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """``members`` in which the students of a point have one teacher, unless each seed has its own.

    A folder may hold those of several, where two were merged by copying. The teacher whose students
    were written last keeps the point; those of every other one are a point of their own.
    """
    known = trials.set_index("trial_id")
    teachers = members["trial_id"].map(known["teacher_id"])
    taught = teachers.where(members["teacher_selection"].ne("each"), "each")
    several = taught.groupby([members[name] for name in POINT], dropna=False).transform("nunique")
    if not (several > 1).any():
        return members
    mixed = _by_age(members.assign(taught=taught)[several > 1], tables)
    mixed["seed"] = mixed["trial_id"].map(known["seed"])
    apart = pd.concat([_told_apart(point) for _, point in mixed.groupby(POINT, dropna=False)])
    if (
        changed := apart.loc[apart["point_id"].ne(mixed.loc[apart.index, "point_id"]), "sweep"]
        .unique()
        .tolist()
    ):
        warn(
            f"{', '.join(map(repr, changed))}: some points have students of several teachers, "
            "which are shown apart; 'kdray run' with the sweep's file keeps those of the chosen",
            SeveralTeachers,
        )
    return pd.concat([members[several <= 1], apart], ignore_index=True)[members.columns]


def _told_apart(point: pd.DataFrame) -> pd.DataFrame:
    """The rows of a point, oldest first, those of every teacher but the last a point of its own."""
    taught, seeds = point["taught"], point["seed"].dropna()
    if not (point["teacher_selection"].isin(CHOSEN_FOR_ALL).any() or seeds.duplicated().any()):
        return point
    others = taught.notna() & taught.ne(taught.dropna().iloc[-1])
    return point.assign(point_id=point["point_id"].where(~others, point["point_id"] + "-" + taught))


def _with_one_number_each(members: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """``members`` in which each point of a sweep has a number of its own, and each trial one row in
    its point.

    They may not, after a run was interrupted and the sweep's file changed. The newest row then says
    the number of its point, and the point that was written last keeps a number that several have;
    the others get the next ones that are free.
    """
    pairs = members[[*POINT, "point"]].drop_duplicates()
    copies = members["trial_id"].notna() & members.duplicated([*POINT, "trial_id"])
    if not (
        copies.any() or pairs.duplicated(POINT).any() or pairs.duplicated(["sweep", "point"]).any()
    ):
        return members
    newest_last = _by_age(members, tables)
    without_copies = newest_last[
        newest_last["trial_id"].isna() | ~newest_last.duplicated([*POINT, "trial_id"], keep="last")
    ]
    points = newest_last[[*POINT, "point"]].drop_duplicates(POINT, keep="last")
    is_repeated = points.duplicated(["sweep", "point"], keep="last")
    free = points.groupby("sweep")["point"].transform("max") + 1
    free += is_repeated.groupby(points["sweep"]).cumsum() - 1
    points["point"] = points["point"].where(~is_repeated, free)
    return without_copies.drop(columns="point").merge(points, on=POINT, how="left")


def _by_age(members: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """``members`` in the order in which their rows were written."""
    keys = list(KEYS["members"])
    rows = decoded(read_parts(tables.store, "members", [*keys, "written_at"]).rows).to_pandas()
    written = rows.groupby(keys, dropna=False)["written_at"].max().reset_index()
    return members.merge(written, on=keys, how="left").sort_values("written_at", kind="stable")


def _numbers(
    tables: Tables, metrics: Sequence[str], conditions: Iterable[str], of: list[str]
) -> Mapping[str, pd.DataFrame]:
    """For each sweep of ``of`` the completed trials, with the columns ``metrics`` and
    ``conditions`` of its frame; with the numbers of evaluations, which take longer to read, only if
    some name is none of a trial's.

    :class:`InputError` for names that no frame has, and metrics that are no numbers.
    """
    conditions = set(conditions) - {*OF_MEMBER, "complete"}
    asked = {*metrics, *conditions, "trial_id", *OF_TRIAL}
    stored = {column.name for column in TABLES["trials"]}
    # The configuration, hundreds of columns, is not always needed.
    trials = tables.trials(sorted(asked)) if asked <= stored else tables.trials()
    frames = dict.fromkeys(of or [""], trials)
    if not asked <= set(trials.columns):
        held = tables.snapshot()
        frames = {name: held.measured_trials(name or None) for name in frames}
    numeric = [str(name) for frame in frames.values() for name in frame.select_dtypes("number")]
    check_columns(metrics, dict.fromkeys(numeric), "metric")
    every = [str(name) for frame in frames.values() for name in frame]
    check_columns(conditions, dict.fromkeys(every), "where")
    return {
        name: frame.loc[frame["status"].isin(TRAINED_STATUS), [c for c in frame if c in asked]]
        for name, frame in frames.items()
    }
