"""One trial from start to end: train (or go on), store weights and rows, then measure; one step for each item.

The same generator runs inside a Ray actor and in a plain loop. It never raises for what goes wrong inside a trial: that
becomes a row with the reason.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch

from kdray import machine
from kdray.core import Several, Value, canonical, canonical_json, fingerprint
from kdray.data import Dataset
from kdray.experiment import Experiment, configuration, configuration_columns, loss_columns
from kdray.models import Classifier, build, images_per_second, size
from kdray.results import Row, Store, has_completed, write_rows
from kdray.robustness import AnyEvaluation, Evaluation, score
from kdray.teachers import PlainTeacher, frozen, load_classifier
from kdray.training import Diverged, State, train
from kdray.weights import Damaged, pack

FAULTS = ("OutOfMemoryError", "WorkerDied", "Damaged")
"""Beside Python's OSError and MemoryError: errors of the machine rather than of the experiment, which the same command tries
again."""


class DamagedCheckpoint(UserWarning):
    """A checkpoint or weights file is not intact; the trial trains from the start."""


class Task(Value):
    """What is to be done for one trial: train it if need be, then measure it."""

    role: Literal["teacher", "student"]
    experiment: Experiment
    evaluations: Several[AnyEvaluation] = ()
    """Only those that are still missing."""
    train: bool = True
    """False: it is trained already, its weights are stored."""
    retrain_damaged: bool = True
    """Whether weights that turn out to be missing or damaged are trained again, or are the failure of this task."""


Outcome = Literal["completed", "failed"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a trial has just done."""

    kind: Literal["epoch", "trained", "evaluation", "end"]
    text: str
    """For people: "epoch 3/20", "pgd20"."""
    done: int
    """Steps done of ``total``."""
    total: int
    numbers: dict[str, float] = field(default_factory=dict)
    """By name: val_accuracy, and on the last step ``label.metric`` of every evaluation with one number for it."""
    outcome: Outcome | None = None
    """Set on the last step only."""
    error: str | None = None
    """On the last step: why there is no trained model."""
    failed: dict[str, str] = field(default_factory=dict)
    """On the last step: evaluations that could not be measured, by label, with the reason."""

    @property
    def reasons(self) -> str | None:
        """Everything that went wrong, in one line."""
        listed = [] if self.error is None else [self.error]
        return "; ".join([*listed, *(f"{label}: {reason}" for label, reason in self.failed.items())]) or None


def weights_file(trial_id: str) -> str:
    return f"weights/{trial_id}.safetensors"


def checkpoint_file(trial_id: str) -> str:
    return f"checkpoints/{trial_id}.safetensors"


def is_fault(error: str | None) -> bool:
    """Whether a stored error speaks of the machine, so that trying again may help."""
    name = (error or "").partition(":")[0]
    kind = getattr(builtins, name, None)
    return name in FAULTS or (isinstance(kind, type) and issubclass(kind, OSError | MemoryError))


def describe(error: BaseException) -> str:
    """An exception in one line, its class first."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}"


def run_task(task: Task, *, store: Store, data_root: Path, device: torch.device, threads: int) -> Iterator[Step]:
    """Do ``task`` and write its rows, one step per item; the last item has an outcome."""
    machine.make_repeatable(device, threads)
    trial_id, epochs = task.experiment.trial_id, task.experiment.training.epochs
    total = epochs + 1 + len(task.evaluations)
    done, problem = 0, None
    numbers: dict[str, float] = {}
    failed: dict[str, str] = {}
    training = task.train  # what goes wrong later must not touch the row of a trained trial
    try:
        dataset = task.experiment.data.load(data_root).to(device)
        classifier = None if task.train else stored_classifier(task, store, device)
        if classifier is None:
            training = True
            for step in training_steps(task, dataset, store=store, threads=threads, total=total):
                numbers |= step.numbers
                done = step.done
                yield step
            training = False
            classifier = load_classifier(
                task.experiment.model, task.experiment.data, store.read(weights_file(trial_id)), device
            )
        done = epochs + 1
        for evaluation in task.evaluations:
            error = evaluate(evaluation, classifier, task.experiment, dataset, store, numbers)
            if error is not None:
                failed[label_of(evaluation)] = error
            done += 1
            yield Step(kind="evaluation", text=label_of(evaluation), done=done, total=total)
        # Not before: a worker that dies while it measures finds the trained state here.
        store.delete(checkpoint_file(trial_id))
    except Exception as error:
        if training and not has_completed(store, trial_id):
            status = "diverged" if isinstance(error, Diverged) else "failed"
            write_trial_row(store, task, {"status": status, "error": describe(error), **_finished()}, device, threads)
        problem = describe(error)
    outcome: Outcome = "failed" if problem or failed else "completed"
    yield Step(kind="end", text=outcome, done=done, total=total, numbers=numbers, outcome=outcome, error=problem,
               failed=failed)  # fmt: skip


def stored_classifier(task: Task, store: Store, device: torch.device) -> Classifier | None:
    """The trained classifier; none if its weights are gone or damaged and may be trained again."""
    name = weights_file(task.experiment.trial_id)
    try:
        return load_classifier(task.experiment.model, task.experiment.data, store.read(name), device)
    except (FileNotFoundError, Damaged) as error:
        problem = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        if not task.retrain_damaged:
            raise Damaged(f"{name} is {problem}; 'kdray run' on its sweep trains it again") from None
        warnings.warn(f"{store.location}/{name} is {problem}: training again", DamagedCheckpoint, stacklevel=2)
        return None


def training_steps(task: Task, dataset: Dataset, *, store: Store, threads: int, total: int) -> Iterator[Step]:
    """Train from the checkpoint or the start, checkpoint after every epoch, then store weights, epochs and row."""
    experiment, device = task.experiment, dataset.train.images.device
    trial_id, epochs = experiment.trial_id, experiment.training.epochs
    machine.reset_peak_memory(device)
    teacher = None
    if experiment.teacher is not None:
        packed = store.read(weights_file(experiment.teacher.trial_id))
        teacher = PlainTeacher(load_classifier(experiment.teacher.model, experiment.teacher.data, packed, device))
    state, started_at = begin_or_resume(experiment, dataset, store)
    steps = train(
        state, data=experiment.data, dataset=dataset, method=experiment.method, training=experiment.training,
        noise=experiment.noise, teacher=teacher, seed=experiment.seed,
    )  # fmt: skip
    try:
        for epoch in steps:
            store.write(checkpoint_file(trial_id), state.pack({"trial_id": trial_id, "started_at": started_at}))
            yield Step(kind="epoch", text=f"epoch {epoch.epoch}/{epochs}", done=epoch.epoch, total=total,
                       numbers={"val_accuracy": epoch.val_accuracy})  # fmt: skip
    except Diverged:
        write_epochs(store, trial_id, state)  # they show how it came to that
        store.delete(checkpoint_file(trial_id))
        raise
    memory = machine.peak_memory(device)
    state.classifier.load_state_dict(state.kept())
    frozen(state.classifier)
    numbers = {
        f"{name}_accuracy": score(state.classifier, split)[0] / len(split.labels)
        for name, split in (("val", dataset.val), ("test", dataset.test))
    }
    store.write(weights_file(trial_id), pack(state.kept(), {"trial_id": trial_id}))
    write_epochs(store, trial_id, state)
    write_trial_row(store, task, {
        "status": "completed", **numbers, "kept_epoch": state.kept_epoch,
        **size(state.classifier, experiment.data.shape)._asdict(),
        "images_per_second": images_per_second(state.classifier, experiment.data.shape),
        "train_seconds": state.seconds, "peak_memory": memory, "started_at": datetime.fromisoformat(started_at),
        **_finished(),
    }, device, threads)  # fmt: skip
    yield Step(kind="trained", text="trained", done=epochs + 1, total=total, numbers=numbers)


def write_epochs(store: Store, trial_id: str, state: State) -> None:
    """The rows of every epoch that was done."""
    write_rows(store, "epochs", trial_id, [{"trial_id": trial_id, **e.row()} for e in state.history], loss_columns())


def begin_or_resume(experiment: Experiment, dataset: Dataset, store: Store) -> tuple[State, str]:
    """The state to go on from, and when the training first began (ISO 8601)."""

    def fresh() -> State:
        classifier = build(experiment.model, experiment.data, dataset, experiment.seed)
        classifier = classifier.to(dataset.train.images.device)
        return State(classifier, experiment.training.optimizer.build(classifier.parameters()))

    name, state = checkpoint_file(experiment.trial_id), fresh()
    try:
        if store.exists(name):
            return state, str(state.unpack(store.read(name))["started_at"])
    except Damaged as error:
        warnings.warn(f"{store.location}/{name} is damaged ({error}): starting anew", DamagedCheckpoint, stacklevel=2)
        state = fresh()
    return state, datetime.now(UTC).isoformat()


def evaluate(
    evaluation: Evaluation, classifier: Classifier, experiment: Experiment, dataset: Dataset, store: Store,
    numbers: dict[str, float],
) -> str | None:  # fmt: skip
    """Measure and write the rows; the numbers go into ``numbers`` by ``label.metric``. The error, if there was one."""
    began = perf_counter()
    trial_id, evaluation_id = experiment.trial_id, fingerprint(evaluation)
    split = {"val": dataset.val, "test": dataset.test}[evaluation.split].first(evaluation.examples)
    common = {
        "trial_id": trial_id, "evaluation_id": evaluation_id, "label": label_of(evaluation),
        "evaluation": kind_of(evaluation), "split": evaluation.split, "dataset": experiment.data.name,
        "parameters": canonical_json(evaluation),
    }  # fmt: skip
    error, measured = None, []
    try:
        measured = list(evaluation.measure(classifier, split))
        rows: list[Row] = [{**common, **asdict(measurement)} for measurement in measured]
    except Exception as raised:
        error = describe(raised)
        rows = [{**common, "error": error}]
    seconds = perf_counter() - began
    write_rows(store, "robustness", f"{trial_id}-{evaluation_id}", [{**row, "seconds": seconds} for row in rows], {})
    metrics = [measurement.metric for measurement in measured]
    numbers |= {f"{label_of(evaluation)}.{m.metric}": m.value for m in measured if metrics.count(m.metric) == 1}
    return error


def label_of(evaluation: Evaluation) -> str:
    """What people call an evaluation."""
    return evaluation.label or kind_of(evaluation)


def kind_of(evaluation: Evaluation) -> str:
    """The evaluation's name in YAML."""
    return str(canonical(evaluation)["name"])


def write_trial_row(store: Store, task: Task, row: Row, device: torch.device, threads: int) -> None:
    """Write the trial's row: what is given, with its configuration and the machine's facts."""
    experiment = task.experiment
    teacher_id = None if experiment.teacher is None else experiment.teacher.trial_id
    complete = {
        "trial_id": experiment.trial_id, "role": task.role, "teacher_id": teacher_id, "seed": experiment.seed,
        "experiment": canonical_json(experiment), "device": machine.device_name(device), "threads": threads,
        **machine.facts(), **configuration(experiment), **row,
    }  # fmt: skip
    write_rows(store, "trials", experiment.trial_id, [complete], configuration_columns())


def _finished() -> dict[str, Any]:
    return {"finished_at": datetime.now(UTC)}
