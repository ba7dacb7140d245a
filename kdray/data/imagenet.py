"""ImageNet (ILSVRC 2012; Russakovsky et al. 2015) and Tiny ImageNet (Le, Yang 2015), from their
folders of images.

Neither has public labels of its test images: the official validation images are the test split
here, and validation images are taken from the training ones. Classes are numbered in the order of
their WordNet ids. Nothing fetches them.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from kdray.core import InputError, tag_of
from kdray.data.base import ImageData, Obtained, Shape
from kdray.data.image_files import (
    Files,
    class_folders,
    decoded_parts,
    fitted_square,
    image_labels,
    listed_images,
)
from kdray.data.splits import Split, stratified


class _WordNetFolders(ImageData):
    """Images in a folder for each WordNet id."""

    remedy: ClassVar[str | None] = "says where from"
    folder: ClassVar[str]
    """Below the data folder."""
    needed: ClassVar[str]
    page: ClassVar[str]

    validation: Annotated[int, Field(ge=1)] = 10_000
    """How many training images become the validation split, stratified by class."""

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        """Look only: the archives are unpacked by hand."""
        del fetch
        data, place = cls(), root / cls.folder
        try:
            data.check(root)
        except InputError as error:
            advice = f"unpack what {cls.page} has so that {place} is {cls.needed}"
            return Obtained(False, problems=(str(error), f"kdray does not fetch it; {advice}"))
        return Obtained(True, (f"{place}: there, with every class; checksum not verifiable",))

    @property
    @abstractmethod
    def side(self) -> int:
        """Of the images, in pixels."""

    @abstractmethod
    def files(self, root: Path) -> dict[str, Files]:
        """The images of ``train`` and ``test``."""

    def place(self, root: Path) -> Path:
        return root / self.folder

    def check(self, root: Path) -> None:
        """The folders and the names; :meth:`prepare` opens the images."""
        place = self.place(root)
        if not place.is_dir():
            raise InputError(
                f"data set {tag_of(type(self))!r}: {place} is missing; it must be {self.needed}: "
                f"unpack there what {self.page} has, or set --data or KDRAY_DATA to the folder "
                "that holds it"
            )
        self._held_out(image_labels(self.files(root)["train"]), root)

    def prepare(self, root: Path) -> None:
        self.keep_copy(root)

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        parts = self._decoded(self.files(root))
        train = parts["train"]
        rest, val = self._held_out(train.labels, root)
        return train.take(rest), train.take(val), parts["test"]

    def _decoded(self, files: dict[str, Files]) -> dict[str, Split]:
        images = decoded_parts(
            {part: [path for path, _ in listed] for part, listed in files.items()},
            (3, self.side, self.side),
            partial(fitted_square, size=self.side),
        )
        return {part: Split(images[part], image_labels(listed)) for part, listed in files.items()}

    def read_test(self, root: Path) -> Split:
        return self._decoded({"test": self.files(root)["test"]})["test"]

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        train, test = (image_labels(self.files(root)[part]) for part in ("train", "test"))
        rest, val = self._held_out(train, root)
        return train[rest], train[val], test

    def _held_out(self, labels: Tensor, root: Path) -> tuple[Tensor, Tensor]:
        if self.validation >= len(labels):
            raise InputError(
                f"{self.place(root)}: validation: {self.validation} of {len(labels)} training "
                "images leaves none to train on"
            )
        return stratified(labels, self.validation, salt=f"{tag_of(type(self))}:validation")

    def _numbers(self, train: Path) -> dict[str, int]:
        """The class of each WordNet id."""
        if not train.is_dir():
            raise InputError(f"{train}: is missing; {train.parent} must be {self.needed}")
        names = class_folders(train)
        if len(names) != self.classes:
            raise InputError(f"{train}: has {len(names)} folders, needs {self.classes}")
        return {name: number for number, name in enumerate(sorted(names))}


class ImageNet(_WordNetFolders):
    """ImageNet: 1,281,167 + 50,000 photographs in 1,000 classes, at a chosen size."""

    classes: ClassVar[int] = 1000
    labels: ClassVar[str | None] = "imagenet"
    folder: ClassVar[str] = "imagenet"
    page: ClassVar[str] = "https://image-net.org"
    needed: ClassVar[str] = (
        "a folder with train/<WordNet id>/*.JPEG and val/<WordNet id>/*.JPEG, as torchvision has it"
    )

    name: Literal["imagenet"] = "imagenet"
    size: Annotated[int, Field(ge=4, le=1024)] = 64
    """Side in pixels: the shorter side is scaled to it as images are read, the centre cut out. 64:
    16 GB in memory; 224: 193 GB."""

    @property
    def side(self) -> int:
        return self.size

    @property
    def native_shape(self) -> Shape:
        return 3, self.size, self.size

    def files(self, root: Path) -> dict[str, Files]:
        place = self.place(root)
        numbers = self._numbers(place / "train")
        if not (place / "val").is_dir():
            raise InputError(f"{place / 'val'}: is missing; {place} must be {self.needed}")
        return {
            "train": listed_images(place / "train", numbers, every=True),
            "test": listed_images(place / "val", numbers, every=False),
        }


class TinyImageNet(_WordNetFolders):
    """Tiny ImageNet: 100,000 + 10,000 photographs in 200 classes, 3 x 64 x 64."""

    classes: ClassVar[int] = 200
    labels: ClassVar[str | None] = "tiny_imagenet"
    native_shape: ClassVar[Shape] = (3, 64, 64)
    folder: ClassVar[str] = "tiny-imagenet-200"
    page: ClassVar[str] = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    needed: ClassVar[str] = (
        "a folder with train/<WordNet id>/images/*.JPEG, val/images/*.JPEG and "
        "val/val_annotations.txt"
    )

    name: Literal["tiny_imagenet"] = "tiny_imagenet"

    @property
    def side(self) -> int:
        return 64

    def files(self, root: Path) -> dict[str, Files]:
        place = self.place(root)
        numbers = self._numbers(place / "train")
        train = listed_images(place / "train", numbers, every=True, below="images")
        return {"train": train, "test": self._annotated(place / "val", numbers)}

    def _annotated(self, place: Path, numbers: dict[str, int]) -> Files:
        """The images that ``val_annotations.txt`` lists: name, WordNet id, and a box."""
        table = place / "val_annotations.txt"
        if not table.is_file():
            raise InputError(f"{table}: is missing; {place.parent} must be {self.needed}")
        files: Files = []
        for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
            name, _, rest = line.partition("\t")
            known = rest.split("\t")[0]
            if known not in numbers or not (place / "images" / name).is_file():
                raise InputError(f"{table}:{number}: {name!r} of class {known!r} is not there")
            files.append((place / "images" / name, numbers[known]))
        if not files:
            raise InputError(f"{table}: lists no image")
        return sorted(files, key=lambda file: (file[1], file[0]))
