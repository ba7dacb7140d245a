"""Batches that kdray makes on the device beside those of a torchvision DataLoader.

    python -m tests.benchmarks.batches [--short]

Both draw random crops of 32 x 32 images padded by 4 and flip half of them, in random order, as
float tensors in [0, 1]; kdray in one thread of the process that trains, the DataLoader as usual
from images of PIL in two worker processes, which stay from epoch to epoch. The images are drawn at
random: neither side looks at them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from kdray.data import Augmentation, Split, Views
from kdray.machine.torchvision import torchvision_part
from kdray.methods import CrossEntropy
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say
from tests.benchmarks.steps import BATCH, THREADS, Bench

SHAPE = (32, 32, 3)
AUGMENTATION = Augmentation("crop_flip", SHAPE[0])
WORKERS = 2


class Images(Dataset[Any]):
    """As torchvision's CIFAR-10 gives them: an image of PIL, transformed, and its label."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        transforms = torchvision_part("transforms")
        self._pixels = pixels
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(SHAPE[0], padding=AUGMENTATION.pad),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), index % 10


class Size(NamedTuple):
    images: int
    epochs: int


SIZES = {False: Size(50_000, 3), True: Size(5_000, 3)}
"""By whether the form is short."""


def figures(short: bool) -> Iterator[Figure]:
    torch.set_num_threads(THREADS)
    size = SIZES[short]
    pixels = np.random.default_rng(0).integers(0, 256, (size.images, *SHAPE), dtype=np.uint8)
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    split = Split(tensor, torch.zeros(len(tensor), dtype=torch.int64))
    loader = DataLoader(
        Images(pixels), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )

    def ours() -> Iterable[Any]:
        order, draws = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
        return Views.drawn(len(tensor), AUGMENTATION, order=order, draws=draws).batches(
            split, BATCH
        )

    ways: dict[str, Callable[[], Iterable[Any]]] = {"kdray": ours, "DataLoader": lambda: loader}
    for way in ways.values():
        _used_up(way)  # the workers start
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(size.epochs):
        for name, way in ways.items():
            seconds[name].append(_used_up(way))
            say(f"epoch {epoch + 1}/{size.epochs}: {name} {seconds[name][-1]:.2f} s")
    del loader
    for name, each in seconds.items():
        yield Figure(f"crop_flip, {name}", tuple(size.images / spent for spent in each), "images/s")
    yield Figure(
        f"images a second: kdray in one process / DataLoader with {WORKERS} workers",
        tuple(
            theirs / own
            for own, theirs in zip(seconds["kdray"], seconds["DataLoader"], strict=True)
        ),
        "x",
        ">= 5",
        "wall time; PIL: RandomCrop(32, padding=4), RandomHorizontalFlip, ToTensor",
    )
    batch = statistics.median(seconds["kdray"]) * BATCH / size.images
    bench = Bench()
    steps = [bench.step(CrossEntropy()) for _ in range(2 + size.epochs)][2:]
    yield Figure(
        "making a batch / a WRN-16-2 step on it",
        tuple(100 * batch / step for step in steps),
        "%",
        "<= 3",
    )


def _used_up(batches: Callable[[], Iterable[Any]]) -> float:
    """Wall seconds of an epoch of which every batch is looked at."""
    began = time.perf_counter()
    for _ in batches():
        pass
    return time.perf_counter() - began


if __name__ == "__main__":
    run(figures)
