"""Arrays in files, part by part: in one .npz file or in a folder of .npy files.

Nothing in them is unpickled. What can be told without the pixels (shapes, types, labels) is told
without reading them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdray.core import InputError

PARTS = ("train", "test", "val")


class Header(NamedTuple):
    """What is known of an array without its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ArrayFiles(ABC):
    """Images and labels of the parts that are there."""

    @abstractmethod
    def has(self, part: str) -> bool:
        """Whether anything of ``part`` is there."""

    @abstractmethod
    def name(self, part: str, what: str) -> str:
        """What a message calls the images or labels (``what``) of ``part``; :class:`InputError` if
        they are missing."""

    @abstractmethod
    def header(self, part: str, what: str) -> Header:
        """Shape and type, without the numbers."""

    @abstractmethod
    def labels(self, part: str) -> Any:
        """The labels, as they are."""

    @abstractmethod
    def images(self, part: str) -> Tensor:
        """The images, N x H x W or N x H x W x C."""


class _Keyed(ArrayFiles):
    """Arrays that each have a key."""

    there: list[str]
    """The keys."""

    def __init__(self, place: Path, keys: Mapping[str, str]) -> None:
        self._place, self._keys = place, keys

    def has(self, part: str) -> bool:
        return any(self._keys[f"{part}_{what}"] in self.there for what in ("images", "labels"))

    def name(self, part: str, what: str) -> str:
        key = self._keys[f"{part}_{what}"]
        if key not in self.there:
            listed = ", ".join(sorted(self.there)) or "nothing"
            raise InputError(f"{self._place}: {key} is missing (there: {listed})")
        return key

    def images(self, part: str) -> Tensor:
        return torch.from_numpy(np.require(self._array(part, "images"), requirements=["C", "W"]))

    def labels(self, part: str) -> Any:
        return self._array(part, "labels")

    @abstractmethod
    def _array(self, part: str, what: str) -> Any: ...


class NpzFile(_Keyed):
    """An open .npz file."""

    def __init__(self, place: Path, file: Any, keys: Mapping[str, str]) -> None:
        super().__init__(place, keys)
        self._file, self.there = file, list(file.files)

    def header(self, part: str, what: str) -> Header:
        with self._file.zip.open(f"{self.name(part, what)}.npy") as member:
            version = np.lib.format.read_magic(member)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(member)
        return Header(shape, dtype)

    def _array(self, part: str, what: str) -> Any:
        return self._file[self.name(part, what)]


class NpyFolder(_Keyed):
    """A folder with an .npy file for each key."""

    def __init__(self, place: Path, keys: Mapping[str, str]) -> None:
        super().__init__(place, keys)
        self.there = [path.stem for path in place.glob("*.npy")]

    def header(self, part: str, what: str) -> Header:
        array = self._array(part, what)
        return Header(array.shape, array.dtype)

    def _array(self, part: str, what: str) -> Any:
        path = self._place / f"{self.name(part, what)}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False)
