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

from pydantic import Field
from torch import Tensor

from kdray.core import InputError
from kdray.data.base import Shape
from kdray.data.image_files import (
    Files,
    class_folders,
    decoded_parts,
    fitted_square,
    image_labels,
    listed_images,
)
from kdray.data.own import OwnData
from kdray.data.splits import Split


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
            self.held_out(image_labels(parts["train"]), root)

    def prepare(self, root: Path) -> None:
        self.keep_copy(root)

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        files = self._files(root)
        images = decoded_parts(
            {part: [path for path, _ in listed] for part, listed in files.items()},
            self.native_shape,
            partial(fitted_square, size=self.size),
        )
        parts = {part: Split(images[part], image_labels(listed)) for part, listed in files.items()}
        return self.splits(parts, root)

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        parts = {part: image_labels(files) for part, files in self._files(root).items()}
        return self.label_splits(parts, root)

    def _files(self, root: Path) -> dict[str, Files]:
        place = self.place(root)
        if not place.is_dir():
            raise self.lacks(root)
        for part in ("train", "test"):
            if not (place / part).is_dir():
                raise InputError(f"{place}: {part} is missing; it must be {self.needed}")
        numbers = {
            name: number for number, name in enumerate(sorted(class_folders(place / "train")))
        }
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
        return {part: listed_images(place / part, numbers, every=part == "train") for part in parts}
