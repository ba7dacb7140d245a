"""How often something is done: fields that count it are marked, so that a trial can be shortened
without knowing what it does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from kdray.core.unions import nested_value_types
from kdray.core.values import Value


@dataclass(frozen=True)
class Effort:
    """Marks a field that counts how often something is done: ``steps: Annotated[int,
    Field(ge=1), Effort(smoke=3)]``."""

    smoke: int | None = None
    """At most so often under ``--smoke``; none: as often as it says."""
    memory: int | None = None
    """So often takes as much memory as more would; none: the number itself may matter."""
    swept: bool = True
    """Whether ``--smoke`` keeps several values of it; else it is as long as its longest point."""


@cache
def efforts(kind: type[Value]) -> dict[str, Effort]:
    """The fields of ``kind`` that are marked, by name."""
    return {
        name: mark
        for name, field in kind.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Effort)
    }


def efforts_below(*annotations: Any) -> dict[str, Effort]:
    """The marked fields of every value that fields of these types may hold, at any depth, by
    name."""
    return {
        name: mark
        for kind in nested_value_types(*annotations)
        for name, mark in efforts(kind).items()
    }
