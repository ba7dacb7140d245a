"""Which of several tasks needs most memory, counted on the CPU in steps of a few images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from kdray.core import canonical
from kdray.data import to_unit
from kdray.models.facts import blueprint
from kdray.robustness.base import BLOCK
from kdray.sweep.execution.rehearsal import (
    batch_size,
    brief,
    context_of_its_own,
    loaded,
    train_a_little,
)
from kdray.teachers import frozen
from kdray.training.compute import ComputeOptions
from kdray.trials.experiment import AnyTrial, Experiment
from kdray.trials.task import Task

FEW_IMAGES = 8
"""In a step that is only counted."""


def hungriest(candidates: Sequence[Task], *, data_root: Path) -> Task:
    """The task that needs most memory, by its :func:`appetite`; of those that differ in numbers
    only, the first."""
    differing: dict[str, Task] = {}
    for task in candidates:
        differing.setdefault(json.dumps(_shape(canonical(task)), sort_keys=True), task)
    first, *others = differing.values()
    return max((first, *others), key=lambda task: appetite(task, data_root)) if others else first


def _shape(described: Any) -> Any:
    """A description without what changes no tensor's size: seeds, and of real numbers all but
    whether they are 0 or 1, which turn things off."""
    if isinstance(described, dict):
        return {
            key: _shape(item) for key, item in described.items() if key not in ("seed", "epochs")
        }
    if isinstance(described, list):
        return [_shape(item) for item in described]
    return 0.5 if isinstance(described, float) and described not in (0, 1) else described


@lru_cache
def appetite(task: Task, data_root: Path) -> float:
    """Bytes: what autograd keeps at most for a backward pass while ``task`` trains or its network
    is attacked, and weights.

    Counted on the CPU in one step of a few images, to which it is proportional. So the teacher, an
    attack, and gradients of gradients count as much as they take, whatever the method is called.
    For comparing tasks, not for choosing a share: kernels need more.
    """
    experiment = task.experiment
    in_training, attacked = _kept(task, data_root)
    activations = max(batch_size(experiment) * in_training, BLOCK * attacked) / FEW_IMAGES
    weights = sum(_bytes(other) for other in loaded(task))
    # A student's are there up to four times: with gradients, and two moments of an optimiser.
    return activations + weights + 4 * _bytes(experiment)


def _bytes(experiment: AnyTrial) -> int:
    """Of the weights."""
    network = blueprint(*experiment.network)
    return sum(parameter.nbytes for parameter in network.parameters())


def _kept(task: Task, data_root: Path) -> tuple[int, int]:
    """Bytes kept in a training step with :data:`FEW_IMAGES`, and for a gradient with respect to
    these."""
    experiment = brief(task.experiment)
    if isinstance(experiment, Experiment):
        fewer = {"batch_size": FEW_IMAGES, "monitor": None}
        training = experiment.training.model_copy(update=fewer)
        experiment = experiment.model_copy(update={"training": training})
    task = task.model_copy(update={"experiment": experiment})
    # Laid out as on most GPUs, whose memory is meant; on the CPU channels_last may keep other
    # copies.
    with context_of_its_own(
        task, data_root, torch.device("cpu"), ComputeOptions(channels_last=False)
    ) as context:
        whole = context.dataset(experiment)
        dataset = whole._replace(
            train=whole.train.first(FEW_IMAGES), val=whole.val.first(1), test=whole.test.first(1)
        )
        with Kept() as in_training:
            if task.train and isinstance(experiment, Experiment):
                train_a_little(experiment, dataset, context)
        classifier = frozen(context.models.untrained(experiment))
        with Kept() as attacked:
            if task.evaluations:
                classifier.logits(to_unit(dataset.train.images).requires_grad_())
    return in_training.peak, attacked.peak


class Kept:
    """Counts the bytes of tensors that autograd keeps for backward passes begun inside the block,
    but for parameters."""

    def __init__(self) -> None:
        self.peak = 0
        self._now = 0
        self._holders: Counter[int] = Counter()
        """By storage: one that several operations keep counts once."""
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._held, lambda held: held.tensor)

    def __enter__(self) -> Self:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, trace)

    def _held(self, tensor: Tensor) -> _Held:
        return _Held(tensor, self)

    def keep(self, tensor: Tensor) -> None:
        if _is_parameter(tensor):
            return
        storage = tensor.untyped_storage()
        self._holders[storage.data_ptr()] += 1
        if self._holders[storage.data_ptr()] == 1:
            self._now += storage.nbytes()
            self.peak = max(self.peak, self._now)

    def drop(self, tensor: Tensor) -> None:
        if _is_parameter(tensor):
            return
        storage = tensor.untyped_storage()
        self._holders[storage.data_ptr()] -= 1
        if not self._holders[storage.data_ptr()]:
            self._now -= storage.nbytes()


class _Held:
    """A kept tensor, for as long as autograd keeps it."""

    def __init__(self, tensor: Tensor, counted: Kept) -> None:
        self.tensor, self._counted = tensor, counted
        counted.keep(tensor)

    def __del__(self) -> None:
        self._counted.drop(self.tensor)


def _is_parameter(tensor: Tensor) -> bool:
    """Or a view of one."""
    return isinstance(tensor if tensor._base is None else tensor._base, nn.Parameter)
