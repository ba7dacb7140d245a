"""Whole trials on a device, what they have stored, and where two differ."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import pandas as pd
import torch
from torch import Tensor

from kdray.core import canonical, parse
from kdray.machine.checked_file import unpack
from kdray.results import TABLES, Results, Store
from kdray.results.columns import NOTE
from kdray.trials.experiment import AnyTrial, Experiment
from kdray.trials.files import weights_file
from kdray.trials.grant import DEFAULT_GRANT, Grant
from kdray.trials.run import run_task
from kdray.trials.task import Ended, EpochDone, Outcome, Task, TrialEvent

Role = Literal["teacher", "student"]
NOWHERE = Path("/nowhere")
"""A data folder: digits need none."""
EVALUATIONS: tuple[dict[str, Any], ...] = (
    {"name": "clean"},
    {"name": "gaussian_noise"},
    {"name": "pgd", "steps": 3, "restarts": 2, "epsilon": 0.1, "step_size": 0.05},
)


class TrialFailed(Exception):
    """A trial has not completed."""


class Stored(NamedTuple):
    """What a trial has left."""

    weights: dict[str, Tensor]
    tables: dict[str, pd.DataFrame]
    """Without what may differ between two runs of one trial."""

    @classmethod
    def of(cls, store: Store, trial_id: str) -> Stored:
        results = Results(store.location)
        frames = {
            "trials": results.trials(),
            "epochs": results.epochs(),
            "robustness": results.robustness(),
        }
        tables = {
            name: frame.loc[frame["trial_id"] == trial_id, found_again(name, frame)]
            for name, frame in frames.items()
        }
        return cls(unpack(store.read(weights_file(trial_id)))[0], tables)


def found_again(table: str, frame: pd.DataFrame) -> list[str]:
    """The columns that the same trial fills with the same values again."""
    notes = {c.name for columns in TABLES.values() for c in columns if c.role is NOTE}
    return [str(column) for column in frame if column not in notes]


def differences(one: Stored, other: Stored) -> list[str]:
    """The tensors of which a bit differs, and the columns of which a value does."""
    names = one.weights.keys() | other.weights.keys()
    tensors = [
        name for name in names if _bits(one.weights.get(name)) != _bits(other.weights.get(name))
    ]
    columns = [
        f"{table}.{column}"
        for table in one.tables
        for column in one.tables[table].columns.union(other.tables[table].columns)
        if _values(one.tables[table], column) != _values(other.tables[table], column)
    ]
    return sorted(tensors) + columns


def _bits(tensor: Tensor | None) -> tuple[Any, ...] | None:
    if tensor is None:
        return None
    return tensor.dtype, tensor.shape, tensor.cpu().contiguous().numpy().tobytes()


def _values(frame: pd.DataFrame, column: str) -> list[str] | None:
    """As text, which tells any two numbers apart and takes none for another's equal."""
    return None if column not in frame else [repr(value) for value in frame[column]]


def events(
    trial: AnyTrial, role: Role, store: Store, device: torch.device, grant: Grant = DEFAULT_GRANT
) -> Generator[TrialEvent, None, None]:
    """What a trial reports while it is done; students are measured too."""
    written = {
        "role": role,
        "experiment": canonical(trial),
        "evaluations": list(EVALUATIONS) if role == "student" else [],
    }
    task = parse(Task, written)
    return run_task(task, store=store, data_root=NOWHERE, device=device, grant=grant)


def complete(
    trial: AnyTrial, role: Role, store: Store, device: torch.device, grant: Grant = DEFAULT_GRANT
) -> None:
    """Do a trial; :class:`TrialFailed` if anything of it goes wrong."""
    *_, last = events(trial, role, store, device, grant)
    assert isinstance(last, Ended)
    if last.outcome != Outcome.COMPLETED:
        raise TrialFailed(str(last.problem))


def with_teacher(experiment: Experiment, folder: Path, device: torch.device) -> Path:
    """``folder`` as results that hold nothing but the trained teacher, if there is one."""
    store = Store(folder)
    store.create()
    if experiment.teacher is not None:
        complete(experiment.teacher, "teacher", store, device)
    return folder


def student_in(
    folder: Path,
    experiment: Experiment,
    device: torch.device,
    grant: Grant = DEFAULT_GRANT,
    *,
    stops: bool = False,
) -> Stored:
    """What the student leaves that is trained in ``folder``, in one go or, if it ``stops`` after
    its first epoch, in two. What its teacher says is asked for anew."""
    store = Store(folder)
    with patch.dict(os.environ, {"KDRAY_CACHE": str(folder)}):
        if stops:
            begun = events(experiment, "student", store, device, grant)
            next(event for event in begun if isinstance(event, EpochDone))
            begun.close()
        complete(experiment, "student", store, device, grant)
    return Stored.of(store, experiment.trial_id)
