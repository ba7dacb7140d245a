"""Every benchmark in turn, each in a process of its own, and one table of all: ``make bench``.

    python -m tests.benchmarks [NAME …] [--short] [--out FILE]

The table is printed and, as Markdown, written after every part. One that fails keeps the figures
that it had, and the others theirs; the exit status is 1 then. An aim that is missed is told and is
no failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.figures import HEAD, Figure, stored, tell
from tests.benchmarks.measuring import machine_load, say, this_machine

PARTS = {
    "distillation": "1. Distillation beside plain training",
    "batches": "2. Batches beside a DataLoader",
    "sweep_overhead": "3. A sweep beside its trials alone",
    "robustness": "4. Attacks and corruptions beside their peers",
    "steps": "5. Training steps with gradients of gradients and with attacks",
    "memory": "6. Memory",
    "reading": "7. Reading and planning",
    "precision": "8. Precision and compilation",
    "slopes": "How cost grows",
}
"""Module and title."""
SILENCE = 60.0
"""Seconds after which something is said again."""


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


def command(name: str, file: Path, *, short: bool) -> list[str]:
    """A benchmark as a program that writes its figures to ``file``."""
    return [
        sys.executable,
        "-m",
        f"tests.benchmarks.{name}",
        "--json",
        str(file),
        *(["--short"] if short else []),
    ]


def measured(name: str, *, short: bool) -> Part:
    """One benchmark from its start to its end, which may be an error."""
    began, load = time.monotonic(), machine_load()
    say(f"{name} begins")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        with subprocess.Popen(
            command(name, file, short=short), stdout=subprocess.DEVNULL
        ) as process:
            while True:
                try:
                    status = process.wait(SILENCE)
                    break
                except subprocess.TimeoutExpired:
                    say(f"{name}: {time.monotonic() - began:.0f} s so far")
        found = stored(file) if file.exists() else []
    part = Part(
        found, load, time.monotonic() - began, f"ended with status {status}" if status else None
    )
    say(f"{name}: {part.facts}")
    return part


def markdown(machine: str, parts: Mapping[str, Part]) -> str:
    """One section for each part."""
    lines = ["# kdray's benchmarks", "", machine]
    for name, part in parts.items():
        rows = (HEAD, ["---"] * len(HEAD), *(figure.row() for figure in part.figures))
        lines += ["", f"## {PARTS[name]}", "", part.facts, ""]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
        ]
    return "\n".join(lines) + "\n"


def missed(parts: Mapping[str, Part]) -> list[str]:
    """Figures that are not as aimed at."""
    return [
        figure.line for part in parts.values() for figure in part.figures if figure.met is False
    ]


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 if a part failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure what kdray costs."
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all of them")
    parser.add_argument("--short", action="store_true", help="fewer repeats, smaller cases")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where the table is written as Markdown"
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))} (allowed: {', '.join(PARTS)})")
    began, machine = time.monotonic(), this_machine()
    if asked.out is not None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, Part] = {}
    for name in asked.parts or PARTS:
        found[name] = measured(name, short=asked.short)
        tell(f"{PARTS[name]}: {found[name].facts}", found[name].figures)
        if asked.out is not None:
            asked.out.write_text(markdown(machine, found))
    print(f"\n{machine}")
    for line in missed(found):
        print(f"not as aimed at: {line}")
    failed = [name for name, part in found.items() if part.failure is not None]
    if failed:
        print(f"failed: {', '.join(failed)}")
    say(f"all took {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
