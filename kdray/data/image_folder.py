"""A user's own images as files: ``train/<class>/…``, ``test/<class>/…`` and optionally
``val/<class>/…`` below one folder.

Classes are numbered in the sorted order of the names in ``train``, accents composed. Images are
read with Pillow as a viewer shows them (turned as their EXIF orientation says), in 8-bit colour (a
transparent pixel keeps its colour, of 16 bits the higher 8 count), their shorter side is scaled to
``size`` (bilinear, antialiased), and the centre is cut out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from kdray.core import InputError
from kdray.core.names import composed
from kdray.data.base import Shape
from kdray.data.image_files import SUFFIXES, decoded_parts, fitted_square, is_clutter
from kdray.data.own import OwnData
from kdray.data.splits import Split

Files = list[tuple[Path, int]]
"""Every image of a part with its label, in the order of class and name."""


class ImageFolder(OwnData):
    """A user's own image files, in one folder for each class."""

    needed: ClassVar[str] = (
        "a folder with train/<class>/ and test/<class>/, and optionally val/<class>/, full "
        "of images"
    )

    version: ClassVar[int] = 2
    """1 left photographs lying on their side whose EXIF orientation turns them."""

    name: Literal["image_folder"] = "image_folder"
    size: Annotated[int, Field(ge=4, le=1024)]
    """Side in pixels that images are scaled to as they are read; read as colour, ``channels: 1``
    makes them grey."""

    @property
    def native_shape(self) -> Shape:
        return 3, self.size, self.size

    def check(self, root: Path) -> None:
        """The folders and the names; :meth:`prepare` opens the images."""
        parts = self._files(root)
        if "val" not in parts:
            self.held_out(_labels(parts["train"]), root)

    def prepare(self, root: Path) -> None:
        self.keep_copy(root)

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        files = self._files(root)
        images = decoded_parts(
            {part: [path for path, _ in listed] for part, listed in files.items()},
            self.native_shape,
            partial(fitted_square, size=self.size),
        )
        parts = {part: Split(images[part], _labels(listed)) for part, listed in files.items()}
        return self.splits(parts, root)

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        parts = {part: _labels(files) for part, files in self._files(root).items()}
        return self.label_splits(parts, root)

    def _files(self, root: Path) -> dict[str, Files]:
        place = self.place(root)
        if not place.is_dir():
            raise self.lacks(root)
        for part in ("train", "test"):
            if not (place / part).is_dir():
                raise InputError(f"{place}: {part} is missing; it must be {self.needed}")
        numbers = {name: number for number, name in enumerate(sorted(_folders(place / "train")))}
        if len(numbers) != self.classes:
            raise InputError(
                f"{place / 'train'}: has {len(numbers)} folders, needs one for each of "
                f"{self.classes} classes"
            )
        parts = ["train", "test", *(["val"] if (place / "val").is_dir() else [])]
        if "val" in parts and self.validation is not None:
            raise InputError(
                f"{place}: validation: {self.validation}: there is a folder val; leave "
                "validation out"
            )
        return {part: _listed(place / part, numbers, every=part == "train") for part in parts}


def _labels(files: Files) -> Tensor:
    return torch.tensor([label for _, label in files], dtype=torch.int64)


def _folders(place: Path) -> dict[str, Path]:
    """The folders at ``place`` by the names of their classes; InputError if anything else is
    there."""
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if is_clutter(path):
            continue
        if not path.is_dir():
            raise InputError(f"{path}: is no folder; needs one folder for each class")
        name = composed(path.name)
        if name in found:
            raise InputError(
                f"{place}: has two folders {name!r}, one with its accents as characters of their "
                "own; put them into one"
            )
        found[name] = path
    return found


def _listed(place: Path, numbers: dict[str, int], *, every: bool) -> Files:
    """The images at ``place``, and whether ``every`` class must have one."""
    files: Files = []
    for name, folder in sorted(_folders(place).items()):
        if name not in numbers:
            raise InputError(
                f"{place / name}: is no class of train (there: {', '.join(list(numbers)[:20])})"
            )
        before = len(files)
        for path in sorted(folder.iterdir()):
            if is_clutter(path):
                continue
            if not path.is_file() or path.suffix.lower() not in SUFFIXES:
                raise InputError(f"{path}: is no image (allowed: {', '.join(SUFFIXES)})")
            files.append((path, numbers[name]))
        if every and len(files) == before:
            raise InputError(f"{place / name}: holds no image; every class needs one")
    if not files:
        raise InputError(f"{place}: holds no image")
    return files
