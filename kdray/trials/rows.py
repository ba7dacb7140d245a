"""The rows that a trial leaves in the tables: of its part in a sweep, of the trial, its epochs and
each evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from kdray.core import canonical_json, fingerprint, seeds
from kdray.data import Dataset
from kdray.machine import hardware
from kdray.models import Classifier, images_per_second, size
from kdray.results import Row, Store, has_completed, write_rows
from kdray.results.metrics import ACCURACIES, SIZES
from kdray.robustness import Evaluation, columns_of, score
from kdray.teachers import Pretrained
from kdray.training import State
from kdray.trials.context import TrialContext
from kdray.trials.experiment import AnyTrial, configuration, configuration_columns, loss_columns
from kdray.trials.task import Outcome, Reason, Task, reason_columns


def write_trial_row(store: Store, task: Task, row: Row) -> None:
    """Write the trial's row: what is given, with its configuration and the machine's facts."""
    experiment = task.experiment
    teacher_id = None if experiment.teacher is None else experiment.teacher.trial_id
    complete = {
        "trial_id": experiment.trial_id,
        "role": task.role,
        "teacher_id": teacher_id,
        "seed": experiment.seed,
        "experiment": canonical_json(experiment),
        "imported_weights": experiment.weights if isinstance(experiment, Pretrained) else None,
        **hardware.facts(),
        **configuration(experiment),
        **row,
    }
    write_rows(store, "trials", experiment.trial_id, [complete], configuration_columns())


def write_trained(
    task: Task, classifier: Classifier, dataset: Dataset, context: TrialContext, row: Row
) -> dict[str, float]:
    """Write the row of a trained network: ``row`` and what is measured of every one. Returned are
    its accuracies and sizes."""
    shape = task.experiment.data.shape
    metrics = {**accuracies_of(classifier, dataset), **size(classifier, shape)._asdict()}
    complete = {
        **row,
        **metrics,
        "images_per_second": images_per_second(classifier, shape),
        "finished_at": datetime.now(UTC),
        **context.columns(),
    }
    write_trial_row(context.models.store, task, complete)
    return {name: float(metrics[name]) for name in (*ACCURACIES, *SIZES)}


def accuracies_of(classifier: Classifier, dataset: Dataset) -> dict[str, float]:
    """By column, of the validation and the test split."""
    with seeds.ambient(0, "evaluation"):
        return {
            f"{name}_accuracy": score(classifier, split)[0] / len(split.labels)
            for name, split in (("val", dataset.val), ("test", dataset.test))
        }


def write_epochs(store: Store, experiment: AnyTrial, state: State) -> None:
    """The rows of every epoch that was done, and what was measured meanwhile."""
    trial_id = experiment.trial_id
    write_rows(
        store,
        "epochs",
        trial_id,
        [{"trial_id": trial_id, **e.row()} for e in state.history],
        loss_columns(),
    )
    common = {"trial_id": trial_id, "dataset": experiment.data.name}
    measured = [{**common, **row} for epoch in state.history for row in epoch.measured]
    if measured:
        write_rows(store, "robustness", f"{trial_id}-training", measured, {})


def write_measured(
    store: Store, task: Task, evaluation: Evaluation, rows: Sequence[Row], seconds: float
) -> None:
    """Write what an evaluation gave, or why it gave nothing."""
    experiment = task.experiment
    common = {
        "trial_id": experiment.trial_id,
        "dataset": evaluation.dataset(experiment.data),
        **columns_of(evaluation),
    }
    name = f"{experiment.trial_id}-{common['evaluation_id']}"
    if evaluation.across:  # those that join later have a file of their own
        common["source_trial_id"] = experiment.trial_id
        name += f"-{fingerprint(task.model_copy(update={'evaluations': ()}))}"
    write_rows(
        store, "robustness", name, [{**common, **row, "seconds": seconds} for row in rows], {}
    )


def member_file(member: Row) -> str:
    """The file, of the members table, that one trial's row in a sweep has to itself; without its
    suffix."""
    point = "teacher" if member["point"] is None else member["point"]
    return f"{member['sweep']}-{point}-{member['trial_id']}"


def write_member(store: Store, member: Row) -> None:
    """Write one row of members, into the file that is its own."""
    write_rows(store, "members", member_file(member), [member], {})


def write_failure(
    store: Store,
    task: Task,
    outcome: Outcome,
    reason: Reason,
    missing: Iterable[Evaluation],
    *,
    trained: bool,
    columns: Row | None = None,
) -> None:
    """Write why a task has failed: into the trial's row, with ``columns``, or, where it is
    ``trained`` already and that row has numbers to keep, into those of the evaluations that are
    ``missing``."""
    if trained:
        _write_unmeasured(store, task, missing, reason)
    elif has_completed(store, task.experiment.trial_id):
        again = reason.prefixed("while it was trained again")
        _write_unmeasured(store, task, missing, again)
    else:
        row = {"status": str(outcome), **reason_columns(reason), **(columns or {})}
        write_trial_row(store, task, row)


def _write_unmeasured(
    store: Store, task: Task, evaluations: Iterable[Evaluation], reason: Reason
) -> None:
    """Write why evaluations gave nothing, where that can be written."""
    with suppress(OSError):
        for evaluation in evaluations:
            write_measured(store, task, evaluation, [reason_columns(reason)], 0.0)
