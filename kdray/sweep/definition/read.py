"""A sweep, read from its file and validated completely before anything starts."""

from __future__ import annotations

import difflib
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from kdray.core import InputError, fingerprint, parse
from kdray.core.yaml import parse_text, read_yaml
from kdray.results.metrics import SIZES
from kdray.results.points.objective import metric_of
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.file import Case, Role, SweepFile, TeacherChoice
from kdray.sweep.definition.samplers import Proposer, members_of_search, names_of
from kdray.sweep.definition.smoke import shrink
from kdray.sweep.definition.space import (
    CASE,
    MOST,
    Branching,
    Distribution,
    Point,
    Same,
    Space,
    Tree,
    check_sames,
    expand,
    inside,
    is_swept,
    matches,
    put,
    read_leaves,
)
from kdray.trials.experiment import Experiment
from kdray.trials.task import measurable

LARGEST = 1_000_000
"""Points, teachers or searches of one sweep."""
BRANCHES = 1000
"""Combinations of whole mappings that are chosen between."""
INHERITED: dict[str, frozenset[str]] = {
    "data": frozenset({"omit_classes"}),
    "training": frozenset({"monitor", "gradients"}),
}
"""What a teacher takes from its student where it says nothing itself (noise never), and what it
does not take."""


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

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def roles(self) -> list[Role]:
        """The roles that it has trials for."""
        return (
            ["teacher", "student"]
            if any(space.tree.get("teacher") for space in self.spaces)
            else ["student"]
        )

    def suite(self, role: Role) -> tuple[AnyEvaluation, ...]:
        """The evaluations of each trial in ``role`` by itself."""
        return self.file.evaluate.alone if role in self.file.evaluate.roles else ()

    @property
    def finals(self) -> tuple[AnyEvaluation, ...]:
        """The evaluations of the best points only."""
        return self.file.evaluate.best.suite if self.file.evaluate.best else ()

    def cautions(self) -> Iterator[str]:
        """What a user is warned of before anything starts."""
        for evaluation in (*self.file.evaluate.suite, *self.finals):
            yield from (f"{label_of(evaluation)}: {caution}" for caution in evaluation.cautions())

    def grid(self) -> Iterator[Point]:
        """Every point, in stable order: cases in order, in them branches, the last leaf of each
        varying fastest."""
        values = ((space, values) for space in self.spaces for values in space.grid())
        for number, (space, chosen) in enumerate(values):
            yield Point(number, space, chosen)

    @cached_property
    def strata(self) -> tuple[Stratum, ...]:
        """What is searched apart: one stratum for every combination of the leaves that are a grid,
        in order."""
        found: dict[str, tuple[dict[str, Any], list[Space]]] = {}
        for space in self.spaces:
            for fixed, narrowed in space.strata():
                found.setdefault(json.dumps(fixed), (fixed, []))[1].append(narrowed)
        return tuple(Stratum(fixed, tuple(spaces)) for fixed, spaces in found.values())

    @cached_property
    def _taught(self) -> dict[str, list[Experiment]]:
        """Candidates by what they depend on: far fewer than there are points, and each is asked for
        at every seed."""
        return {}

    def choice(self, point: Point) -> TeacherChoice:
        return self.choices[point.space.case]

    def candidates(self, point: Point) -> list[Experiment]:
        """The teachers that the point's teacher is chosen from, by seed; none if the point has no
        teacher."""
        if "teacher" not in point.space.tree:
            return []
        own = {
            path: point.values[path] for path in (*point.space.chosen, *point.space.teacher_paths)
        }
        key = json.dumps([point.space.case, own])
        if key not in self._taught:
            teacher = point.tree()["teacher"]
            seeds = range(self.choice(point).seeds if teacher is not None else 0)
            self._taught[key] = [
                Experiment.parse({**teacher, "seed": seed}, "experiment.teacher") for seed in seeds
            ]
        return self._taught[key]

    def student(self, point: Point, seed: int, teacher: Experiment | None) -> Experiment:
        """The student of ``point`` with ``seed``, taught by the chosen ``teacher``."""
        tree = {key: part for key, part in point.tree().items() if key != "teacher"}
        return Experiment.parse({**tree, "seed": seed, "teacher": _plain(teacher)}, "experiment")

    def point_id(self, point: Point) -> str:
        """The identity of ``point``, whichever of its teachers is chosen and whatever the seed."""
        candidates = self.candidates(point)
        return self.student(point, 0, candidates[0] if candidates else None).point_id

    def teachers(self) -> Iterator[Experiment]:
        """Every teacher that any point may need, each once."""
        seen: set[str] = set()
        for space in self.spaces:
            for values in space.grid(space.teacher_paths):
                for teacher in self.candidates(Point(-1, space, values)):
                    if teacher.trial_id not in seen:
                        seen.add(teacher.trial_id)
                        yield teacher


def _plain(teacher: Experiment | None) -> Any:
    return None if teacher is None else json.loads(teacher.model_dump_json())


def load_sweep(
    path: str | os.PathLike[str], *, set: Sequence[str] = (), smoke: bool = False
) -> Sweep:
    """The sweep in a file, with ``path=value`` overrides; :class:`kdray.InputError` names file,
    field and what is allowed."""
    path = Path(path)
    tree = read_yaml(path)
    try:
        return sweep_from(tree, set=set, smoke=smoke)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def sweep_from(tree: Any, *, set: Sequence[str] = (), smoke: bool = False) -> Sweep:
    """A sweep from the plain values of its file."""
    try:
        return _sweep_from(tree, set, smoke)
    except RecursionError:
        raise InputError("is nested too deeply") from None


def _sweep_from(tree: Any, set: Sequence[str], smoke: bool) -> Sweep:
    if not isinstance(tree, dict) or not tree:
        raise InputError("is not a sweep: a mapping with name and experiment is needed")
    for override in set:
        tree = _override(tree, override)
    if smoke:
        tree = shrink(tree)
    try:
        file = parse(SweepFile, tree)
    except InputError as error:
        alone = isinstance(tree.get("objective"), dict)
        raise InputError(
            str(error).replace("objective[0]", "objective") if alone else str(error)
        ) from None
    cases = file.cases or (Case.model_construct(name="", set={}),)
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"cases: name {name!r} is used twice")
    spaces: list[Space] = []
    choices: dict[str | None, TeacherChoice] = {}
    for index, case in enumerate(cases):
        try:
            found, choices[case.name or None] = _spaces(file, case)
        except InputError as error:
            raise InputError(
                f"{f'cases[{index}] ({case.name}): ' if case.name else ''}{error}"
            ) from None
        spaces += found
    sweep = Sweep(file, tuple(spaces), choices)
    _check_size(sweep)
    _check_search(sweep)
    _check_aims(file)
    for space in spaces:
        try:
            _check_edges(sweep, space)
        except InputError as error:
            where = f"cases[{names.index(space.case)}] ({space.case}): " if space.case else ""
            raise InputError(f"{where}{error}") from None
    return sweep


def _override(tree: Tree, text: str) -> Tree:
    path, equals, value = text.partition("=")
    if not equals or not path or not all(path.split(".")):
        raise InputError(f"--set {text}: needs path=value, for example training.epochs=3")
    top, known = path.split(".")[0], list(SweepFile.model_fields)
    if top not in known:
        valid = [*known, *(name for name in Experiment.model_fields if name != "seed")]
        if top not in valid:
            near = difflib.get_close_matches(top, valid, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise InputError(f"--set {path}: unknown{hint} (allowed: {', '.join(valid)})")
        path = f"experiment.{path}"
    return put(tree, path, parse_text(value, f"--set {path.removeprefix('experiment.')}"))


def _spaces(file: SweepFile, case: Case) -> tuple[list[Space], TeacherChoice]:
    """The spaces of one case: overrides put in, leaves read, the teacher's inheritance made
    explicit, a space a branch."""
    tree: Tree = dict(file.experiment)
    for path, value in case.set.items():
        tree = put(tree, path.removeprefix("experiment."), value)
    if "seed" in tree:
        raise InputError(
            "experiment.seed: is set by the sweep; say how many with 'seeds' at the top of the file"
        )
    read: Any = read_leaves(tree)
    if not isinstance(read, dict):
        raise InputError(
            "experiment: a list of whole experiments is not supported; use cases, or lists below it"
        )
    choice = TeacherChoice()
    teacher = read.get("teacher")
    if isinstance(teacher, Distribution | Same | Branching):
        raise InputError(
            "experiment.teacher: a list of whole teachers is not supported; use cases, or "
            "lists below it"
        )
    if not isinstance(teacher, dict | None):
        raise InputError(
            "experiment.teacher: input should be an experiment or null, not "
            f"{json.dumps(tree['teacher'])}"
        )
    if isinstance(teacher, dict):
        stated = {key: teacher[key] for key in ("seeds", "select") if key in teacher}
        for key, value in stated.items():
            if is_swept(value):
                raise InputError(
                    f"experiment.teacher.{key}: says how teachers are chosen and cannot be "
                    "swept; use cases"
                )
        choice = parse(TeacherChoice, stated, "experiment.teacher")
        rest = {key: part for key, part in teacher.items() if key not in stated}
        if "seed" in rest:
            raise InputError(
                "experiment.teacher.seed: is set by the sweep; say how many with 'teacher.seeds'"
            )
        read = {**read, "teacher": _inherit(rest, read)}
        if choice.select == "each" and choice.seeds < file.seeds:
            if "seeds" in stated:
                raise InputError(
                    f"experiment.teacher.seeds: {choice.seeds} teachers for {file.seeds} students; "
                    "select: each needs as many as there are seeds"
                )
            choice = TeacherChoice(seeds=file.seeds, select="each")
    spaces = [
        Space(case.name or None, tree, branches)
        for branches, tree in itertools.islice(expand(read), BRANCHES + 1)
    ]
    if len(spaces) > BRANCHES:
        raise InputError(
            f"experiment: has more than {BRANCHES} combinations of branches; write some as "
            "cases, or as sweeps"
        )
    for space in spaces:
        check_sames(space)
        for path in space.teacher_paths:
            _check_count(path, space.distributions[path])
            if space.distributions[path].count is None:
                inherited = (
                    ""
                    if path.startswith("teacher.")
                    else " (the teacher inherits it: give the teacher its own)"
                )
                raise InputError(
                    f"experiment.{path}: is continuous, and teachers are trained first, so "
                    "what they depend on must be "
                    f"finite: grid, choice, quniform or randint{inherited}"
                )
    return spaces, choice


def _inherit(teacher: Tree, student: Tree, above: str = "") -> Tree:
    """``teacher`` with the student's data and training where it says nothing; a swept leaf is
    followed, not copied."""

    def follow(node: Any, path: str) -> Any:
        if isinstance(node, Distribution | Same | Branching):
            return Same(path)
        return inside(node, path, follow)

    out = dict(teacher)
    for part, own in INHERITED.items():
        given, whole = teacher.get(part, {}), student.get(part)
        if whole is None or not isinstance(given, dict):
            continue
        if not isinstance(whole, dict):
            out.setdefault(part, follow(whole, f"{above}{part}"))
        elif given.get("name", whole.get("name")) == whole.get("name"):
            out[part] = {
                key: follow(value, f"{above}{part}.{key}")
                for key, value in whole.items()
                if key not in given and key not in own
            } | given
    if isinstance(out.get("teacher"), dict):
        out["teacher"] = _inherit(out["teacher"], out, f"{above}teacher.")
    return out


def _check_search(sweep: Sweep) -> None:
    """There is something to search, or to go through, for the sampler that is to do it."""
    search = sweep.file.search
    if isinstance(search, Proposer):
        _check_ranges(sweep, search)
        for number, values in enumerate(search.first):
            _check_first(sweep, values, f"search.first[{number}]")
        return
    able = names_of(kind for kind in members_of_search() if not kind.enumerates)
    for space in sweep.spaces:
        for path, leaf in space.distributions.items():
            _check_count(path, leaf)
            if leaf.count is None:
                raise InputError(
                    f"experiment.{path}.{leaf.kind}: a grid cannot hold a continuous range; "
                    f"give a list of values, or another search.sampler: {able}"
                )


def _check_ranges(sweep: Sweep, search: Proposer) -> None:
    spaces = [space for stratum in sweep.strata for space in stratum.spaces]
    if len(spaces) == len(sweep.strata) and not any(space.searched for space in spaces):
        raise InputError(
            "search.sampler: there is nothing to search; give some leaf a range or a choice (of "
            "what is a grid, every value has a search of its own), or use sampler: grid"
        )
    for space in spaces:
        numeric = [leaf for leaf in space.searched.values() if leaf.kind != "choice"]
        if len(numeric) < search.ranges_needed:
            able = names_of(
                kind
                for kind in members_of_search()
                if not kind.enumerates and kind.ranges_needed <= len(numeric)
            )
            raise InputError(
                f"search.sampler: {search.tag} needs {search.ranges_needed} ranges of numbers or "
                f"more; use {able}"
            )


def _check_first(sweep: Sweep, values: dict[str, Any], where: str) -> None:
    """A point to begin with is one of the space."""
    cases = [str(case) for case in sweep.choices]
    if (len(cases) > 1 or CASE in values) and values.get(CASE) not in cases:
        raise InputError(
            f"{where}.case: {json.dumps(values.get(CASE))} is no case (allowed: {', '.join(cases)})"
        )
    stated = {path.removeprefix("experiment."): value for path, value in values.items()}
    case = stated.pop(CASE, None)
    spaces = [space for space in sweep.spaces if len(cases) == 1 or str(space.case) == case]
    for path, value in stated.items():
        leaves = [space.distributions[path] for space in spaces if path in space.distributions]
        labels = list(dict.fromkeys(space.chosen[path] for space in spaces if path in space.chosen))
        if not leaves and not labels:
            known = dict.fromkeys(
                path for space in spaces for path in (*space.chosen, *space.distributions)
            )
            raise InputError(f"{where}.{path}: is not searched (allowed: {', '.join(known)})")
        if value not in labels and not any(leaf.holds(value) for leaf in leaves):
            searched = ", ".join(labels) or str(leaves[0])
            raise InputError(
                f"{where}.{path}: {json.dumps(value)} is not in the range searched ({searched})"
            )
    if not any(matches(space, stated) for space in spaces):
        raise InputError(f"{where}: no point has all of {', '.join(stated)}")


def _check_size(sweep: Sweep) -> None:
    """What is gone through one by one is not endless."""

    def combinations(leaves: Iterable[Distribution]) -> int:
        return math.prod(leaf.count or 1 for leaf in leaves)

    leaves = [space.distributions for space in sweep.spaces]
    teachers = sum(
        combinations(s.distributions[path] for path in s.teacher_paths) for s in sweep.spaces
    )
    if sweep.file.search.enumerates:
        gone_through = {"points": sum(combinations(each.values()) for each in leaves)}
    else:
        grids = ([leaf for leaf in each.values() if leaf.kind == "grid"] for each in leaves)
        gone_through = {
            "searches, one for each combination of its grids": sum(map(combinations, grids))
        }
    for what, count in {**gone_through, "different teachers": teachers}.items():
        if count > LARGEST:
            raise InputError(
                f"experiment: has {count} {what}; at most {LARGEST} can be gone through"
            )


def _check_count(path: str, leaf: Distribution) -> None:
    if leaf.count is not None and leaf.count > MOST:
        raise InputError(
            f"experiment.{path}.{leaf.kind}: has {leaf.count} values, at most {MOST} can be "
            "enumerated"
        )


def _check_aims(file: SweepFile) -> None:
    """Every objective and constraint is a number of a student that the test split has no part
    in."""
    for index, objective in enumerate(objectives := file.aims.objectives):
        where = "objective" if len(objectives) == 1 else f"objective[{index}]"
        _check_metric(objective.metric, file, f"{where}.metric")
    for index, constraint in enumerate(file.constraints):
        _check_metric(metric_of(constraint), file, f"constraints[{index}]")


def _check_metric(metric: str, file: SweepFile, where: str) -> None:
    if metric == "val_accuracy" or metric in SIZES:
        return
    if metric.startswith("test_"):
        raise InputError(
            f"{where}: {metric} is measured on the test split, nothing is chosen by it; use "
            "val_accuracy"
        )
    labels = {label_of(evaluation): evaluation for evaluation in file.evaluate.suite}
    label, dot, name = metric.rpartition(".")
    known = [f"{known}.accuracy" for known, e in labels.items() if e.split == "val"]
    if not dot or label not in labels:
        raise InputError(
            f"{where}: unknown metric {metric!r} (allowed: "
            f"{', '.join(['val_accuracy', *known, *SIZES])})"
        )
    evaluation = labels[label]
    if evaluation.split == "test":
        raise InputError(
            f"{where}: {label} is measured on the test split, nothing is chosen by it; set "
            "split: val"
        )
    if "student" not in file.evaluate.roles:
        raise InputError(
            f"{where}: evaluate.roles leaves students out, so there is nothing to choose by"
        )
    single = [metric for metric, count in evaluation.metrics().items() if count == 1]
    if name not in single:
        several = name in evaluation.metrics()
        raise InputError(
            f"{where}: {label} gives {'several values of' if several else 'no'} {name!r} "
            "(allowed: "
            f"{', '.join(f'{label}.{one}' for one in single) or 'an evaluation with one value'})"
        )


def _check_measured(file: SweepFile, student: Experiment) -> None:
    """What points are compared by is a number of every student."""
    labels = {metric.rpartition(".")[0] for metric in file.aims.metrics}
    for chosen in (
        evaluation for evaluation in file.evaluate.suite if label_of(evaluation) in labels
    ):
        if not measurable([chosen], student):
            reason = (
                "it has no trained teacher"
                if chosen.needs_teacher
                else "it draws nothing that smoothing could average"
            )
            raise InputError(
                f"objective.metric: {label_of(chosen)} cannot be measured of a student "
                f"here: {reason}"
            )
    stopping, monitor = file.search.early_stopping, student.training.monitor
    if stopping is not None and stopping.metric not in ("val_accuracy", "val_loss"):
        watched = {label_of(e): e.metrics() for e in (monitor.suite if monitor else ())}
        known = [
            f"{label}.{metric}"
            for label, metrics in watched.items()
            for metric, count in metrics.items()
            if count == 1
        ]
        if stopping.metric not in known:
            allowed = ", ".join(["val_accuracy", "val_loss", *known])
            raise InputError(
                f"search.early_stopping.metric: {stopping.metric!r} is not known while a "
                "student trains "
                f"(allowed: {allowed}; training.monitor adds to them)"
            )


def check_applies(suite: Iterable[AnyEvaluation], experiment: Experiment, where: str) -> None:
    """:class:`InputError` if an evaluation cannot be applied to models of the experiment's data."""
    for evaluation in suite:
        problem = evaluation.misfit(experiment.data)
        if problem is not None:
            raise InputError(f"{where}: {label_of(evaluation)}: {problem}")


def _check_edges(sweep: Sweep, space: Space) -> None:
    """Put every leaf at each of its edges and read the whole experiment."""
    for path, values in space.corners():
        point = Point(-1, space, values)
        try:
            candidates = sweep.candidates(point)
            student = sweep.student(point, 0, candidates[0] if candidates else None)
            _check_measured(sweep.file, student)
            check_applies(sweep.suite("student"), student, "evaluate.suite")
            check_applies(sweep.finals, student, "evaluate.best.suite")
            for teacher in candidates[:1]:
                check_applies(sweep.suite("teacher"), teacher, "evaluate.suite: of a teacher")
        except InputError as error:
            stated = f" (at {path} = {json.dumps(values[path])})" if path else ""
            raise InputError(f"{error}{stated}") from None


def data_of(sweep: Sweep) -> Iterator[Any]:
    """Every data description that the sweep's points use at their edges."""
    seen: set[str] = set()
    for space in sweep.spaces:
        for _, values in space.corners():
            point = Point(-1, space, values)
            candidates = sweep.candidates(point)
            student = sweep.student(point, 0, candidates[0] if candidates else None)
            for experiment in (student, *candidates[:1]):
                if fingerprint(experiment.data) not in seen:
                    seen.add(fingerprint(experiment.data))
                    yield experiment.data
