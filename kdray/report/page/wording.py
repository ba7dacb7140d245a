"""Numbers and lists as they are said in English."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

NONE = "–"
"""Where there is no number."""


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def number(value: Any, digits: int = 4) -> str:
    """A number in ``digits`` significant digits, thousands as such."""
    if is_missing(value):
        return NONE
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def spread(mean: float, std: float) -> str:
    """``0.971 ± 0.004``; a mean of one has no deviation."""
    if is_missing(mean):
        return NONE
    digits = 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + ("" if is_missing(std) else f" ± {std:.{digits}f}")


def cell(value: Any) -> str:
    """A value of a configuration."""
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def described(values: Mapping[str, Any], case: Any = None) -> str:
    """What distinguishes a point: its case and swept values."""
    parts = [] if is_missing(case) else [str(case)]
    parts += [f"{path} = {cell(value)}" for path, value in values.items() if not is_missing(value)]
    return ", ".join(parts) or "nothing is swept"


def counted(count: int, noun: str) -> str:
    """``1 trial``, ``2 trials``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def listed(parts: Sequence[str], most: int = 6) -> str:
    """``a, b and c``; of many the first, and how many others there are."""
    if len(parts) > most:
        parts = [*parts[: most - 1], f"{len(parts) - most + 1:,} more"]
    return (
        parts[0]
        if len(parts) == 1
        else f"{', '.join(parts[:-1])} and {parts[-1]}"
        if parts
        else NONE
    )


def duration(seconds: float) -> str:
    """A time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, hours = round(seconds / 60), int(seconds / 3600)
    if minutes < 60:
        return f"{minutes} min"
    return (
        f"{hours:,} h {round(seconds / 60) - hours * 60} min"
        if hours < 48
        else f"{hours / 24:,.1f} days"
    )
