"""A mistake of a user's is explained in one line: the field, what is wrong with it, and what is
allowed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from kdray.core.unions import value_types
from kdray.core.values import Value, plain_type, tag_of

T = TypeVar("T")


class InputError(ValueError):
    """What a user wrote is wrong: one line that names the field, what is wrong with it and what is
    allowed."""


def describe(error: BaseException) -> str:
    """An exception in one line, its class first."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"


def parse(
    kind: type[T], data: object, where: str = "", context: Mapping[str, object] | None = None
) -> T:
    """``data`` (plain JSON values) as a ``kind``, or an :class:`InputError` naming the field below
    ``where``. Validators read ``context``."""
    try:
        # Through JSON, because strict validation of Python objects would refuse a list for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(data), context=context)
    except ValidationError as error:
        raise InputError(explain(error, kind, where)) from None
    except (RecursionError, MemoryError):
        raise
    except Exception as error:  # of a plug-in's own check
        raise InputError(f"{where}: {describe(error)}".removeprefix(": ")) from error


def explain(error: ValidationError, kind: Any, where: str = "") -> str:
    """The first problem of ``error`` in one line: path, what is wrong, what is allowed."""
    problems = error.errors(include_url=False)
    if problems[0]["type"] == "literal_error" and isinstance(problems[0]["input"], dict):
        # Of a union of names and a mapping the mapping was meant.
        problems = problems[1:] or problems
    problem, *others = problems
    path, owner = _locate(kind, problem["loc"])
    text, found = problem["msg"], problem.get("input")
    if problem["type"] == "extra_forbidden" and owner is not None:
        text = unknown_key(str(problem["loc"][-1]), sorted(owner.model_fields))
    elif problem["type"] == "union_tag_invalid":
        context = problem["ctx"]
        valid = [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        near = get_close_matches(str(context["tag"]), valid, n=1)
        text = f"unknown name {context['tag']!r}{f', did you mean {near[0]!r}?' if near else ''}"
        text += f" (allowed: {', '.join(valid)})"
        field = str(context["discriminator"]).strip("'")
        path = (
            path if field == Value.tag_field else ".".join(part for part in (path, field) if part)
        )
    elif problem["type"] == "union_tag_not_found":
        members = list(value_types(_at(kind, problem["loc"])))
        names = [tag_of(member) or "" for member in members]
        text = f"needs a {members[0].tag_field!r} (allowed: {', '.join(names)})"
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


def unknown_key(key: str, valid: Sequence[str]) -> str:
    """What a message says of a key that is none of those that are ``valid``."""
    near = get_close_matches(key, valid, n=1)
    return (
        f"unknown key{f', did you mean {near[0]!r}?' if near else ''} (allowed: "
        f"{', '.join(valid) or 'none'})"
    )


def shortened(text: str) -> str:
    """What somebody wrote, as far as a message quotes it."""
    return text if len(text) <= 200 else f"{text[:199]}…"


def _locate(kind: Any, loc: tuple[int | str, ...]) -> tuple[str, type[Value] | None]:
    """The dotted path that a user would write for pydantic's ``loc``, and the value class that owns
    its last part."""
    path, owner = "", None
    for part in loc:
        members = list(value_types(kind))
        tagged = [member for member in members if part in (tag_of(member), member.__name__)]
        # Of a union the tag comes first, also where it is called as a field is.
        if tagged and (len(members) > 1 or part not in tagged[0].model_fields):
            kind = tagged[0]
            continue
        if isinstance(part, int):
            path += f"[{part}]"
            kind = (get_args(plain_type(kind)) or (None,))[0]
            continue
        if members and part.startswith("literal["):
            break  # the names beside the members of a union
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
            kind = (get_args(plain_type(kind)) or (None,))[0]
        elif owners:
            kind = owners[0].model_fields[part].annotation
    return kind
