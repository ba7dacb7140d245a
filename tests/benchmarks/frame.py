"""Benchmarks in turn, each a program of its own, and one table of all: on the terminal and, as
Markdown, in a file that is written after every one."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.figures import HEAD, Figure, stored, tell
from tests.benchmarks.measuring import machine_load, say, this_machine

SILENCE = 60.0
"""Seconds after which something is said again."""


class Collection(NamedTuple):
    """Benchmarks that are measured together."""

    title: str
    """Of the table."""
    package: str
    """What their modules are in."""
    parts: Mapping[str, str]
    """Module and title."""
    shares: Mapping[str, float] = {}
    """Of the time, where that is limited, by module."""

    def limit(self, name: str, left: Iterable[str], seconds: float) -> float:
        """The seconds that a benchmark may take, of so many for it and for those that are
        ``left`` after it."""
        return seconds * self.shares[name] / sum(self.shares[each] for each in {name, *left})


class Part(NamedTuple):
    """What one benchmark gave."""

    figures: list[Figure]
    load: float
    """Of the machine when it began."""
    seconds: float
    failure: str | None = None

    @property
    def facts(self) -> str:
        """For people."""
        failed = (
            "" if self.failure is None else f" FAILED: {self.failure}; what it measured before:"
        )
        return f"{self.seconds:.0f} s, load {self.load:.1f} when it began.{failed}"


def parser_of(collection: Collection, program: str, description: str) -> argparse.ArgumentParser:
    """The options of a program that measures a collection."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parts = ", ".join(collection.parts)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="part",
        default=list(collection.parts),
        help=f"of {parts}; none: all of them",
        type=lambda name: _part(collection, name),
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the table is written as Markdown"
    )
    return parser


def _part(collection: Collection, name: str) -> str:
    if name not in collection.parts:
        allowed = ", ".join(collection.parts)
        raise argparse.ArgumentTypeError(f"no such part: {name} (allowed: {allowed})")
    return name


def command(module: str, file: Path, options: Sequence[str]) -> list[str]:
    """A benchmark as a program that writes its figures to ``file``."""
    return [sys.executable, "-m", module, "--json", str(file), *options]


def measured(
    collection: Collection, name: str, options: Sequence[str] = (), limit: float | None = None
) -> Part:
    """One benchmark from its start to its end, which may be an error, or the ``limit`` of its
    seconds."""
    began, load = time.monotonic(), machine_load()
    say(f"{name} begins")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        program = command(f"{collection.package}.{name}", file, options)
        with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
            failure = _failure_of(process, name, began, limit)
        found = stored(file) if file.exists() else []
    part = Part(found, load, time.monotonic() - began, failure)
    say(f"{name}: {part.facts}")
    return part


def _failure_of(
    process: subprocess.Popen[bytes], name: str, began: float, limit: float | None
) -> str | None:
    """Why a benchmark did not end well, if it did not."""
    while limit is None or time.monotonic() < began + limit:
        left = SILENCE if limit is None else min(SILENCE, began + limit - time.monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(max(0.0, left))
            return f"ended with status {status}" if status else None
        say(f"{name}: {time.monotonic() - began:.0f} s so far")
    process.kill()
    return f"broken off after {limit:.0f} s, for the sake of the others"


def in_turn(
    collection: Collection,
    names: Sequence[str],
    options: Sequence[str],
    out: Path | None,
    seconds: float | None = None,
) -> dict[str, Part]:
    """What each of the benchmarks gave, told and written to ``out``; all of them together take
    ``seconds`` at most."""
    began, machine = time.monotonic(), this_machine()
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Part] = {}
    for at, name in enumerate(names):
        left = None if seconds is None else seconds - (time.monotonic() - began)
        limit = None if left is None else collection.limit(name, names[at + 1 :], max(0.0, left))
        found[name] = measured(collection, name, options, limit)
        tell(f"{collection.parts[name]}: {found[name].facts}", found[name].figures)
        if out is not None:
            out.write_text(markdown(collection, machine, found))
    print(f"\n{machine}")
    for line in missed(found):
        print(f"not as aimed at: {line}")
    if failed := failed_parts(found):
        print(f"failed: {', '.join(failed)}")
    say(f"all took {time.monotonic() - began:.0f} s")
    return found


def markdown(collection: Collection, machine: str, parts: Mapping[str, Part]) -> str:
    """One section for each part."""
    lines = [f"# {collection.title}", "", machine]
    for name, part in parts.items():
        rows = (HEAD, ["---"] * len(HEAD), *(figure.row() for figure in part.figures))
        lines += ["", f"## {collection.parts[name]}", "", part.facts, ""]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
        ]
    return "\n".join(lines) + "\n"


def missed(parts: Mapping[str, Part]) -> list[str]:
    """Figures that are not as aimed at."""
    return [
        figure.line for part in parts.values() for figure in part.figures if figure.met is False
    ]


def failed_parts(parts: Mapping[str, Part]) -> list[str]:
    """The benchmarks that did not end well."""
    return [name for name, part in parts.items() if part.failure is not None]
