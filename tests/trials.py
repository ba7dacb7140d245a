"""Trials of a tenth of a second on real digits, and what two runs of one trial must have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kdray.core import canonical, parse
from kdray.data import Dataset
from kdray.experiment import Experiment
from kdray.models import build
from kdray.results import Results, Store
from kdray.training import State
from kdray.trial import Step, Task, run_task

CPU = torch.device("cpu")
NOWHERE = Path("/nowhere")
"""A data folder: digits need none."""
TIMINGS = {"images_per_second", "seconds", "train_seconds", "peak_memory", "started_at", "finished_at"}
"""Columns that may differ between two runs of one trial."""


def description(**fields: Any) -> dict[str, Any]:
    """An experiment as plain JSON values: 300 digits (180 to train on), a small MLP, 3 epochs; ``fields`` replace parts."""
    return {
        "data": {"name": "digits", "examples": 300},
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"epochs": 3, "batch_size": 50},
        **fields,
    }


def experiment(**fields: Any) -> Experiment:
    return Experiment.parse(description(**fields))


def distillation(**fields: Any) -> Experiment:
    """A student of 8 hidden units and its teacher of 16."""
    return experiment(
        **{"model": {"name": "mlp", "hidden": [8]}, "teacher": description(), "method": {"name": "kd"}, **fields}
    )


def digits(described: Experiment) -> Dataset:
    return described.data.load(NOWHERE)


def fresh(described: Experiment) -> State:
    """The state before the first epoch."""
    classifier = build(described.model, described.data, digits(described), described.seed)
    return State(classifier, described.training.optimizer.build(classifier.parameters()))


def store_in(folder: Path) -> Store:
    store = Store(folder)
    store.create()
    return store


def do(described: Experiment, store: Store, *evaluations: dict[str, Any], **fields: Any) -> list[Step]:
    """All steps of the task of training and measuring ``described``; ``fields`` are those of a task."""
    return list(steps(described, store, *evaluations, **fields))


def steps(described: Experiment, store: Store, *evaluations: dict[str, Any], **fields: Any) -> Iterator[Step]:
    written = {"role": "student", "experiment": canonical(described), "evaluations": list(evaluations), **fields}
    return run_task(parse(Task, written), store=store, data_root=NOWHERE, device=CPU, threads=1)


def stored(store: Store, trial_id: str) -> dict[str, pd.DataFrame]:
    """Everything that the three tables say of a trial, but for timings."""
    results = Results(store.location)
    tables = {"trials": results.trials(), "epochs": results.epochs(), "robustness": results.robustness()}
    return {
        name: table[table["trial_id"] == trial_id].drop(columns=TIMINGS & set(table)).reset_index(drop=True)
        for name, table in tables.items()
    }


def assert_same_bits(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == other.keys()
    for name, table in one.items():
        # A column's dtype in pandas depends on whether other trials leave it empty.
        pd.testing.assert_frame_equal(table, other[name], check_exact=True, check_dtype=False, obj=name)
