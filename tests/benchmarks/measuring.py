"""What the benchmarks have in common: the clock, what the machine is, tables on a terminal."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import torch

from kdray.machine import hardware
from kdray.machine.gpus import visible_gpus

T = TypeVar("T")
CPU = torch.device("cpu")
LIBRARIES = (
    "torch",
    "torchvision",
    "ray",
    "optuna",
    "numpy",
    "pandas",
    "pyarrow",
    "foolbox",
    "adversarial-robustness-toolbox",
)
"""Whose versions are told, where they are installed."""


def say(text: str) -> None:
    """A line of progress, to stderr, so that the tables can be kept by themselves."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def clock() -> float:
    """Seconds that passed, or with a single thread those of its CPU: what it would take if nobody
    else were there."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def timed(work: Callable[[], T], device: torch.device = CPU) -> tuple[float, T]:
    """Seconds of :func:`clock`, or those until a GPU has done it, and what ``work`` returned."""
    if device.type != "cuda":
        began = clock()
        done = work()
        return clock() - began, done
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    done = work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began, done


def median_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds, after one call that does not count."""
    work()
    return statistics.median(timed(work)[0] for _ in range(repeats))


def table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: Sequence[int] = (0,)
) -> None:
    """Aligned columns: ``texts`` to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    print(f"\n{title}")
    for row in (head, ["-" * width for width in widths], *rows):
        cells = (
            cell.ljust(width) if at in texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(cells).rstrip(), flush=True)


def installed(package: str) -> str | None:
    """Its version."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def this_machine() -> str:
    """One line: processors, memory, how busy they are, versions."""
    facts = hardware.facts()
    listed = [
        f"{hardware.cpus()} CPUs ({facts['cpu']})",
        f"{hardware.memory() / 2**30:.0f} GiB of memory",
    ]
    listed += [gpu.name for gpu in visible_gpus()]
    own = f"kdray {facts['kdray_version']}" + (
        f" ({facts['git_commit'][:10]})" if facts["git_commit"] else ""
    )
    versions = [own, f"Python {platform.python_version()}"]
    versions += [f"{name} {installed(name)}" for name in LIBRARIES if installed(name)]
    return f"machine: {', '.join(listed)}, load {machine_load():.1f}; {', '.join(versions)}"


def counted() -> str:
    """What :func:`clock` counts in this process."""
    threads = torch.get_num_threads()
    return (
        "one thread of torch, its CPU time"
        if threads == 1
        else f"{threads} threads of torch, wall time"
    )


def machine_load() -> float:
    """Processes that wanted a CPU in the last minute, on average."""
    return os.getloadavg()[0]
