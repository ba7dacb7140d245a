"""The launches of a training step of every method: ``python -m tests.gpu.launches`` writes them
down in ``launches.csv``.

Operators that run a kernel, from the end of one step to the end of the next: the batch, forward and
backward passes, optimiser and totals, on a small network of two convolutions (a perceptron where a
method wants vectors). An upper bound, which a test keeps: whoever makes steps shorter writes it
down.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from kdray.core import InputError, tag_of
from kdray.methods import AnyMethod, Method
from tests.contracts.members import instance, members
from tests.gpu.trainings import CNN, described, trained

WRITTEN = Path(__file__).with_suffix(".csv")
REMADE_BY = "python -m tests.gpu.launches"
NETWORKS: tuple[dict[str, Any], ...] = (
    CNN,
    {"name": "mlp", "hidden": [8, 8]},
    {"name": "cifar_resnet", "depth": 8},
)


def teachable(method: Method) -> dict[str, Any]:
    """The first of :data:`NETWORKS` that fits the method."""
    for model in NETWORKS:
        try:
            described(model, method)
        except InputError:
            continue
        return model
    return NETWORKS[0]


def launches_written() -> dict[str, int]:
    """The written launches of a step, by the name of the method."""
    with WRITTEN.open() as file:
        return {row["method"]: int(row["launches"]) for row in csv.DictReader(file)}


def main() -> None:
    torch.set_num_threads(1)
    rows = {
        tag_of(kind): trained(described(teachable(method), method)).step(-1).launches
        for kind in members(AnyMethod)
        for method in [instance(kind)]
    }
    lines = [f"{name},{count}" for name, count in rows.items()]
    WRITTEN.write_text("\n".join(["method,launches", *lines, ""]))


if __name__ == "__main__":
    main()
