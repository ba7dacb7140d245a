"""A whole sweep is checked before anything starts: its size, its search, its objectives and every
leaf at its edges."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kdray.core import InputError
from kdray.core.names import is_name
from kdray.results.metrics import SIZES
from kdray.results.points.objective import metric_of
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.distributions import Distribution
from kdray.sweep.definition.file import SweepFile
from kdray.sweep.definition.samplers import Proposer, members_of_search, names_of
from kdray.sweep.definition.space import CASE, Point, Space, matches
from kdray.sweep.definition.trials import Sweep
from kdray.trials.experiment import AnyTrial, Experiment
from kdray.trials.task import measurable

MAX_COMBINATIONS = 1_000_000
"""Points, teachers or searches of one sweep."""
MAX_CHECKED = 20_000
"""Combinations of values that are read before anything starts, of all spaces together."""
MAX_ENUMERATED = 100_000
"""Values of one leaf that are enumerated."""


def check(sweep: Sweep) -> None:
    """Raise :class:`InputError` if anything that can be known before the first trial is wrong."""
    _check_size(sweep)
    _check_search(sweep)
    _check_objectives(sweep.file)
    for space in sweep.spaces:
        with _naming_case(sweep, space):
            _check_edges(sweep, space)
    _check_combinations(sweep)


@contextmanager
def _naming_case(sweep: Sweep, space: Space) -> Iterator[None]:
    """Put the case of ``space`` before the message of an :class:`InputError`."""
    try:
        yield
    except InputError as error:
        number = list(sweep.choices).index(space.case)
        where = f"cases[{number}] ({space.case}): " if space.case else ""
        raise InputError(f"{where}{error}") from None


def check_teachers_are_finite(space: Space) -> None:
    """Raise :class:`InputError` if a teacher depends on what has infinitely many values."""
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


def _check_search(sweep: Sweep) -> None:
    """Check that there is something to search, or to go through, for the sampler."""
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
    """Check that a point to begin with is one of the space."""
    cases = [str(case) for case in sweep.choices]
    is_case = any(is_name(values.get(CASE), case) for case in cases)
    if (len(cases) > 1 or CASE in values) and not is_case:
        raise InputError(
            f"{where}.case: {json.dumps(values.get(CASE))} is no case (allowed: {', '.join(cases)})"
        )
    stated = {path.removeprefix("experiment."): value for path, value in values.items()}
    case = stated.pop(CASE, None)
    spaces = [space for space in sweep.spaces if len(cases) == 1 or is_name(case, str(space.case))]
    for path, value in stated.items():
        leaves = [space.distributions[path] for space in spaces if path in space.distributions]
        labels = list(dict.fromkeys(space.chosen[path] for space in spaces if path in space.chosen))
        if not leaves and not labels:
            known = dict.fromkeys(
                path for space in spaces for path in (*space.chosen, *space.distributions)
            )
            raise InputError(f"{where}.{path}: is not searched (allowed: {', '.join(known)})")
        is_label = any(is_name(value, label) for label in labels)
        if not is_label and not any(leaf.holds(value) for leaf in leaves):
            searched = ", ".join(labels) or str(leaves[0])
            raise InputError(
                f"{where}.{path}: {json.dumps(value)} is not in the range searched ({searched})"
            )
    if not any(matches(space, stated) for space in spaces):
        raise InputError(f"{where}: no point has all of {', '.join(stated)}")


def _check_size(sweep: Sweep) -> None:
    """Check that what is gone through one by one is not endless."""

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
        if count > MAX_COMBINATIONS:
            raise InputError(
                f"experiment: has {count} {what}; at most {MAX_COMBINATIONS} can be gone through"
            )


def _check_count(path: str, leaf: Distribution) -> None:
    if leaf.count is not None and leaf.count > MAX_ENUMERATED:
        raise InputError(
            f"experiment.{path}.{leaf.kind}: has {leaf.count} values, at most {MAX_ENUMERATED} "
            "can be enumerated"
        )


def _check_objectives(file: SweepFile) -> None:
    """Check that every objective and constraint is a number of a student that the test split has no
    part in."""
    for index, objective in enumerate(objectives := file.objectives.objectives):
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
    """Check that what points are compared by is a number of every student."""
    labels = {metric.rpartition(".")[0] for metric in file.objectives.metrics}
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


def check_applies(suite: Iterable[AnyEvaluation], experiment: AnyTrial, where: str) -> None:
    """Raise :class:`InputError` if an evaluation cannot be applied to models of the experiment's
    data."""
    for evaluation in suite:
        problem = evaluation.misfit(experiment.data)
        if problem is not None:
            raise InputError(f"{where}: {label_of(evaluation)}: {problem}")


def _check_edges(sweep: Sweep, space: Space) -> None:
    """Put every leaf at each of its edges and read the whole experiment."""
    for path, values in space.corners():
        try:
            _check_point(sweep, Point(-1, space, values))
        except InputError as error:
            stated = f" (at {path} = {json.dumps(values[path])})" if path else ""
            raise InputError(f"{error}{stated}") from None


def _check_point(sweep: Sweep, point: Point) -> None:
    """Read the experiments of a point and see that what is measured can be."""
    candidates = sweep.candidates(point)
    student = sweep.student(point, 0, candidates[0] if candidates else None)
    _check_measured(sweep.file, student)
    check_applies(sweep.suite("student"), student, "evaluate.suite")
    check_applies(sweep.finals, student, "evaluate.best.suite")
    for teacher in candidates[:1]:
        check_applies(sweep.suite("teacher"), teacher, "evaluate.suite: of a teacher")


def _check_combinations(sweep: Sweep) -> None:
    """Read the experiment at every combination of the leaves that are gone through one by one; of
    very many in all, at those of the spaces that have few, and at a sample of each other space."""
    gone_through = {
        number: _gone_through(sweep, space) for number, space in enumerate(sweep.spaces)
    }
    counts = {
        number: math.prod(sweep.spaces[number].distributions[path].count or 1 for path in paths)
        for number, paths in gone_through.items()
        if paths
    }
    remaining = MAX_CHECKED
    shares: dict[int, int] = {}
    for done, number in enumerate(sorted(counts, key=lambda each: counts[each])):
        shares[number] = min(counts[number], max(1, remaining // (len(counts) - done)))
        remaining -= shares[number]
    for number, share in sorted(shares.items()):
        with _naming_case(sweep, sweep.spaces[number]):
            _check_share(sweep, sweep.spaces[number], gone_through[number], counts[number], share)


def _gone_through(sweep: Sweep, space: Space) -> list[str]:
    """Return the paths of the leaves that are gone through one by one: all of a grid; of a search
    those that are a grid, and the teachers'."""
    return [
        path
        for path, leaf in space.distributions.items()
        if sweep.file.search.enumerates or leaf.kind == "grid" or path in space.teacher_paths
    ]


def _check_share(sweep: Sweep, space: Space, paths: list[str], count: int, share: int) -> None:
    """Read ``share`` of the ``count`` combinations of the leaves at ``paths``."""
    for values in space.grid(paths) if share == count else _sample(space, paths, count, share):
        try:
            _check_point(sweep, Point(-1, space, values))
        except InputError as error:
            stated = ", ".join(f"{path} = {json.dumps(values[path])}" for path in paths)
            raise InputError(f"{error} (at {stated})") from None


def _sample(space: Space, paths: list[str], count: int, share: int) -> Iterator[dict[str, Any]]:
    """Yield ``share`` of the ``count`` combinations of the leaves at ``paths``, each once, the same
    ones every time; the others are at their first edge."""
    first = next(space.corners())[1]
    for index in random.Random(0).sample(range(count), share):
        drawn = {}
        for path in reversed(paths):
            leaf = space.distributions[path]
            index, at_leaf = divmod(index, leaf.count or 1)
            drawn[path] = leaf.value(at_leaf)
        yield first | drawn
