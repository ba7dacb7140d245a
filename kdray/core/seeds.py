"""Named, independent random streams: every draw comes from (seed, stream name, counters) and from
nothing else.

The same seed gives the same initialisation, data order and noise draws at every point of a sweep
(comparisons are paired, on one kind of device), and a counter such as the epoch makes a resumed
training draw what the uninterrupted one would have drawn, without any generator state in the
checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Stream = Literal[
    "model",
    "data_order",
    "augmentation",
    "transforms",
    "input_noise",
    "label_noise",
    "dropout",
    "supervision",
    "attack",
    "batch_norm",
    "evaluation",
]


def stream_seed(seed: int, stream: Stream | str, *counters: int) -> int:
    """A 63-bit seed for ``stream`` of ``seed``, different for each tuple of ``counters`` (epoch,
    batch, …)."""
    text = ":".join(map(str, (seed, stream, *counters)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, stream: Stream, *counters: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator on ``device`` at the start of a stream."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, *counters))


@contextmanager
def ambient(seed: int, stream: Stream, *counters: int) -> Iterator[None]:
    """Torch's global generator at the start of a stream inside the block, untouched after it.

    For what can draw only from the global generator: layers' initialisation and dropout.
    """
    # Only a GPU that is in use already: to ask for another's state would start a context on it.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(stream_seed(seed, stream, *counters))
        yield
