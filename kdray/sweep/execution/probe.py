"""``gpu: auto``: how much of a GPU one trial needs.

Before the first trial of a role the hungriest of them does a few training steps and a block of each
evaluation in a process that has a GPU to itself, and the memory that it took says how many may
share one. Nothing of it is kept: it works on results of its own, which are thrown away, and its
teacher is an untrained network of the same shape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ray
import torch

from kdray.core import InputError, describe, parse
from kdray.core.wording import GIB
from kdray.machine import hardware
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.execution.appetite import hungriest
from kdray.sweep.execution.rehearsal import batch_size, rehearse
from kdray.sweep.execution.resources import share_for
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.trials.task import ReasonKind, Task, reason_of


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
        torch.cuda.init()  # before it nothing can be reset
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
        rehearse(task, data_root=data_root, device=device, kernels=kernels)
    except RuntimeError as error:
        if reason_of(error).kind is not ReasonKind.MEMORY:
            raise
        raise InputError(f"{tried} needs more than {remedy}") from None
    # Never less for CUDA itself than what caps on the allocator leave it.
    needed = meter.peak() + max(meter.context(), hardware.CONTEXT)
    if needed > total:
        raise InputError(f"{tried} needs {needed / GIB:.4g} GiB, more than {remedy}")
    return Need(trial_id, needed, total)
