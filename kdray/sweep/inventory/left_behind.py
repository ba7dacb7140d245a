"""Which earlier rows of a sweep its file, as it is now, cannot ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdray.core import InputError
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.trials import TrialIndex, considered
from kdray.trials.experiment import Experiment

Row = Mapping[str, Any]
PointKey = tuple[str | None, str]
"""What tells a point of a sweep from others: its case and its point_id."""


def left_behind(
    sweep: Sweep, index: TrialIndex, rows: Sequence[Row], points: Iterable[Point]
) -> list[Row]:
    """Return those of ``rows``, a sweep's members, that ``sweep`` cannot ask for.

    ``points`` are those that it asks for or has asked for, as its file is now. A student stays if
    it is a seed of one of them, taught by a teacher that is chosen or may still be.
    """
    if not rows:
        return []
    teachers = {teacher.trial_id for teacher in chain(sweep)}
    earlier = {_key(row) for row in rows if row["role"] == "student"}
    asked: dict[PointKey, set[str]] = {}
    unbuildable: set[int] = set()
    for point in points if earlier else ():
        candidates = sweep.candidates(point)
        try:
            like = sweep.student(point, 0, candidates[0] if candidates else None)
        except InputError:
            unbuildable.add(point.number)
            continue
        if (key := (point.space.case, like.point_id)) in earlier:
            asked.setdefault(key, set()).update(
                trial.trial_id for trial in _seeds(sweep, index, point, like)
            )

    def stays(row: Row) -> bool:
        if row["role"] == "teacher":
            return row["trial_id"] in teachers
        if row["trial_id"] is None:
            return _key(row) in asked or row["point"] in unbuildable
        return row["trial_id"] in asked.get(_key(row), ())

    return [row for row in rows if not stays(row)]


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
    for seed in range(sweep.file.seeds):
        teachers: Sequence[Experiment | None] = [None]
        if candidates:
            chosen = index.choose(candidates, choice, seed)
            teachers = [chosen] if chosen else considered(candidates, choice, seed)
        for teacher in teachers:
            yield like.model_copy(update={"seed": seed, "teacher": teacher})
