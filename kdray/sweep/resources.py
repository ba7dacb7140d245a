"""How many trials run at once, and whether one can run at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from kdray import machine
from kdray.core import InputError
from kdray.sweep.file import Request


class Node(NamedTuple):
    """What one machine of the cluster offers."""

    name: str
    cpu: float
    gpu: float


def this_machine(cpus: int | None = None, gpus: int | None = None) -> Node:
    """This machine, or what the user lets the local Ray use of it. More GPUs than there are is refused."""
    present = torch.cuda.device_count()
    if gpus is not None and gpus > present:
        raise InputError(f"--gpus {gpus}: this machine has {present or 'none'}")
    return Node("this machine", machine.cpus() if cpus is None else cpus, present if gpus is None else gpus)


def at_once(request: Request, nodes: Sequence[Node], limit: int | None = None) -> int:
    """How many trials of ``request`` fit into ``nodes`` together, no more than ``limit``."""
    total = sum(_on_node(request, node) for node in nodes)
    return total if limit is None else min(total, limit)


def check(role: str, request: Request, nodes: Sequence[Node]) -> None:
    """:class:`InputError` if no node can ever run a trial of ``request``; Ray would wait for ever without a word."""
    if at_once(request, nodes):
        return
    largest_cpu, largest_gpu = max(nodes, key=lambda node: node.cpu), max(nodes, key=lambda node: node.gpu)
    if request.gpu > largest_gpu.gpu:
        have = f"{largest_gpu.gpu:g} on {largest_gpu.name}" if largest_gpu.gpu else "none"
        raise InputError(
            f"resources.{role}.gpu: {request.gpu:g} asked for, there is at most {have}; "
            f"--set resources.{role}.gpu=0 runs it without"
        )
    if request.cpu <= largest_cpu.cpu:
        raise InputError(
            f"resources.{role}: no node has {request.cpu:g} CPUs and {request.gpu:g} GPU together "
            f"({largest_gpu.name} has {largest_gpu.cpu:g} CPUs and {largest_gpu.gpu:g} GPUs)"
        )
    raise InputError(
        f"resources.{role}.cpu: {request.cpu:g} asked for, the largest node ({largest_cpu.name}) has {largest_cpu.cpu:g}"
    )


def _on_node(request: Request, node: Node) -> int:
    by_cpu = math.floor(node.cpu / request.cpu + 1e-9)
    if not request.gpu:
        return by_cpu
    # A trial's part of a GPU lies on one GPU: at 0.4 two share it, and 0.2 of it are left over.
    on_gpus = (
        math.floor(1 / request.gpu + 1e-9) * math.floor(node.gpu)
        if request.gpu < 1
        else math.floor(node.gpu / request.gpu + 1e-9)
    )
    return min(by_cpu, on_gpus)
