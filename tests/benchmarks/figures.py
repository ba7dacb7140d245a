"""What a benchmark says: figures, each of them a row of the table that ``make bench`` prints and
writes.

A benchmark is a module with a function that yields figures, and ends with ``run(that function)``.
What is compared takes turns in one run, so that a busy machine disturbs both sides alike.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import operator
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.measuring import counted, say, table, this_machine

AIMS: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}
HEAD = ("what", "median", "unit", "lowest", "highest", "runs", "aim", "met", "note")


class Figure(NamedTuple):
    """One measured number."""

    what: str
    """What was measured, in a few words: "KD epoch, warm cache / plain epoch"."""
    values: tuple[float, ...]
    """One for each repeat; none: it could not be measured, and the note says why."""
    unit: str
    """"x" for a ratio, or "s", "ms", "MB", "images/s"."""
    aim: str | None = None
    """"<= 1.10" or ">= 5"; none: only told."""
    note: str = ""
    """What stands in the way, or what the number is to be compared with."""

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.values else math.nan

    @property
    def met(self) -> bool | None:
        """Whether the median is as aimed at."""
        if self.aim is None:
            return None
        sign, number = self.aim.split()
        return AIMS[sign](self.median, float(number))

    def row(self) -> tuple[str, ...]:
        """As text, for :data:`HEAD`."""
        met = {None: "", True: "yes", False: "NO"}[self.met]
        ends = (min(self.values), max(self.values)) if self.values else (math.nan, math.nan)
        median, lowest, highest = map(_short, (self.median, *ends))
        return (
            self.what,
            median,
            self.unit,
            lowest,
            highest,
            str(len(self.values)),
            self.aim or "",
            met,
            self.note,
        )

    @property
    def line(self) -> str:
        """In a line of progress."""
        if not self.values:
            return f"{self.what}: {self.note}"
        aim = "" if self.aim is None else f" (aim {self.aim}{'' if self.met else ', NOT met'})"
        return f"{self.what}: {_short(self.median)} {self.unit}{aim}"


def _short(number: float) -> str:
    """Three digits, or all of a large whole number; nothing of what is no number."""
    if math.isnan(number):
        return ""
    return format(number, ".3g" if abs(number) < 999.5 else ".0f")


Measure = Callable[[bool], Iterator[Figure]]
"""Yields figures as they are measured; True: in a short form, for CI."""


def tell(title: str, figures: Sequence[Figure]) -> None:
    """Print the table of a benchmark."""
    table(title, HEAD, [figure.row() for figure in figures], texts=(0, 2, 6, 7, 8))


def arguments(measure: Measure) -> argparse.ArgumentParser:
    """What every benchmark can be asked for; one may add its own."""
    parser = argparse.ArgumentParser(
        description=(sys.modules[measure.__module__].__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help="in a minute or two, for CI: fewer repeats, smaller cases",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there as well, one a line"
    )
    return parser


def follow(
    figures: Iterator[Figure], title: str, file: Path | None, clock: Callable[[], str] = counted
) -> None:
    """Say every figure as it is measured and write it to ``file``; print the table of all, also of
    those before an error, and by what ``clock``."""
    found = []
    with contextlib.ExitStack() as stack:
        written = None if file is None else stack.enter_context(file.open("w"))
        try:
            for figure in figures:
                found.append(figure)
                say(figure.line)
                if written is not None:
                    print(json.dumps(figure, default=float), file=written, flush=True)
        finally:
            print(this_machine())
            tell(f"{title} ({clock()})", found)


def stored(file: Path) -> list[Figure]:
    """What :func:`follow` has written."""
    read = (Figure(*json.loads(line)) for line in file.read_text().splitlines())
    return [figure._replace(values=tuple(figure.values)) for figure in read]


def run(measure: Measure) -> None:
    """What ``python -m tests.benchmarks.NAME [--short] [--json FILE]`` does."""
    parser = arguments(measure)
    asked = parser.parse_args()
    follow(measure(asked.short), parser.description or "", asked.json)
