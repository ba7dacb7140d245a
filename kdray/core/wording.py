"""How numbers, values and lists are written for people: on the command line, in the report, in
messages."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

NONE = "–"
"""Stands where there is no number."""
GIB = 2**30
"""Bytes."""

_PIXEL_LEVELS = 255
_POSITION = re.compile(r"\.(\d+)(?=\.|$)")
"""In a list, as a part of a path."""
_REPLICATES = ("seed", "teacher.seed")
"""Paths of a seed and of its teacher's: the end of another path that is not to be taken for it."""
_SHORT = 8
"""Characters of the longest number that is written as it is, before levels are tried: 0.2 is 0.2,
although it is 51/255."""


def is_missing(value: Any) -> bool:
    """Tell whether a cell of a table is empty: None, NaN, or a time that is not known."""
    return value is None or bool(value != value)


def number(value: Any, digits: int = 4) -> str:
    """Write a number in ``digits`` significant digits, whole ones in all: ``0.1235``, ``1,210``."""
    if is_missing(value):
        return NONE
    if isinstance(value, int):
        return f"{value:,}"
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.{digits}g}"


def mean_and_deviation(mean: float, deviation: float) -> str:
    """Write ``0.971 ± 0.004``; a mean of one number has no deviation."""
    if is_missing(mean):
        return NONE
    digits = 3 if abs(mean) < 10 else 1
    return f"{mean:.{digits}f}" + ("" if is_missing(deviation) else f" ± {deviation:.{digits}f}")


def of_fewer(n: int, seeds: int) -> str:
    """Write `` (n = 2)``, which follows a number of fewer than the ``seeds`` of its row; nothing
    where all have it, or none."""
    return f" (n = {n})" if 0 < n < seeds else ""


def value_text(given: Any) -> str:
    """Write a value of a configuration as a YAML file has it; nothing for one that is missing."""
    if isinstance(given, list | dict | tuple):
        return json.dumps(given)
    if is_missing(given):
        return ""
    if isinstance(given, bool):
        return str(given).lower()
    return f"{given:g}" if isinstance(given, float) else str(given)


def point_text(values: Mapping[str, Any], case: Any = None) -> str:
    """Write what distinguishes a point, its case and its swept values: ``noisy, method.alpha =
    0.5``."""
    parts = [] if is_missing(case) else [str(case)]
    parts += [
        f"{path} = {value_text(given)}" for path, given in values.items() if value_text(given)
    ]
    return ", ".join(parts) or "nothing is swept"


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """Map every dotted path to its shortest end that ends no other of ``paths``, is not taken for
    the seed of a replicate, and says what it is: ``sigma``, ``milestones[0]``."""
    splits = {path: _POSITION.sub(r"[\1]", path).split(".") for path in paths}
    ends = Counter(
        ".".join(parts[start:]) for parts in splits.values() for start in range(len(parts))
    )
    ends.update(_REPLICATES)
    return {
        path: next(
            (
                end
                for start in reversed(range(len(parts)))
                if ends[end := ".".join(parts[start:])] == 1
            ),
            ".".join(parts),  # it ends another
        )
        for path, parts in splits.items()
    }


def pixels(amount: float) -> str:
    """Write a difference of pixel values in [0, 1] in levels, ``8/255``, or, where it is no whole
    number of them or is short as it is, as the number: ``0.1``."""
    if is_missing(amount):
        return NONE
    levels = amount * _PIXEL_LEVELS
    if math.isfinite(levels) and len(repr(float(amount))) > _SHORT and 0 < abs(amount) < 1:
        near = round(levels)
        if near and abs(levels - near) < 1e-6:
            return f"{near}/{_PIXEL_LEVELS}"
    return f"{amount:g}"


def percent(share: float, digits: int = 3) -> str:
    """Write a share of 1 in hundredths: ``97.1 %``."""
    return NONE if is_missing(share) else f"{100 * share:.{digits}g} %"


def counted(count: int, noun: str) -> str:
    """Write ``1 trial``, ``2 trials``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def count_range(low: int, high: int, noun: str) -> str:
    """Write ``3 seeds``, or ``2 to 3 seeds`` where they differ."""
    return counted(high, noun) if low == high else f"{low:,} to {counted(high, noun)}"


def listed(parts: Iterable[str], most: int | None = None) -> str:
    """Write ``a, b and c``; of more than ``most`` the first, and how many others there are."""
    texts = list(parts)
    if most is not None and len(texts) > most:
        texts = [*texts[: most - 1], f"{len(texts) - most + 1:,} more"]
    if not texts:
        return NONE
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def duration(seconds: float) -> str:
    """Write a time in its two largest units: ``4.5 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``,
    ``3.5 days``."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.2g} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole / 86400:,.1f} days"


def file_size(count: float) -> str:
    """Write the bytes of a file in decimal units: ``512 bytes``, ``26 kB``, ``1.3 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * scale:
            return f"{_three_digits(count / scale)} {unit}"
    return counted(round(count), "byte")


def memory(count: float) -> str:
    """Write bytes of memory in binary units: ``23.69 GiB``; those that nobody has stated are
    infinite."""
    return "unknown" if math.isinf(count) else f"{count / GIB:.4g} GiB"


def _three_digits(amount: float) -> str:
    """Write three significant digits, more only of a whole number."""
    return f"{amount:.0f}" if amount >= 99.95 else f"{amount:.3g}"
