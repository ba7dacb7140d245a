"""A sweep file holds nested mappings and lists, which are reached by dotted path, before it is an
experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kdray.core import InputError

Tree = dict[str, Any]
DEEPEST = 30
"""Levels of a path."""


def below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}.")


def children(node: Any, path: str) -> list[tuple[str, Any]]:
    """Return what is directly below ``node``, with its path; an item of a list is at its number
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
    """Return ``node`` with ``change`` made to everything directly below it."""
    changed = [change(part, below_it) for below_it, part in children(node, path)]
    if isinstance(node, dict):
        return dict(zip(node, changed, strict=True))
    return changed if isinstance(node, list) else node


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path."""
    if isinstance(node, dict | list):
        for below_it, part in children(node, path):
            yield from walk(part, below_it)
    else:
        yield path, node


def at(tree: Tree, path: str) -> Any:
    """Return the node at ``path``; KeyError if there is none."""
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
    """Return ``tree`` with ``value`` at ``path``; what is missing on the way is made, but for items
    of lists."""
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
