"""What a network says of each view of the training images, asked once: kept for later epochs and
the node's other trials.

A view is computed in a batch of always as many images and always in the same place of it, which its
image's position decides, beside whatever others are needed at the time or empty images; the network
is in eval mode, where the images of a batch do not meet. So an answer has the same bits whoever
asked for it first and whatever was known by then, also where nothing can be kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray
from torch import Tensor

from kdray.data import Split, Views, to_unit
from kdray.machine.node_cache import Table

LOGITS_AT_ONCE, GRADIENTS_AT_ONCE = {"cpu": 32, "cuda": 512}, {"cpu": 32, "cuda": 128}
"""Views in a batch, by the type of device; fewer where the split has fewer images. On a CPU
WRN-40-2 is 1.6 times as fast on 32 images as on 256, whose feature maps its caches do not hold."""
WINDOW = 64 * 2**20
"""Bytes of answers that a trial takes out of the table at a time."""

READS_AHEAD = {"cpu": False, "cuda": True}
"""Whether the next window is read while the device works on this one, by the type of device."""

Rows = NDArray[np.int64]
Ask = Callable[[Float32[Tensor, "B C H W"], Int64[Tensor, "B"]], Float32[Tensor, "B D"]]
"""The network's answer for images in [0, 1] and the labels of these."""


class Read(NamedTuple):
    """What a table has of some rows."""

    values: Float32[Tensor, "n D"]
    intact: NDArray[np.bool_]
    """By row: whether it has the answer."""


class LogitsCache:
    """One kind of answer, ``width`` numbers for each view, on the device of ``split``; computed for
    ``at_once`` views."""

    def __init__(
        self,
        ask: Ask,
        split: Split,
        *,
        width: int,
        at_once: int,
        table: Table | None,
        say: Callable[[str], None],
    ) -> None:
        self._ask, self._split, self._width, self._table = ask, split, width, table
        self._say = say
        self._size = min(at_once, len(split.labels))
        self._reader = ThreadPoolExecutor(
            1, "read-ahead"
        )  # which starts no thread until it is used

    def of(self, views: Views) -> EpochLogits:
        """The answers for the views of an epoch; those that nobody has asked for yet are computed
        now."""
        rows = (views.position * views.augmentation.variants + views.variant).numpy()
        if self._table is not None:
            self._fill(self._table, rows, views)
        return EpochLogits(self, views, rows, max(1, WINDOW // (4 * self._width)))

    def read(self, rows: Rows) -> Read:
        """What the table has of ``rows``, in memory that a copy to the device need not wait for."""
        if self._table is None:
            found, intact = (
                np.empty((len(rows), self._width), np.float32),
                np.zeros(len(rows), bool),
            )
        else:
            found, intact = self._table.read(rows)
        values = torch.from_numpy(found)
        return Read(values.pin_memory() if self._split.device.type == "cuda" else values, intact)

    def read_ahead(self, rows: Rows) -> Future[Read] | None:
        """The same in another thread, while the device trains; none on a CPU, which would train
        the less meanwhile."""
        if self._table is None or not READS_AHEAD[self._split.device.type]:
            return None
        return self._reader.submit(self.read, rows)

    def completed(self, rows: Rows, read: Read, views: Views) -> Float32[Tensor, "n D"]:
        """The answers in ``rows`` on the device, computed where the table had none that was
        intact."""
        values = read.values.numpy()
        (missing,) = np.nonzero(~read.intact)
        for chosen in _batches(rows[missing] // views.augmentation.variants, self._size):
            values[missing[chosen]] = self._computed(rows[missing[chosen]], views)
        if self._table is not None and len(missing):
            self._table.write(rows[missing], values[missing])
        return read.values.to(self._split.device, non_blocking=True)

    def _fill(self, table: Table, rows: Rows, views: Views) -> None:
        """Compute what is missing, side by side with other processes that do."""
        missing = np.sort(rows[~table.has(rows)])
        began, asked = perf_counter(), 0
        batches = list(_batches(missing // views.augmentation.variants, self._size))
        # In an order of its own: of trials that start together each finds what the others have
        # done.
        first = os.getpid() * len(batches) // 7 % max(1, len(batches))
        for chosen in batches[first:] + batches[:first]:
            batch = missing[chosen]
            if not table.has(batch).all():
                table.write(batch, self._computed(batch, views))
                asked += len(batch)
        if asked:
            self._say(
                f"{asked} of {len(rows)} views were new to the teacher: "
                f"{perf_counter() - began:.1f} s"
            )

    def _computed(self, rows: Rows, views: Views) -> NDArray[np.float32]:
        """The answers in ``rows``, of images in different places of a batch."""
        position, variant = np.divmod(rows, views.augmentation.variants)
        index, variants = torch.from_numpy(position), torch.from_numpy(variant)
        places, device = index % self._size, self._split.device
        (taken,) = self._split.read(index, [slice(None)])
        shown = to_unit(views.augmentation.apply(taken, variants.to(device)))
        images = shown.new_zeros(self._size, *shown.shape[1:])
        labels = self._split.labels.new_zeros(self._size)
        images[places.to(device)] = shown
        labels[places.to(device)] = self._split.labels[index.to(device)]
        answer = self._ask(images, labels).detach().float().flatten(1).cpu()
        return answer[places].numpy()


class EpochLogits:
    """The answers for one epoch, taken out of the table a window at a time."""

    def __init__(self, answers: LogitsCache, views: Views, rows: Rows, window: int) -> None:
        self._answers, self._views, self._rows, self._window = answers, views, rows, window
        self._start, self._held = 0, torch.empty(0)
        self._ahead: tuple[slice, Future[Read] | None] = (slice(0, 0), None)
        """The window after the one that is held, and what the table has of it."""

    def __getitem__(self, at: slice) -> Float32[Tensor, "B D"]:
        """Of a batch, by its place in the epoch's order."""
        if not self._start <= at.start < at.stop <= self._start + len(self._held):
            self._start, self._held = at.start, self._taken(at)
        return self._held[at.start - self._start : at.stop - self._start]

    def _taken(self, at: slice) -> Float32[Tensor, "n D"]:
        """The window that begins with a batch, in whole batches of its size."""
        size, count = at.stop - at.start, len(self._rows)
        length = max(1, self._window // size) * size
        window = slice(at.start, min(at.start + length, count))
        foreseen, reading = self._ahead
        read = reading.result() if reading is not None and foreseen == window else None
        rows = self._rows[window]
        held = self._answers.completed(rows, read or self._answers.read(rows), self._views)
        if window.stop < count:
            following = slice(window.stop, min(window.stop + length, count))
            self._ahead = following, self._answers.read_ahead(self._rows[following])
        return held


def _batches(position: Rows, size: int) -> Iterator[Rows]:
    """Groups of indices into ``position``, in each of which no two have the same place in a batch
    of ``size``."""
    place = position % size
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=size)
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    by_turn = np.argsort(turn, kind="stable")
    yield from np.split(by_turn, np.cumsum(np.bincount(turn))[:-1]) if len(turn) else ()


def digest(*tensors: Tensor) -> str:
    """Of the tensors' bits."""
    hasher = hashlib.sha256()
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous()
        hasher.update(f"{plain.dtype}{tuple(plain.shape)}".encode())
        hasher.update(plain.view(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
