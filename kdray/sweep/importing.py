"""A model that somebody else trained becomes a trial of a results folder, without Ray."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from kdray.core import InputError
from kdray.data import data_root
from kdray.machine import hardware
from kdray.results import Results, Row, Store, has_completed
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import objectives_file, write_objectives
from kdray.sweep.definition.file import NAME
from kdray.sweep.scheduling.lock import only_driver
from kdray.teachers import Pretrained
from kdray.teachers.pretrained import ImportedWeights, read_pretrained
from kdray.trials.files import weights_file
from kdray.trials.grant import Grant
from kdray.trials.rows import write_member
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Outcome, Task, outcome_columns

FAR_BELOW = 0.02
"""An accuracy that is so much below the expected one is a warning."""
MISTAKE = (
    "wrong normalisation is the commonest mistake (that of the training: --normalization "
    "'{mean: […], std: […]}', of images in [0, 1]), another order of the classes the next"
)


class Imported(NamedTuple):
    """A model that is a trial now."""

    trial_id: str
    sweep: str
    name: str
    accuracies: dict[str, float]
    """By split."""
    parameters: int
    was_there: bool

    def doubt(self, expected: float | None) -> str | None:
        """What makes it doubtful that the model does here what it did elsewhere; ``expected`` is
        its test accuracy there."""
        test = self.accuracies["test"]
        if expected is None or test >= expected - FAR_BELOW:
            return None
        return f"test accuracy {test:.4f} is far below the expected {expected:.4f}: {MISTAKE}"


def import_model(
    results: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    *,
    model: dict[str, Any],
    data: dict[str, Any],
    normalization: dict[str, Any] | str = "none",
    sweep: str = "imported",
    name: str | None = None,
    data_folder: str | os.PathLike[str] | None = None,
) -> Imported:
    """Make the weights in a file a trial in ``results``, with the status ``imported``, which is
    evaluated, reported and exported like any other.

    It becomes a point of the sweep ``sweep``, whose case is ``name`` (the file's).
    :class:`kdray.InputError` if the weights do not fit the model, or the data are not there.
    """
    path, root = Path(weights).expanduser(), data_root(data_folder)
    if re.fullmatch(NAME, sweep) is None:
        raise InputError(f"--sweep: {sweep!r} is no name of a sweep (letters, digits, '-_.')")
    described = {"model": model, "data": data, "normalization": normalization}
    read = read_pretrained(described, path)
    read.pretrained.data.check(root)
    store = Store(results)
    store.create()
    with only_driver(store, sweep):
        was_there = _is_there(store, read.pretrained)
        if not was_there:
            _measure(store, read, root)
        if not store.exists(objectives_file(sweep)):  # a sweep that was run has its own
            write_objectives(store, sweep, Objectives(objectives=(Objective(),), seeds=1))
        member = _member(Results(store.location), read.pretrained, sweep, name or path.stem)
        write_member(store, member)
    where = [("trial_id", "==", read.pretrained.trial_id)]
    (row,) = Results(store.location).trials(where=where).to_dict("records")
    return Imported(
        read.pretrained.trial_id,
        sweep,
        str(member["case"]),
        {split: float(row[f"{split}_accuracy"]) for split in ("val", "test")},
        int(row["parameters"]),
        was_there,
    )


def _is_there(store: Store, pretrained: Pretrained) -> bool:
    stored = store.exists(weights_file(pretrained.trial_id))
    return stored and has_completed(store, pretrained.trial_id)


def _measure(store: Store, read: ImportedWeights, root: Path) -> None:
    """Store the weights, and the row of the trial."""
    store.write(weights_file(read.pretrained.trial_id), read.packed())
    task = Task(role="student", experiment=read.pretrained)
    # On the CPU: a GPU is granted by Ray alone, since others may be using it.
    grant, device = Grant(cpu=float(hardware.cpus())), hardware.device([])
    *_, last = run_task(task, store=store, data_root=root, device=device, grant=grant)
    assert isinstance(last, Ended)
    if last.failed:
        raise InputError(f"{read.path}: cannot be measured: {last.problem}")


def _member(found: Results, pretrained: Pretrained, sweep: str, case: str) -> Row:
    """The row of the trial in the sweep that gathers what was imported."""
    rows = found.members()
    rows = rows[(rows["sweep"] == sweep) & (rows["role"] == "student")]
    known = rows[rows["trial_id"] == pretrained.trial_id]
    if known.empty:
        point = 0 if rows.empty else int(rows["point"].max()) + 1
    else:
        point, case = int(known["point"].iloc[0]), str(known["case"].iloc[0])
    return {
        "sweep": sweep,
        "role": "student",
        "case": case,
        "swept": "{}",
        "trial_id": pretrained.trial_id,
        "point_id": pretrained.point_id,
        "point": point,
        "order": point,
        **outcome_columns(Outcome.COMPLETED, None),
    }
