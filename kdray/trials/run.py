"""One trial from start to end: train (or go on), store weights and rows, then measure.

The same generator of events runs inside a Ray actor and in a plain loop. It never raises for what
goes wrong inside a trial: that becomes a row with the reason, and a traceback in the trial's log.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import torch

from kdray.core import fingerprint
from kdray.data import Dataset
from kdray.machine import hardware
from kdray.machine.checked_file import Damaged, pack
from kdray.models import Classifier
from kdray.results import Row, Store, has_completed
from kdray.robustness import Evaluation, Measurement, Subject, label_of, measurements
from kdray.teachers import frozen
from kdray.training import Diverged, Epoch, State, train
from kdray.trials.context import DamagedCheckpoint, TrialContext, begin_or_resume, training_setup
from kdray.trials.experiment import Experiment
from kdray.trials.files import checkpoint_file, weights_file
from kdray.trials.grant import DEFAULT_GRANT, Grant
from kdray.trials.imported import measure_imported
from kdray.trials.log import Log
from kdray.trials.rows import write_epochs, write_failure, write_measured, write_trained
from kdray.trials.task import (
    Ended,
    EpochDone,
    Measured,
    Outcome,
    Reason,
    Task,
    Trained,
    TrialEvent,
    epochs_of,
    reason_columns,
    reason_of,
)
from kdray.trials.trained import TrainedModels

CURVES = (
    "loss",
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "learning_rate",
    "images_per_second",
)
"""Columns of the epochs table that the event of an epoch holds."""


def run_task(
    task: Task, *, store: Store, data_root: Path, device: torch.device, grant: Grant = DEFAULT_GRANT
) -> Generator[TrialEvent, None, None]:
    """Do ``task`` and write its rows and its log; the last event is :class:`Ended`.

    Closed before that, the trial has stopped early: its checkpoint stays, and it has no row.
    After the hours of its grant the process ends itself, also where the trial hangs.
    """
    hardware.make_repeatable(device, grant.threads)
    hardware.cap_memory(device, grant.gpu or 1, grant.context)
    with (
        Log(store, task.experiment.trial_id) as log,
        log.no_longer_than(grant.seconds),
        closing(
            task_events(task, TrialContext(TrainedModels(store, data_root, device), grant, log))
        ) as events,
    ):
        log.say(
            f"begun: {task.role} on {hardware.device_name(device)}, threads {grant.threads}, host "
            f"{hardware.facts()['host']}, "
            f"process {os.getpid()}, kdray {hardware.facts()['kdray_version']}"
            + (f" ({grant.retried})" if grant.retried else "")
        )
        for event, seconds in log.watching(events):
            if isinstance(event, Ended):
                log.say(event.summary)
                break
            log.say(f"{event.summary}; {seconds:.1f} s")
            if not isinstance(event, EpochDone):
                log.save()
            yield event
    yield event


def task_events(task: Task, context: TrialContext) -> Generator[TrialEvent, None, None]:
    """Yield what :func:`run_task` does, event by event."""
    store, trial_id = context.models.store, task.experiment.trial_id
    reason: Reason | None = None
    trained: Trained | None = None
    measured: list[Measured] = []
    training = task.train  # what goes wrong later must not touch the row of a trained trial
    try:
        dataset = context.dataset(task.experiment)
        classifier = None if task.train else stored_classifier(task, context)
        if classifier is None:
            training = True
            for event in training_events(task, dataset, context):
                trained = event if isinstance(event, Trained) else None
                yield event
            training = False
            classifier = context.models.load(task.experiment)
        for evaluation in task.evaluations:
            done = epochs_of(task.experiment) + 2 + len(measured)
            measured.append(evaluate(evaluation, classifier, task, dataset, context, done=done))
            yield measured[-1]
        # Not before: where a worker dies before anybody has heard that the trial is trained, the
        # next one finds the trained state here.
        if not any(each.reason.is_transient for each in measured if each.reason is not None):
            store.delete(checkpoint_file(trial_id))
    except Exception as error:
        context.log.failure("failed", error)
        reason = reason_of(error)
        outcome = Outcome.DIVERGED if isinstance(error, Diverged) else Outcome.FAILED
        missing = task.evaluations[len(measured) :]
        columns = {"finished_at": datetime.now(UTC), **context.columns()}
        write_failure(store, task, outcome, reason, missing, trained=not training, columns=columns)
    else:
        failed = any(each.reason is not None for each in measured)
        outcome = Outcome.FAILED if failed else Outcome.COMPLETED
    yield Ended(outcome=outcome, reason=reason, trained=trained, measured=tuple(measured))


def stored_classifier(task: Task, context: TrialContext) -> Classifier | None:
    """The trained classifier; none if its weights are gone or damaged and may be trained again."""
    name = weights_file(task.experiment.trial_id)
    try:
        return context.models.load(task.experiment)
    except (FileNotFoundError, Damaged) as error:
        problem = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        if not task.retrain_damaged:
            raise Damaged(
                f"{name} is {problem}; 'kdray forget' it, and 'kdray run' on its sweep "
                "trains it again"
            ) from None
        location = context.models.store.place
        warnings.warn(
            f"{location}/{name} is {problem}: training again", DamagedCheckpoint, stacklevel=2
        )
        return None


def training_events(
    task: Task, dataset: Dataset, context: TrialContext
) -> Iterator[EpochDone | Trained]:
    """Train from the checkpoint or the start, checkpoint after every epoch, then store weights,
    epochs and row; what was trained elsewhere is only measured."""
    experiment, store = task.experiment, context.models.store
    if not isinstance(experiment, Experiment):
        yield measure_imported(task, experiment, dataset, context)
        return
    trial_id = experiment.trial_id
    hardware.reset_peak_memory(context.models.device)
    setup = training_setup(experiment, dataset, context)
    state, started_at = begin_or_resume(experiment, setup, context)
    stages = {
        stage.name: stage.epochs for stage in experiment.method.stages(experiment.training.epochs)
    }
    try:
        for epoch in train(state, setup):
            store.write(
                checkpoint_file(trial_id),
                state.pack({"trial_id": trial_id, "started_at": started_at}),
            )
            yield EpochDone(
                stage=epoch.stage,
                epoch=epoch.epoch,
                epochs=stages[epoch.stage],
                done=len(state.history),
                metrics=epoch_metrics(epoch),
            )
    except (Diverged, GeneratorExit) as error:
        if state.history and not has_completed(store, trial_id):
            write_epochs(store, experiment, state)  # they show how it came to that
        if isinstance(error, Diverged):
            store.delete(checkpoint_file(trial_id))
        raise
    metrics = _store_trained(task, experiment, dataset, context, state, started_at)
    kind = hardware.device_name(context.models.device)
    yield Trained(done=epochs_of(experiment) + 1, metrics=metrics, device=kind)


def _store_trained(
    task: Task,
    experiment: Experiment,
    dataset: Dataset,
    context: TrialContext,
    state: State,
    started_at: str,
) -> dict[str, float]:
    """Store weights, epochs and row of a network that is trained; return its numbers."""
    store, trial_id = context.models.store, experiment.trial_id
    memory = hardware.peak_memory(context.models.device)
    state.classifier.load_state_dict(state.kept())
    store.write(weights_file(trial_id), pack(state.kept(), {"trial_id": trial_id}))
    write_epochs(store, experiment, state)
    compute, training = context.grant.compute, experiment.training
    row = {
        "status": "completed",
        "kept_epoch": state.kept_epoch,
        "train_seconds": state.seconds,
        "peak_memory": memory,
        "started_at": datetime.fromisoformat(started_at),
        "channels_last": compute.lays_channels_last(context.models.device, training.precision),
        "compiled": compute.compiles(twice=experiment.method.differentiates_twice),
    }
    return write_trained(task, frozen(state.classifier), dataset, context, row)


def epoch_metrics(epoch: Epoch) -> dict[str, float]:
    """Return the curves of an epoch, and ``label.metric`` of what was measured meanwhile where
    there is one number."""
    row = epoch.row()
    measured = [
        (f"{each['label']}.{each['metric']}", each["value"])
        for each in epoch.measured
        if each.get("label")
    ]
    names = [name for name, _ in measured]
    return {column: row[column] for column in CURVES} | {
        n: v for n, v in measured if names.count(n) == 1
    }


def evaluate(
    evaluation: Evaluation,
    classifier: Classifier,
    task: Task,
    dataset: Dataset,
    context: TrialContext,
    *,
    done: int = 0,
) -> Measured:
    """Measure and write the rows; the event has the numbers of which there is one."""
    began = perf_counter()
    label = label_of(evaluation)
    reason: Reason | None = None
    measured: list[Measurement] = []
    try:
        # Here, because a teacher whose weights are gone is the failure of this evaluation and of no
        # other.
        measured = measurements(
            evaluation, subject_of(evaluation, classifier, task, dataset, context)
        )
        rows = [_measurement_row(measurement) for measurement in measured]
        errors = [measurement.error for measurement in measured if measurement.error is not None]
        if errors:
            reason = reason_of(errors[0])
            context.log.say(f"{label} failed in part: {reason}")
    except Exception as raised:
        reason = reason_of(raised)
        context.log.failure(f"{label} failed", raised)
        rows = [reason_columns(reason)]
    write_measured(context.models.store, task, evaluation, rows, perf_counter() - began)
    names = [measurement.metric for measurement in measured]
    metrics = {
        m.metric: m.value
        for m in measured
        if m.metric is not None and m.value is not None and names.count(m.metric) == 1
    }
    return Measured(
        evaluation_id=fingerprint(evaluation),
        label=label,
        done=done,
        metrics={} if evaluation.across else metrics,
        count=sum(m.value is not None for m in measured),
        reason=reason,
    )


def subject_of(
    evaluation: Evaluation,
    classifier: Classifier,
    task: Task,
    dataset: Dataset,
    context: TrialContext,
) -> Subject:
    """Return what ``evaluation`` measures of a task's classifier, and with whom."""
    experiment = task.experiment
    return Subject(
        classifier,
        {"val": dataset.val, "test": dataset.test}[evaluation.split],
        dataset.omitted,
        context.models.teacher(experiment) if evaluation.needs_teacher else None,
        experiment.data,
        context.models.data_root,
        {other.trial_id: partial(context.models.required, other) for other in task.others},
    )


def _measurement_row(measurement: Measurement) -> Row:
    row = measurement.row()
    return row if measurement.error is None else row | reason_columns(reason_of(measurement.error))
