"""Which earlier rows of a sweep its file, as it is now, cannot ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdray.core import InputError
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.trials import TrialIndex, considered
from kdray.trials.experiment import AnyTrial, Experiment

Row = Mapping[str, Any]
PointKey = tuple[str | None, str]
"""What tells a point of a sweep from others: its case and its point_id."""


class AskedTrials:
    """The trials that a sweep's file, as it is now, asks for, as far as earlier rows are of their
    points; gathered point by point."""

    def __init__(self, sweep: Sweep, index: TrialIndex, rows: Sequence[Row]) -> None:
        """``rows`` are those of the sweep in members."""
        self._sweep, self._index, self._rows = sweep, index, rows
        self._teachers = {teacher.trial_id for teacher in chain(sweep)} if rows else set()
        self._earlier = {_key(row) for row in rows if row["role"] == "student"}
        self._students: dict[PointKey, set[str]] = {}
        self._unbuildable: set[int] = set()

    def add(self, point: Point, student: Experiment | None = None) -> None:
        """Take in a point; ``student`` is one of its students, where one has been read already."""
        if not self._earlier:
            return
        candidates = self._sweep.candidates(point)
        try:
            like = student or self._sweep.student(point, 0, candidates[0] if candidates else None)
        except InputError:
            self._unbuildable.add(point.number)
            return
        if (key := (point.space.case, like.point_id)) in self._earlier:
            seeds = _seeds(self._sweep, self._index, point, like)
            self._students.setdefault(key, set()).update(trial.trial_id for trial in seeds)

    def left_behind(self) -> list[Row]:
        """Return the rows that the sweep cannot ask for. A student stays if it is a seed of one of
        the points, taught by a teacher that is chosen or may still be."""
        return [row for row in self._rows if not self._stays(row)]

    def _stays(self, row: Row) -> bool:
        if row["role"] == "teacher":
            return row["trial_id"] in self._teachers
        if row["trial_id"] is None:
            return _key(row) in self._students or row["point"] in self._unbuildable
        return row["trial_id"] in self._students.get(_key(row), ())


def left_behind(
    sweep: Sweep, index: TrialIndex, rows: Sequence[Row], points: Iterable[Point]
) -> list[Row]:
    """Return those of ``rows``, a sweep's members, that ``sweep`` cannot ask for; ``points`` are
    those that it asks for, or has asked for, as its file is now."""
    asked = AskedTrials(sweep, index, rows)
    for point in points if rows else ():
        asked.add(point)
    return asked.left_behind()


def left_behind_text(sweep: str, rows: Sequence[Row]) -> str | None:
    """Return the line that says how many trials these rows are of; none if there are none."""
    count = len({row["trial_id"] for row in rows if row["trial_id"] is not None})
    if not count:
        return None
    trials, are = ("trial", "is") if count == 1 else ("trials", "are")
    return (
        f"{count} earlier {trials} of {sweep!r} {are} no part of it any more: its file has "
        "changed (or another file has this name)"
    )


def _key(row: Row) -> PointKey:
    return row["case"], row["point_id"]


def _seeds(sweep: Sweep, index: TrialIndex, point: Point, like: Experiment) -> Iterator[Experiment]:
    """Yield the students of a point, each by every teacher that it may have."""
    candidates, choice = sweep.candidates(point), sweep.choice(point)
    for seed in sweep.file.seed_numbers:
        teachers: Sequence[AnyTrial | None] = [None]
        if candidates:
            chosen = index.choose(candidates, choice, seed)
            teachers = [chosen] if chosen else considered(candidates, choice, seed)
        for teacher in teachers:
            yield like.model_copy(update={"seed": seed, "teacher": teacher})
