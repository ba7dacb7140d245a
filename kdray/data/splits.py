"""The splits of a data set, and the part of a split that stands for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from kdray.core import InputError
from kdray.machine.hardware import memory


class Split(NamedTuple):
    """Images and labels of one split, on one device; or the labels alone, where it has no room for
    the images."""

    images: UInt8[Tensor, "N C H W"]
    """In main memory if they are :attr:`streamed`."""
    labels: Int64[Tensor, "N"]

    @property
    def device(self) -> torch.device:
        """What is computed on."""
        return self.labels.device

    @property
    def streamed(self) -> bool:
        """Whether the images stay in main memory and are copied to the device batch by batch."""
        return self.images.device != self.device

    @property
    def size(self) -> int:
        """Bytes of the images."""
        return self.images.numel()

    def to(self, device: torch.device, *, streamed: bool = False) -> Split:
        """The split on ``device``, its images where they are if they are to be ``streamed``."""
        images = self.images if streamed else self.images.to(device)
        return Split(images, self.labels.to(device))

    def first(self, count: int | None) -> Split:
        """The first ``count`` images, or all of them."""
        return self if count is None else Split(self.images[:count], self.labels[:count])

    def sample(self, examples: int | None) -> Split:
        """``examples`` images that stand for the split, in its order, or all of them; see
        :func:`sample`."""
        return self if examples is None else self.take(sample(self.labels, examples))

    def take(self, index: Int64[Tensor, "n"]) -> Split:
        return Split(self.images[index.to(self.images.device)], self.labels[index.to(self.device)])

    def read(
        self, position: Int64[Tensor, "n"], parts: Iterable[slice]
    ) -> Iterator[UInt8[Tensor, "B C H W"]]:
        """The images in each part of ``position``, on the device. Streamed ones are copied
        while the device works on the part before them."""
        if not self.streamed:
            there = position.to(self.device)  # one copy for all parts
            yield from (self.images[there[part]] for part in parts)
            return
        waiting: UInt8[Tensor, "B C H W"] | None = None
        for part in parts:
            waiting, ready = self._copied(position[part]), waiting
            if ready is not None:
                yield ready
        if waiting is not None:
            yield waiting

    def _copied(self, position: Int64[Tensor, "B"]) -> UInt8[Tensor, "B C H W"]:
        """The images at ``position``, on their way to the device; nothing waits for them."""
        # From memory that the system may move, a copy to a GPU is waited for.
        pinned = self.device.type == "cuda"
        shape = (len(position), *self.images.shape[1:])
        gathered = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
        torch.index_select(self.images, 0, position.cpu(), out=gathered)
        return gathered.to(self.device, non_blocking=True)


class Dataset(NamedTuple):
    """The three splits of a data set. Nothing is ever fitted to or chosen on ``test``."""

    train: Split
    val: Split
    test: Split
    mean: Float32[Tensor, "C"]
    """Per channel, of the training images in [0, 1]."""
    std: Float32[Tensor, "C"]
    omitted: tuple[int, ...] = ()
    """Classes without an image in ``train``; ``val`` and ``test`` have them."""

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(split.size for split in (self.train, self.val, self.test))

    def to(self, device: torch.device, *, streamed: bool = False) -> Dataset:
        """The data set on ``device``, its images where they are if they are to be ``streamed``."""
        train, val, test = (
            split.to(device, streamed=streamed) for split in (self.train, self.val, self.test)
        )
        return self._replace(train=train, val=val, test=test)


def check_room(count: int, shape: tuple[int, int, int]) -> None:
    """Raise :class:`InputError` unless main memory holds so many images, a byte for each number."""
    needed, there = count * prod(shape), memory()
    if needed > there:
        sides = " x ".join(map(str, shape))
        raise InputError(
            f"experiment.data: {count} images of {sides} take {needed / 1e9:.1f} GB, and this "
            f"machine has {there / 1e9:.1f} GB of main memory; choose a smaller size, or fewer "
            "images"
        )


def sample(labels: Int64[Tensor, "N"], count: int, *, salt: str = "examples") -> Int64[Tensor, "n"]:
    """The sorted positions of ``count`` of ``labels`` (at most all) that stand for them: the same
    in every process, each class in its proportion, and a larger sample holds a smaller
    one.

    The image of rank r (by a hash of salt and position) of the n in class c comes at (r + u) / n,
    where u is in [0, 1) and a hash of salt and class; the sample is what comes first.
    """
    if count >= len(labels):
        return torch.arange(len(labels), device=labels.device)
    listed = labels.tolist()
    by_class: dict[int, list[int]] = {}
    for position in sorted(range(len(listed)), key=lambda at: _hash(f"{salt}:{at}")):
        by_class.setdefault(listed[position], []).append(position)
    places = [
        ((rank + int.from_bytes(_hash(f"{salt}:class {label}")) / 2**64) / len(members), position)
        for label, members in by_class.items()
        for rank, position in enumerate(members)
    ]
    chosen = sorted(position for _, position in sorted(places)[:count])
    return torch.tensor(chosen, dtype=torch.int64, device=labels.device)


def sample_per_class(labels: Int64[Tensor, "N"], count: int, *, salt: str) -> Int64[Tensor, "n"]:
    """The sorted positions of ``count`` of each class: those with the smallest hashes of salt and
    position, so that a larger sample holds a smaller one."""
    chosen: list[int] = []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten().tolist()
        if len(members) < count:
            found = f"{count} of {len(members)} images of class {label}"
            raise InputError(f"experiment.data.train_per_class: {found}")
        chosen += sorted(members, key=lambda at: _hash(f"{salt}:{at}"))[:count]
    return torch.tensor(sorted(chosen), dtype=torch.int64, device=labels.device)


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


def stratified(
    labels: Int64[Tensor, "N"], count: int, *, salt: str
) -> tuple[Int64[Tensor, "rest"], Int64[Tensor, "n"]]:
    """Split the indices of ``labels`` into the rest and ``count`` that hold every class in
    proportion.

    Within a class images are taken in the order of a hash of (salt, index): no library's random
    numbers, which may change between versions, decide what is validation data. Both parts are
    sorted.
    """
    total = len(labels)
    if not 0 < count < total:
        raise InputError(f"a part of {count} images cannot be split off {total}")
    taken: list[int] = []
    shares: list[tuple[float, int, list[int]]] = []
    for label in labels.unique().tolist():
        members = torch.nonzero(labels == label).flatten().tolist()
        members.sort(key=lambda index: _hash(f"{salt}:{index}"))
        whole, fraction = divmod(count * len(members), total)
        taken += members[:whole]
        shares.append((-fraction / total, label, members[whole:]))
    for _, _, members in sorted(shares)[
        : count - len(taken)
    ]:  # largest remainders get the images that rounding left
        taken.append(members[0])
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[taken] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
