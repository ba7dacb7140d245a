"""The types of an experiment's fields tell, before any value is tried, that a field holds whole
numbers, or one value where a list or a mapping stands."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic_core import to_jsonable_python

from kdray.core import InputError, Value, shortened, tag_of, unknown_key, value_types
from kdray.sweep.definition.distributions import Distribution, Same
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.definition.space import Space
from kdray.sweep.definition.tree import at, children
from kdray.sweep.definition.weights import KEY
from kdray.teachers import Pretrained
from kdray.trials.experiment import Experiment

PLAIN = (bool, int, float, str)
FOREIGN = frozenset({"values", "value", "min", "max", "low", "high", "distribution", "q", "step"})
"""What other tools write of a leaf that is searched."""
LISTS = "{grid: […]} or {choice: […]}"
NO_LIST = f"not a list; to try several write {LISTS}"
RANGES = "{uniform: [low, high]}, {loguniform: [low, high]} or {randint: [low, high]}"


def check_fields(space: Space) -> None:
    """Raise :class:`InputError` where a leaf or a mapping cannot be what its field holds."""
    _visit([Experiment], space.tree, "", space)


def check_teachers(student: dict[str, Any]) -> None:
    """Raise :class:`InputError` where a teacher, or one of a teacher's own, is what other tools
    write of several; before it has inherited anything."""
    node, path = student.get("teacher"), "teacher"
    while isinstance(node, dict):
        _refuse_foreign(node, path)
        node, path = node.get("teacher"), f"{path}.teacher"
    if isinstance(node, list):
        _refuse(path, node, f"input should be an experiment or null, {NO_LIST}")


def _visit(kinds: list[Any], node: Any, path: str, space: Space) -> None:
    """Check ``node``, which is a value of a field of one of the types ``kinds``, and what is below
    it."""
    options = [option for kind in kinds for option in _options(kind)]
    if isinstance(node, Distribution | Same):
        if any(map(_is_whole, options)) and not any(map(_may_be_fraction, options)):
            _check_whole(node, path, space)
    elif isinstance(node, list):
        items = [option for option in options if _is_listed(option)]
        if not items and all(map(_is_known, options)):
            _refuse(path, node, f"needs one value, {NO_LIST}")
        for below_it, part in children(node, path) if len(items) == 1 else ():
            _visit([get_args(items[0])[0]], part, below_it, space)
    elif isinstance(node, dict):
        _visit_mapping(options, node, path, space)


def _visit_mapping(options: list[Any], node: dict[str, Any], path: str, space: Space) -> None:
    members = [option for option in options if _is_value(option)]
    if not members and all(map(_is_known, options)):
        _refuse(path, node, _searched(node) or f"needs one value, or {LISTS}, or {RANGES}")
    if not any(map(_may_be_mapping, options)) or (members and not _fields_of(members, node)):
        _refuse_foreign(node, path)
    parts = zip(node, children(node, path), strict=True)
    # The teacher last: of what it inherits the student's field is named.
    for key, (below_it, part) in sorted(parts, key=lambda each: each[0] == "teacher"):
        kinds = _fields_of(_named(members, node), [key])
        if kinds:
            _visit(kinds, part, below_it, space)
        elif Pretrained in members and KEY in node:
            known = sorted(Pretrained.model_fields)
            raise InputError(f"experiment.{below_it}: {unknown_key(key, known)}")
        elif Experiment in members:
            valid = [name for name in Experiment.model_fields if name != "seed" or path]
            if path == "teacher":
                valid = [*(name for name in valid if name != "seed"), *TeacherChoice.model_fields]
            raise InputError(f"experiment.{below_it}: {unknown_key(key, sorted(valid))}")


def _refuse_foreign(node: dict[str, Any], path: str) -> None:
    if node and FOREIGN.issuperset(node):
        _refuse(path, node, _searched(node) or f"needs {LISTS} or {RANGES}")


def _refuse(path: str, node: Any, problem: str) -> NoReturn:
    written = shortened(json.dumps(to_jsonable_python(node, fallback=str)))
    raise InputError(f"experiment.{path}: {problem}, not {written}")


def _searched(node: dict[str, Any]) -> str | None:
    """Return how what another tool writes of several values or a range is written here."""
    if "values" in node:
        return f"several values to try are written {LISTS}"
    if {"min", "max"} <= node.keys() or {"low", "high"} <= node.keys():
        return f"a range to search is written {RANGES}"
    return None


def _options(kind: Any) -> Iterator[Any]:
    """Yield the types of the values that a field of type ``kind`` may hold."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _options(get_args(kind)[0])
    elif origin is Union or type(kind).__name__ == "UnionType":
        own = [option for part in get_args(kind) for option in _options(part)]
        yield from own
        yield from (joined for joined in value_types(kind) if joined not in own)
    elif kind is not type(None):
        yield kind


def _is_value(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, Value)


def _is_known(option: Any) -> bool:
    """Tell whether the type holds neither a list nor a mapping, but for that of a description."""
    return option in PLAIN or get_origin(option) is Literal or _is_value(option)


def _is_whole(option: Any) -> bool:
    literal = get_origin(option) is Literal
    return option is int or (literal and any(type(value) is int for value in get_args(option)))


def _may_be_fraction(option: Any) -> bool:
    """Tell whether the type may hold a number that is not whole."""
    if get_origin(option) is Literal:
        return any(type(value) is float for value in get_args(option))
    return option is float or not (_is_listed(option) or _is_known(option))


def _may_be_mapping(option: Any) -> bool:
    return _is_value(option) or not (_is_listed(option) or _is_known(option))


def _is_listed(option: Any) -> bool:
    return get_origin(option) in (tuple, list)


def _named(members: list[Any], node: dict[str, Any]) -> list[Any]:
    """Return the members of a union that a mapping may be: the one that it names, else all."""
    if Pretrained in members:
        return [Pretrained] if KEY in node else [Experiment]
    named = [m for m in members if tag_of(m) is not None and tag_of(m) == node.get(m.tag_field)]
    return named or members


def _fields_of(members: list[Any], keys: Any) -> list[Any]:
    """Return the types of these fields, of every member that has one."""
    found = [
        m.model_fields[key].annotation for m in members for key in keys if key in m.model_fields
    ]
    return [kind for index, kind in enumerate(found) if kind not in found[:index]]


def _check_whole(node: Distribution | Same, path: str, space: Space) -> None:
    """Raise :class:`InputError` if a whole number is given, or follows, a range of fractions."""
    where = f"experiment.{path}"
    while isinstance(node, Same):  # in no circle: that has been checked
        where, node = f"experiment.{path}.same", at(space.tree, node.path)
    if not isinstance(node, Distribution) or node.kind not in ("uniform", "loguniform", "quniform"):
        return
    if node.whole:
        return
    low, high = math.floor(node.arguments[0]), math.floor(node.arguments[1]) + 1
    kind = "lograndint" if node.kind == "loguniform" and low > 0 else "randint"
    where = where if where.endswith(".same") else f"{where}.{node.kind}"
    raise InputError(
        f"{where}: {node.kind} gives fractions, and a whole number is needed; use "
        f"{kind}: [{low}, {high}] (the last is excluded), or quniform with a whole low, high and "
        "step"
    )
