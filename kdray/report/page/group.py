"""What one part of the page is about: the trials of one sweep on one data set, which alone may be
compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from kdray.core.wording import point_text
from kdray.report.figures.caption import data_name
from kdray.results import Results
from kdray.results.points.objective import Objective, Objectives
from kdray.results.points.pareto import fronts
from kdray.results.points.table import ACCURACIES, NOT_NEEDED, is_tabulated, sweep_aims

DATA = "data.name"
DIGITS = 12
"""In which two points must differ: the mean of the same numbers depends a little on their order."""


@dataclass(frozen=True)
class Group:
    """The trials of ``sweep`` on the data set ``data``, joined with their part in it."""

    results: Results
    sweep: str
    data: str
    alone: bool
    """Whether the sweep has no other data set."""
    students: pd.DataFrame
    """A row per student, whatever became of it: columns of members (``error`` and ``parameters``
    are the members'), of trials, and every number by its name; and every swept path."""
    teachers: pd.DataFrame
    swept: tuple[str, ...]
    """Paths, in the sweep's order."""

    @property
    def title(self) -> str:
        return self.sweep if self.alone else f"{self.sweep} on {data_name(self.data)}"

    @cached_property
    def aims(self) -> Objectives:
        return sweep_aims(self.results, self.sweep)

    @property
    def objective(self) -> Objective:
        """The first one; what a summary speaks of."""
        return self.aims.objectives[0]

    @cached_property
    def completed(self) -> pd.DataFrame:
        return self.students[
            self.students["outcome"].eq("completed") & self.students["status"].eq("completed")
        ]

    @cached_property
    def metrics(self) -> list[str]:
        """What is tabulated and was measured here, objectives first."""
        tabulated = [
            *ACCURACIES,
            *(name for name in map(str, self.completed) if is_tabulated(name)),
        ]
        found = [str(name) for name in tabulated if self.completed[name].notna().any()]
        asked = [
            name
            for name in self.aims.metrics
            if name in self.completed and self.completed[name].notna().any()
        ]
        # Curves, which have a column for each of their points, last.
        return list(dict.fromkeys([*asked, *sorted(found, key=lambda name: name.endswith("]"))]))

    @cached_property
    def points(self) -> pd.DataFrame:
        """A row per point with a completed trial, in order: ``point``, ``case``, the swept paths,
        ``n``, and of every metric its mean under its name and its deviation (ddof 1) under ``name
        std``."""
        if self.completed.empty:
            return pd.DataFrame()
        grouped = self.completed.groupby("point", sort=True)
        out = grouped[["case", *self.swept]].first()
        out["n"] = grouped.size()
        numbers = (
            self.completed[["point", *self.metrics]]
            .astype(dict.fromkeys(self.metrics, float))
            .groupby("point")
        )
        spreads = numbers.std(ddof=1).add_suffix(" std")
        return pd.concat([out, numbers.mean(), spreads], axis=1).reset_index()

    @property
    def best(self) -> list[int]:
        """The best point, none if several share the first place; of several objectives the Pareto
        front."""
        return self.leaders if len(self.aims.objectives) > 1 or len(self.leaders) == 1 else []

    @cached_property
    def leaders(self) -> list[int]:
        """The points that no other surpasses; only points all of whose seeds completed count."""
        aims, able = self.aims, {}
        for point in self.described:
            seeds = self.students[self.students["point"].eq(point)]
            if len(seeds) < (aims.seeds or 1) or not seeds["status"].eq("completed").all():
                continue
            numbers = records(seeds.reindex(columns=list(aims.metrics)).astype(float))
            if (
                not any(aims.lacking(each) for each in numbers)
                and (worth := aims.worth(numbers)).feasible
            ):
                able[point] = [float(f"{value:.{DIGITS}g}") for value in worth.values]
        if not able:
            return []
        ranks = fronts(list(able.values()), [each.mode for each in aims.objectives])
        return [point for point, rank in zip(able, ranks, strict=True) if rank == 0]

    @cached_property
    def expected(self) -> int:
        """Students of the points that are known, whatever became of them; a point may have been
        begun with some seeds only."""
        total = 0
        for _, seeds in self.students.groupby("point"):
            begun = seeds["trial_id"].nunique()
            total += (
                begun if seeds["outcome"].eq("pruned").any() else max(begun, self.aims.seeds or 1)
            )
        return total

    @property
    def missing(self) -> int:
        """Students without a result."""
        return self.expected - len(self.completed.drop_duplicates(["trial_id", "point"]))

    @cached_property
    def described(self) -> dict[int, dict[str, Any]]:
        """By point: its ``case`` and swept values."""
        first = self.students.dropna(subset=["point"]).drop_duplicates("point")
        rows = records(first[["point", "case", *self.swept]].sort_values("point"))
        return {
            int(row["point"]): {name: value for name, value in row.items() if name != "point"}
            for row in rows
        }

    def values(self, point: int) -> dict[str, Any]:
        """What distinguishes a point: swept path to value."""
        return {path: value for path, value in self.described[point].items() if path != "case"}

    def case(self, point: int) -> Any:
        return self.described[point]["case"]

    def about(self, point: int) -> str:
        """The same in words."""
        return point_text(self.values(point), self.case(point))

    def numbers(self, point: int) -> dict[str, Any]:
        """A row of :attr:`points`."""
        return records(self.points[self.points["point"].eq(point)])[0]

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The rows of teachers, then students."""
        return [*records(self.teachers), *records(self.students)]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def groups(results: Results, sweep: str | None = None) -> list[Group]:
    """The parts of the page, in the order in which the sweeps were begun; of ``sweep`` only, if one
    is named."""
    members, frame = results.members(), results.frame()
    members = members[members["outcome"].ne(NOT_NEEDED)]
    if sweep is not None:
        members = members[members["sweep"].eq(sweep)]
    found: list[Group] = []
    began = (
        members.merge(frame[["trial_id", "started_at"]], on="trial_id")
        .groupby("sweep")["started_at"]
        .min()
    )
    for name in began.reindex(members["sweep"].unique()).sort_values(kind="stable").index:
        of_sweep = members[members["sweep"].eq(name)]
        students, swept = _joined(of_sweep[of_sweep["role"].eq("student")], frame)
        teachers, _ = _joined(of_sweep[of_sweep["role"].eq("teacher")], frame)
        # Of a trial without a row of its own (its teacher failed) nothing is known but that it is
        # of this sweep.
        kinds = (
            list(dict.fromkeys(students[DATA].dropna()))
            or list(dict.fromkeys(teachers[DATA].dropna()))[:1]
            or [""]
        )
        students[DATA] = students[DATA].fillna(kinds[0])
        for data in kinds:
            part = students[students[DATA].eq(data)]
            taught = (
                teachers[teachers["trial_id"].isin(part["teacher_id"])]
                if len(kinds) > 1
                else teachers
            )
            found.append(
                Group(
                    results, str(name), data, len(kinds) == 1, part, taught, _varying(part, swept)
                )
            )
    return found


def _joined(members: pd.DataFrame, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """``members`` with their trials and swept values, and the swept paths."""
    members = members.sort_values(["point", "order"], kind="stable").reset_index(drop=True)
    told = [json.loads(text) if isinstance(text, str) else {} for text in members["parameters"]]
    swept = tuple(dict.fromkeys(path for values in told for path in values))
    own = members.rename(columns={"error": "member_error"}).drop(columns=["role", "parameters"])
    joined = own.merge(frame, on="trial_id", how="left")
    for path in swept:
        values = pd.Series([_hashable(each.get(path)) for each in told], dtype=object)
        # What a case sets rather than sweeps stands in the trial's own column.
        given = joined[path] if path in joined else pd.Series(np.nan, index=joined.index)
        joined[path] = values.where(values.notna(), given).infer_objects()
    return joined, swept


def _hashable(value: Any) -> Any:
    """A list or mapping as its text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _varying(students: pd.DataFrame, swept: Sequence[str]) -> tuple[str, ...]:
    """The paths of ``swept`` that any of these students has; on one data set its name says
    nothing."""
    return tuple(path for path in swept if students[path].notna().any() and path != DATA)
