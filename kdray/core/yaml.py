"""YAML is read as kdray's files are written: YAML 1.2 scalars, fractions, no duplicate keys,
nothing executed."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from kdray.core import InputError

_INT = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_FRACTION = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)/[0-9]*[1-9][0-9]*$")


class _Loader(yaml.SafeLoader):
    """Safe, with the scalars of YAML 1.2's core schema (1e-4 is a number, off a string) and
    fractions (8/255)."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain word", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key.value!r}", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> Any:
        """Unquoted scalars get a tag of their own, so that quoted ones and ``!!str`` stay texts."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


_PLAIN = "!plain"


def _plain(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    return plain_scalar(loader.construct_scalar(node))


def _refuse(_: yaml.SafeLoader, node: yaml.Node) -> object:
    raise yaml.constructor.ConstructorError(
        None, None, f"tag {node.tag!r} is not allowed", node.start_mark
    )


_Loader.yaml_constructors = {}
_Loader.add_constructor(_PLAIN, _plain)
for _kind in ("str", "map", "seq"):
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_kind}", getattr(_Loader, f"construct_yaml_{_kind}")
    )
_Loader.add_constructor(None, _refuse)


def plain_scalar(text: str) -> bool | int | float | str | None:
    """Return an unquoted scalar as null, true or false, an integer, a number, a fraction (of an
    integer or a decimal, by an integer), else the text."""
    if text in ("null", "Null", "NULL", "~", ""):
        return None
    if text.lower() in ("true", "false") and text in (
        "true",
        "True",
        "TRUE",
        "false",
        "False",
        "FALSE",
    ):
        return text.lower() == "true"
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    if _FRACTION.match(text):
        numerator, denominator = text.split("/")
        return (int if _INT.match(numerator) else float)(numerator) / int(denominator)
    return text


DEEPEST, LARGEST = 100, 1_000_000
"""Levels of mappings and lists, and values in all: an alias counts wherever it stands."""


def _nodes(node: Any, level: int = 0) -> Iterator[int]:
    """Yield the level of everything in ``node``."""
    yield level
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(part, level + 1)


def parse_text(text: str, where: str) -> Any:
    """Return the value of a YAML text; :class:`InputError` with ``where`` and the line if it is not
    one."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506
        for count, level in enumerate(_nodes(value)):
            if level > DEEPEST or count > LARGEST:  # an alias inside itself is endlessly deep
                raise ValueError("nested too deeply" if level > DEEPEST else "too large")
        json.dumps(value, allow_nan=False)  # a number beyond float's range
        return value
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        OverflowError,
        TypeError,
        AttributeError,
    ) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = (
            getattr(error, "problem", None)
            or getattr(error, "reason", None)
            or str(error)
            or "nested too deeply"
        )
        raise InputError(f"{where}{line}: not YAML: {' '.join(str(problem).split())}") from None


def read_yaml(path: Path) -> Any:
    """Return the value of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason})") from None
    return parse_text(text, str(path))
