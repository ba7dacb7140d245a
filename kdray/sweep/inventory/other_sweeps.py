"""What a search may know before it begins: points of its space that other sweeps have trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from kdray.results.points.objective import Numbers
from kdray.sweep.definition.distributions import Distribution
from kdray.sweep.definition.space import Point, Space
from kdray.sweep.definition.tree import at
from kdray.sweep.definition.trials import Stratum, Sweep
from kdray.sweep.inventory.students import students
from kdray.sweep.inventory.trials import TrialIndex
from kdray.trials.experiment import Experiment


def points_of_other_sweeps(
    sweep: Sweep, index: TrialIndex, stratum: Stratum, experiments: Iterable[Experiment]
) -> Iterator[tuple[Point, Numbers]]:
    """The points of ``stratum`` of which every seed is there with every number that they are
    compared by.

    ``experiments`` are those of trained trials.
    """
    seen: set[str] = set()
    objectives, suite = sweep.file.objectives, sweep.suite("student")
    for first in experiments:
        if first.seed != sweep.file.seed_numbers[0]:
            continue
        tree = sweep.weights.with_paths(json.loads(first.model_dump_json()))
        for space in stratum.spaces:
            point = point_at(space, tree)
            if point is None or (key := json.dumps([space.case, point.values])) in seen:
                continue
            trained = [student for _, student in students(sweep, index, point)]
            # Its id says whether it is this point in everything that is not searched.
            if trained[0] is None or trained[0].trial_id != first.trial_id:
                continue
            numbers = [
                index.numbers(student.trial_id, suite) if student else {} for student in trained
            ]
            if not any(objectives.lacking(each) for each in numbers):
                seen.add(key)
                yield point, numbers


def point_at(space: Space, tree: dict[str, Any], number: int = -1) -> Point | None:
    """The point at which ``space`` has the values of the whole experiment ``tree``, if it holds
    them."""
    values: dict[str, Any] = dict(space.chosen)
    for path, leaf in space.distributions.items():
        try:
            value = _value(leaf, at(tree, path))
        except (KeyError, TypeError):
            return None
        if value is None:
            return None
        (values[path],) = value
    return Point(number, space, values)


def _value(leaf: Distribution, found: Any) -> tuple[Any] | None:
    """The value of ``leaf`` that ``found`` is, with the defaults that a mapping does not say."""
    if leaf.kind in ("grid", "choice"):
        return next(((value,) for value in leaf.arguments if _is(value, found)), None)
    return (found,) if leaf.holds(found) else None


def _is(written: Any, found: Any) -> bool:
    """Whether a value of the sweep file stands for one of an experiment."""
    if isinstance(written, dict):
        return isinstance(found, dict) and all(
            key in found and _is(part, found[key]) for key, part in written.items()
        )
    if isinstance(written, list):
        return (
            isinstance(found, list) and len(written) == len(found) and all(map(_is, written, found))
        )
    return bool(written == found) and isinstance(written, bool) == isinstance(found, bool)
