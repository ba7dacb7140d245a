"""The space that a sweep file describes: an experiment in which some leaves are distributions.

A leaf is a mapping with one key: ``grid`` or ``choice`` (a list of values), ``uniform``,
``loguniform`` (low, high), ``quniform`` (low, high, step), ``randint``, ``lograndint`` (low, high;
high excluded, as in Ray Tune), or ``same`` (the path of another leaf). The values of a list may
hold distributions themselves, which are there only where that value is chosen: such a list is a
:class:`Branching`, and each of its values makes a space of its own.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

from kdray.core import InputError

Kind = Literal["grid", "choice", "uniform", "loguniform", "quniform", "randint", "lograndint"]
KINDS: tuple[str, ...] = get_args(Kind)
Tree = dict[str, Any]
CASE = "case"
"""What the choice of a case is called beside the paths of a space."""
DEEPEST = 30
"""Levels of a path."""
LARGEST = (1e300, 2.0**53)
"""Width of a range, and steps in one: what Optuna can compute with."""
MOST = 100_000
"""Values of one leaf that are enumerated."""


@dataclass(frozen=True)
class Distribution:
    """The values that one leaf may take."""

    kind: Kind
    arguments: tuple[Any, ...]

    @property
    def count(self) -> int | None:
        """How many values there are; none if infinitely many."""
        match self.kind:
            case "grid" | "choice":
                return len(self.arguments)
            case "randint" | "lograndint":
                return int(self.arguments[1] - self.arguments[0])
            case "quniform":
                low, high, step = self.arguments
                return int((high - low) / step * (1 + 1e-12)) + 1
            case _:
                return None

    def value(self, index: int) -> Any:
        """The value at ``index`` of a finite distribution."""
        match self.kind:
            case "randint" | "lograndint":
                return self.arguments[0] + index
            case "quniform":
                low, _, step = self.arguments
                return float(f"{low + step * index:.12g}")  # 0.3, not 0.1 + 0.1 + 0.1
            case _:
                return self.arguments[index]

    @property
    def finite(self) -> tuple[Any, ...] | None:
        """All values, in order; none if there are infinitely many."""
        return None if self.count is None else tuple(map(self.value, range(self.count)))

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        if self.kind in ("grid", "choice"):
            return any(
                value == one and isinstance(value, bool) == isinstance(one, bool)
                for one in self.arguments
            )
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.edges
        if isinstance(value, float) and self.kind in ("randint", "lograndint"):
            return False
        if self.count is None:
            return bool(low <= value <= high)
        step = self.arguments[2] if self.kind == "quniform" else 1
        return bool(low <= value <= high and value == self.value(round((value - low) / step)))

    def __str__(self) -> str:
        """As it is written in a sweep file."""
        return f"{self.kind}: {json.dumps(list(self.arguments))}"

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values that are validated before the first trial: all of a list, both ends of a
        range."""
        if self.kind in ("grid", "choice"):
            return self.arguments
        return (
            self.arguments[:2]
            if self.count is None
            else (self.value(0), self.value(self.count - 1))
        )


@dataclass(frozen=True)
class Same:
    """A leaf that follows another leaf."""

    path: str


@dataclass(frozen=True)
class Branching:
    """A list of values some of which hold distributions (conditional parameters)."""

    kind: Literal["grid", "choice"]
    branches: dict[str, Any]
    """By label: the ``name`` of a mapping where that tells it from the others, else its JSON or its
    number."""


class Branch(NamedTuple):
    """What was chosen of a :class:`Branching`."""

    path: str
    label: str
    kind: Literal["grid", "choice"]


@dataclass(frozen=True)
class Space:
    """One case of a sweep, and in it one branch of every list of conditional parameters: plain
    values, and distributions by path.
    """

    case: str | None
    tree: Tree
    """Nested mappings; the leaves are plain values, :class:`Distribution` or :class:`Same`."""
    branches: tuple[Branch, ...] = ()
    """In the order of the file; a branch inside a branch comes after it."""

    @cached_property
    def distributions(self) -> dict[str, Distribution]:
        return {path: leaf for path, leaf in walk(self.tree) if isinstance(leaf, Distribution)}

    @cached_property
    def teacher_paths(self) -> list[str]:
        """The distributions that the teacher depends on: its own, and those that it inherits."""
        tops, needed = ["teacher"], set()
        for (
            top
        ) in tops:  # grows while it is gone through: what is followed may follow something else
            for path, leaf in walk(self.tree):
                if below(path, top):
                    needed.add(path)
                    if isinstance(leaf, Same) and leaf.path not in tops:
                        tops.append(leaf.path)
        return [path for path in self.distributions if path in needed]

    @cached_property
    def _above(self) -> frozenset[str]:
        """The nodes that something is put into below them."""
        swept = [
            path.split(".")
            for path, leaf in walk(self.tree)
            if isinstance(leaf, Distribution | Same)
        ]
        return frozenset(".".join(keys[:depth]) for keys in swept for depth in range(len(keys)))

    def assign(self, values: Mapping[str, Any]) -> Tree:
        """The tree with ``values`` in place of its distributions; what holds none is shared with
        it, not copied."""

        def fill(node: Any, path: str) -> Any:
            if isinstance(node, Distribution):
                return values[path]
            if isinstance(node, Same):
                return fill(at(self.tree, node.path), node.path)
            return inside(node, path, fill) if path in self._above else node

        filled: Tree = fill(self.tree, "")
        return filled

    def grid(self, paths: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Every combination of the (finite) leaves at ``paths``, the last varying fastest; the
        others at their first edge."""
        distributions = self.distributions
        paths = list(distributions) if paths is None else paths
        first = self._first
        for combination in itertools.product(*(distributions[path].finite or () for path in paths)):
            yield first | dict(zip(paths, combination, strict=True))

    def corners(self) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Values that put every leaf at each of its edges once, the others at their first; with the
        leaf's path."""
        first = self._first
        yield None, dict(first)
        for path, leaf in self.distributions.items():
            for edge in leaf.edges[1:]:
                yield path, {**first, path: edge}

    @property
    def searched(self) -> dict[str, Distribution]:
        """Distributions that a search chooses from; those that are a grid are gone through."""
        return {path: leaf for path, leaf in self.distributions.items() if leaf.kind != "grid"}

    def stratum(self, values: Mapping[str, Any]) -> str:
        """In which of the :meth:`strata` a point with these values lies."""
        fixed = {
            path: values[path] for path, leaf in self.distributions.items() if leaf.kind == "grid"
        }
        return json.dumps(
            {branch.path: branch.label for branch in self.branches if branch.kind == "grid"} | fixed
        )

    def strata(self) -> Iterator[tuple[dict[str, Any], Space]]:
        """For every combination of leaves and branches that are a grid: their values by path, and
        the space that is left."""
        grids = {path: leaf for path, leaf in self.distributions.items() if leaf.kind == "grid"}
        branches = {branch.path: branch.label for branch in self.branches if branch.kind == "grid"}
        for values in itertools.product(*(leaf.arguments for leaf in grids.values())):
            tree = self.tree
            for path, value in zip(grids, values, strict=True):
                tree = put(tree, path, Distribution("grid", (value,)))
            yield branches | dict(zip(grids, values, strict=True)), replace(self, tree=tree)

    @cached_property
    def chosen(self) -> dict[str, str]:
        """The label of every branch, by path; part of the values of each point."""
        return {branch.path: branch.label for branch in self.branches}

    @cached_property
    def _first(self) -> dict[str, Any]:
        return self.chosen | {path: leaf.edges[0] for path, leaf in self.distributions.items()}


def matches(space: Space, values: Mapping[str, Any]) -> bool:
    """Whether ``values`` (by path, the case as ``case``), which need not be all, may be those of a
    point in ``space``."""
    chosen = space.chosen | {CASE: str(space.case)}
    leaves = space.distributions
    return all(
        values[path] == chosen[path]
        if path in chosen
        else path in leaves and leaves[path].holds(values[path])
        for path in values
    )


class Point(NamedTuple):
    """One point of the space."""

    number: int
    space: Space
    values: dict[str, Any]
    """By path of the distribution; of a branch its label."""

    def tree(self) -> Tree:
        return self.space.assign(self.values)

    @property
    def text(self) -> str:
        """Equal for points of equal values in spaces of the same case."""
        return json.dumps([self.space.case, self.values], sort_keys=True)


def below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}.")


def children(node: Any, path: str) -> list[tuple[str, Any]]:
    """What is directly below ``node``, with its path; an item of a list is at its number
    (``supervision.noise.0``)."""
    parts = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [(f"{path}.{key}" if path else str(key), part) for key, part in parts]


def inside(node: Any, path: str, change: Callable[[Any, str], Any]) -> Any:
    """``node`` with ``change`` made to everything directly below it."""
    changed = [change(part, below_it) for below_it, part in children(node, path)]
    if isinstance(node, dict):
        return dict(zip(node, changed, strict=True))
    return changed if isinstance(node, list) else node


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its path."""
    if isinstance(node, dict | list):
        for below_it, part in children(node, path):
            yield from walk(part, below_it)
    else:
        yield path, node


def at(tree: Tree, path: str) -> Any:
    """The node at ``path``; KeyError if there is none."""
    node: Any = tree
    for key in path.split("."):
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict):
            node = node[key]
        else:
            raise KeyError(path)
    return node


def put(tree: Tree, path: str, value: Any) -> Tree:
    """``tree`` with ``value`` at ``path``; what is missing on the way is made, but for items of
    lists."""
    if path.count(".") > DEEPEST:
        raise InputError(f"{path[:40]}…: is too deep for any field")

    def changed(node: Any, keys: list[str]) -> Any:
        if not keys:
            return value
        key, rest = keys[0], keys[1:]
        if not isinstance(node, list):
            node = node if isinstance(node, dict) else {}
            return {**node, key: changed(node.get(key), rest)}
        if not key.isdecimal() or int(key) >= len(node):
            raise InputError(
                f"{path}: {key!r} is no item of a list of {len(node)} (counted from 0)"
            )
        return [
            changed(part, rest) if number == int(key) else part for number, part in enumerate(node)
        ]

    out: Tree = changed(tree, path.split("."))
    return out


def read_leaves(node: Any, path: str = "experiment") -> Any:
    """A tree as read from YAML with its one-key mappings turned into distributions."""
    if not isinstance(node, dict):
        return inside(node, path, read_leaves)
    for key in node:
        if not isinstance(key, str):
            raise InputError(f"{path}: key {key!r} is not a word")
    if len(node) == 1:
        ((kind, arguments),) = node.items()
        if kind in KINDS:
            return _distribution(kind, arguments, f"{path}.{kind}")
        if kind == "same":
            if not isinstance(arguments, str):
                raise InputError(
                    f"{path}.same: needs the path of another leaf, not {json.dumps(arguments)}"
                )
            return Same(arguments.removeprefix("experiment."))
    return inside(node, path, read_leaves)


def is_swept(node: Any) -> bool:
    """Whether anything in ``node`` is not a plain value."""
    return any(isinstance(leaf, Distribution | Same | Branching) for _, leaf in walk(node))


def _labels(values: list[Any]) -> list[str]:
    """A word for each of several values, by which people know it."""
    names = [value.get("name") if isinstance(value, dict) else None for value in values]
    labels = []
    for index, (value, name) in enumerate(zip(values, names, strict=True)):
        if isinstance(name, str) and names.count(name) == 1:
            labels.append(name)
        elif isinstance(value, dict | list):
            labels.append(f"{name} {index + 1}" if isinstance(name, str) else f"{index + 1}")
        else:
            labels.append("none" if value is None else str(value))
    return (
        labels
        if len(set(labels)) == len(labels)
        else [f"{label} {n}" for n, label in enumerate(labels, 1)]
    )


def expand(tree: Tree) -> Iterator[tuple[tuple[Branch, ...], Tree]]:
    """``tree`` with every combination of branches put in, the last list varying fastest."""
    for path, leaf in walk(tree):
        if isinstance(leaf, Branching):
            for label, value in leaf.branches.items():
                for chosen, whole in expand(put(tree, path, value)):
                    yield (Branch(path, label, leaf.kind), *chosen), whole
            return
    yield (), tree


def _distribution(kind: str, arguments: Any, where: str) -> Distribution | Branching:
    if not isinstance(arguments, list):
        raise InputError(f"{where}: needs a list, not {json.dumps(arguments)}")
    if kind in ("grid", "choice"):
        if not arguments:
            raise InputError(f"{where}: is empty; a search space needs at least one value")
        for index, value in enumerate(arguments):
            if any(
                value == other and isinstance(value, bool) == isinstance(other, bool)
                for other in arguments[:index]
            ):
                raise InputError(f"{where}[{index}]: {json.dumps(value)} is there twice")
        read = [read_leaves(value, f"{where}[{index}]") for index, value in enumerate(arguments)]
        if any(is_swept(value) for value in read):
            for index, value in enumerate(read):
                if isinstance(value, Distribution | Same | Branching):
                    raise InputError(
                        f"{where}[{index}]: is a distribution itself; put its values into the list"
                    )
            return Branching(kind, dict(zip(_labels(arguments), read, strict=True)))  # type: ignore[arg-type]
        return Distribution(kind, tuple(arguments))  # type: ignore[arg-type]
    wanted = 3 if kind == "quniform" else 2
    numbers = [a for a in arguments if isinstance(a, int | float) and not isinstance(a, bool)]
    if len(numbers) != len(arguments) or len(arguments) != wanted:
        raise InputError(
            f"{where}: needs {'low, high, step' if wanted == 3 else 'low, high'}, not "
            f"{json.dumps(arguments)}"
        )
    low, high = numbers[:2]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise InputError(f"{where}: needs finite numbers, not {numbers}")
    if not low < high:
        raise InputError(f"{where}: low {low} is not below high {high}")
    if kind.startswith("log") and low <= 0:
        raise InputError(f"{where}: low {low} is not above 0")
    if kind == "quniform" and numbers[2] <= 0:
        raise InputError(f"{where}: step {numbers[2]} is not above 0")
    if high - low > LARGEST[kind == "quniform"] * (numbers[2] if kind == "quniform" else 1):
        raise InputError(f"{where}: low {low} and high {high} are too far apart")
    if kind in ("randint", "lograndint") and not all(isinstance(number, int) for number in numbers):
        raise InputError(f"{where}: needs integers, not {json.dumps(arguments)}")
    return Distribution(kind, tuple(numbers))  # type: ignore[arg-type]


def check_sames(space: Space) -> None:
    """:class:`InputError` if a ``same`` points at nothing or at itself, or many at one another."""
    steps = itertools.count()

    def follow(node: Any, path: str, trail: tuple[str, ...]) -> None:
        if next(steps) > MOST:
            raise InputError("experiment: too much follows something that follows something (same)")
        for below_it, part in children(node, path):
            follow(part, below_it, trail)
        if isinstance(node, Same):
            if node.path in trail or below(path, node.path):
                raise InputError(
                    f"experiment.{path}.same: "
                    f"{' -> '.join([*(trail or (path,)), node.path])} is a circle"
                )
            try:
                target = at(space.tree, node.path)
            except KeyError:
                valid = ", ".join(space.distributions) or "none"
                raise InputError(
                    f"experiment.{path}.same: {node.path!r} is no leaf (distributions: {valid})"
                ) from None
            follow(target, node.path, (*(trail or (path,)), node.path))

    follow(space.tree, "", ())
