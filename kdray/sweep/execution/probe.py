"""``gpu: auto``: how much of a GPU one trial needs.

Before the first trial of a role the hungriest of them does a few training steps and a block of each
evaluation in a process that has a GPU to itself, and the memory that it took says how many may
share one. Nothing of it is kept: it works on results of its own, which are thrown away, and its
teacher is an untrained network of the same shape.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from kdray.core import InputError, Value, canonical, describe, efforts, parse
from kdray.core.wording import GIB
from kdray.data import Dataset, to_unit
from kdray.machine import hardware
from kdray.machine.checked_file import pack
from kdray.models.facts import blueprint
from kdray.results import Store
from kdray.robustness.base import BLOCK
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.execution.resources import share_for
from kdray.teachers import frozen
from kdray.teachers.logits_cache import LOGITS_AT_ONCE
from kdray.training import Diverged, State
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.training.loop import keep, train_epoch
from kdray.trials.context import TrialContext, fresh_state, training_setup
from kdray.trials.experiment import Experiment
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
FEW_IMAGES = 8
"""In a step that is only counted."""


class Meter(Protocol):
    """Reads the memory of a GPU that this process has to itself."""

    def total(self) -> int:
        """Bytes of the GPU."""

    def context(self) -> int:
        """Bytes that this process holds beside its allocator."""

    def peak(self) -> int:
        """Bytes that its allocator has held at most."""


class CudaMeter:
    """Torch's own figures."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.reset_peak_memory_stats(device)

    def total(self) -> int:
        return int(torch.cuda.mem_get_info(self._device)[1])

    def context(self) -> int:
        free, total = torch.cuda.mem_get_info(self._device)
        return int(total - free - torch.cuda.memory_reserved(self._device))

    def peak(self) -> int:
        return int(torch.cuda.max_memory_reserved(self._device))


class Need(NamedTuple):
    """What one trial needs of a GPU."""

    trial_id: str
    """Whose it is."""
    needed: int
    """Bytes."""
    total: int
    """Bytes of the GPU that it was measured on."""

    @property
    def share(self) -> float:
        return share_for(self.needed, self.total)

    def __str__(self) -> str:
        return f"{self.needed / GIB:.2f} of {self.total / GIB:.2f} GiB"


def measured(
    request: Request, role: Role, candidates: Sequence[Task], data_root: Path
) -> tuple[Request, str]:
    """``request`` with the share of a GPU that the hungriest of ``candidates`` needs, and for
    people how it was found.

    Waits until Ray has a whole GPU free; in a cluster of several kinds of GPU one of each, and the
    largest share counts. Raises :class:`InputError` if that trial does not fit on a GPU, or cannot
    be tried.
    """
    import ray  # takes seconds

    kinds = {
        kind
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("GPU")
        for kind in _kinds(node)
    }
    remote = ray.remote(num_cpus=request.cpu, num_gpus=1, max_calls=1, max_retries=0)(_in_worker)
    told = (
        [task.model_dump_json() for task in candidates],
        str(data_root),
        request.threads,
        request.kernels.model_dump_json(),
    )
    # A thousandth of what marks the nodes of a kind: enough to be placed there, and to run beside
    # others.
    found = [
        remote.options(resources={kind: 0.001} if kind else {}).remote(*told)
        for kind in sorted(kinds)
    ]
    where = f"resources.{role}.gpu: auto"
    try:
        answers: list[Need | str] = ray.get(found)
    except ray.exceptions.RayError as error:
        raise InputError(
            f"{where}: the trial that was tried died ({describe(error)}); give a number"
        ) from None
    if problem := next((answer for answer in answers if isinstance(answer, str)), None):
        raise InputError(f"{where}: {problem}")
    most = max(
        (answer for answer in answers if isinstance(answer, Need)), key=lambda need: need.share
    )
    text = f"{where} is {most.share:.3g}: trial {most.trial_id}, the hungriest, takes {most}"
    return request.model_copy(update={"gpu": most.share}), text


def _kinds(node: dict[str, Any]) -> list[str]:
    return [name for name in node["Resources"] if name.startswith("accelerator_type:")] or [""]


def _in_worker(candidates: list[str], data_root: str, threads: int, kernels: str) -> Need | str:
    """What :func:`probe` finds, or why it finds nothing."""
    import ray

    tasks = [Task.model_validate_json(text) for text in candidates]
    try:
        device = hardware.device(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))
        return probe(
            tasks,
            data_root=Path(data_root),
            device=device,
            meter=CudaMeter(device),
            threads=threads,
            kernels=parse(ComputeOptions, json.loads(kernels)),
        )
    except InputError as error:
        return str(error)
    except Exception as error:
        return f"the trial that was tried failed ({describe(error)}); give a number"


def probe(
    candidates: Sequence[Task],
    *,
    data_root: Path,
    device: torch.device,
    meter: Meter,
    threads: int,
    kernels: ComputeOptions = DEFAULT_COMPUTE,
) -> Need:
    """What the hungriest of ``candidates`` needs; :class:`InputError` if that is more than the GPU
    has."""
    hardware.make_repeatable(device, threads)  # chooses the kernels, and with them their memory
    task = hungriest(candidates, data_root=data_root)
    trial_id, total = task.experiment.trial_id, meter.total()
    tried = f"trial {trial_id} (batches of {task.experiment.training.batch_size})"
    remedy = f"the {total / GIB:.4g} GiB of a GPU; make training.batch_size or the model smaller"
    try:
        rehearse(task, data_root=data_root, device=device, kernels=kernels)
    except torch.OutOfMemoryError:
        raise InputError(f"{tried} needs more than {remedy}") from None
    # Never less for CUDA itself than what caps on the allocator leave it.
    needed = meter.peak() + max(meter.context(), hardware.CONTEXT)
    if needed > total:
        raise InputError(f"{tried} needs {needed / GIB:.4g} GiB, more than {remedy}")
    return Need(trial_id, needed, total)


def rehearse(
    task: Task, *, data_root: Path, device: torch.device, kernels: ComputeOptions = DEFAULT_COMPUTE
) -> None:
    """Do a little of everything that ``task`` does, with the memory of the whole.

    Raises :class:`torch.OutOfMemoryError` if that runs out.
    """
    task = task.model_copy(update={"experiment": brief(task.experiment)})
    with context_of_its_own(task, data_root, device, kernels) as context:
        whole = context.models.dataset(task.experiment)  # all of it lies on the device
        few = max(STEPS * task.experiment.training.batch_size, LOGITS_AT_ONCE[device.type])
        dataset = whole._replace(
            train=whole.train.first(few), val=whole.val.first(BLOCK), test=whole.test.first(BLOCK)
        )
        if task.train:
            train_a_little(task.experiment, dataset, context)
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


def loaded(task: Task) -> list[Experiment]:
    """Whose trained weights ``task`` works with."""
    teacher = task.experiment.teacher
    return [*([] if teacher is None else [teacher]), *task.others]


def train_a_little(experiment: Experiment, dataset: Dataset, context: TrialContext) -> None:
    """An epoch of each stage on ``dataset``, one that monitors if any does."""
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
            state.history.append(train_epoch(state, setup, stage, epoch, (epoch,)))
            if stage.name == "main":
                keep(state, training)


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
    activations = max(experiment.training.batch_size * in_training, BLOCK * attacked) / FEW_IMAGES
    weights = sum(_bytes(other) for other in loaded(task))
    # A student's are there up to four times: with gradients, and two moments of an optimiser.
    return activations + weights + 4 * _bytes(experiment)


def _bytes(experiment: Experiment) -> int:
    """Of the weights."""
    network = blueprint(*experiment.network)
    return sum(parameter.nbytes for parameter in network.parameters())


def _kept(task: Task, data_root: Path) -> tuple[int, int]:
    """Bytes kept in a training step with :data:`FEW_IMAGES`, and for a gradient with respect to
    these."""
    experiment = brief(task.experiment)
    training = experiment.training.model_copy(update={"batch_size": FEW_IMAGES, "monitor": None})
    experiment = experiment.model_copy(update={"training": training})
    task = task.model_copy(update={"experiment": experiment})
    # Laid out as on most GPUs, whose memory is meant; on the CPU channels_last may keep other
    # copies.
    with context_of_its_own(
        task, data_root, torch.device("cpu"), ComputeOptions(channels_last=False)
    ) as context:
        whole = context.models.dataset(experiment)
        dataset = whole._replace(
            train=whole.train.first(FEW_IMAGES), val=whole.val.first(1), test=whole.test.first(1)
        )
        with Kept() as in_training:
            if task.train:
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
