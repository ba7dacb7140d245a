"""A sweep file describes a space: an experiment in which some leaves are distributions."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from kdray.core import InputError
from kdray.core.names import is_name
from kdray.sweep.definition.distributions import Branch, Distribution, Same
from kdray.sweep.definition.tree import Tree, at, below, children, inside, put, walk

CASE = "case"
"""What the choice of a case is called beside the paths of a space."""
MOST_FOLLOWED = 100_000
"""Nodes that are gone through to see whether what is the same as something goes in a circle."""


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
        """Return the paths that the teacher depends on: its own, and those that it inherits."""
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
        """Return the nodes below which something is put in."""
        swept = [
            path.split(".")
            for path, leaf in walk(self.tree)
            if isinstance(leaf, Distribution | Same)
        ]
        return frozenset(".".join(keys[:depth]) for keys in swept for depth in range(len(keys)))

    def assign(self, values: Mapping[str, Any]) -> Tree:
        """Return the tree with ``values`` in place of its distributions; what holds none is shared
        with it, not copied."""

        def fill(node: Any, path: str) -> Any:
            if isinstance(node, Distribution):
                return values[path]
            if isinstance(node, Same):
                return fill(at(self.tree, node.path), node.path)
            return inside(node, path, fill) if path in self._above else node

        filled: Tree = fill(self.tree, "")
        return filled

    def grid(self, paths: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield every combination of the (finite) leaves at ``paths``, the last varying fastest;
        the others are at their first edge."""
        distributions = self.distributions
        paths = list(distributions) if paths is None else paths
        first = self._first
        for combination in itertools.product(*(distributions[path].finite or () for path in paths)):
            yield first | dict(zip(paths, combination, strict=True))

    def corners(self) -> Iterator[tuple[str | None, dict[str, Any]]]:
        """Yield values that put every leaf at each of its edges once, the others at their first;
        with the leaf's path."""
        first = self._first
        yield None, dict(first)
        for path, leaf in self.distributions.items():
            for edge in leaf.edges[1:]:
                yield path, {**first, path: edge}

    @property
    def searched(self) -> dict[str, Distribution]:
        """Return the distributions that a search chooses from; a grid is gone through instead."""
        return {path: leaf for path, leaf in self.distributions.items() if leaf.kind != "grid"}

    def stratum(self, values: Mapping[str, Any]) -> str:
        """Return in which of the :meth:`strata` a point with these values lies."""
        fixed = {
            path: values[path] for path, leaf in self.distributions.items() if leaf.kind == "grid"
        }
        return json.dumps(
            {branch.path: branch.label for branch in self.branches if branch.kind == "grid"} | fixed
        )

    def strata(self) -> Iterator[tuple[dict[str, Any], Space]]:
        """Yield, for every combination of leaves and branches that are a grid, their values by path
        and the space that is left."""
        grids = {path: leaf for path, leaf in self.distributions.items() if leaf.kind == "grid"}
        branches = {branch.path: branch.label for branch in self.branches if branch.kind == "grid"}
        for values in itertools.product(*(leaf.arguments for leaf in grids.values())):
            tree = self.tree
            for path, value in zip(grids, values, strict=True):
                tree = put(tree, path, Distribution("grid", (value,)))
            yield branches | dict(zip(grids, values, strict=True)), replace(self, tree=tree)

    @cached_property
    def chosen(self) -> dict[str, str]:
        """Return the label of every branch, by path; they are part of the values of each point."""
        return {branch.path: branch.label for branch in self.branches}

    @cached_property
    def _first(self) -> dict[str, Any]:
        return self.chosen | {path: leaf.edges[0] for path, leaf in self.distributions.items()}


def matches(space: Space, values: Mapping[str, Any]) -> bool:
    """Tell whether ``values`` (by path, the case as ``case``), which need not be all, may be those
    of a point in ``space``."""
    chosen = space.chosen | {CASE: str(space.case)}
    leaves = space.distributions
    return all(
        is_name(values[path], chosen[path])
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
        """Return a text that points of equal values in spaces of the same case share."""
        return json.dumps([self.space.case, self.values], sort_keys=True)


def check_sames(space: Space) -> None:
    """Raise :class:`InputError` if a ``same`` points at nothing or at itself, or many at one
    another."""
    steps = itertools.count()

    def follow(node: Any, path: str, trail: tuple[str, ...]) -> None:
        if next(steps) > MOST_FOLLOWED:
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
