"""How a network is computed while it trains: what changes its speed, and its numbers by rounding
only.

The precision is part of an experiment. The options are not, like the number of threads; those on
which bits depend are columns of the trials table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch

from kdray.core import Value
from kdray.machine import hardware
from kdray.methods import Method
from kdray.models import Classifier

Precision = Literal["float32", "tf32", "bfloat16"]


class ComputeOptions(Value):
    """Which of torch's kernels compute the network that learns."""

    channels_last: bool | None = None
    """Keep the channels of a pixel side by side in memory; none: on a CPU, where it was measured to
    win (a fifth of a step of WRN-16-2 in float32), and on a GPU in bfloat16, whose convolutions
    want it so."""
    compile: bool = False
    """Let torch.compile make kernels for this network, before the first epoch (minutes; it needs a
    C++ compiler). A method that differentiates the network twice is computed as ever: compiled code
    can be differentiated once."""

    cuda_graph: bool = False
    """Replay the forward and backward passes of a whole batch on a GPU as one CUDA graph, instead
    of launching every kernel; the bits are the same. A method whose steps differ is computed as
    ever, and so is everything on a CPU."""

    def compiles(self, *, twice: bool) -> bool:
        """Whether a network is compiled that is differentiated once, or ``twice``."""
        return self.compile and not twice

    def lays_channels_last(self, device: torch.device, precision: Precision) -> bool:
        """Whether a network on ``device`` that trains in ``precision`` is laid out so."""
        if self.channels_last is not None:
            return self.channels_last
        return device.type == "cpu" or precision == "bfloat16"

    def replays(self, device: torch.device, method: Method) -> bool:
        """Whether the steps of ``method`` on ``device`` are replayed as a CUDA graph."""
        return self.cuda_graph and device.type == "cuda" and method.is_replayable

    def prepare(self, classifier: Classifier, precision: Precision, *, twice: bool) -> None:
        """Have ``classifier``, which trains in ``precision``, computed so from now on."""
        if self.lays_channels_last(classifier.device, precision):
            classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compiles(twice=twice):
            # The draws of dropout and of noisy layers stay those of torch's own generator.
            classifier.network.compile(options={"fallback_random": True})


DEFAULT_COMPUTE = ComputeOptions()


def computing_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Within it convolutions and products of matrices have operands of this precision; all else
    stays float32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


@contextmanager
def rounding_operands(precision: Precision) -> Iterator[None]:
    """Within it, backward passes too, a GPU's products of float32 may round their operands if
    ``precision`` says so; without it they never do."""
    before = hardware.use_tf32(precision == "tf32")
    try:
        yield
    finally:
        hardware.use_tf32(before)
