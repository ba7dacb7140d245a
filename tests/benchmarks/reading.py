"""What it costs to read large results, and to plan a large sweep.

Every reading is the first thing that a process of its own does (:mod:`tests.benchmarks.asked`): its
seconds, and by how much the memory of the process grew at most. A folder is made in seconds by
multiplying the rows of one trial (:mod:`tests.benchmarks.finished`), in the files that the writer
and the driver leave.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kdray.results import Results, TableName
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.finished import write_finished
from tests.benchmarks.measuring import say


def measured(module: str, *arguments: str) -> list[float]:
    """The numbers that another process prints last."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def asked(
    what: str, folder: Path, text: str, repeats: int, aim: str | None = None, note: str = ""
) -> Iterator[Figure]:
    """Seconds and megabytes of one reading."""
    say(text)
    both = [measured("asked", what, str(folder)) for _ in range(repeats)]
    seconds, memory = (tuple(each[column] for each in both) for column in (0, 1))
    yield Figure(text, seconds, "s", aim, note)
    yield Figure(f"{text}: peak", memory, "MB")


def figures(short: bool) -> Iterator[Figure]:
    """Rows of robustness, finished trials, planned trials; ``short``: a tenth of each, without an
    aim."""
    share, repeats, aim = (10, 1, None) if short else (1, 3, "<= 2")
    with tempfile.TemporaryDirectory() as place:
        yield from _numbers(Path(place), 10_000 // share, repeats, aim)
    with tempfile.TemporaryDirectory() as place:
        yield from _finished(Path(place), 10_000 // share, repeats, aim)
    count = 100_000 // (share * share)
    say(f"planning {count} students")
    several = measured("scale", "planning", str(count))
    yield Figure(
        f"plan {count:,} students",
        (several[2],),
        "s",
        note="kdray plan, a student without a teacher",
    )
    yield Figure(
        f"the driver's look at {count:,} students",
        (several[3],),
        "s",
        note="one teacher, rows of members",
    )
    yield Figure(
        f"plan {count:,} students: memory", (several[4],), "MB", note="both of these, kept"
    )


def _numbers(folder: Path, trials: int, repeats: int, aim: str | None) -> Iterator[Figure]:
    robustness: tuple[TableName, ...] = ("robustness",)
    say(f"writing the robustness of {trials} trials")
    write_finished(folder, trials, corruptions=True, tables=robustness)
    rows = Results(folder).table("robustness").num_rows
    name = f"{rows:,} robustness rows"
    yield from asked(
        "filtered", folder, f"{name}: open, filter by label, mean by trial", repeats, aim
    )
    yield from asked("filtered_whole", folder, f"{name}: the same, all columns", repeats, aim)
    yield from asked(
        "aggregated", folder, f"{name}: mean by label, metric, corruption, severity", repeats, aim
    )
    yield from asked("whole", folder, f"{name}: all rows and columns", repeats)
    yield from asked(
        "by_pandas", folder, f"{name}: pandas.read_parquet", repeats, note="looks for no duplicates"
    )
    yield from asked("merged", folder, f"{name}: kdray compact", 1)


def _finished(folder: Path, trials: int, repeats: int, aim: str | None) -> Iterator[Figure]:
    say(f"writing {trials} trials")
    write_finished(folder, trials, corruptions=False)
    files = len(Results(folder).store.names("trials", ".parquet"))
    name = f"{trials:,} finished trials"
    yield from asked(
        "trials", folder, f"{name}: trials()", repeats, aim, f"{files} files of trials"
    )
    yield from asked(
        "frame", folder, f"{name}: frame()", repeats, aim, "7 numbers of robustness each"
    )
    yield from asked("ledger", folder, f"{name}: what the driver reads before it begins", repeats)
    yield from asked(
        "status", folder, f"{name}: kdray status", 1, None, f"a table of {trials // 5:,} points"
    )


if __name__ == "__main__":
    run(figures)
