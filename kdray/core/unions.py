"""Unions of values: what a field may hold, and how members from outside the package join.

A union of kdray's own members is marked with :class:`OpenUnion`, which names their public base. A
member that :func:`join` adds is from then on one of every union of its bases: it is validated,
listed, swept and stored as the others are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from kdray.core.values import Value, is_union, plain_type, tag_of

F = TypeVar("F", bound=Callable[..., Any])

_OPEN: dict[frozenset[type[Value]], type[Value]] = {}
"""By the own members of an open union: its base. Pydantic keeps of a field's type the members
alone."""
_JOINED: dict[type[Value], None] = {}
"""Members from outside the package, in the order in which they joined."""
_CACHES: list[Any] = []


class OpenUnion:
    """Marks a union of the own members of ``base``, told apart by their tag:
    ``Annotated[KD | Margin, OpenUnion(Method)]``."""

    def __init__(self, base: type[Value]) -> None:
        self.base = base

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        _OPEN[frozenset(_own(source))] = self.base
        members: Any = Union[tuple(value_types(source))]  # noqa: UP007
        discriminator = Field(discriminator=self.base.tag_field)
        return handler.generate_schema(Annotated[members, discriminator])


def value_types(kind: Any) -> Iterator[type[Value]]:
    """Yield the value classes that a field of type ``kind`` may hold: one, the members of a union,
    those that have joined it among them, or none."""
    own = list(_own(kind))
    yield from own
    base = _OPEN.get(frozenset(own))
    if base is not None:
        yield from (member for member in _JOINED if issubclass(member, base))


def _own(kind: Any) -> Iterator[type[Value]]:
    kind = plain_type(kind)
    if isinstance(kind, type) and issubclass(kind, Value):
        yield kind
    elif is_union(kind):
        for part in get_args(kind):
            yield from _own(part)


def of_all_members(function: F) -> F:
    """Cache ``function``, which looks at the members of unions, until one more joins."""
    cached = cache(function)
    _CACHES.append(cached)
    return cached  # type: ignore[return-value]


def open_unions() -> dict[type[Value], list[type[Value]]]:
    """Return the widest open union of each base: its own members, by the base."""
    widest: dict[type[Value], list[type[Value]]] = {}
    for members, base in _OPEN.items():
        if len(members) > len(widest.get(base, ())):
            widest[base] = sorted(members, key=lambda kind: tag_of(kind) or "")
    return widest


def joined() -> list[type[Value]]:
    """Return the members from outside the package."""
    return list(_JOINED)


def join(*kinds: type[Value]) -> None:
    """Make ``kinds`` members of every open union of their bases."""
    _JOINED.update(dict.fromkeys(kinds))
    _members_changed()


def leave(*kinds: type[Value]) -> None:
    """Take ``kinds`` out of their unions again."""
    for kind in kinds:
        _JOINED.pop(kind, None)
    _members_changed()


def nested_value_types(*annotations: Any) -> Iterator[type[Value]]:
    """Yield every value class that fields of these types may hold, at any depth: what is inside a
    class before the class itself."""
    yield from _nested(annotations, set())


def _nested(annotations: tuple[Any, ...], seen: set[type[Value]]) -> Iterator[type[Value]]:
    for kind in map(plain_type, annotations):
        members = list(value_types(kind))
        if not members:
            yield from _nested(get_args(kind), seen)
        for member in members:
            if member not in seen:
                seen.add(member)
                inside = tuple(field.annotation for field in member.model_fields.values())
                yield from _nested(inside, seen)
                yield member


def _members_changed() -> None:
    for cached in _CACHES:
        cached.cache_clear()
    for kind in nested_value_types(*_below(Value)):
        kind.model_rebuild(force=True)


def _below(kind: type[Value]) -> Iterator[type[Value]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
