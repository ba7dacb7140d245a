"""Views of training images: crops after zero padding, and horizontal flips.

A view is told by two numbers, the image's position in the split and the variant of it, so that what
a network says of it can be found again in a later epoch, or by another trial. All draws are the
CPU's: every kind of device sees the same views in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from kdray.data.splits import Split

AUGMENTED_AT_ONCE = {"cpu": 0, "cuda": 32 * 2**20}
"""Bytes of images that are augmented at a time, at least a batch, by the type of device: a batch
keeps a CPU's caches, and takes a GPU less time than the launches do. Meanwhile up to ten times as
many are taken."""

Augment = Literal["none", "flip", "crop", "crop_flip"]


@dataclass(frozen=True)
class Augmentation:
    """What may be done to images of ``side`` rows."""

    name: Augment
    side: int

    @property
    def crops(self) -> bool:
        return self.name in ("crop", "crop_flip")

    @property
    def flips(self) -> bool:
        return self.name in ("flip", "crop_flip")

    @property
    def pad(self) -> int:
        """Zeros on every side of an image before it is cropped: an eighth of it (4 at 32)."""
        return self.side // 8

    @property
    def shifts(self) -> int:
        """Places of a crop in each direction."""
        return 2 * self.pad + 1

    @property
    def variants(self) -> int:
        """Different views of one image: 1, 2, 81 or 162 at 32 rows."""
        return (self.shifts**2 if self.crops else 1) * (2 if self.flips else 1)

    def draw(self, count: int, draws: torch.Generator) -> Int64[Tensor, "count"]:
        """A variant for each of so many images, all equally likely."""
        # Both drawn whatever is used, so that augmentations compare image by image.
        shifts = torch.randint(0, self.shifts, (count, 2), generator=draws)
        flips = torch.randint(0, 2, (count,), generator=draws)
        place = shifts[:, 0] * self.shifts + shifts[:, 1] if self.crops else torch.zeros_like(flips)
        return place * 2 + flips if self.flips else place

    def apply(
        self, images: UInt8[Tensor, "B C H W"], variant: Int64[Tensor, "B"]
    ) -> UInt8[Tensor, "B C H W"]:
        """The ``variant`` of every image."""
        place, flips = (variant // 2, variant % 2 == 1) if self.flips else (variant, None)
        if self.crops:
            return crop(
                images, self.pad, torch.stack([place // self.shifts, place % self.shifts], 1), flips
            )
        return (
            images
            if flips is None
            else torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)
        )


class Examples(NamedTuple):
    """One batch of training examples."""

    at: slice
    """In the epoch's order."""
    position: Int64[Tensor, "B"]
    """In the training split."""
    images: Float32[Tensor, "B C H W"]
    """In [0, 1], augmented."""


class Views(NamedTuple):
    """What an epoch shows of a split, in its order: every image once."""

    augmentation: Augmentation
    position: Int64[Tensor, "N"]
    """In the split; on the CPU."""
    variant: Int64[Tensor, "N"]
    """On the CPU."""

    @classmethod
    def drawn(
        cls,
        count: int,
        augmentation: Augmentation,
        *,
        order: torch.Generator,
        draws: torch.Generator,
    ) -> Views:
        """The views of ``count`` images in random order."""
        position = torch.randperm(count, generator=order)
        return cls(augmentation, position, augmentation.draw(count, draws)[position])

    def batches(self, split: Split, size: int, *, least: int = 1) -> Iterator[Examples]:
        """Batches of ``split`` on its device; the last one may be smaller, and one below
        ``least`` is part of the one before it."""
        position, variant = self.position.to(split.device), self.variant.to(split.device)
        starts = list(range(0, len(position), size))
        if len(starts) > 1 and len(position) - starts[-1] < least:
            del starts[-1]
        parts = [slice(start, stop) for start, stop in pairwise([*starts, len(position)])]
        shown = self._images(split, parts, variant)
        for at, images in zip(parts, shown, strict=True):
            yield Examples(at, position[at], to_unit(images))

    def _images(
        self, split: Split, parts: list[slice], variant: Int64[Tensor, "N"]
    ) -> Iterator[UInt8[Tensor, "B C H W"]]:
        """The augmented images of each of ``parts``, as many at once as the device does best;
        streamed ones batch by batch, since it works on one while the next is copied."""
        at_once = 1
        if parts and not split.streamed:
            size = max(1, parts[0].stop * split.images[0].numel())
            at_once = max(1, AUGMENTED_AT_ONCE[split.device.type] // size)
        several = [parts[start : start + at_once] for start in range(0, len(parts), at_once)]
        spans = [slice(some[0].start, some[-1].stop) for some in several]
        for some, span, images in zip(
            several, spans, split.read(self.position, spans), strict=True
        ):
            augmented = self.augmentation.apply(images, variant[span])
            yield from (augmented[at.start - span.start : at.stop - span.start] for at in some)


def crop(
    images: UInt8[Tensor, "B C H W"],
    pad: int,
    shifts: Int64[Tensor, "B 2"],
    flips: Bool[Tensor, "B"] | None = None,
) -> UInt8[Tensor, "B C H W"]:
    """Every image after zero padding by ``pad`` on each side, cut out at its own (row, column)
    shift in 0..2·pad, and then turned left to right where ``flips``."""
    _, channels, height, width = images.shape
    padded = functional.pad(images, (pad, pad, pad, pad)).flatten(2)
    row, column = (torch.arange(side, device=images.device) for side in (height, width))
    rows = shifts[:, :1] + row
    columns = shifts[:, 1:] + (
        column if flips is None else torch.where(flips[:, None], column.flip(0), column)
    )
    # One index for all channels: gathering is several times as fast as indexing with a tensor for
    # each axis.
    taken = (rows[:, :, None] * (width + 2 * pad) + columns[:, None, :]).flatten(1)[:, None, :]
    return padded.gather(2, taken.expand(-1, channels, -1)).view(images.shape)


def to_unit(images: UInt8[Tensor, "*shape"]) -> Float32[Tensor, "*shape"]:
    """Pixels 0..255 as floats in [0, 1]."""
    return images.float().div_(255)
