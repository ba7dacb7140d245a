"""What every member of every union keeps to: it is a value, and its canonical JSON says all of
it."""

from __future__ import annotations

import inspect
import json

from pydantic import ValidationError

from kdray.core import Value, canonical_json, fingerprint, parse, tag_of
from kdray.testing.contracts import Contract


def canonical_json_is_read_back_as_the_same_value(value: Value) -> None:
    """What is stored of a member is enough to make it again, with the same identity."""
    kind = type(value)
    read = parse(kind, json.loads(canonical_json(value)))
    unnamed = {name: kind.model_fields[name].default for name in kind.not_identity}
    assert read == value.model_copy(update=unnamed), f"{canonical_json(value)} is read as {read!r}"
    assert fingerprint(read) == fingerprint(value), f"{read!r} has another identity once read"


def is_frozen_and_hashable(value: Value) -> None:
    """A member never changes; equal ones have one hash."""
    assert hash(value) == hash(value.model_copy()), "two equal ones have different hashes"
    for name in type(value).model_fields:
        try:
            setattr(value, name, getattr(value, name))
        except ValidationError:
            continue
        raise AssertionError(f"its field {name} can be set")


def is_concrete_and_described(value: Value) -> None:
    """The class can be instantiated, has a docstring, and the name that a sweep file calls it."""
    kind = type(value)
    assert not inspect.isabstract(kind), "it is abstract"
    assert kind.__doc__, "it has no docstring, which `kdray list` shows"
    default = kind.model_fields[kind.tag_field].default if tag_of(kind) is not None else None
    assert default == tag_of(kind) is not None, (
        f'it has no {kind.tag_field} of its own: {kind.tag_field}: Literal["…"] = "…"'
    )


VALUE_CONTRACTS: tuple[Contract, ...] = (
    is_concrete_and_described,
    canonical_json_is_read_back_as_the_same_value,
    is_frozen_and_hashable,
)
