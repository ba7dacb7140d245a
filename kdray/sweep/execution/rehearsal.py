"""A little of everything that a trial does, with the memory of the whole. Nothing of it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

import torch

from kdray.core import Value, efforts
from kdray.data import Dataset
from kdray.machine.checked_file import pack
from kdray.results import Store
from kdray.robustness.base import BLOCK
from kdray.teachers import frozen
from kdray.teachers.logits_cache import LOGITS_AT_ONCE
from kdray.training import Diverged, State
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.training.loop import keep, steps_of, train_epoch
from kdray.trials.context import TrialContext, fresh_state, training_setup
from kdray.trials.experiment import AnyTrial, Experiment
from kdray.trials.files import weights_file
from kdray.trials.grant import Grant
from kdray.trials.log import Log
from kdray.trials.run import evaluate
from kdray.trials.task import ReasonKind, Task
from kdray.trials.trained import TrainedModels

V = TypeVar("V", bound=Value)
STEPS = 3
"""Of training, in each stage: from the second on the optimiser has its state, and the third finds
the allocator settled."""


class Stopwatch(Protocol):
    """Takes the time of a block."""

    def timing(self) -> AbstractContextManager[None]:
        """Take the time of the block."""


def rehearse(
    task: Task,
    *,
    data_root: Path,
    device: torch.device,
    kernels: ComputeOptions = DEFAULT_COMPUTE,
    stopwatch: Stopwatch | None = None,
) -> None:
    """Do a little of everything that ``task`` does, with the memory of the whole; ``stopwatch``
    takes the time of an epoch of training whose kernels are all loaded.

    Raises :class:`torch.OutOfMemoryError` if that runs out.
    """
    task = task.model_copy(update={"experiment": brief(task.experiment)})
    with context_of_its_own(task, data_root, device, kernels) as context:
        whole = context.dataset(task.experiment)  # lies on the device as in the trial
        few = max(STEPS * batch_size(task.experiment), LOGITS_AT_ONCE[device.type])
        dataset = whole._replace(
            train=whole.train.first(few), val=whole.val.first(BLOCK), test=whole.test.first(BLOCK)
        )
        if task.train and isinstance(task.experiment, Experiment):
            train_a_little(task.experiment, dataset, context, stopwatch)
        measure_a_little(task, dataset, context)


@contextmanager
def context_of_its_own(
    task: Task, data_root: Path, device: torch.device, kernels: ComputeOptions = DEFAULT_COMPUTE
) -> Iterator[TrialContext]:
    """Results that hold nothing but untrained weights of the networks that ``task`` loads, gone
    after the block."""
    with TemporaryDirectory(prefix="kdray-probe-") as folder:
        store = Store(folder)
        store.create()
        with Log(store, task.experiment.trial_id) as log:
            # Answers that another probe left would hide what asking the teacher takes.
            models = TrainedModels(store, data_root, device)
            context = TrialContext(models, Grant(compute=kernels), log, shares_logits=False)
            for other in loaded(task):
                untrained = context.models.untrained(other).state_dict()
                store.write(
                    weights_file(other.trial_id), pack(untrained, {"trial_id": other.trial_id})
                )
            yield context


def batch_size(trial: AnyTrial) -> int:
    """The number of images in a batch of its training; 1 where it was trained elsewhere."""
    return trial.training.batch_size if isinstance(trial, Experiment) else 1


def loaded(task: Task) -> list[AnyTrial]:
    """Whose trained weights ``task`` works with."""
    teacher = task.experiment.teacher
    return [*([] if teacher is None else [teacher]), *task.others]


def train_a_little(
    experiment: Experiment,
    dataset: Dataset,
    context: TrialContext,
    stopwatch: Stopwatch | None = None,
) -> None:
    """An epoch of each stage on ``dataset``, one that monitors if any does, and of the last stage
    another for the ``stopwatch``."""
    setup, training = training_setup(experiment, dataset, context), experiment.training
    state = fresh_state(experiment, setup, context.student(experiment))
    for stage in experiment.method.stages(training.epochs):
        state = State.before(state.classifier, state.helper, training)
        epoch = (
            training.monitor.every - 1
            if training.monitor is not None and stage.name == "main"
            else 0
        )
        with suppress(Diverged):  # a few steps at the full rate may
            steps = steps_of(state, setup, stage)
            state.history.append(train_epoch(state, setup, stage, epoch, (epoch,), steps))
            if stage.name == "main":
                keep(state, training)
                if stopwatch is not None:
                    with stopwatch.timing():
                        train_epoch(state, setup, stage, epoch, (epoch,), steps)


def measure_a_little(task: Task, dataset: Dataset, context: TrialContext) -> None:
    """Every evaluation on a block of images. One that fails will say so in its rows when it is
    due."""
    classifier = frozen(context.models.untrained(task.experiment))
    for evaluation in task.evaluations:
        reason = evaluate(
            brief(evaluation).of_one_block(), classifier, task, dataset, context
        ).reason
        if reason is not None and reason.kind is ReasonKind.MEMORY:
            raise torch.OutOfMemoryError(reason.text)


def brief(value: V) -> V:
    """``value`` with less of what is repeated without more memory."""
    changes: dict[str, Any] = {}
    marked = efforts(type(value))
    for name in type(value).model_fields:
        item = getattr(value, name)
        if isinstance(item, Value):
            changes[name] = brief(item)
        elif isinstance(item, tuple) and any(isinstance(part, Value) for part in item):
            changes[name] = tuple(brief(part) for part in item)
        elif type(item) is int and name in marked and (enough := marked[name].memory) is not None:
            changes[name] = min(item, enough)
    return value.model_copy(update=changes)
