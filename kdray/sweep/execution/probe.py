"""``gpu: auto``: how much of a GPU one trial needs, by memory and by time.

Before the first trial of a role the hungriest of them does a few training steps and a block of each
evaluation in a process that has a GPU to itself. The memory that it took says how many may share
one, and the part of the time in which its training keeps the GPU computing how many may do so with
any gain: without MPS processes take turns on a GPU, so n trials that keep it busy for a part b of
their time each are n times as fast together up to n = 1/b, the one more that rounds 1/b up fills
what is left, and another only waits. (With MPS kernels that leave multiprocessors idle run side by
side, and more may bring a little more: give a number then.) Nothing of it is kept: it works on
results of its own, which are thrown away, and its teacher is an untrained network of the same
shape.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import ray
import torch
from torch.profiler import ProfilerActivity, profile

from kdray.core import InputError, describe, parse
from kdray.core.wording import GIB, percent
from kdray.machine import hardware
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.execution.appetite import hungriest
from kdray.sweep.execution.rehearsal import Stopwatch, batch_size, rehearse
from kdray.sweep.execution.resources import Suggestion, larger, share_for
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.trials.task import ReasonKind, Task, reason_of


class Meter(Stopwatch, Protocol):
    """Reads the memory of a GPU that this process has to itself, and how busy it is."""

    def total(self) -> int:
        """Bytes of the GPU."""

    def context(self) -> int:
        """Bytes that this process holds beside its allocator."""

    def peak(self) -> int:
        """Bytes that its allocator has held at most."""

    def busy(self) -> float | None:
        """The part of the time of the last block of ``timing`` in which the GPU computed; none
        where there was none, or nothing that tells."""


class CudaMeter:
    """Torch's own figures."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.init()  # before it nothing can be reset
        torch.cuda.reset_peak_memory_stats(device)
        self._busy: float | None = None

    @contextmanager
    def timing(self) -> Iterator[None]:
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            torch.cuda.synchronize(self._device)
            began = perf_counter()
            yield
            torch.cuda.synchronize(self._device)
            seconds = perf_counter() - began
        computing = sum(
            event.device_time_total
            for event in profiler.events() or ()
            if event.device_type.name == "CUDA"
        )
        # The profiler counts microseconds; none at all where a machine does not let it look.
        self._busy = min(1.0, computing / 1e6 / seconds) if computing else None

    def busy(self) -> float | None:
        return self._busy

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
    context: int
    """Bytes, of those needed, that are CUDA's own."""
    busy: float | None = None
    """The part of the time in which it keeps the GPU computing alone; none if nobody could tell."""

    @property
    def share(self) -> float:
        return self.suggestion.share

    @property
    def suggestion(self) -> Suggestion:
        """The larger of the shares by memory and by time."""
        return larger(share_for(self.needed, self.total), self.busy)

    def __str__(self) -> str:
        text = f"{self.needed / GIB:.2f} of {self.total / GIB:.2f} GiB"
        if self.busy is None:
            return f"{text} (how busy it keeps the GPU could not be told)"
        return (
            f"{text} and keeps the GPU busy {percent(self.busy, 2)} of the time: "
            f"{self.suggestion.limit} limits"
        )


class MeasuredShare(NamedTuple):
    """What every trial of a role is given of a GPU."""

    gpu: float
    context: int
    """Bytes of the GPU that CUDA takes for each."""
    busy: float | None
    """The part of its time in which one keeps the GPU computing alone, if that is known."""
    text: str
    """For people: how it was found."""


def measured(
    request: Request, role: Role, candidates: Sequence[Task], data_root: Path
) -> MeasuredShare:
    """The share of a GPU that the hungriest of ``candidates`` needs.

    Waits until Ray has a whole GPU free; in a cluster of several kinds of GPU one of each, and the
    largest share counts. Raises :class:`InputError` if that trial does not fit on a GPU, or cannot
    be tried.
    """
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
    needs = [answer for answer in answers if isinstance(answer, Need)]
    most = max(needs, key=lambda need: need.share)
    text = f"{where} is {most.share:.3g}: trial {most.trial_id}, the hungriest, takes {most}"
    return MeasuredShare(most.share, max(need.context for need in needs), most.busy, text)


def _kinds(node: dict[str, Any]) -> list[str]:
    return [name for name in node["Resources"] if name.startswith("accelerator_type:")] or [""]


def _in_worker(candidates: list[str], data_root: str, threads: int, kernels: str) -> Need | str:
    """What :func:`probe` finds, or why it finds nothing."""
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
    tried = f"trial {trial_id} (batches of {batch_size(task.experiment)})"
    remedy = f"the {total / GIB:.4g} GiB of a GPU; make training.batch_size or the model smaller"
    try:
        rehearse(task, data_root=data_root, device=device, kernels=kernels, stopwatch=meter)
    except RuntimeError as error:
        if reason_of(error).kind is not ReasonKind.MEMORY:
            raise
        raise InputError(f"{tried} needs more than {remedy}") from None
    # The caps on the allocators of trials leave as much for CUDA itself.
    context = max(meter.context(), hardware.CONTEXT)
    needed = meter.peak() + context
    if needed > total:
        raise InputError(f"{tried} needs {needed / GIB:.4g} GiB, more than {remedy}")
    return Need(trial_id, needed, total, context, meter.busy())
