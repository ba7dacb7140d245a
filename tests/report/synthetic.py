"""A results folder made up for the tests of the report: real experiments and ids, invented numbers,
in a moment."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from kdray.core import canonical_json, parse
from kdray.results import Results, Row, Store, write_rows
from kdray.robustness import AnyEvaluation, Evaluation
from kdray.robustness.suite import columns_of
from kdray.trials.experiment import Experiment, configuration, configuration_columns, loss_columns

SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
EPSILONS = (0.05, 0.1, 0.2)
CORRUPTIONS = ("fog", "frost", "jpeg_compression", "gaussian_noise", "contrast")
START = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Made:
    """What a made-up sweep is like."""

    sweep: str = "made-up"
    points: int = 6
    """Of two swept leaves, three temperatures each; of one without a teacher."""
    seeds: int = 3
    epochs: int = 5
    robustness: bool = True
    numbers: int = 0
    """More robustness numbers, of a curve over sigma."""
    failed: int = 0
    """So many points of the last have one trial that failed, …"""
    diverged: int = 0
    """… and so many of the first one that diverged."""
    checks: bool = True
    data: str = "digits"
    case: str | None = None
    teacher: bool = True


def write_made(folder: Path, *sweeps: Made) -> Results:
    """Write ``sweeps`` into ``folder``."""
    store = Store(folder)
    store.create()
    tables = [_rows(made) for made in sweeps]
    for number, rows in enumerate(tables):
        extra = {"trials": configuration_columns(), "epochs": loss_columns()}
        for table in ("members", "trials", "epochs", "robustness"):
            if rows[table]:
                write_rows(store, table, f"part-{number}", rows[table], extra.get(table, {}))
    return Results(folder)


def student(sigma: float, temperature: float, seed: int, made: Made) -> Experiment:
    """The student of a point with a seed."""
    data = {"name": made.data, "examples": 300} if made.data == "digits" else {"name": made.data}
    training = {"epochs": made.epochs, "batch_size": 50}
    model = {"name": "mlp", "hidden": [16]}
    described: dict[str, Any] = {"data": data, "model": model, "training": training, "seed": seed}
    described["noise"] = {"input": {"name": "gaussian", "sigma": sigma}}
    if made.teacher:
        # Its data and training are not the student's, and partly at their default.
        teacher = {
            "data": {"name": made.data},
            "model": {**model, "hidden": [64]},
            "training": {"epochs": 9},
            "seed": 1,
        }
        described |= {"teacher": teacher, "method": {"name": "kd", "temperature": temperature}}
    return Experiment.parse(described)


def _rows(made: Made) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {"members": [], "trials": [], "epochs": [], "robustness": []}
    temperatures = (1.0, 4.0, 16.0) if made.teacher else (1.0,)
    grid = itertools.islice(itertools.product(_sigmas(made.points), temperatures), made.points)
    listed = [
        {"trial_id": "", "seed": 0, "val_accuracy": 0.97},
        {"trial_id": "", "seed": 1, "val_accuracy": 0.98},
    ]
    order = itertools.count()
    for point, (sigma, temperature) in enumerate(grid):
        swept = {"noise.input.sigma": sigma} | (
            {"method.temperature": temperature} if made.teacher else {}
        )
        for seed in range(made.seeds):
            trial = student(sigma, temperature, seed, made)
            if trial.teacher is not None and point == seed == 0:
                rows["members"].append(
                    {
                        "sweep": made.sweep,
                        "trial_id": trial.teacher.trial_id,
                        "role": "teacher",
                        "order": 0,
                        "outcome": "completed",
                    }
                )
                rows["trials"].append(_trial(trial.teacher, "teacher", 0.98))
                rows["epochs"] += _epochs(trial.teacher, 9, 0.98)
            status = "completed"
            if seed == 0 and point >= made.points - made.failed:
                status = "failed"
            elif seed == made.seeds - 1 and point < made.diverged:
                status = "diverged"
            error = {
                "failed": "RuntimeError: CUDA out of memory",
                "diverged": "loss is nan in epoch 2",
            }.get(status)
            rows["members"].append(
                {
                    "sweep": made.sweep,
                    "trial_id": trial.trial_id,
                    "role": "student",
                    "point": point,
                    "case": made.case,
                    "order": next(order),
                    "swept": json.dumps(swept),
                    "error": error,
                    "outcome": "completed" if status == "completed" else "failed",
                    **(
                        {
                            "teacher_selection": "best_validation",
                            "teacher_candidates": json.dumps(listed),
                        }
                        if made.teacher
                        else {}
                    ),
                }
            )
            draw = np.random.default_rng([point, seed]).normal(0, 0.004)
            clean = round(0.97 - 0.1 * sigma**2 - 0.01 * abs(np.log2(temperature) - 2) + draw, 4)
            rows["trials"].append(_trial(trial, "student", clean, status, error))
            if status != "failed":
                rows["epochs"] += _epochs(trial, made.epochs, clean)
            if made.robustness and status == "completed":
                rows["robustness"] += _robustness(trial, clean, sigma, made)
    return rows


def _sigmas(points: int) -> Sequence[float]:
    return (
        SIGMAS
        if points <= 30
        else [round(float(sigma), 4) for sigma in np.linspace(0, 0.8, points // 3 + 1)]
    )


def _trial(
    trial: Experiment,
    role: str,
    accuracy: float,
    status: str = "completed",
    error: str | None = None,
) -> Row:
    known = status == "completed"
    return {
        "trial_id": trial.trial_id,
        "role": role,
        "teacher_id": trial.teacher.trial_id if trial.teacher else None,
        "experiment": canonical_json(trial),
        "seed": trial.seed,
        "status": status,
        "error": error,
        "val_accuracy": accuracy if known else None,
        "test_accuracy": accuracy - 0.01 if known else None,
        "parameters": 1210,
        "train_seconds": 4.5,
        "device": "cpu",
        "cpu": "A processor",
        "host": "here",
        "threads": 1,
        "kdray_version": "0.1.0",
        "torch_version": "2.9.0",
        "python_version": "3.11.7",
        "ray_version": "2.58.0",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "started_at": START,
        "finished_at": START + timedelta(minutes=3),
        **configuration(trial),
    }


def _epochs(trial: Experiment, epochs: int, accuracy: float) -> Iterator[Row]:
    for epoch in range(1, epochs + 1):
        progress = 1 - 0.5**epoch
        yield {
            "trial_id": trial.trial_id,
            "stage": "main",
            "epoch": epoch,
            "learning_rate": 0.1,
            "loss": 2.3 * (1 - progress),
            "train_accuracy": accuracy * progress,
            "val_accuracy": accuracy * progress,
            "val_loss": 2.4 * (1 - progress),
            "seconds": 0.5,
            "images_per_second": 1000.0,
        }


def _robustness(trial: Experiment, clean: float, sigma: float, made: Made) -> Iterator[Row]:
    def row(evaluation: Evaluation, accuracy: float, **fields: Any) -> Row:
        correct = round(max(0.05, accuracy) * 400)
        common = {
            "trial_id": trial.trial_id,
            "dataset": made.data,
            "metric": "accuracy",
            "examples": 400,
        }
        return {
            **common,
            **columns_of(evaluation),
            "value": correct / 400,
            "correct": correct,
            **fields,
        }

    doubt = "zero or undefined gradient for 3 of 400 images" if made.checks and sigma == 0 else None
    pgd = _evaluation(label="pgd20", name="pgd", epsilon=0.1, step_size=0.02, steps=20)
    yield row(pgd, clean * (0.3 + 0.5 * sigma), norm="linf", epsilon=0.1, steps=20, checks=doubt)
    for epsilon in EPSILONS:
        fgsm = _evaluation(label=f"fgsm_{round(1000 * epsilon)}", name="fgsm", epsilon=epsilon)
        yield row(fgsm, clean - (2 - sigma) * epsilon, norm="linf", epsilon=epsilon)
    for corruption, severity in itertools.product(CORRUPTIONS, (1, 3, 5)):
        accuracy = clean - 0.02 * severity * len(corruption) / 8
        yield row(
            _evaluation(name="corruptions"), accuracy, corruption=corruption, severity=severity
        )
    levels = np.linspace(0.1, 0.5, made.numbers or 3).round(4).tolist()
    for level in levels:
        noise = _evaluation(label="noise", name="gaussian_noise", sigmas=levels)
        yield row(noise, clean - (0.8 - sigma) * level, sigma=level)


def _evaluation(**fields: Any) -> Evaluation:
    return _parsed(json.dumps(fields))


@cache
def _parsed(text: str) -> Evaluation:
    return parse(AnyEvaluation, json.loads(text))
