"""The rows of one sweep in the members table: which trial takes which part, and what became of
it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kdray.results import Results, write_rows
from kdray.results.schema import KEYS, NOT_NEEDED, PRUNED
from kdray.sweep.definition.file import Role
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.trials import TrialIndex, chosen_by
from kdray.sweep.inventory.verdicts import judges
from kdray.trials.experiment import AnyTrial
from kdray.trials.rows import member_file, write_member
from kdray.trials.task import Outcome, Reason, outcome_columns

Row = dict[str, Any]


class SweepMembers:
    """What the table holds of a sweep, and the rows that the driver writes into it; workers write
    those of what they run."""

    def __init__(self, sweep: Sweep, found: Results, ledger: TrialIndex) -> None:
        self._sweep, self._store, self._ledger = sweep, found.store, ledger
        self._judges = judges(sweep)
        known = found.members()
        known = (
            known[known["sweep"] == sweep.name]
            .astype(object)
            .where(lambda frame: frame.notna(), None)
        )
        rows: list[Row] = known.to_dict("records")  # type: ignore[assignment]  # columns are named by text
        self._known = {_place(row): row for row in rows}
        self._unwritten: dict[tuple[Any, ...], Row] = {}
        self._orders: dict[tuple[Any, ...], int] = {}
        self._point_ids: dict[tuple[str | None, str], str] = {}
        self._counters: dict[Role, Iterator[int]] = {
            "teacher": itertools.count(),
            "student": itertools.count(),
        }

    def row(self, role: Role, experiment: AnyTrial, point: Point | None = None) -> Row:
        """A trial's row, but for its outcome; the trial takes its place in order."""
        row = self._place_of(role, experiment, point)
        place = _place(row)
        if place not in self._orders:
            self._orders[place] = next(self._counters[role])
        row["order"] = self._orders[place]
        if point is None:
            return row
        first = experiment.seed == self._sweep.file.seed_numbers[0]
        row["judged_by"] = self._judges.of(first_seed=first)
        if candidates := self._sweep.candidates(point):
            known = [(candidate, self._ledger.get(candidate.trial_id)) for candidate in candidates]
            choice = self._sweep.choice(point)
            by = chosen_by(choice)
            listed = [
                {
                    "trial_id": c.trial_id,
                    "seed": c.seed,
                    by: r.accuracies.get(by) if r is not None and r.completed else None,
                }
                for c, r in known
            ]
            row |= {"teacher_selection": choice.select, "teacher_candidates": json.dumps(listed)}
        return row

    def point_failed(self, point: Point, problem: Reason) -> None:
        """One row for all seeds of a point that have no teacher: a student's id would tell the
        teacher that it lacks."""
        self.failed({**self._place_of("student", None, point), "order": None}, problem)

    def failed(self, row: Row, problem: Reason) -> None:
        """The row of what could not be tried."""
        place = _place(row)
        known = self._known.get(place, {})
        if (known.get("outcome"), known.get("error")) != ("failed", problem.text):
            self._unwritten[place] = row | outcome_columns(Outcome.FAILED, problem)

    def there(self, row: Row, outcome: Outcome, reason: Reason | None) -> None:
        """The row of a trial that has nothing left to do."""
        place = _place(row)
        self._unwritten.pop(place, None)  # a teacher is looked at twice: trained, and measured
        known, row = self._known.get(place, {}), row | outcome_columns(outcome, reason)
        if any(
            known.get(name) != row.get(name)
            for name in ("outcome", "point_id", "point", "teacher_candidates")
        ):
            self._unwritten[place] = row

    def given_up(self, row: Row) -> str | None:
        """Why a trial was given up, in this run or by a verdict of an earlier one that counts."""
        known = self._unwritten.get(_place(row)) or self._known.get(_place(row), {})
        outcome = known.get("outcome")
        if outcome == NOT_NEEDED:  # until the file asked for it again
            outcome = known.get("earlier_outcome")
        if outcome != PRUNED or not self._judges.uphold(known.get("judged_by")):
            return None
        return known.get("error") or "given up"

    def overruled(self) -> list[Row]:
        """The rows of those that were given up by what is not, or not so, in the sweep's file."""
        return [
            row
            for row in self._known.values()
            if row["outcome"] == PRUNED and not self._judges.uphold(row.get("judged_by"))
        ]

    def trial_ids(self) -> set[str]:
        """Everybody that the sweep has asked for at some time."""
        return {row["trial_id"] for row in self._known.values()}

    def earlier(self) -> list[Row]:
        """The rows of the runs before."""
        return list(self._known.values())

    def drop(self, rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Write down that rows of the runs before are not needed in the sweep any more; return
        those that were until now."""
        needed = [row for row in rows if row["outcome"] != NOT_NEEDED]
        for row in needed:
            new = {"outcome": NOT_NEEDED, "earlier_outcome": row["outcome"]}
            self._unwritten[_place(row)] = {**row, **new}
        self.write()
        return needed

    def write(self) -> None:
        """Write the rows that no worker writes; where a worker's file is damaged, the row that it
        held in its place."""
        if not self._unwritten:
            return
        there = set(self._store.names("members", ".parquet"))
        lost = {
            place
            for place, row in self._unwritten.items()
            if place not in self._known and f"members/{member_file(row)}.parquet" in there
        }
        for place in lost:
            write_member(self._store, self._unwritten[place])
        if rows := [row for place, row in self._unwritten.items() if place not in lost]:
            # All that the rows say: a file of the same name would take the place of this one.
            text = json.dumps(rows, sort_keys=True, default=str)
            name = hashlib.sha256(text.encode()).hexdigest()[:32]
            write_rows(self._store, "members", f"{self._sweep.name}-driver-{name}", rows, {})
        self._known |= self._unwritten
        self._unwritten = {}

    def _place_of(self, role: Role, experiment: AnyTrial | None, point: Point | None) -> Row:
        """Where in the sweep a trial stands; without an experiment all students of a point."""
        trial_id = None if experiment is None else experiment.trial_id
        row: Row = {"sweep": self._sweep.name, "trial_id": trial_id, "role": role, "point": None}
        if point is not None:
            row |= {
                "point_id": self._point_id(point, experiment),
                "point": point.number,
                "case": point.space.case,
                "swept": json.dumps(point.values),
            }
        return row

    def _point_id(self, point: Point, student: AnyTrial | None) -> str:
        """The identity of a point, computed once for all its seeds."""
        key = (point.space.case, json.dumps(point.values))
        if key not in self._point_ids:
            found = self._sweep.point_id(point) if student is None else student.point_id
            self._point_ids[key] = found
        return self._point_ids[key]


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a trial is in a sweep: the same trial may be there as a teacher and at several
    points."""
    return tuple(row.get(name) for name in KEYS["members"])
