"""Which earlier rows of a sweep are no part of it any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kdray.core import InputError
from kdray.results.schema import NOT_NEEDED
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.trials import TrialIndex, chosen_by, considered
from kdray.trials.experiment import AnyTrial, Experiment

Row = Mapping[str, Any]
PointKey = tuple[str | None, str]
"""What tells a point of a sweep from others: its case and its point_id."""
FILE_CHANGED = "its file has changed (or another file has this name)"
CHOICE_CHANGED = "another teacher was chosen"


class AskedTrials:
    """The trials that a sweep asks for as its file is now and as its teachers are chosen now, as
    far as earlier rows are of their points; gathered point by point."""

    def __init__(self, sweep: Sweep, index: TrialIndex, rows: Sequence[Row]) -> None:
        """``rows`` are those of the sweep in members."""
        self._sweep, self._index, self._rows = sweep, index, rows
        self._teachers = {teacher.trial_id for teacher in chain(sweep)} if rows else set()
        self._earlier = {_key(row) for row in rows if row["role"] == "student"}
        self._active = {row["trial_id"] for row in rows if row["outcome"] != NOT_NEEDED}
        self._students: dict[PointKey, set[str | None]] = {}
        """By point; none stands for those that have no teacher, or cannot be built."""

    def add(self, point: Point, student: Experiment | None = None) -> None:
        """Take in a point; ``student`` is one of its students, where one has been read already."""
        if not self._earlier:
            return
        try:
            like = student or self._sweep.first_student(point)
        except InputError:  # no student of it can be built
            self._students[point.space.case, self._sweep.point_id(point)] = {None}
            return
        if (key := (point.space.case, like.point_id)) in self._earlier:
            self._students.setdefault(key, set()).update(self._asked(point, like))

    def left_behind(self) -> list[Row]:
        """Return the rows that the sweep does not ask for. A student stays if it is a seed of one
        of the points, taught by the teacher that is chosen. Where none is chosen yet, those of one
        teacher that may be stay, and so does the row that says why there is none."""
        return [row for row in self._rows if not self._stays(row)]

    def _stays(self, row: Row) -> bool:
        if row["role"] == "teacher":
            return row["trial_id"] in self._teachers
        return row["trial_id"] in self._students.get(_key(row), ())

    def _asked(self, point: Point, like: Experiment) -> Iterator[str | None]:
        """Yield the students of a point, of which ``like`` is one."""
        candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
        seeds = self._sweep.file.seed_numbers
        together = [(seed,) for seed in seeds] if choice.select == "each" else [seeds]
        for taught in together if candidates else ():
            students = [like.model_copy(update={"seed": seed}) for seed in taught]
            teacher = self._index.choose(candidates, choice, taught[0])
            if teacher is None:
                yield None
                may_teach = considered(candidates, choice, taught[0])
                teacher = self._so_far(may_teach, choice, students)
            if teacher is not None:
                yield from (_taught_by(teacher, student).trial_id for student in students)
        if not candidates:
            yield from (like.model_copy(update={"seed": seed}).trial_id for seed in seeds)

    def _so_far(
        self, candidates: Sequence[AnyTrial], choice: TeacherChoice, students: Sequence[Experiment]
    ) -> AnyTrial | None:
        """The best so far of those ``candidates`` that teach one of ``students`` in the sweep."""
        teaching = [
            teacher
            for teacher in candidates
            if any(_taught_by(teacher, student).trial_id in self._active for student in students)
        ]
        return self._index.best(teaching, chosen_by(choice)) or next(iter(teaching), None)


def left_behind(
    sweep: Sweep, index: TrialIndex, rows: Sequence[Row], points: Iterable[Point]
) -> list[Row]:
    """Return those of ``rows``, a sweep's members, that ``sweep`` cannot ask for; ``points`` are
    those that it asks for, or has asked for, as its file is now."""
    asked = AskedTrials(sweep, index, rows)
    for point in points if rows else ():
        asked.add(point)
    return asked.left_behind()


def left_behind_text(sweep: str, rows: Sequence[Row], why: str = FILE_CHANGED) -> str | None:
    """Return the line that says how many trials these rows are of; none if there are none."""
    count = len({row["trial_id"] for row in rows if row["trial_id"] is not None})
    if not count:
        return None
    trials, are = ("trial", "is") if count == 1 else ("trials", "are")
    return f"{count} earlier {trials} of {sweep!r} {are} no part of it any more: {why}"


def _key(row: Row) -> PointKey:
    return row["case"], row["point_id"]


def _taught_by(teacher: AnyTrial, student: Experiment) -> Experiment:
    return student.model_copy(update={"teacher": teacher})
