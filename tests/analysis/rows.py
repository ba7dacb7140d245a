"""Results folders with made-up numbers, quickly: as the sweeps leave them, without training
anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kdray.results import Results, Row, Store, write_rows

TYPES: dict[str, type] = {
    "data.name": str,
    "model.name": str,
    "model.dropout": float,
    "method.name": str,
    "noise.input.name": str,
    "noise.input.sigma": float,
    "noise.labels.rate": float,
    "supervision.noise": str,
    "supervision.dropout": str,
    "teacher.model.dropout": float,
    "teacher.noise.labels.rate": float,
    "data.examples": int,
    "data.omit_classes": str,
    "training.epochs": int,
    "training.monitor.every": int,
    "supervision.smoothing.aggregate": str,
    "method.temperature": float,
    "model.network": str,
    "data.pad": int,
    "data.file": str,
    "noise.input.snr": float,
    "noise.labels.matrix": str,
    "model.weight_noise.name": str,
    "model.input_sigma": float,
    "teacher.model.input_sigma": float,
    "init.weights": str,
    "teacher.noise.input.name": str,
    "teacher.method.name": str,
    "teacher.teacher.noise.labels.rate": float,
}
"""Configuration columns of the trials; the rest of the configuration does not matter to a
figure."""


class Folder:
    """Rows that are collected, then written as one file for each table."""

    def __init__(self, path: Path, data: str = "cifar10") -> None:
        self.path, self.data = path, data
        self.members: list[Row] = []
        self.trials: list[Row] = []
        self.numbers: list[Row] = []

    def trial(
        self,
        sweep: str,
        point: int,
        seed: int,
        *,
        role: str = "student",
        case: str | None = None,
        swept: dict[str, Any] | None = None,
        outcome: str = "completed",
        **fields: Any,
    ) -> str:
        """One trial of a point; its id. Fields are columns of ``trials``, with ``__`` for a dot."""
        trial_id = f"{sweep}-{role}-{point}-{seed}"
        configured = {name.replace("__", "."): value for name, value in fields.items()}
        self.members.append(
            {
                "sweep": sweep,
                "trial_id": trial_id,
                "role": role,
                "case": case,
                "order": len(self.members),
                "outcome": outcome,
                "point": point if role == "student" else None,
                "point_id": str(point) if role == "student" else None,
                "swept": json.dumps(swept or {}),
            }
        )
        known = {
            path: json.dumps(value, sort_keys=True) if isinstance(value, list) else value
            for path, value in (swept or {}).items()
            if path in TYPES
        }
        self.trials.append(
            {
                "trial_id": trial_id,
                "role": role,
                "seed": seed,
                "status": "completed",
                "data.name": self.data,
                "model.name": "wide_resnet",
                "supervision.noise": "[]",
                **known,
                **configured,
            }
        )
        return trial_id

    def number(
        self,
        trial_id: str,
        label: str,
        evaluation: str,
        value: float,
        *,
        metric: str = "accuracy",
        **fields: Any,
    ) -> None:
        """One number of an evaluation, on the test split."""
        self.numbers.append(
            {
                "trial_id": trial_id,
                "evaluation_id": label,
                "label": label,
                "evaluation": evaluation,
                "metric": metric,
                "value": value,
                "split": "test",
                "dataset": self.data,
                "evaluation_parameters": "{}",
                **fields,
            }
        )

    def pgd(
        self, trial_id: str, value: float, step_size: float = 2 / 255, label: str = "pgd20"
    ) -> None:
        """Accuracy under the attack of the paper's sweeps."""
        self.number(
            trial_id,
            label,
            "pgd",
            value,
            norm="linf",
            epsilon=8 / 255,
            step_size=step_size,
            steps=20,
            restarts=5,
        )

    def written(self) -> Results:
        """The folder, written."""
        store = Store(self.path)
        store.create()
        write_rows(store, "members", "all", self.members, {})
        write_rows(store, "trials", "all", self.trials, TYPES)
        write_rows(store, "robustness", "all", self.numbers, {})
        return Results(self.path)
