"""How many trials run at once, what limits them, and whether one can run at all.

Ray counts; this module counts in the same way beforehand, so that a user hears of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from kdray.core import InputError
from kdray.core.wording import GIB, listed, memory
from kdray.machine import hardware
from kdray.machine.gpus import multi_process_service, refusal_of_sharing, visible_gpus
from kdray.trials.grant import Grant

if TYPE_CHECKING:  # it is there before the rest of a run is imported
    import pandas as pd

    from kdray.sweep.definition.file import Request, Role

OBJECT_STORE_BYTES = 100 * 2**20
"""Trials pass nothing through Ray's object store: their numbers are small, all else is in files."""
MEMORY_MARGIN = 0.15
"""Fraction of a measured peak that is added to it before a share of a GPU is chosen."""
MAX_TRIALS_PER_GPU = 99
"""Up to here 1/n and 1/(n + 1) differ in the ten-thousandths that Ray counts in."""
ROUNDING = 0.05
"""Of a trial: what is left of a GPU's time by so many is not worth another one."""
Resource = Literal["CPU", "GPU", "memory"]


class Node(NamedTuple):
    """What one machine of the cluster offers."""

    name: str
    cpu: float
    gpu: float
    memory: float = math.inf
    """GiB; infinite where nobody has said."""
    gpu_memory: float = math.inf
    """Bytes of its smallest GPU; infinite where nobody has said."""
    not_shared: str | None = None
    """Why trials cannot share its GPUs, if they cannot."""


class Share(NamedTuple):
    """How many trials run at once on one node."""

    node: str
    trials: int
    limit: Resource
    """What one trial more would have too little of."""


class Suggestion(NamedTuple):
    """A share of a GPU that suits a trial."""

    share: float
    limit: Literal["memory", "time"]
    """Of the GPU: what one trial more would have too little of."""


def this_machine(cpus: int | None = None, gpus: int | None = None) -> Node:
    """Return this machine, or what the user lets the local Ray use of it, of its memory what is
    free now, as Ray counts; :class:`InputError` for more GPUs than there are."""
    present = torch.cuda.device_count()
    if gpus is not None and gpus > present:
        raise InputError(f"--gpus {gpus}: this machine has {present or 'none'}")
    seen = visible_gpus() if present else []
    sizes = [gpu.memory for gpu in seen if gpu.memory is not None and not gpu.mig]
    return Node(
        "this machine",
        hardware.cpus() if cpus is None else cpus,
        present if gpus is None else gpus,
        max(0, hardware.free_memory() - OBJECT_STORE_BYTES) / GIB,
        min(sizes, default=math.inf),
        refusal_of_sharing(seen, mps=multi_process_service() is not None),
    )


def shares(request: Request, nodes: Sequence[Node]) -> list[Share]:
    """Count how many trials of ``request`` fit on each of ``nodes``. With ``gpu: auto`` each has a
    whole GPU, as the probe has."""
    return [_on_node(request, node) for node in nodes]


def at_once(request: Request, nodes: Sequence[Node], limit: int | None = None) -> int:
    """Count how many trials of ``request`` fit into ``nodes`` together, no more than ``limit``."""
    total = sum(share.trials for share in shares(request, nodes))
    return total if limit is None else min(total, limit)


def concurrency(request: Request, nodes: Sequence[Node], limit: int | None = None) -> str:
    """Say how many trials run at once, where, and what limits them."""
    found, count = shares(request, nodes), at_once(request, nodes, limit)
    if limit is not None and count < at_once(request, nodes):
        return f"{count} at once, limited by --max-concurrent"
    if len(found) == 1:
        return f"{count} at once, limited by {found[0].limit}"
    alike: dict[tuple[int, Resource], list[str]] = {}
    for share in found:
        if share.trials:
            alike.setdefault((share.trials, share.limit), []).append(share.node)
    parts = [f"{_named(names)}: {each}, limited by {by}" for (each, by), names in alike.items()]
    return f"{count} at once ({'; '.join(parts) or 'no node has room for one'})"


def check(role: str, request: Request, nodes: Sequence[Node]) -> None:
    """Raise :class:`InputError` if no node can ever run a trial of ``request``: Ray would wait for
    ever without a word."""
    if at_once(request, nodes):
        _check_sharing(role, request, nodes)
        return
    gpu, where = gpus_of(request), f"resources.{role}"
    largest_cpu, largest_gpu, largest_memory = (
        max(nodes, key=key)
        for key in (lambda node: node.cpu, lambda node: node.gpu, lambda node: node.memory)
    )
    if gpu > largest_gpu.gpu:
        have = f"{largest_gpu.gpu:g} on {largest_gpu.name}" if largest_gpu.gpu else "none"
        asked = "auto shares a GPU" if isinstance(request.gpu, str) else f"{gpu:g} asked for"
        raise InputError(
            f"{where}.gpu: {asked}, there is at most {have}; --set {where}.gpu=0 runs it without"
        )
    if request.cpu > largest_cpu.cpu:
        raise InputError(
            f"{where}.cpu: {request.cpu:g} asked for, the largest node ({largest_cpu.name}) "
            f"has {largest_cpu.cpu:g}"
        )
    if request.memory > largest_memory.memory:
        raise InputError(
            f"{where}.memory: {request.memory:g} GiB asked for, the largest node "
            f"({largest_memory.name}) has "
            f"{memory(largest_memory.memory * GIB)}"
        )
    wanted = [
        f"{request.cpu:g} CPUs",
        *([f"{gpu:g} GPU"] if gpu else []),
        *([f"{request.memory:g} GiB of memory"] if request.memory else []),
    ]
    nearest = largest_gpu if gpu else largest_memory
    has = f"{nearest.cpu:g} CPUs, {nearest.gpu:g} GPUs and {memory(nearest.memory * GIB)} of memory"
    raise InputError(f"{where}: no node has {listed(wanted)} together ({nearest.name} has {has})")


def _check_sharing(role: str, request: Request, nodes: Sequence[Node]) -> None:
    """Raise :class:`InputError` if a part of a GPU cannot be had on some node that would give it,
    or holds nothing but CUDA itself."""
    is_part = request.gpu == "auto" or 0 < gpus_of(request) < 1
    for node in nodes if is_part else ():
        if not node.gpu:
            continue
        if node.not_shared is not None:
            raise InputError(f"resources.{role}.gpu: {node.not_shared}")
        try:
            hardware.check_share(gpus_of(request), node.gpu_memory)
        except hardware.ShareTooSmall as error:
            raise InputError(f"resources.{role}.gpu: {error}") from None


def share_for(need: int, total: int) -> float:
    """Return the share 1/n of a GPU with ``total`` bytes that suits a trial that needs ``need``."""
    n = min(MAX_TRIALS_PER_GPU, math.floor(total / (need * (1 + MEMORY_MARGIN))))
    return 1 / max(1, n)


def share_by_time(busy: float) -> float:
    """Return the share 1/n of a GPU for trials that each keep it computing for a part ``busy`` of
    its time: another one than these n brings no throughput."""
    return 1 / min(MAX_TRIALS_PER_GPU, max(1, math.ceil(1 / busy - ROUNDING)))


def suggested(trials: pd.DataFrame, role: Role) -> Suggestion | None:
    """Return the share of a GPU that fits every trial of ``role`` in the table ``trials``, by their
    measured peaks and, of those that ``gpu: auto`` was measured for, by the GPU's time.

    None where none ran on a GPU. Of several kinds of GPU the smallest counts. The peaks are of
    training: an evaluation that needs more is not in them.
    """
    ran = trials[(trials["role"] == role) & (trials["status"] == "completed")]
    measured = ran.dropna(
        subset=["peak_memory", "device_memory"]
    )  # without a GPU there is no device_memory
    if measured.empty:
        return None
    by_memory = share_for(int(measured["peak_memory"].max()), int(measured["device_memory"].min()))
    busy = measured["gpu_busy"].dropna()
    return larger(by_memory, None if busy.empty else float(busy.max()))


def larger(by_memory: float, busy: float | None) -> Suggestion:
    """Return the larger of the shares by memory and, where that is known, by time."""
    by_time = 0.0 if busy is None else share_by_time(busy)
    if by_time > by_memory:
        return Suggestion(by_time, "time")
    return Suggestion(by_memory, "memory")


def _on_node(request: Request, node: Node) -> Share:
    gpu = gpus_of(request)
    fit: list[tuple[int, Resource]] = [(_units(node.cpu) // _units(request.cpu), "CPU")]
    if gpu:
        # A trial's part of a GPU lies on one GPU: at 0.4 two share it, and 0.2 of it are left over.
        on_gpus = (
            _units(1) // _units(gpu) * math.floor(node.gpu)
            if gpu < 1
            else _units(node.gpu) // _units(gpu)
        )
        fit.append((on_gpus, "GPU"))
    if request.memory and node.memory != math.inf:
        fit.append((math.floor(node.memory * GIB) // memory_bytes(request), "memory"))
    return Share(node.name, *min(fit, key=lambda each: each[0]))


def memory_bytes(asked: Request | Grant) -> int:
    """What Ray is asked for as "memory"."""
    return math.ceil(asked.memory * GIB)


def granted(request: Request) -> Grant:
    """What a trial of ``request`` is granted."""
    return Grant(
        cpu=request.cpu,
        gpu=gpus_of(request),
        memory=request.memory,
        hours=request.hours,
        compute=request.kernels,
    )


def bundle(grant: Grant) -> dict[str, float]:
    """What Ray is asked for. It refuses a zero for memory."""
    asked = {"CPU": grant.cpu, "GPU": grant.gpu}
    return asked | {"memory": memory_bytes(grant)} if grant.memory else asked


def gpus_of(request: Request) -> float:
    """Return the GPUs that one trial is given; with ``auto`` a whole one, until it is measured."""
    return 1.0 if isinstance(request.gpu, str) else request.gpu


def _units(amount: float) -> int:
    """Ray counts in ten-thousandths, rounded towards 0 (tried with 2.60: of 0.1667 six fit on a
    GPU)."""
    return max(1, int(amount * 10_000)) if amount else 0


def _named(nodes: Sequence[str]) -> str:
    """``node-1``, or ``node-1 and 7 like it, each``."""
    first, *others = nodes
    return f"{first} and {len(others)} like it, each" if others else first
