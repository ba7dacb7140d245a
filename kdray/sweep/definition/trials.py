"""The experiments that each point of a sweep needs: its students, and the teachers that theirs is
chosen from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from kdray.core import InputError, fingerprint
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.file import Role, SweepFile, TeacherChoice, seed_numbers
from kdray.sweep.definition.space import Point, Space
from kdray.sweep.definition.weights import KEY, WeightFiles
from kdray.trials.experiment import AnyTrial, Experiment


class Stratum(NamedTuple):
    """Spaces that are searched together."""

    fixed: dict[str, Any]
    """The values of the leaves that are a grid, by path."""
    spaces: tuple[Space, ...]

    def __str__(self) -> str:
        return ", ".join(f"{path}={json.dumps(value)}" for path, value in self.fixed.items())


@dataclass(frozen=True)
class Sweep:
    """A validated sweep: its file, and the spaces (one for each case and its branches) that it
    spans."""

    file: SweepFile
    spaces: tuple[Space, ...]
    choices: dict[str | None, TeacherChoice]
    """By case."""
    weights: WeightFiles = field(default_factory=WeightFiles)
    """Of teachers that were trained elsewhere."""
    place: str = ""
    """What messages call the file, where it is known."""

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def roles(self) -> list[Role]:
        """Return the roles that it has trials for."""
        return (
            ["teacher", "student"]
            if any(space.tree.get("teacher") for space in self.spaces)
            else ["student"]
        )

    def suite(self, role: Role) -> tuple[AnyEvaluation, ...]:
        """Return the evaluations of each trial in ``role`` by itself."""
        return self.file.evaluate.alone if role in self.file.evaluate.roles else ()

    @property
    def finals(self) -> tuple[AnyEvaluation, ...]:
        """Return the evaluations of the best points only."""
        return self.file.evaluate.best.suite if self.file.evaluate.best else ()

    def cautions(self) -> Iterator[str]:
        """Yield what a user is warned of before anything starts."""
        for evaluation in (*self.file.evaluate.suite, *self.finals):
            yield from (f"{label_of(evaluation)}: {caution}" for caution in evaluation.cautions())
        yield from dict.fromkeys(
            f"{place}.{caution}"
            for student in edge_students(self)
            for place, each in trained_for(student)
            for caution in each.method.cautions(each.training.epochs)
        )

    def grid(self) -> Iterator[Point]:
        """Yield every point, in stable order: cases in order, in them branches, the last leaf of
        each varying fastest."""
        values = ((space, values) for space in self.spaces for values in space.grid())
        for number, (space, chosen) in enumerate(values):
            yield Point(number, space, chosen)

    @cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """Return what is searched apart: one stratum for every combination of the leaves that are a
        grid, in order."""
        found: dict[str, tuple[dict[str, Any], list[Space]]] = {}
        for space in self.spaces:
            for fixed, narrowed in space.strata():
                found.setdefault(json.dumps(fixed), (fixed, []))[1].append(narrowed)
        return tuple(Stratum(fixed, tuple(spaces)) for fixed, spaces in found.values())

    @cached_property
    def _taught(self) -> dict[str, list[AnyTrial] | str]:
        """Keep candidates, or why there are none, by what they depend on: they are far fewer than
        the points, and each is asked for at every seed."""
        return {}

    def choice(self, point: Point) -> TeacherChoice:
        return self.choices[point.space.case]

    def candidates(self, point: Point) -> list[AnyTrial]:
        """Return the teachers that the point's teacher is chosen from, by seed; none if the point
        has no teacher. :class:`InputError` if they cannot be built."""
        if "teacher" not in point.space.tree:
            return []
        own = {
            path: point.values[path] for path in (*point.space.chosen, *point.space.teacher_paths)
        }
        key = json.dumps([point.space.case, own])
        if key not in self._taught:
            try:
                self._taught[key] = list(self._teachers_of(point))
            except InputError as error:
                self._taught[key] = str(error)
        found = self._taught[key]
        if isinstance(found, str):
            raise InputError(found)
        return found

    def taught_points(
        self, space: Space, also: Sequence[str] = ()
    ) -> Iterator[tuple[Point, list[AnyTrial]]]:
        """Yield a point for every combination of what the teachers of ``space`` (and ``also`` the
        leaves at these paths) depend on, with its candidates; without those whose teacher cannot be
        built."""
        for values in space.grid(list(dict.fromkeys([*space.teacher_paths, *also]))):
            point = Point(-1, space, values)
            with suppress(InputError):
                yield point, self.candidates(point)

    def _teachers_of(self, point: Point) -> Iterator[AnyTrial]:
        """Yield what :meth:`candidates` keeps."""
        teacher, where = point.tree()["teacher"], "experiment.teacher"
        if teacher is None:
            return
        if KEY in teacher:
            yield self.weights.pretrained(teacher, where)
            return
        whole = self.weights.with_digests(teacher, where)
        for seed in seed_numbers(self.choice(point).seeds):
            yield Experiment.parse({**whole, "seed": seed}, where)

    def student(self, point: Point, seed: int, teacher: AnyTrial | None) -> Experiment:
        """Return the student of ``point`` with ``seed``, taught by the chosen ``teacher``."""
        whole = {key: part for key, part in point.tree().items() if key != "teacher"}
        tree = self.weights.with_digests(whole, "experiment")
        return Experiment.taught({**tree, "seed": seed}, teacher, "experiment")

    def problem(self, point: Point) -> str | None:
        """Return why the values of ``point`` do not fit together, so that it has no student, or its
        student no teacher; none if they do."""
        try:
            self.first_student(point)
        except InputError as error:
            values = ", ".join(f"{path} = {json.dumps(v)}" for path, v in point.values.items())
            return f"{self.place}: {error} (at {values})".removeprefix(": ")
        return None

    def point_id(self, point: Point) -> str:
        """Return the identity of ``point``, whichever of its teachers is chosen and whatever the
        seed; of values that do not fit together, which are no experiment, a digest of them."""
        try:
            return self.first_student(point).point_id
        except InputError:
            text = json.dumps(point.tree(), sort_keys=True)
            return hashlib.sha256(text.encode()).hexdigest()[:16]

    def first_student(self, point: Point) -> Experiment:
        """Return the student of ``point`` with seed 0, taught by the first of its candidates."""
        candidates = self.candidates(point)
        return self.student(point, 0, candidates[0] if candidates else None)

    def teachers(self) -> Iterator[AnyTrial]:
        """Yield every teacher that any point may need, each once."""
        seen: set[str] = set()
        for space in self.spaces:
            for _, candidates in self.taught_points(space):
                for teacher in candidates:
                    if teacher.trial_id not in seen:
                        seen.add(teacher.trial_id)
                        yield teacher


def data_remarks(sweep: Sweep, root: Path) -> Iterator[str]:
    """Yield what a user may not know of the sweep's data, as far as they are there."""
    for data in data_of(sweep):
        try:
            yield from list(data.remarks(root))
        except InputError:
            continue


def data_of(sweep: Sweep) -> Iterator[Any]:
    """Yield every data description that the sweep's points use at their edges."""
    seen: set[str] = set()
    for student in edge_students(sweep):
        for experiment in (student, *([] if student.teacher is None else [student.teacher])):
            if fingerprint(experiment.data) not in seen:
                seen.add(fingerprint(experiment.data))
                yield experiment.data


def edge_students(sweep: Sweep) -> Iterator[Experiment]:
    """Yield a student of every point with one leaf at one of its edges."""
    for space in sweep.spaces:
        for _, values in space.corners():
            yield sweep.first_student(Point(-1, space, values))


def trained_for(student: Experiment) -> Iterator[tuple[str, Experiment]]:
    """Yield the student and the teachers above it that kdray trains, each with its place in the
    sweep file."""
    place = "experiment"
    found: AnyTrial = student
    while isinstance(found, Experiment):
        yield place, found
        if found.teacher is None:
            return
        place, found = f"{place}.teacher", found.teacher


def asking_remarks(sweep: Sweep) -> Iterator[str]:
    """Yield what it costs that teachers are asked for views that nobody sees again."""
    dearest: dict[str, Experiment] = {}
    for student in edge_students(sweep):
        if student.training.transforms and student.teacher is not None:
            known = dearest.get(student.teacher.model.name)
            if known is None or known.training.epochs < student.training.epochs:
                dearest[student.teacher.model.name] = student
    for teacher, student in dearest.items():
        epochs, variants = student.training.epochs, student.data.augmentation.variants
        yield (
            f"a student asks its {teacher} teacher {epochs} times for every training image, "
            "because training.transforms draw a new view each time; without them once for every "
            f"view of it (at most {variants}), for all students"
        )
