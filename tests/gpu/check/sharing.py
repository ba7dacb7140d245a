"""4. Trials side by side: images a second of 1, 2, 4 and 8 processes on one GPU, all together.

    python -m tests.gpu.check.sharing [--device cpu]

Each trains WRN-16-2 with KD, as a worker of kdray's does, within its share of the memory. All are
started once; those whose turn it is not wait and compute nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import torch

from kdray.machine.gpus import multi_process_service
from tests.benchmarks.figures import Figure
from tests.gpu.check.part import run

COUNTS = {"cuda": (1, 2, 4, 8), "cpu": (1, 2)}
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


def figures(device: torch.device) -> Iterator[Figure]:
    counts = COUNTS[device.type]
    mps = (
        ""
        if device.type == "cpu"
        else f"MPS {'runs' if multi_process_service() else 'does not run'}"
    )
    with ExitStack() as stack:
        # Ends those that are left when one has failed.
        neighbours = [Neighbour(device, 1 / max(counts)) for _ in range(max(counts))]
        for each in neighbours:
            stack.enter_context(each.process)
            stack.callback(each.process.kill)
        for each in neighbours:
            each.answer()
        rates = {count: rate(neighbours[:count]) for count in counts}
    for count, found in rates.items():
        trials = "1 trial" if count == 1 else f"{count} trials"
        yield Figure(f"{trials} at once, all together", (found,), "images/s", note=mps)
    for count in counts[1:]:
        yield Figure(f"{count} trials at once / 1 trial", (rates[count] / rates[1],), "x", note=mps)


if __name__ == "__main__":
    run(figures)
