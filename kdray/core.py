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
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
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
    TypeAdapter,
    ValidationError,
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


class InputError(ValueError):
    """What a user wrote is wrong: one line that names the field, what is wrong with it and what is
    allowed."""


class Value(BaseModel, ABC):
    """A frozen description. Fields are validated strictly: no string is read as a number, no
    unknown key is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    version: ClassVar[int] = 1
    """Raised by a component whose numbers change for the same fields; part of the identity when it
    is not 1."""
    not_identity: ClassVar[frozenset[str]] = frozenset()
    """Fields that do not change any number (labels) and so are no part of the identity."""

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
        if tag_of(cls) is not None and "name" not in data:
            raise ValueError(f"needs a 'name' (allowed: {tag_of(cls)})")
        if cls.version != 1 and data.get("version") == cls.version:
            return {key: value for key, value in data.items() if key != "version"}
        return data


class _Written(NamedTuple):
    """How one field of a class is written."""

    name: str
    default: Any
    always: bool
    """Also at its default, because a component in that has raised its version."""


def canonical(value: Value) -> dict[str, Json]:
    """What identifies ``value``: fields at their default left out (so that a field added later
    changes no identity)."""
    return typing.cast(dict[str, Json], json.loads(canonical_json(value)))


def canonical_json(value: Value) -> str:
    """The canonical JSON text: sorted keys, no spaces, numbers in their declared type."""
    constant, fields = _form(type(value))
    parts = dict(constant)
    for name, default, always in fields:
        item = getattr(value, name)
        if always or item != default:
            parts[name] = _text(item)
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
def _form(kind: type[Value]) -> tuple[dict[str, str], list[_Written]]:
    """What the JSON of every ``kind`` holds, and its fields that are part of the identity."""
    constant = {} if kind.version == 1 else {"version": str(kind.version)}
    if (tag := tag_of(kind)) is not None:
        constant["name"] = json.dumps(tag)
    fields = [
        _Written(name, field.default, _renewed(field.default))
        for name, field in kind.model_fields.items()
        if name not in kind.not_identity
    ]
    return constant, fields


def _renewed(item: Any) -> bool:
    """Whether a component in ``item`` has raised its version: then it is told even where it is the
    default."""
    if isinstance(item, Value):
        return type(item).version != 1 or any(
            _renewed(getattr(item, name)) for name in type(item).model_fields
        )
    return isinstance(item, tuple) and any(_renewed(part) for part in item)


def _text(item: Any) -> str:
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
        return "[" + ",".join([_text(part) for part in item]) + "]"
    if isinstance(item, float):
        item = item + 0.0  # -0.0 and 0.0 are one number
    return json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False)


def describe(error: BaseException) -> str:
    """An exception in one line, its class first."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"


def parse(kind: type[T], data: object, where: str = "") -> T:
    """``data`` (plain JSON values) as a ``kind``, or an :class:`InputError` naming the field below
    ``where``."""
    try:
        # Through JSON, because strict validation of Python objects would refuse a list for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(data))
    except ValidationError as error:
        raise InputError(explain(error, kind, where)) from None


def explain(error: ValidationError, kind: Any, where: str = "") -> str:
    """The first problem of ``error`` in one line: path, what is wrong, what is allowed."""
    problem, *others = error.errors(include_url=False)
    path, owner = _locate(kind, problem["loc"])
    text, found = problem["msg"], problem.get("input")
    if problem["type"] == "extra_forbidden" and owner is not None:
        key, valid = str(problem["loc"][-1]), sorted(owner.model_fields)
        near = get_close_matches(key, valid, n=1)
        text = (
            f"unknown key{f', did you mean {near[0]!r}?' if near else ''} (allowed: "
            f"{', '.join(valid) or 'none'})"
        )
    elif problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        valid = [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        near = get_close_matches(str(context["tag"]), valid, n=1)
        text = f"unknown name {context['tag']!r}{f', did you mean {near[0]!r}?' if near else ''}"
        text += f" (allowed: {', '.join(valid)})"
    elif problem["type"] == "union_tag_not_found":
        names = [tag_of(member) or "" for member in value_types(_at(kind, problem["loc"]))]
        text = f"needs a 'name' (allowed: {', '.join(names)})"
    elif problem["type"] == "missing":
        text = "is required"
    elif problem["type"] == "value_error":
        text = text.removeprefix("Value error, ")
    else:
        # The branches of a union of plain types fail one by one, at the same place.
        also = [other["msg"] for other in others if _locate(kind, other["loc"])[0] == path]
        text = " or ".join(dict.fromkeys(f"{each[:1].lower()}{each[1:]}" for each in (text, *also)))
        text = (
            f"{text.replace(' or input should be', ' or')}, not "
            f"{shortened(json.dumps(found, default=str))}"
        )
    full = ".".join(part for part in (where, path) if part)
    return f"{full}: {text}" if full else text


def shortened(text: str) -> str:
    """What somebody wrote, as far as a message quotes it."""
    return text if len(text) <= 200 else f"{text[:199]}…"


def _locate(kind: Any, loc: tuple[int | str, ...]) -> tuple[str, type[Value] | None]:
    """The dotted path that a user would write for pydantic's ``loc``, and the value class that owns
    its last part."""
    path, owner = "", None
    for part in loc:
        members = list(value_types(kind))
        tagged = [member for member in members if tag_of(member) == part]
        # Of a union the tag comes first, also where it is called as a field is.
        if tagged and (len(members) > 1 or part not in tagged[0].model_fields):
            kind = tagged[0]
            continue
        if isinstance(part, int):
            path += f"[{part}]"
            kind = (get_args(_strip(kind)) or (None,))[0]
            continue
        owners = [member for member in members if part in member.model_fields] or members
        owner = owners[0] if owners else None
        if owner is None and not isinstance(kind, type):
            break  # inside a union of plain types: pydantic names its branches, a user does not
        path += f".{part}" if path else part
        kind = owner.model_fields[part].annotation if owner and part in owner.model_fields else None
    return path, owner


def _at(kind: Any, loc: tuple[int | str, ...]) -> Any:
    """The type of the field at ``loc``."""
    for part in loc:
        owners = [member for member in value_types(kind) if part in member.model_fields]
        if isinstance(part, int):
            kind = (get_args(_strip(kind)) or (None,))[0]
        elif owners:
            kind = owners[0].model_fields[part].annotation
    return kind


def _strip(kind: Any) -> Any:
    """``kind`` without ``Annotated`` and without ``None`` beside one other type."""
    if get_origin(kind) is Annotated:
        return _strip(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        rest = [part for part in get_args(kind) if part is not type(None)]
        return _strip(rest[0]) if len(rest) == 1 else kind
    return kind


def value_types(kind: Any) -> Iterator[type[Value]]:
    """The value classes that a field of type ``kind`` may hold: one, the members of a union, or
    none."""
    kind = _strip(kind)
    if isinstance(kind, type) and issubclass(kind, Value):
        yield kind
    elif get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            yield from value_types(part)


@cache
def tag_of(kind: type[Value]) -> str | None:
    """The ``name`` under which a member of a union is written in YAML."""
    field = kind.model_fields.get("name")
    return (
        str(get_args(field.annotation)[0])
        if field and get_origin(field.annotation) is Literal
        else None
    )


def leaf_types(kind: Any, prefix: str = "") -> dict[str, type]:
    """Every dotted path below a value type with the Python type of its leaf (``bool``, ``int``,
    ``float`` or ``str``).

    Members of a union share a path where they share a field name: ``int`` and ``float`` become
    ``float``, anything else that differs becomes ``str``. Tuples and unions of plain types are
    ``str`` (JSON). A type that contains itself is followed once; below that it is ``str`` (JSON).
    """
    out: dict[str, type] = {}
    _collect(kind, prefix, out, ())
    return dict(sorted(out.items()))


def _collect(kind: Any, path: str, out: dict[str, type], above: tuple[type[Value], ...]) -> None:
    members = list(value_types(kind))
    if members and not any(above.count(member) > 1 for member in members):
        for member in members:
            for name, field in member.model_fields.items():
                _collect(
                    field.annotation, f"{path}.{name}" if path else name, out, (*above, member)
                )
        return
    plain = _strip(kind)
    if get_origin(plain) is Literal and all(type(value) is int for value in get_args(plain)):
        plain = int
    leaf = plain if plain in (bool, int, float, str) else str
    known = out.get(path, leaf)
    out[path] = leaf if known is leaf else float if {known, leaf} == {int, float} else str


def leaves(value: Value, types_: Mapping[str, type]) -> dict[str, Any]:
    """The leaves of ``value`` at the paths of ``types_``, each as that type; paths that it lacks
    are left out."""
    out: dict[str, Any] = {}

    def visit(item: Any, path: str) -> None:
        if path in types_:
            if item is not None:
                plain = types_[path] in (bool, int, float) or isinstance(item, str)
                out[path] = (
                    types_[path](item)
                    if plain
                    else json.dumps(json.loads(_text(item)), sort_keys=True)
                )
        elif isinstance(item, Value):
            for name in type(item).model_fields:
                visit(getattr(item, name), f"{path}.{name}" if path else name)

    visit(value, "")
    return out
