"""What one part of the page is about: the trials of one sweep on one data set, which alone may be
compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from kdray.core.wording import point_text
from kdray.report.figures.caption import data_name
from kdray.results import Results
from kdray.results.metrics import ACCURACIES, is_headline
from kdray.results.points.best import leaders, the_best, whole_points, with_objectives
from kdray.results.points.data_sets import data_sets, told_apart
from kdray.results.points.objective import Objective, Objectives
from kdray.results.points.replicates import replicates, swept_values
from kdray.results.record import sweep_objectives
from kdray.results.schema import NOT_NEEDED

DATA = "data.name"


@dataclass(frozen=True)
class Group:
    """The trials of ``sweep`` on one data set, of the name ``data``, joined with their part in
    it."""

    results: Results
    sweep: str
    data: str
    apart: str
    """In which the data set differs from others of that name in the sweep; mostly nothing."""
    alone: bool
    """Whether the sweep has no other data set."""
    students: pd.DataFrame
    """A row per student, whatever became of it: a replicate, with the columns of its trial, every
    number by its name, and every swept path."""
    teachers: pd.DataFrame
    swept: tuple[str, ...]
    """Paths, in the sweep's order."""

    @property
    def title(self) -> str:
        return self.sweep if self.alone else f"{self.sweep} on {self.data_title}"

    @property
    def data_title(self) -> str:
        """The data set, as people write it."""
        return data_name(self.data) + (f" ({self.apart})" if self.apart else "")

    @cached_property
    def aims(self) -> Objectives:
        return sweep_objectives(self.results.store, self.sweep)

    @property
    def objective(self) -> Objective:
        """The first one; what a summary speaks of."""
        return self.aims.objectives[0]

    @cached_property
    def robustness(self) -> pd.DataFrame:
        """The numbers of the sweep's trials, under the labels that the sweep gives evaluations."""
        return self.results.robustness(sweep=self.sweep)

    @cached_property
    def completed(self) -> pd.DataFrame:
        return self.students[self.students["counts"]]

    @cached_property
    def metrics(self) -> list[str]:
        """What is tabulated and was measured here, objectives first."""
        tabulated = [*ACCURACIES, *(name for name in map(str, self.completed) if is_headline(name))]
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
        ``n``, and of every metric its mean under its name, its deviation (ddof 1) under ``name
        std``, and the count of the seeds that have it under ``name n``."""
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
        counts = numbers.count().add_suffix(" n")
        return pd.concat([out, numbers.mean(), spreads, counts], axis=1).reset_index()

    @property
    def best(self) -> list[int]:
        """The best point, or, of several objectives, those of the Pareto front."""
        return the_best(self.leaders, self.aims)

    @cached_property
    def leaders(self) -> list[int]:
        """The points that no other surpasses; only points all of whose seeds completed count."""
        return leaders(self.students, self.aims)

    def whole(self, metrics: Sequence[str]) -> pd.DataFrame:
        """The rows of :attr:`points` that can be the best by ``metrics``."""
        rows = whole_points(self.students, self.results, list(metrics))
        return self.points[self.points["point"].isin(rows["point"])]

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

    @cached_property
    def alike(self) -> frozenset[int]:
        """Points that share case and swept values with another, and differ in something else, as
        where two sweeps of one name were merged: only their numbers tell them apart."""
        texts = {point: self.about(point) for point in self.described}
        counts = Counter(texts.values())
        return frozenset(point for point, text in texts.items() if counts[text] > 1)

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
    students = replicates(results)
    teachers = results.members(where=[("role", "==", "teacher"), ("outcome", "!=", NOT_NEEDED)])
    started = results.trials(["trial_id", "started_at"])
    both = pd.concat([each[["sweep", "trial_id"]] for each in (students, teachers)])
    if sweep is not None:
        both = both[both["sweep"].eq(sweep)]
    began = both.merge(started, on="trial_id").groupby("sweep")["started_at"].min()
    names = began.reindex(both["sweep"].drop_duplicates().sort_values())
    return [
        group
        for name in names.sort_values(kind="stable").index
        for group in _of_sweep(
            results,
            str(name),
            students[students["sweep"].eq(name)],
            teachers[teachers["sweep"].eq(name)],
        )
    ]


def _of_sweep(
    results: Results, sweep: str, students: pd.DataFrame, teachers: pd.DataFrame
) -> list[Group]:
    """The parts about one sweep, a part for each of its data sets."""
    frame = results.measured_trials(sweep)
    aims = sweep_objectives(results.store, sweep)
    students, swept = _joined(students, frame)
    students = with_objectives(students, results, sweep, aims)
    teachers = teachers.sort_values("order", kind="stable").rename(
        columns={"error": "member_error"}
    )
    teachers, _ = _joined(teachers, frame)
    # Of a trial without a row of its own (its teacher failed) nothing is known but that it is of
    # this sweep.
    of_students, of_teachers = (data_sets(each["experiment"]) for each in (students, teachers))
    kinds = list(dict.fromkeys(of_students.dropna())) or list(of_teachers.dropna())[:1] or ["{}"]
    of_students = of_students.fillna(kinds[0])
    found = []
    for kind, apart in zip(kinds, told_apart([json.loads(text) for text in kinds]), strict=True):
        name = str(json.loads(kind).get("name", ""))
        part = students[of_students.eq(kind)]
        part = part.assign(**{DATA: part[DATA].fillna(name) if DATA in part else name})
        is_asked = teachers["trial_id"].isin(part["teacher_id"]) | (len(kinds) == 1)
        asked, paths = teachers[is_asked], _varying(part, swept)
        found.append(Group(results, sweep, name, apart, len(kinds) == 1, part, asked, paths))
    return found


def _joined(members: pd.DataFrame, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """``members`` with their trials and swept values, and the swept paths."""
    values = [swept_values(row) for _, row in members[["swept"]].iterrows()]
    swept = tuple(dict.fromkeys(path for each in values for path in each))
    parts = members.drop(columns="swept").reset_index(drop=True)
    own = [name for name in parts if name not in frame or name in ("trial_id", "role")]
    joined = parts[own].merge(frame.drop(columns="role"), on="trial_id", how="left")
    joined = joined.copy()  # in one piece: a frame of hundreds of columns may be in many
    for path in swept:
        its = pd.Series([_hashable(each.get(path)) for each in values], dtype=object)
        # What a case sets rather than sweeps stands in the trial's own column.
        given = joined[path] if path in joined else pd.Series(np.nan, index=joined.index)
        joined[path] = its.where(its.notna(), given).infer_objects()
    return joined, swept


def _hashable(value: Any) -> Any:
    """A list or mapping as its text."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _varying(students: pd.DataFrame, swept: Sequence[str]) -> tuple[str, ...]:
    """The paths of ``swept`` that any of these students has; on one data set its name says
    nothing."""
    return tuple(path for path in swept if students[path].notna().any() and path != DATA)
