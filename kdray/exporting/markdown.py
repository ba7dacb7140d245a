"""Pieces of Markdown. What a user named stands in code spans, where nothing of it is markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kdray.core import Value
from kdray.core.wording import pixels


def code(text: object) -> str:
    """A code span of one line, also inside a table."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; without rows nothing."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return (
        "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines]) if lines else ""
    )


def described(value: Value) -> str:
    """A value with all its fields that are not none: ``wide_resnet(depth=16, width=2,
    dropout=0)``."""
    fields = {name: getattr(value, name) for name in type(value).model_fields}
    given = [
        f"{key}={_field(one)}"
        for key, one in fields.items()
        if key != "name" and one is not None and one != ()
    ]
    name = fields.get("name")
    return f"{name}({', '.join(given)})" if name is not None else ", ".join(given)


def _field(item: Any) -> str:
    if isinstance(item, Value):
        return described(item) if "name" in type(item).model_fields else f"({described(item)})"
    if isinstance(item, tuple):
        return f"[{', '.join(map(_field, item))}]"
    return pixels(item) if isinstance(item, float) else str(item)
