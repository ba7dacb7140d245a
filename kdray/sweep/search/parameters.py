"""Points of a space as the parameters of an Optuna study, and back.

Which case and which branches a point lies in are categorical parameters that come first; what only
some of them have is asked for only there. A parameter below a branch carries the branch's label,
and one whose range differs between cases the case's name: Optuna takes parameters of one name for
the same thing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from kdray.sweep.definition.distributions import Distribution
from kdray.sweep.definition.space import CASE, Point, Space, matches
from kdray.sweep.definition.tree import below


class OptunaParameters:
    """The names and distributions of some spaces in a study."""

    def __init__(self, spaces: Sequence[Space]) -> None:
        self._spaces = tuple(spaces)
        self._several = len({space.case for space in spaces}) > 1
        self._by_case = self._differing()
        self._options: dict[str, dict[str, None]] = {}
        """By parameter that chooses a space: its values, in order."""
        for space in spaces:
            for name, label in self._choices(space).items():
                self._options.setdefault(name, {})[label] = None

    @property
    def size(self) -> float:
        """How many points there are."""
        return sum(
            math.prod(leaf.count or math.inf for leaf in s.distributions.values())
            for s in self._spaces
        )

    @cached_property
    def common(self) -> dict[str, BaseDistribution]:
        """The parameters that every point has."""
        first, *others = map(self.distributions, self._spaces)
        return {name: leaf for name, leaf in first.items() if all(name in o for o in others)}

    def ask(self, trial: Trial, number: int) -> Point:
        """The point that a new trial suggests."""
        left, depth = self._spaces, 0
        while len(choices := list(self._choices(left[0]).items())) > depth:
            name = choices[depth][0]
            label = trial.suggest_categorical(name, list(self._options[name]))
            left = tuple(space for space in left if self._choices(space).get(name) == label)
            depth += 1
        (space,) = left
        for name, path in self._names(space).items():
            _suggest(trial, name, _optuna(space.distributions[path]))
        point = self.point(number, trial.params)
        assert point is not None  # its own parameters are read back
        return point

    def parameters(self, point: Point) -> dict[str, Any]:
        """``point`` as a study's parameters."""
        distributions = point.space.distributions
        values = {
            name: _encode(distributions[p], point.values[p])
            for name, p in self._names(point.space).items()
        }
        return self._choices(point.space) | values

    def point(self, number: int, parameters: Mapping[str, Any]) -> Point | None:
        """The point that a study's parameters stand for; none if they are not of these spaces."""
        fitting = [
            s
            for s in self._spaces
            if all(parameters.get(n) == c for n, c in self._choices(s).items())
        ]
        if len(fitting) != 1:
            return None
        (space,) = fitting
        values: dict[str, Any] = dict(space.chosen)
        for name, path in self._names(space).items():
            try:
                values[path] = _decode(space.distributions[path], parameters[name])
            except KeyError:
                return None
        return Point(number, space, values)

    def distributions(self, space: Space) -> dict[str, BaseDistribution]:
        """By name, those of a point in ``space``."""
        choices = {
            name: CategoricalDistribution(list(self._options[name]))
            for name in self._choices(space)
        }
        return choices | {
            name: _optuna(space.distributions[path]) for name, path in self._names(space).items()
        }

    def read(self, case: str | None, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """A point's stored values as parameters; none if they are not of these spaces."""
        for space in self._spaces:
            if (
                space.case == case
                and matches(space, values)
                and values.keys() == {*space.chosen, *space.distributions}
            ):
                return self.parameters(Point(0, space, dict(values)))
        return None

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether :meth:`given` knows a point with these values."""
        return any(matches(space, values) for space in self._spaces)

    def given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A point of which some values are given by path (the case as ``case``), as a study's
        parameters."""
        space = next(space for space in self._spaces if matches(space, values))
        leaves = self._names(space).items()
        known = {
            name: _encode(space.distributions[path], values[path])
            for name, path in leaves
            if path in values
        }
        choices = self._choices(space)
        paths = [*([CASE] if self._several else []), *(branch.path for branch in space.branches)]
        said = {
            name: label
            for path, (name, label) in zip(paths, choices.items(), strict=True)
            if path == CASE or any(below(given, path) for given in values)
        }
        return said | known

    def _choices(self, space: Space) -> dict[str, str]:
        """By parameter, what says which space it is."""
        chosen = {CASE: str(space.case)} if self._several else {}
        for index, branch in enumerate(space.branches):
            above = [
                other.label for other in space.branches[:index] if below(branch.path, other.path)
            ]
            chosen[self._name(space, branch.path, above)] = branch.label
        return chosen

    def _names(self, space: Space) -> dict[str, str]:
        """Name of the parameter to path."""
        named = {}
        for path in space.distributions:
            above = [branch.label for branch in space.branches if below(path, branch.path)]
            named[self._name(space, path, above)] = path
        return named

    def _name(self, space: Space, path: str, above: Sequence[str]) -> str:
        qualities = [*above, *([str(space.case)] if (path, *above) in self._by_case else [])]
        return f"{path} ({', '.join(qualities)})" if qualities else path

    def _differing(self) -> frozenset[tuple[str, ...]]:
        """Paths, with the branches that they lie in, whose distribution or branches differ between
        cases."""
        found: dict[tuple[str, ...], dict[str | None, set[object]]] = {}
        for space in self._spaces:
            leaves: dict[str, object] = {
                path: repr(leaf) for path, leaf in space.distributions.items()
            }
            for path, leaf in (leaves | space.chosen).items():
                above = (
                    branch.label
                    for branch in space.branches
                    if branch.path != path and below(path, branch.path)
                )
                found.setdefault((path, *above), {}).setdefault(space.case, set()).add(leaf)
        return frozenset(
            where
            for where, cases in found.items()
            if any(leaves != next(iter(cases.values())) for leaves in cases.values())
        )


def _optuna(leaf: Distribution) -> BaseDistribution:
    match leaf.kind:
        case "grid" | "choice":
            return CategoricalDistribution([_label(value) for value in leaf.arguments])
        case "uniform" | "loguniform":
            low, high = leaf.arguments
            return FloatDistribution(low, high, log=leaf.kind == "loguniform")
        case "quniform":
            low, high = leaf.edges
            return FloatDistribution(low, high, step=leaf.arguments[2])
        case "randint" | "lograndint":
            return IntDistribution(
                leaf.arguments[0], leaf.arguments[1] - 1, log=leaf.kind == "lograndint"
            )


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    match distribution:
        case CategoricalDistribution():
            trial.suggest_categorical(name, distribution.choices)
        case FloatDistribution():
            low, high = distribution.low, distribution.high
            if distribution.step is None:
                trial.suggest_float(name, low, high, log=distribution.log)
            else:
                trial.suggest_float(name, low, high, step=distribution.step)
        case IntDistribution():
            trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)


def _label(value: Any) -> Any:
    """A value as Optuna stores a choice: itself where it may, else its JSON."""
    return (
        value
        if value is None or isinstance(value, bool | int | float | str)
        else json.dumps(value, sort_keys=True)
    )


def _encode(leaf: Distribution, value: Any) -> Any:
    if leaf.kind not in ("grid", "choice"):
        return value
    # As it is written there: 1.0 is the 1 of a list.
    alike = (
        one
        for one in leaf.arguments
        if one == value and isinstance(one, bool) == isinstance(value, bool)
    )
    return _label(next(alike, value))


def _decode(leaf: Distribution, stored: Any) -> Any:
    if leaf.kind in ("grid", "choice"):
        for value in leaf.arguments:
            if _label(value) == stored and type(_label(value)) is type(stored):
                return value
        raise KeyError(stored)
    low, high = leaf.edges
    if not low <= stored <= high:
        raise KeyError(stored)
    return (
        leaf.value(round((stored - low) / leaf.arguments[2])) if leaf.kind == "quniform" else stored
    )
