"""Values: frozen, validated descriptions whose canonical JSON is their identity.

Everything that a user describes (data, a model, a method, an evaluation, a whole experiment) is a
:class:`Value`. Two values that mean the same have the same canonical JSON and so the same
:func:`fingerprint`; that is what names a trial's rows, its checkpoint and its caches.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from abc import ABC
from collections.abc import Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


T = TypeVar("T")


def _different(given: tuple[Any, ...]) -> tuple[Any, ...]:
    for value in given:
        if given.count(value) > 1:
            raise ValueError(f"{value} is there twice")
    return given


Several = Annotated[tuple[T, ...], Strict(False)]
"""A tuple that may be written as a list, as it is in YAML and JSON."""


OneOrMore = Annotated[
    T | Annotated[tuple[T, ...], Strict(False), Field(min_length=1), AfterValidator(_different)],
    BeforeValidator(
        lambda given: given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
    ),
]
"""One value or several; a list of one is that one. :func:`several` gives a tuple."""


def several(given: T | tuple[T, ...]) -> tuple[T, ...]:
    """What a field of type :data:`OneOrMore` holds."""
    return given if isinstance(given, tuple) else (given,)


_NONE = object()


class Value(BaseModel, ABC):
    """A frozen description. Fields are validated strictly: no string is read as a number, no
    unknown key is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    version: ClassVar[int | str] = 1
    """Raised by a component whose numbers change for the same fields; part of the identity when it
    is not 1. A member from outside that states none has the digest of its source."""
    field_versions: ClassVar[Mapping[str, int]] = {}
    """Raised for a field whose meaning changed; part of the identity where the field is not at its
    default."""
    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not change any number (labels) and so are no part of the identity."""
    tag_field: ClassVar[str] = "name"
    """The field that tells the members of a union apart, where a class is one of them."""

    # Worked out once, since nothing in a value changes; slots, because copies with changes must not
    # inherit them.
    __slots__ = ("_identity", "_text")
    if typing.TYPE_CHECKING:
        _identity: ClassVar[str]
        _text: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _written_down(cls, data: Any, info: ValidationInfo) -> Any:
        """What only a text has: the name that tells the members of a union apart, and the version
        in canonical JSON."""
        if info.mode != "json" or not isinstance(data, dict):
            return data
        if tag_of(cls) is not None and cls.tag_field not in data:
            raise ValueError(f"needs a {cls.tag_field!r} (allowed: {tag_of(cls)})")
        versions: dict[str, int | str] = {
            _version_key(name): number for name, number in cls.field_versions.items()
        }
        if cls.version != 1:
            versions["version"] = cls.version
        # Another version than this one's stays, and is an unknown key.
        return {key: value for key, value in data.items() if versions.get(key, _NONE) != value}


class _Written(NamedTuple):
    """How one field of a class is written."""

    name: str
    default: Any
    always: bool
    """Also at its default, because a component in that has raised its version."""
    version: int


def canonical(value: Value) -> dict[str, Json]:
    """What identifies ``value``: fields at their default left out (so that a field added later
    changes no identity)."""
    return typing.cast(dict[str, Json], json.loads(canonical_json(value)))


def canonical_json(value: Value) -> str:
    """The canonical JSON text: sorted keys, no spaces, numbers in their declared type."""
    constant, fields = _json_form(type(value))
    parts = dict(constant)
    for name, default, always, version in fields:
        item = getattr(value, name)
        if always or item != default:
            parts[name] = canonical_text(item)
            if version != 1:
                parts[_version_key(name)] = str(version)
    return "{" + ",".join([f'"{name}":{parts[name]}' for name in sorted(parts)]) + "}"


def fingerprint(value: Value) -> str:
    """The identity of ``value``: 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
    try:
        return value._identity
    except AttributeError:
        identity = hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]
        object.__setattr__(value, "_identity", identity)
        return identity


@cache
def _json_form(kind: type[Value]) -> tuple[dict[str, str], list[_Written]]:
    """What the JSON of every ``kind`` holds, and its fields that are part of the identity."""
    constant = {} if kind.version == 1 else {"version": json.dumps(kind.version)}
    if (tag := tag_of(kind)) is not None:
        constant[kind.tag_field] = json.dumps(tag)
    fields = [
        _Written(name, field.default, _renewed(field.default), kind.field_versions.get(name, 1))
        for name, field in kind.model_fields.items()
        if name not in kind.not_identity
    ]
    return constant, fields


def _version_key(field: str) -> str:
    """Where canonical JSON says the version of a field."""
    return f"{field}.version"


def _renewed(item: Any) -> bool:
    """Whether a component in ``item`` has raised its version: then it is told even where it is the
    default."""
    if isinstance(item, Value):
        return type(item).version != 1 or any(
            _renewed(getattr(item, name)) for name in type(item).model_fields
        )
    return isinstance(item, tuple) and any(_renewed(part) for part in item)


def canonical_text(item: Any) -> str:
    """A part of canonical JSON; of a value it is kept, because the students of a sweep share most
    of theirs."""
    if isinstance(item, Value):
        try:
            return item._text
        except AttributeError:
            text = canonical_json(item)
            object.__setattr__(item, "_text", text)
            return text
    if isinstance(item, tuple):
        return "[" + ",".join([canonical_text(part) for part in item]) + "]"
    if isinstance(item, float):
        item = item + 0.0  # -0.0 and 0.0 are one number
    return json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False)


def is_union(kind: Any) -> bool:
    """Whether ``kind`` is a union, written either way."""
    return get_origin(kind) in (Union, types.UnionType)


def plain_type(kind: Any) -> Any:
    """``kind`` without ``Annotated`` and without ``None`` beside one other type."""
    if get_origin(kind) is Annotated:
        return plain_type(get_args(kind)[0])
    if is_union(kind):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return plain_type(rest[0]) if len(rest) == 1 else kind
    return kind


@cache
def tag_of(kind: type[Value]) -> str | None:
    """The name under which a member of a union is written in YAML."""
    field = kind.model_fields.get(kind.tag_field)
    return (
        str(get_args(field.annotation)[0])
        if field and get_origin(field.annotation) is Literal
        else None
    )
