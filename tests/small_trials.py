"""Trials of a tenth of a second on real digits, and what two runs of one trial must have in
common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kdray.core import canonical, parse
from kdray.data import Dataset
from kdray.methods import Method, TeacherSource
from kdray.models import Classifier, build, fit, smallest_batch
from kdray.results import TABLES, Results, Store
from kdray.results.columns import NOTE
from kdray.teachers import TeacherOracle
from kdray.training import State, TrainingSetup
from kdray.trials.context import fresh_state
from kdray.trials.experiment import Experiment
from kdray.trials.run import run_task
from kdray.trials.task import Task, TrialEvent

CPU = torch.device("cpu")
NOWHERE = Path("/nowhere")
"""A data folder: digits need none."""
TIMINGS = {
    column.name
    for columns in TABLES.values()
    for column in columns
    if column.role is NOTE and column.unit in ("s", "1/s", "bytes", "UTC")
}
"""Columns that may differ between two runs of one trial."""


def description(**fields: Any) -> dict[str, Any]:
    """An experiment as plain JSON values: 300 digits (180 to train on), a small MLP, 3 epochs;
    ``fields`` replace parts."""
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
        **{
            "model": {"name": "mlp", "hidden": [8]},
            "teacher": description(),
            "method": {"name": "kd"},
            **fields,
        }
    )


def digits(described: Experiment) -> Dataset:
    return described.data.load(NOWHERE)


def untrained(described: Experiment) -> Classifier:
    normalization = fit(described.data, digits(described))
    return build(described.model, described.data, normalization, described.seed)


def teacher_of(described: Experiment) -> Classifier:
    """An untrained classifier is as good as a trained one where only the plumbing is looked at."""
    assert described.teacher is not None
    return untrained(described.teacher)


def asked(described: Experiment, teacher: Classifier | None) -> TeacherOracle:
    """``teacher`` as the experiment asks it."""
    return TeacherOracle(
        described.supervision, teacher, classes=described.data.classes, seed=described.seed
    )


def setup(
    described: Experiment,
    *,
    teacher: Classifier | TeacherSource | None = None,
    method: Method | None = None,
) -> TrainingSetup:
    """What the experiment trains with."""
    source = asked(described, teacher) if isinstance(teacher, Classifier) else teacher
    if source is None and described.supervision.virtual is not None:
        source = asked(described, None)
    return TrainingSetup(
        data=described.data,
        dataset=digits(described),
        method=method or described.method,
        training=described.training,
        noise=described.noise,
        oracle=source,
        seed=described.seed,
        smallest_batch=smallest_batch(*described.network),
    )


def fresh(described: Experiment, teacher: Classifier | None = None) -> State:
    """The state before the first epoch."""
    return fresh_state(described, setup(described, teacher=teacher), untrained(described))


def store_in(folder: Path) -> Store:
    store = Store(folder)
    store.create()
    return store


def do(
    described: Experiment, store: Store, *evaluations: dict[str, Any], **fields: Any
) -> list[Any]:
    """All events of the task of training and measuring ``described``; ``fields`` are those of a
    task."""
    return list(steps(described, store, *evaluations, **fields))


def steps(
    described: Experiment, store: Store, *evaluations: dict[str, Any], **fields: Any
) -> Iterator[TrialEvent]:
    written = {
        "role": "student",
        "experiment": canonical(described),
        "evaluations": list(evaluations),
        **fields,
    }
    return run_task(parse(Task, written), store=store, data_root=NOWHERE, device=CPU)


def stored(store: Store, trial_id: str) -> dict[str, pd.DataFrame]:
    """Everything that the three tables say of a trial, but for timings."""
    results = Results(store.location)
    tables = {
        "trials": results.trials(),
        "epochs": results.epochs(),
        "robustness": results.robustness(),
    }
    return {
        name: table[table["trial_id"] == trial_id]
        .drop(columns=TIMINGS & set(table))
        .reset_index(drop=True)
        for name, table in tables.items()
    }


def assert_same_bits(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == other.keys()
    for name, table in one.items():
        # A column's dtype in pandas depends on whether other trials leave it empty.
        pd.testing.assert_frame_equal(
            table, other[name], check_exact=True, check_dtype=False, obj=name
        )
