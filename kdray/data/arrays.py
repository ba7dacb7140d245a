"""A user's own images as NumPy arrays in one .npz file.

``train_images``, ``test_images`` and optionally ``val_images``: uint8, N x H x W, or N x H x W x C;
``train_labels``, ``test_labels``, ``val_labels``: N whole numbers from 0. ``numpy.savez(path,
train_images=…, …)`` writes such a file.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field, field_validator
from torch import Tensor

from kdray.core import InputError, Several
from kdray.data.base import Shape
from kdray.data.own import OwnData
from kdray.data.splits import Split


class Header(NamedTuple):
    """What an .npy file says of its array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Arrays(OwnData):
    """A user's own arrays: an .npz file of images and labels."""

    needed: ClassVar[str] = (
        "an .npz file with train_images, train_labels, test_images, test_labels, and "
        "optionally val_images, val_labels"
    )

    name: Literal["arrays"] = "arrays"
    image_shape: Several[Annotated[int, Field(ge=1, le=1024)]]
    """Channels (1 or 3), height, width of the images in the file."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """Of the file, as ``sha256sum`` prints it: then the description tells these images from any
    others at ``path``."""

    @field_validator("image_shape")
    @classmethod
    def _an_image(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"{list(shape)} is not [channels, height, width] with 1 or 3 channels")
        return shape

    @field_validator("sha256")
    @classmethod
    def _in_lower_case(cls, digest: str | None) -> str | None:
        return None if digest is None else digest.lower()

    @property
    def native_shape(self) -> Shape:
        channels, height, width = self.image_shape
        return channels, height, width

    def check(self, root: Path) -> None:
        """Everything but the pixels: the headers, the labels and, where it is given, the
        checksum."""
        with self._opened(root) as file:
            labels = self._labels(file, root)
        if "val" not in labels:
            self.held_out(labels["train"], root)

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        with self._opened(root) as file:
            parts = {
                part: Split(self._images(file, part), labels)
                for part, labels in self._labels(file, root).items()
            }
        return self.splits(parts, root)

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        with self._opened(root) as file:
            return self.label_splits(self._labels(file, root), root)

    @contextmanager
    def _opened(self, root: Path) -> Iterator[Any]:
        """The file, its checksum compared; whatever cannot be read in it is told."""
        place = self.place(root)
        if not place.is_file():
            raise self.lacks(root)
        try:
            if not zipfile.is_zipfile(place):
                raise InputError(f"{place}: is no .npz file; it must be {self.needed}")
            if self.sha256 is not None:
                with place.open("rb") as raw:
                    found = hashlib.file_digest(raw, "sha256").hexdigest()
                if found != self.sha256:
                    raise InputError(
                        f"{place}: sha256 is {found}, the description has {self.sha256}"
                    )
            with np.load(place, allow_pickle=False) as file:
                yield file
        except InputError:
            raise
        except (
            OSError,
            EOFError,
            KeyError,
            RuntimeError,
            ValueError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise InputError(f"{place}: cannot be read ({error})") from None

    def _labels(self, file: Any, root: Path) -> dict[str, Int64[Tensor, "N"]]:
        """The labels of every part, after all that can be told without the pixels."""
        place, there = self.place(root), set(file.files)
        parts = ["train", "test", *(["val"] if there & {"val_images", "val_labels"} else [])]
        if "val" in parts and self.validation is not None:
            raise InputError(
                f"{place}: validation: {self.validation}: the file has val_images; leave "
                "validation out"
            )
        labels = {}
        for part in parts:
            for key in (f"{part}_images", f"{part}_labels"):
                if key not in there:
                    raise InputError(
                        f"{place}: {key} is missing (there: "
                        f"{', '.join(sorted(there)) or 'nothing'})"
                    )
            shape = self._check_images(_header(file, f"{part}_images"), f"{place}: {part}_images")
            labels[part] = self._checked(file, f"{part}_labels", shape[0], place)
        lacking = torch.bincount(labels["train"], minlength=self.classes) == 0
        if lacking.any():
            raise InputError(
                f"{place}: train_labels: no image of class {int(lacking.nonzero()[0])}; "
                "every class from 0 to "
                f"{self.classes - 1} needs one"
            )
        return labels

    def _check_images(self, header: Header, where: str) -> tuple[int, ...]:
        channels, height, width = self.image_shape
        allowed = [(height, width, channels), *([(height, width)] if channels == 1 else [])]
        if header.dtype != np.uint8 or header.shape[1:] not in allowed:
            needed = " or ".join(f"N x {_times(shape)}" for shape in reversed(allowed))
            raise InputError(
                f"{where}: is {header.dtype} {_times(header.shape)}, needs uint8 {needed} "
                "(image_shape)"
            )
        if not prod(header.shape):
            raise InputError(f"{where}: holds no image")
        return header.shape

    def _checked(self, file: Any, key: str, images: int, place: Path) -> Int64[Tensor, "N"]:
        header = _header(file, key)
        if header.dtype.kind not in "iu" or header.shape != (images,):
            raise InputError(
                f"{place}: {key}: is {header.dtype} {_times(header.shape)}, needs {images} "
                "whole numbers, one for each image"
            )
        labels = file[key]
        wrong = (labels < 0) | (labels >= self.classes)
        if wrong.any():
            raise InputError(
                f"{place}: {key}[{int(wrong.argmax())}]: is {labels[wrong][0]} (allowed: 0 "
                f"to {self.classes - 1}, of "
                f"{self.classes} classes)"
            )
        return torch.from_numpy(labels.astype(np.int64))

    def _images(self, file: Any, part: str) -> Tensor:
        images = torch.from_numpy(np.ascontiguousarray(file[f"{part}_images"]))
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _header(file: Any, key: str) -> Header:
    """Shape and type of an array, without the array."""
    with file.zip.open(f"{key}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    return Header(shape, dtype)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "(a single number)"
