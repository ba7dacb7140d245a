"""What a card could do at best: the arithmetic and the bytes of a piece of work, counted, and the
peaks of the card, measured on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from kdray.machine import hardware
from kdray.training.compute import Precision
from tests.benchmarks.measuring import timed

REPEATS = 5


class Cost(NamedTuple):
    """What something takes, whoever computes it."""

    flops: float
    """Of products of matrices and convolutions; an addition counts as one, and so does a
    multiplication."""
    bytes: float
    """That its operators read and write, each tensor once for each operator."""

    def by(self, count: int) -> Cost:
        """Of one of ``count`` equal parts."""
        return Cost(self.flops / count, self.bytes / count)


class Peaks(NamedTuple):
    """What a device does in a second, at best."""

    flops: float
    bytes: float

    def rates(self, cost: Cost) -> tuple[float, float]:
        """How often in a second it could do what has this cost, if there were only its arithmetic,
        and if there were only its bytes."""
        return self.flops / cost.flops, self.bytes / cost.bytes


class Counting(TorchDispatchMode):
    """Adds up what operators take; views take nothing.

    Run one by one, operators move so many bytes, except those that a cache still holds. (torch's
    FlopCounterMode cannot be used: it refuses gradients to images, as PGD takes them.)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        out = func(*args, **given)
        if func.is_view:
            return out
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.flops += formula(*args, **given, out_val=out)
        read = {id(tensor): tensor for tensor in _tensors((*args, *given.values()))}
        self.bytes += sum(map(_bytes, read.values())) + sum(map(_bytes, _tensors(out)))
        return out


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _bytes(tensor: Tensor) -> int:
    """What is behind the numbers of ``tensor``: one that is spread over many counts once."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def counted(work: Callable[[], object]) -> Cost:
    """What ``work`` takes; it is done for it."""
    with Counting() as counting:
        work()
    return Cost(float(counting.flops), float(counting.bytes))


def peaks(precision: Precision, device: torch.device) -> Peaks:
    """What ``device`` does with operands of this precision: measured by the product of two large
    matrices and by the copy of a large tensor."""
    return Peaks(_flops(precision, device), _bandwidth(device))


def _flops(precision: Precision, device: torch.device) -> float:
    side = 8192 if device.type == "cuda" else 512
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    one, other = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    before = hardware.use_tf32(precision == "tf32")
    try:
        return 2 * side**3 / _shortest(lambda: one @ other, device)
    finally:
        hardware.use_tf32(before)


def _bandwidth(device: torch.device) -> float:
    size = 2**30 if device.type == "cuda" else 2**26
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _shortest(lambda: target.copy_(source), device)


def _shortest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, after one that does not count."""
    work()
    return min(timed(work, device)[0] for _ in range(REPEATS))
