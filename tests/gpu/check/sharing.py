"""4. Trials side by side: images a second of 1, 2, 4 and 8 processes on one GPU, all together.

    python -m tests.gpu.check.sharing [--device cpu]

Each trains WRN-16-2 with KD, as a worker of kdray's does, within its share of the memory. All are
started once; those whose turn it is not wait and compute nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch

from kdray.core.wording import memory as memory_text
from kdray.machine import hardware
from kdray.machine.gpus import multi_process_service, refusal_of_sharing, visible_gpus
from tests.benchmarks.figures import Figure
from tests.gpu.check.part import left_out, run

COUNTS = {"cuda": (1, 2, 4, 8), "cpu": (1, 2)}
NEEDED = 2 * 2**30
"""Bytes of a GPU that are assumed to be enough for one of them."""
SECONDS = {"cuda": 5.0, "cpu": 0.2}


class NeighbourFailed(Exception):
    """A process has ended before it said what it was asked for."""


class Neighbour:
    """A process of :mod:`tests.gpu.check.neighbour`."""

    def __init__(self, device: torch.device, share: float) -> None:
        module = "tests.gpu.check.neighbour"
        told = [str(device), str(share), str(SECONDS[device.type])]
        command = [sys.executable, "-m", module, *told]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self) -> None:
        """Have it train."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise NeighbourFailed(f"a process ended with status {self.process.wait()}")
        return line.strip()


def rate(neighbours: list[Neighbour]) -> float:
    """Images a second of all together."""
    for each in neighbours:
        each.begin()
    return sum(float(each.answer()) for each in neighbours)


def refusal(count: int, device: torch.device) -> str | None:
    """Why so many cannot be tried here, if they cannot."""
    total = hardware.device_memory(device)
    if total is None:
        return None
    if total < count * NEEDED:
        return f"each may need {memory_text(NEEDED)}, the GPU has {memory_text(total)}"
    alone = refusal_of_sharing(visible_gpus(), mps=multi_process_service() is not None)
    return alone if count > 1 else None


def rates_of(counts: Sequence[int], device: torch.device) -> dict[int, float]:
    """Images a second of so many at once."""
    most = max(counts)
    with ExitStack() as stack:
        neighbours = [Neighbour(device, 1 / most) for _ in range(most)]
        for each in neighbours:
            stack.enter_context(each.process)
            stack.callback(each.process.kill)  # those that still wait, or that are left by an error
        for each in neighbours:
            each.answer()
        return {count: rate(neighbours[:count]) for count in counts}


def figures(device: torch.device) -> Iterator[Figure]:
    counts = COUNTS[device.type]
    refused = {count: reason for count in counts if (reason := refusal(count, device))}
    rates = rates_of([count for count in counts if count not in refused], device)
    mps = "MPS runs" if multi_process_service() else "MPS does not run"
    note = mps if device.type == "cuda" else ""
    for count, found in rates.items():
        yield Figure(f"trials at once: {count}, all together", (found,), "images/s", note=note)
    for count, found in rates.items():
        if count > 1:
            yield Figure(f"{count} trials at once / 1 trial", (found / rates[1],), "x", note=note)
    for count, reason in refused.items():
        yield left_out(f"trials at once: {count}", reason)


if __name__ == "__main__":
    run(figures)
