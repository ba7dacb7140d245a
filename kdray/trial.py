"""One trial from start to end: train (or go on), store weights and rows, then measure; one step for each item.

The same generator runs inside a Ray actor and in a plain loop. It never raises for what goes wrong inside a trial: that
becomes a row with the reason.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor

from kdray import machine, seeds
from kdray.core import Several, Value, canonical_json, describe, fingerprint
from kdray.data import AnyData, Dataset, to_unit
from kdray.experiment import Experiment, configuration, configuration_columns, loss_columns, says_something
from kdray.models import Classifier, build, fitted, images_per_second, normalizer, size, storage_key
from kdray.results import Row, Store, has_completed, write_rows
from kdray.robustness import AnyEvaluation, Evaluation, Subject, columns_of, label_of, measurements, score
from kdray.teachers import Supervisor, frozen, load_classifier
from kdray.training import Diverged, Lesson, State, train
from kdray.weights import Damaged, pack, unpack

FAULTS = ("OutOfMemoryError", "AcceleratorError", "WorkerDied", "Damaged")
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
    others: Several[Experiment] = ()
    """The trained trials that evaluations across trials measure it with."""
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
    if name == "RuntimeError" and "CUDA error" in str(error):
        return True
    return name in FAULTS or (isinstance(kind, type) and issubclass(kind, OSError | MemoryError))


def measurable(suite: Iterable[AnyEvaluation], experiment: Experiment) -> tuple[AnyEvaluation, ...]:
    """The evaluations that mean something for ``experiment``.

    Without a trained teacher nothing is compared with it, and a model that draws nothing is not smoothed without noise: all
    its passes are the same.
    """
    return tuple(
        e
        for e in suite
        if (experiment.teacher is not None or not e.needs_teacher) and says_something(e.smoothing, experiment)
    )


def epochs_of(experiment: Experiment) -> int:
    """Of all stages."""
    return sum(stage.epochs for stage in experiment.method.stages(experiment.training.epochs))


@dataclass(frozen=True)
class Bench:
    """Where a task is done."""

    store: Store
    data_root: Path
    device: torch.device
    threads: int

    def dataset(self, experiment: Experiment) -> Dataset:
        return experiment.data.load(self.data_root).to(self.device)

    def untrained(self, experiment: Experiment) -> Classifier:
        data = experiment.data
        tensors = self.stored_fit(data) or fitted(data, data.load(self.data_root))
        return build(experiment.model, data, normalizer(data, tensors), experiment.seed).to(self.device)

    def trained(self, experiment: Experiment) -> Classifier:
        """The stored classifier; FileNotFoundError or :class:`Damaged` where there is none."""
        packed = self.store.read(weights_file(experiment.trial_id))
        normalization = normalizer(experiment.data, self.stored_fit(experiment.data))
        return load_classifier(experiment.model, experiment.data, normalization, packed, self.device)

    def known(self, experiment: Experiment) -> Classifier:
        """The stored classifier; :class:`Damaged` where there is none."""
        try:
            return self.trained(experiment)
        except FileNotFoundError:
            raise Damaged(f"{weights_file(experiment.trial_id)} is missing") from None

    def stored_fit(self, data: AnyData) -> dict[str, Tensor]:
        """What the normalisation of ``data`` learns and weights files do not hold, fitted once for all trials; mostly {}."""
        key = storage_key(data)
        if key is None:
            return {}
        name = f"normalizations/{key}.safetensors"
        try:
            return unpack(self.store.read(name))[0]
        except (FileNotFoundError, Damaged):
            tensors = fitted(data, data.load(self.data_root))
            self.store.write(name, pack(tensors, {"data": canonical_json(data)}))
            return tensors

    def teacher(self, experiment: Experiment) -> Classifier | None:
        """The trained teacher, if it has one."""
        return None if experiment.teacher is None else self.known(experiment.teacher)


def run_task(task: Task, *, store: Store, data_root: Path, device: torch.device, threads: int) -> Iterator[Step]:
    """Do ``task`` and write its rows, one step per item; the last item has an outcome."""
    machine.make_repeatable(device, threads)
    bench = Bench(store, data_root, device, threads)
    trial_id, epochs = task.experiment.trial_id, epochs_of(task.experiment)
    total = epochs + 1 + len(task.evaluations)
    done, problem = 0, None
    numbers: dict[str, float] = {}
    failed: dict[str, str] = {}
    training = task.train  # what goes wrong later must not touch the row of a trained trial
    try:
        dataset = bench.dataset(task.experiment)
        classifier = None if task.train else stored_classifier(task, bench)
        if classifier is None:
            training = True
            for step in training_steps(task, dataset, bench, total=total):
                numbers |= step.numbers
                done = step.done
                yield step
            training = False
            classifier = bench.trained(task.experiment)
        done = epochs + 1
        for evaluation in task.evaluations:
            error = evaluate(evaluation, classifier, task, dataset, bench, numbers)
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
        elif not training:  # the rows of what could not even be begun
            write_unmeasured(store, task, task.evaluations[max(0, done - epochs - 1) :], describe(error))
        problem = describe(error)
    outcome: Outcome = "failed" if problem or failed else "completed"
    yield Step(kind="end", text=outcome, done=done, total=total, numbers=numbers, outcome=outcome, error=problem,
               failed=failed)  # fmt: skip


def stored_classifier(task: Task, bench: Bench) -> Classifier | None:
    """The trained classifier; none if its weights are gone or damaged and may be trained again."""
    name = weights_file(task.experiment.trial_id)
    try:
        return bench.trained(task.experiment)
    except (FileNotFoundError, Damaged) as error:
        problem = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
        if not task.retrain_damaged:
            raise Damaged(f"{name} is {problem}; 'kdray forget' it, and 'kdray run' on its sweep trains it again") from None
        location = bench.store.location
        warnings.warn(f"{location}/{name} is {problem}: training again", DamagedCheckpoint, stacklevel=2)
        return None


def training_steps(task: Task, dataset: Dataset, bench: Bench, *, total: int) -> Iterator[Step]:
    """Train from the checkpoint or the start, checkpoint after every epoch, then store weights, epochs and row."""
    experiment, store = task.experiment, bench.store
    trial_id = experiment.trial_id
    machine.reset_peak_memory(bench.device)
    lesson = lesson_of(experiment, dataset, bench)
    state, started_at = begin_or_resume(experiment, lesson, bench)
    stages = {stage.name: stage.epochs for stage in experiment.method.stages(experiment.training.epochs)}
    try:
        for epoch in train(state, lesson):
            store.write(checkpoint_file(trial_id), state.pack({"trial_id": trial_id, "started_at": started_at}))
            name = "epoch" if epoch.stage == "main" else epoch.stage
            yield Step(kind="epoch", text=f"{name} {epoch.epoch}/{stages[epoch.stage]}", done=len(state.history),
                       total=total, numbers={"val_accuracy": epoch.val_accuracy})  # fmt: skip
    except Diverged:
        write_epochs(store, experiment, state)  # they show how it came to that
        store.delete(checkpoint_file(trial_id))
        raise
    memory = machine.peak_memory(bench.device)
    state.classifier.load_state_dict(state.kept())
    frozen(state.classifier)
    with seeds.ambient(0, "evaluation"):
        numbers = {
            f"{name}_accuracy": score(state.classifier, split)[0] / len(split.labels)
            for name, split in (("val", dataset.val), ("test", dataset.test))
        }
    store.write(weights_file(trial_id), pack(state.kept(), {"trial_id": trial_id}))
    write_epochs(store, experiment, state)
    write_trial_row(store, task, {
        "status": "completed", **numbers, "kept_epoch": state.kept_epoch,
        **size(state.classifier, experiment.data.shape)._asdict(),
        "images_per_second": images_per_second(state.classifier, experiment.data.shape),
        "train_seconds": state.seconds, "peak_memory": memory, "started_at": datetime.fromisoformat(started_at),
        **_finished(),
    }, bench.device, bench.threads)  # fmt: skip
    yield Step(kind="trained", text="trained", done=epochs_of(experiment) + 1, total=total, numbers=numbers)


def lesson_of(experiment: Experiment, dataset: Dataset, bench: Bench) -> Lesson:
    """What ``experiment`` trains with: its teacher loaded, and asked as it says."""
    teacher, supervisor = bench.teacher(experiment), None
    if experiment.method.asks_teacher:
        supervisor = Supervisor(
            experiment.supervision, teacher, classes=experiment.data.classes, seed=experiment.seed
        )  # fmt: skip
    return Lesson(
        data=experiment.data, dataset=dataset, method=experiment.method, training=experiment.training,
        noise=experiment.noise, supervisor=supervisor, seed=experiment.seed,
    )  # fmt: skip


def write_epochs(store: Store, experiment: Experiment, state: State) -> None:
    """The rows of every epoch that was done, and what was measured meanwhile."""
    trial_id = experiment.trial_id
    write_rows(store, "epochs", trial_id, [{"trial_id": trial_id, **e.row()} for e in state.history], loss_columns())
    common = {"trial_id": trial_id, "dataset": experiment.data.name}
    measured = [{**common, **row} for epoch in state.history for row in epoch.measured]
    if measured:
        write_rows(store, "robustness", f"{trial_id}-training", measured, {})


def begin_or_resume(experiment: Experiment, lesson: Lesson, bench: Bench) -> tuple[State, str]:
    """The state to go on from, and when the training first began (ISO 8601)."""
    store = bench.store

    def fresh() -> State:
        return fresh_state(experiment, lesson, bench.untrained(experiment))

    name, state = checkpoint_file(experiment.trial_id), fresh()
    try:
        if store.exists(name):
            return state, str(state.unpack(store.read(name))["started_at"])
    except Damaged as error:
        warnings.warn(f"{store.location}/{name} is damaged ({error}): starting anew", DamagedCheckpoint, stacklevel=2)
        state = fresh()
    return state, datetime.now(UTC).isoformat()


def fresh_state(experiment: Experiment, lesson: Lesson, classifier: Classifier) -> State:
    """The state before the first epoch."""
    teacher = None if lesson.supervisor is None else lesson.supervisor.during()
    image = to_unit(lesson.dataset.train.images[:1])
    classifier.eval()
    with seeds.ambient(experiment.seed, "model", 1):  # not the stream that the student's own weights come from
        helper = experiment.method.helper(classifier, teacher, image)
    return State.before(classifier, helper, experiment.training)


def evaluate(
    evaluation: Evaluation, classifier: Classifier, task: Task, dataset: Dataset, bench: Bench, numbers: dict[str, float]
) -> str | None:
    """Measure and write the rows; the numbers go into ``numbers`` by ``label.metric``. The error, if there was one."""
    began = perf_counter()
    experiment = task.experiment
    others = {other.trial_id: partial(bench.known, other) for other in task.others}
    split = {"val": dataset.val, "test": dataset.test}[evaluation.split]
    error, measured = None, []
    try:
        # Here, because a teacher whose weights are gone is the failure of this evaluation and of no other.
        teacher = bench.teacher(experiment) if evaluation.needs_teacher else None
        subject = Subject(classifier, split, dataset.omitted, teacher, experiment.data, bench.data_root, others)
        measured = measurements(evaluation, subject)
        rows: list[Row] = [measurement.row() for measurement in measured]
        error = next((measurement.error for measurement in measured if measurement.error), None)
    except Exception as raised:
        error = describe(raised)
        rows = [{"error": error}]
    write_measured(bench.store, task, evaluation, rows, perf_counter() - began)
    metrics = [measurement.metric for measurement in measured]
    numbers |= {
        f"{label_of(evaluation)}.{m.metric}": m.value
        for m in measured
        if m.value is not None and metrics.count(m.metric) == 1 and not evaluation.across
    }
    return error


def write_measured(
    store: Store, task: Task, evaluation: Evaluation, rows: Sequence[Row], seconds: float
) -> None:  # fmt: skip
    """Write what an evaluation gave, or why it gave nothing."""
    experiment = task.experiment
    common = {"trial_id": experiment.trial_id, "dataset": evaluation.dataset(experiment.data), **columns_of(evaluation)}
    name = f"{experiment.trial_id}-{common['evaluation_id']}"
    if evaluation.across:  # those that join later have a file of their own
        common["source_trial_id"] = experiment.trial_id
        name += f"-{fingerprint(task.model_copy(update={'evaluations': ()}))}"
    write_rows(store, "robustness", name, [{**common, **row, "seconds": seconds} for row in rows], {})


def write_unmeasured(store: Store, task: Task, evaluations: Iterable[Evaluation], error: str) -> None:
    """Write why evaluations gave nothing, where that can be written."""
    with suppress(OSError):
        for evaluation in evaluations:
            write_measured(store, task, evaluation, [{"error": error}], 0.0)


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
