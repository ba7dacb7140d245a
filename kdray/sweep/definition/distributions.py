"""Some leaves of a sweep file are not plain values.

A leaf is a mapping with one key: ``grid`` or ``choice`` (a list of values), ``uniform``,
``loguniform`` (low, high), ``quniform`` (low, high, step), ``randint``, ``lograndint`` (low, high;
high excluded, as in Ray Tune), or ``same`` (the path of another leaf). The values of a list may
hold distributions themselves, which are there only where that value is chosen: such a list is a
:class:`Branching`, and each of its values makes a space of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from kdray.core import InputError
from kdray.sweep.definition.tree import Tree, inside, put, walk

Kind = Literal["grid", "choice", "uniform", "loguniform", "quniform", "randint", "lograndint"]
KINDS: tuple[str, ...] = get_args(Kind)
LARGEST = (1e300, 2.0**53)
"""Width of a range, and steps in one: what Optuna can compute with."""


@dataclass(frozen=True)
class Distribution:
    """The values that one leaf may take."""

    kind: Kind
    arguments: tuple[Any, ...]

    @property
    def count(self) -> int | None:
        """Return how many values there are; none if infinitely many."""
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
        """Return the value at ``index`` of a finite distribution."""
        match self.kind:
            case "randint" | "lograndint":
                return self.arguments[0] + index
            case "quniform":
                low, _, step = self.arguments
                if self.whole:
                    return int(low) + int(step) * index
                return float(f"{low + step * index:.12g}")  # 0.3, not 0.1 + 0.1 + 0.1
            case _:
                return self.arguments[index]

    @property
    def whole(self) -> bool:
        """Tell whether all values of a range are whole numbers."""
        return self.kind in ("randint", "lograndint") or (
            self.kind == "quniform"
            and all(float(part).is_integer() for part in self.arguments[::2])  # low and step
        )

    @property
    def finite(self) -> tuple[Any, ...] | None:
        """Return all values, in order; none if there are infinitely many."""
        return None if self.count is None else tuple(map(self.value, range(self.count)))

    def holds(self, value: Any) -> bool:
        """Tell whether ``value`` is one of them."""
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
        """Return it as it is written in a sweep file."""
        return f"{self.kind}: {json.dumps(list(self.arguments))}"

    @property
    def edges(self) -> tuple[Any, ...]:
        """Return the values that are validated before the first trial: all of a list, both ends of
        a range."""
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


def read_leaves(node: Any, path: str = "experiment") -> Any:
    """Return a tree as read from YAML with its one-key mappings turned into distributions."""
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
    """Tell whether anything in ``node`` is not a plain value."""
    return any(isinstance(leaf, Distribution | Same | Branching) for _, leaf in walk(node))


def _labels(values: list[Any]) -> list[str]:
    """Return a word for each of several values, by which people know it."""
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
    """Yield ``tree`` with every combination of branches put in, the last list varying fastest."""
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
        return Distribution(kind, tuple(read))  # type: ignore[arg-type]
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
