"""Trials of a paper's sweeps, made up: seeds that differ by a known amount, and what evaluations
gave for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kdray.report import Drawing, Snapshot, Table
from kdray.results import Results, Row, write_rows
from tests.analysis import rows

SEEDS = (0, 1)
APART = 0.02
"""Between the accuracies of the two seeds of a point."""


class Sweeps(rows.Folder):
    """A folder whose trials also have epochs."""

    def __init__(self, path: Path, data: str = "cifar10") -> None:
        super().__init__(path, data)
        self.epochs: list[Row] = []

    def point(
        self,
        sweep: str,
        point: int,
        accuracy: float,
        *,
        role: str = "student",
        seeds: Sequence[int] = SEEDS,
        **how: Any,
    ) -> list[str]:
        """A point with a trial for each seed, ``accuracy`` on average on test and validation; their
        ids."""
        sizes = {"weights": 1000, "macs": 2000, "images_per_second": 500.0}
        found = []
        for seed in seeds:
            value = accuracy + APART * (seed - sum(seeds) / len(seeds))
            numbers = {"test_accuracy": value, "val_accuracy": value, **sizes}
            found.append(self.trial(sweep, point, seed, role=role, **{**numbers, **how}))
        return found

    def numbers_of(
        self, trials: Sequence[str], label: str, evaluation: str, value: float, **fields: Any
    ) -> None:
        """The same number for each of ``trials``."""
        for trial in trials:
            self.number(trial, label, evaluation, value, **fields)

    def learning(self, trials: Sequence[str], *accuracies: float) -> None:
        """Validation accuracy after each epoch."""
        for trial in trials:
            for epoch, accuracy in enumerate(accuracies, start=1):
                self.epochs.append(
                    {"trial_id": trial, "stage": "main", "epoch": epoch, "val_accuracy": accuracy}
                )

    def written(self) -> Results:
        results = super().written()
        write_rows(results.store, "epochs", "all", self.epochs, {})
        return results

    def snapshot(self) -> Snapshot:
        return Snapshot(self.written())


def cells(drawing: Drawing, row: str) -> pd.Series[Any]:
    """One row of a table, by its first column."""
    assert isinstance(drawing, Table)
    return drawing.frame.set_index(drawing.frame.columns[0]).loc[row]
