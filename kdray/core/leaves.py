"""The leaves of a value by dotted path: the columns of the tables, and what a sweep varies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from kdray.core.unions import value_types
from kdray.core.values import Value, canonical_text, plain_type


def leaf_types(kind: Any, prefix: str = "") -> dict[str, type]:
    """Every dotted path below a value type with the Python type of its leaf (``bool``, ``int``,
    ``float`` or ``str``).

    Members of a union share a path where they share a field name: ``int`` and ``float`` become
    ``float``, anything else that differs becomes ``str``. A union of values and names has a leaf
    for the name and the leaves of the values. Tuples and unions of plain types are
    ``str`` (JSON). A type that contains itself is followed once; below that it is ``str`` (JSON).
    """
    out: dict[str, type] = {}
    _collect(kind, prefix, out, ())
    return dict(sorted(out.items()))


def _collect(kind: Any, path: str, out: dict[str, type], above: tuple[type[Value], ...]) -> None:
    members = list(value_types(kind))
    if members and not any(above.count(member) > 1 for member in members):
        if any(get_origin(part) is Literal for part in get_args(plain_type(kind))):
            out[path] = str
        for member in members:
            for name, field in member.model_fields.items():
                _collect(
                    field.annotation, f"{path}.{name}" if path else name, out, (*above, member)
                )
        return
    plain = plain_type(kind)
    if get_origin(plain) is Literal and all(type(value) is int for value in get_args(plain)):
        plain = int
    leaf = plain if plain in (bool, int, float, str) else str
    known = out.get(path, leaf)
    out[path] = leaf if known is leaf else float if {known, leaf} == {int, float} else str


def leaves(value: Value, types_: Mapping[str, type]) -> dict[str, Any]:
    """The leaves of ``value`` at the paths of ``types_``, each as that type; paths that it lacks
    are left out."""
    out: dict[str, Any] = {}
    above = {path.rpartition(".")[0] for path in types_}

    def visit(item: Any, path: str) -> None:
        if path in types_ and not (path in above and isinstance(item, Value)):
            if item is not None:
                plain = types_[path] in (bool, int, float) or isinstance(item, str)
                out[path] = (
                    types_[path](item)
                    if plain
                    else json.dumps(json.loads(canonical_text(item)), sort_keys=True)
                )
        elif isinstance(item, Value):
            for name in type(item).model_fields:
                visit(getattr(item, name), f"{path}.{name}" if path else name)

    visit(value, "")
    return out
