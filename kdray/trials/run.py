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
from typing import Any

import torch

from kdray.core import fingerprint, seeds
from kdray.data import Dataset, to_unit
from kdray.machine import hardware
from kdray.machine.checked_file import Damaged, pack
from kdray.models import Classifier, images_per_second, size
from kdray.results import Row, Store, has_completed
from kdray.results.metrics import SIZES
from kdray.robustness import Evaluation, Measurement, Subject, label_of, measurements, score
from kdray.teachers import TeacherOracle, frozen
from kdray.training import Diverged, Epoch, State, TrainingSetup, train
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.trials.experiment import Experiment
from kdray.trials.files import checkpoint_file, weights_file
from kdray.trials.log import Log
from kdray.trials.rows import write_epochs, write_measured, write_trial_row, write_unmeasured
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
from kdray.trials.trained import Bench

CURVES = (
    "loss",
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "learning_rate",
    "images_per_second",
)
"""Columns of the epochs table that the event of an epoch holds."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint or weights file is not intact; the trial trains from the start."""


def run_task(
    task: Task,
    *,
    store: Store,
    data_root: Path,
    device: torch.device,
    threads: int,
    gpu: float | None = None,
    retried: str | None = None,
    seconds: float | None = None,
    kernels: ComputeOptions = DEFAULT_COMPUTE,
) -> Generator[TrialEvent, None, None]:
    """Do ``task`` and write its rows and its log; the last event is :class:`Ended`.

    Closed before that, the trial has stopped early: its checkpoint stays, and it has no row.
    ``gpu`` is its share of a GPU, ``retried`` why it is run again; after ``seconds`` the process
    ends itself, also where the trial hangs.
    """
    hardware.make_repeatable(device, threads)
    hardware.cap_memory(device, gpu or 1)
    with (
        Log(store, task.experiment.trial_id) as log,
        log.no_longer_than(seconds),
        closing(
            task_events(task, Bench(store, data_root, device, threads, log, gpu, retried, kernels))
        ) as events,
    ):
        log.say(
            f"begun: {task.role} on {hardware.device_name(device)}, threads {threads}, host "
            f"{hardware.facts()['host']}, "
            f"process {os.getpid()}, kdray {hardware.facts()['kdray_version']}"
            + (f" ({retried})" if retried else "")
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


def task_events(task: Task, bench: Bench) -> Generator[TrialEvent, None, None]:
    """Yield what :func:`run_task` does, event by event."""
    store, trial_id = bench.store, task.experiment.trial_id
    reason: Reason | None = None
    trained: Trained | None = None
    measured: list[Measured] = []
    training = task.train  # what goes wrong later must not touch the row of a trained trial
    try:
        dataset = bench.dataset(task.experiment)
        classifier = None if task.train else stored_classifier(task, bench)
        if classifier is None:
            training = True
            for event in training_events(task, dataset, bench):
                trained = event if isinstance(event, Trained) else None
                yield event
            training = False
            classifier = bench.trained(task.experiment)
        for evaluation in task.evaluations:
            done = epochs_of(task.experiment) + 2 + len(measured)
            measured.append(evaluate(evaluation, classifier, task, dataset, bench, done=done))
            yield measured[-1]
        # Not before: a worker that dies while it measures finds the trained state here, and so does
        # one that measures again with more of a GPU.
        if not any(each.reason.is_transient for each in measured if each.reason is not None):
            store.delete(checkpoint_file(trial_id))
    except Exception as error:
        bench.log.failure("failed", error)
        reason = reason_of(error)
        outcome = Outcome.DIVERGED if isinstance(error, Diverged) else Outcome.FAILED
        if training and not has_completed(store, trial_id):
            row = {"status": str(outcome), **reason_columns(reason), **_finished(), **bench.facts()}
            write_trial_row(store, task, row)
        elif not training:  # the rows of what could not even be begun
            write_unmeasured(store, task, task.evaluations[len(measured) :], reason)
    else:
        failed = any(each.reason is not None for each in measured)
        outcome = Outcome.FAILED if failed else Outcome.COMPLETED
    yield Ended(outcome=outcome, reason=reason, trained=trained, measured=tuple(measured))


def stored_classifier(task: Task, bench: Bench) -> Classifier | None:
    """The trained classifier; none if its weights are gone or damaged and may be trained again."""
    name = weights_file(task.experiment.trial_id)
    try:
        return bench.trained(task.experiment)
    except (FileNotFoundError, Damaged) as error:
        problem = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        if not task.retrain_damaged:
            raise Damaged(
                f"{name} is {problem}; 'kdray forget' it, and 'kdray run' on its sweep "
                "trains it again"
            ) from None
        location = bench.store.place
        warnings.warn(
            f"{location}/{name} is {problem}: training again", DamagedCheckpoint, stacklevel=2
        )
        return None


def training_events(task: Task, dataset: Dataset, bench: Bench) -> Iterator[EpochDone | Trained]:
    """Train from the checkpoint or the start, checkpoint after every epoch, then store weights,
    epochs and row."""
    experiment, store = task.experiment, bench.store
    trial_id = experiment.trial_id
    hardware.reset_peak_memory(bench.device)
    setup = training_setup(experiment, dataset, bench)
    state, started_at = begin_or_resume(experiment, setup, bench)
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
        if state.history:
            write_epochs(store, experiment, state)  # they show how it came to that
        if isinstance(error, Diverged):
            store.delete(checkpoint_file(trial_id))
        raise
    memory = hardware.peak_memory(bench.device)
    state.classifier.load_state_dict(state.kept())
    frozen(state.classifier)
    with seeds.ambient(0, "evaluation"):
        accuracies = {
            f"{name}_accuracy": score(state.classifier, split)[0] / len(split.labels)
            for name, split in (("val", dataset.val), ("test", dataset.test))
        }
    sizes = size(state.classifier, experiment.data.shape)._asdict()
    store.write(weights_file(trial_id), pack(state.kept(), {"trial_id": trial_id}))
    write_epochs(store, experiment, state)
    write_trial_row(
        store,
        task,
        {
            "status": "completed",
            **accuracies,
            "kept_epoch": state.kept_epoch,
            **sizes,
            "images_per_second": images_per_second(state.classifier, experiment.data.shape),
            "train_seconds": state.seconds,
            "peak_memory": memory,
            "started_at": datetime.fromisoformat(started_at),
            "channels_last": bench.kernels.lays_channels_last(bench.device),
            "compiled": bench.kernels.compiles(twice=experiment.method.differentiates_twice),
            **_finished(),
            **bench.facts(),
        },
    )
    metrics = accuracies | {name: float(sizes[name]) for name in SIZES}
    yield Trained(done=epochs_of(experiment) + 1, metrics=metrics)


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


def training_setup(experiment: Experiment, dataset: Dataset, bench: Bench) -> TrainingSetup:
    """What ``experiment`` trains with: its teacher loaded, and asked as it says."""
    teacher, oracle = bench.teacher(experiment), None
    if experiment.method.asks_teacher:
        shared = experiment.teacher if bench.shares else None
        oracle = TeacherOracle(
            experiment.supervision,
            teacher,
            classes=experiment.data.classes,
            seed=experiment.seed,
            name=None if shared is None else shared.trial_id,
            say=bench.log.say,
        )
    return TrainingSetup(
        data=experiment.data,
        dataset=dataset,
        method=experiment.method,
        training=experiment.training,
        noise=experiment.noise,
        oracle=oracle,
        seed=experiment.seed,
    )


def begin_or_resume(
    experiment: Experiment, setup: TrainingSetup, bench: Bench
) -> tuple[State, str]:
    """The state to go on from, and when the training first began (ISO 8601)."""
    store = bench.store
    name, state = (
        checkpoint_file(experiment.trial_id),
        fresh_state(experiment, setup, bench.student(experiment)),
    )
    try:
        if store.exists(name):
            started_at = str(state.unpack(store.read(name))["started_at"])
            bench.log.say(
                f"training goes on after {len(state.history)} of {epochs_of(experiment)} epochs"
            )
            return state, started_at
    except Damaged as error:
        warnings.warn(
            f"{store.place}/{name} is damaged ({error}): starting anew",
            DamagedCheckpoint,
            stacklevel=2,
        )
        state = fresh_state(experiment, setup, bench.student(experiment))
    bench.log.say("training from the start")
    return state, datetime.now(UTC).isoformat()


def fresh_state(experiment: Experiment, setup: TrainingSetup, classifier: Classifier) -> State:
    """The state before the first epoch."""
    teacher = None if setup.oracle is None else setup.oracle.epoch()
    image = to_unit(setup.dataset.train.images[:1])
    classifier.eval()
    with seeds.ambient(
        experiment.seed, "model", 1
    ):  # not the stream that the student's own weights come from
        helper = experiment.method.helper(classifier, teacher, image)
    return State.before(classifier, helper, experiment.training)


def evaluate(
    evaluation: Evaluation,
    classifier: Classifier,
    task: Task,
    dataset: Dataset,
    bench: Bench,
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
            evaluation, subject_of(evaluation, classifier, task, dataset, bench)
        )
        rows = [_measurement_row(measurement) for measurement in measured]
        errors = [measurement.error for measurement in measured if measurement.error is not None]
        if errors:
            reason = reason_of(errors[0])
            bench.log.say(f"{label} failed in part: {reason}")
    except Exception as raised:
        reason = reason_of(raised)
        bench.log.failure(f"{label} failed", raised)
        rows = [reason_columns(reason)]
    write_measured(bench.store, task, evaluation, rows, perf_counter() - began)
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
    evaluation: Evaluation, classifier: Classifier, task: Task, dataset: Dataset, bench: Bench
) -> Subject:
    """Return what ``evaluation`` measures of a task's classifier, and with whom."""
    experiment = task.experiment
    return Subject(
        classifier,
        {"val": dataset.val, "test": dataset.test}[evaluation.split],
        dataset.omitted,
        bench.teacher(experiment) if evaluation.needs_teacher else None,
        experiment.data,
        bench.data_root,
        {other.trial_id: partial(bench.known, other) for other in task.others},
    )


def _measurement_row(measurement: Measurement) -> Row:
    row = measurement.row()
    return row if measurement.error is None else row | reason_columns(reason_of(measurement.error))


def _finished() -> dict[str, Any]:
    return {"finished_at": datetime.now(UTC)}
