"""A user's own images as arrays: in one .npz file, in a folder of .npy files, or in Parquet files.

``train_images``, ``test_images`` and optionally ``val_images``: uint8, N x H x W, or N x H x W x C;
``train_labels``, ``test_labels``, ``val_labels``: N whole numbers from 0, or N x 1.
``numpy.savez(path, train_images=…, …)`` writes such a file, and MedMNIST's are such files; other
keys are named by ``keys``. In a folder each key is an .npy file of its name, or there are
``train*.parquet``, ``test*.parquet`` and optionally ``val*.parquet``, as Hugging Face has them.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import Field, field_validator
from torch import Tensor

from kdray.core import InputError, Several, Value
from kdray.data.array_files import ArrayFiles, Header, NpyFolder, NpzFile
from kdray.data.base import Shape
from kdray.data.own import OwnData
from kdray.data.splits import Split, check_room


class ArrayKeys(Value):
    """What the arrays are called in the file, or the .npy files in the folder."""

    train_images: Annotated[str, Field(min_length=1)] = "train_images"
    train_labels: Annotated[str, Field(min_length=1)] = "train_labels"
    val_images: Annotated[str, Field(min_length=1)] = "val_images"
    val_labels: Annotated[str, Field(min_length=1)] = "val_labels"
    test_images: Annotated[str, Field(min_length=1)] = "test_images"
    test_labels: Annotated[str, Field(min_length=1)] = "test_labels"


class Arrays(OwnData):
    """A user's own arrays of images and labels: an .npz file, or a folder of .npy or Parquet
    files."""

    needed: ClassVar[str] = (
        "an .npz file with train_images, train_labels, test_images, test_labels, and "
        "optionally val_images, val_labels (or other keys), or a folder of such .npy files, or of "
        "train*.parquet and test*.parquet"
    )

    name: Literal["arrays"] = "arrays"
    image_shape: Several[Annotated[int, Field(ge=1, le=1024)]]
    """Channels (1 or 3), height, width of the images in the file; encoded images of another size
    are scaled and their centre cut out."""
    keys: ArrayKeys = ArrayKeys()
    image_column: Annotated[str, Field(min_length=1)] = "image"
    """Of Parquet files: encoded images (bytes, or Hugging Face's struct of bytes and path), or
    nested lists of uint8."""
    label_column: Annotated[str, Field(min_length=1)] = "label"
    """Of Parquet files: whole numbers from 0."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """Of one file, as ``sha256sum`` prints it: then the description tells these images from any
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

    def prepare(self, root: Path) -> None:
        place = self.place(root)
        if place.is_dir() and _holds_parquet(place):
            self.keep_copy(root)  # what cannot be decoded is told before anything starts

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
    def _opened(self, root: Path) -> Iterator[ArrayFiles]:
        """The file or folder, its checksum compared; whatever cannot be read in it is told."""
        place = self.place(root)
        if not place.is_file() and not (place.is_dir() and _holds_arrays(place)):
            raise self.lacks(root)
        try:
            if place.is_dir():
                yield self._folder(place)
                return
            if not zipfile.is_zipfile(place):
                raise InputError(f"{place}: is no .npz file; it must be {self.needed}")
            self._check_sha256(place)
            with np.load(place, allow_pickle=False) as file:
                yield NpzFile(place, file, self.keys.model_dump())
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
            raise InputError(f"{place}: cannot be read ({' '.join(str(error).split())})") from None

    def _folder(self, place: Path) -> ArrayFiles:
        if self.sha256 is not None:
            raise InputError(f"{place}: sha256: is of one file, and this is a folder")
        if _holds_parquet(place):
            from kdray.data.parquet_files import ParquetFolder  # loads pyarrow

            columns = {"images": self.image_column, "labels": self.label_column}
            return ParquetFolder(place, columns, self.native_shape)
        return NpyFolder(place, self.keys.model_dump())

    def _check_sha256(self, place: Path) -> None:
        if self.sha256 is None:
            return
        with place.open("rb") as raw:
            found = hashlib.file_digest(raw, "sha256").hexdigest()
        if found != self.sha256:
            raise InputError(f"{place}: sha256 is {found}, the description has {self.sha256}")

    def _labels(self, file: ArrayFiles, root: Path) -> dict[str, Int64[Tensor, "N"]]:
        """The labels of every part, after all that can be told without the pixels."""
        place = self.place(root)
        parts = ["train", "test", *(["val"] if file.has("val") else [])]
        if "val" in parts and self.validation is not None:
            raise InputError(
                f"{place}: validation: {self.validation}: the file has val_images; leave "
                "validation out"
            )
        labels, count = {}, 0
        for part in parts:
            images, named = file.name(part, "images"), file.name(part, "labels")
            shape = self._check_images(file.header(part, "images"), f"{place}: {images}")
            labels[part] = self._checked(file, part, shape[0], f"{place}: {named}")
            count += shape[0]
        check_room(count, self.native_shape)
        lacking = torch.bincount(labels["train"], minlength=self.classes) == 0
        if lacking.any():
            raise InputError(
                f"{place}: {file.name('train', 'labels')}: no image of class "
                f"{int(lacking.nonzero()[0])}; every class from 0 to {self.classes - 1} needs one"
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

    def _checked(self, file: ArrayFiles, part: str, images: int, where: str) -> Int64[Tensor, "N"]:
        header = file.header(part, "labels")
        if header.dtype.kind not in "iu" or header.shape not in ((images,), (images, 1)):
            raise InputError(
                f"{where}: is {header.dtype} {_times(header.shape)}, needs {images} "
                "whole numbers, one for each image"
            )
        labels = file.labels(part).reshape(-1)
        wrong = (labels < 0) | (labels >= self.classes)
        if wrong.any():
            raise InputError(
                f"{where}[{int(wrong.argmax())}]: is {labels[wrong][0]} (allowed: 0 "
                f"to {self.classes - 1}, of "
                f"{self.classes} classes)"
            )
        return torch.from_numpy(labels.astype(np.int64))

    def _images(self, file: ArrayFiles, part: str) -> Tensor:
        images = file.images(part)
        return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _holds_parquet(place: Path) -> bool:
    return next(place.glob("*.parquet"), None) is not None


def _holds_arrays(place: Path) -> bool:
    return _holds_parquet(place) or next(place.glob("*.npy"), None) is not None


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "(a single number)"
