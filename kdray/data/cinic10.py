"""CINIC-10: CIFAR-10's classes with images of CIFAR-10 and of ImageNet (Darlow et al. 2018,
arXiv:1810.03505).

Three official parts of 90,000 images, 9,000 of every class: 2,000 of CIFAR-10 and 7,000 of
ImageNet, scaled down to 32 x 32. The parts cut across CIFAR-10's own: the test part holds images
that a model of CIFAR-10 was trained on, unless ``source`` is imagenet. Nothing fetches it; the
archive is unpacked by hand to ``CINIC-10/{train,valid,test}/<class>/*.png``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from PIL import Image  # comes with torchvision
from pydantic import Field
from torch import Tensor

from kdray.core import InputError
from kdray.data.base import ImageData, Obtained, Shape
from kdray.data.image_files import decoded_parts, upright_rgb
from kdray.data.splits import Split

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""Of the classes, in CIFAR-10's order."""
PARTS = ("train", "valid", "test")
PREFIXES = {"cifar10": "cifar10-", "imagenet": "n"}
"""Of a file's name, by where its image comes from."""
Source = Literal["all", "imagenet", "cifar10"]


class CINIC10(ImageData):
    """CINIC-10: 90,000 + 90,000 + 90,000 photographs in CIFAR-10's classes, of CIFAR-10 and
    ImageNet, 3 x 32 x 32."""

    classes: ClassVar[int] = 10
    remedy: ClassVar[str | None] = "says where from"
    labels: ClassVar[str | None] = "cifar10"
    native_shape: ClassVar[Shape] = (3, 32, 32)
    page: ClassVar[str] = "https://datashare.ed.ac.uk/handle/10283/3192"
    needed: ClassVar[str] = (
        "a folder with train/<class>/, valid/<class>/ and test/<class>/ of .png files"
    )

    name: Literal["cinic10"] = "cinic10"
    source: Source = "all"
    """Only the images that come from there, in all three parts."""
    per_class: Annotated[int, Field(ge=1, le=9000)] | None = None
    """Only so many test images of each class, chosen by chance; none: all of them.
    noisy_collaboration has 2,100 of ImageNet's; the official test part has 7,000."""
    sample_seed: Annotated[int, Field(ge=0)] = 0
    """Of the choice of ``per_class`` images."""

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        """Look only: the archive is unpacked by hand."""
        del fetch
        data = cls()
        place = data.place(root)
        try:
            data.check(root)
        except InputError as error:
            return Obtained(
                False,
                problems=(
                    str(error),
                    f"kdray does not fetch {data.name}. Download its archive from {cls.page}",
                    f"and unpack it so that {place} is {cls.needed}",
                ),
            )
        return Obtained(True, (f"{place}: there, with every class; checksum not verifiable",))

    def prepare(self, root: Path) -> None:
        self.keep_copy(root)

    def place(self, root: Path) -> Path:
        return root / "CINIC-10"

    def check(self, root: Path) -> None:
        """The folders and the names; the images are opened when they are read."""
        place = self.place(root)
        if not place.is_dir():
            raise InputError(
                f"data set 'cinic10': {place} is missing; it must be {self.needed}: unpack "
                f"there what {self.page} has, or "
                f"set --data or KDRAY_DATA to the folder that holds it"
            )
        for part in PARTS:
            for _ in self._files(root, part):
                pass

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        train, val, test = self._splits(root, PARTS)
        return train, val, test

    def read_test(self, root: Path) -> Split:
        return self._splits(root, ("test",))[0]

    def split_labels(self, root: Path) -> tuple[Tensor, Tensor, Tensor]:
        train, val, test = (_labels(self._files(root, part)) for part in PARTS)
        return train, val, test

    def _splits(self, root: Path, names: tuple[str, ...]) -> list[Split]:
        classes = {part: list(self._files(root, part)) for part in names}
        images = decoded_parts(
            {part: list(chain(*listed)) for part, listed in classes.items()},
            self.native_shape,
            _pixels,
        )
        return [Split(images[part], _labels(listed)) for part, listed in classes.items()]

    def _files(self, root: Path, part: str) -> Iterator[list[Path]]:
        """The images of ``part`` by class, sorted by name."""
        for name in NAMES:
            folder = self.place(root) / part / name
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: is missing; {self.place(root)} must be {self.needed} "
                    f"({', '.join(NAMES)})"
                )
            paths = [path for path in _images_in(folder) if self.source in ("all", _source(path))]
            if not paths:
                raise InputError(f"{folder}: holds no image (source: {self.source})")
            yield self._chosen(paths, folder) if part == "test" else paths

    def _chosen(self, paths: list[Path], folder: Path) -> list[Path]:
        """``per_class`` of a class's test images: those whose names have the smallest hashes, so
        that no other image and no library's random numbers decide."""
        if self.per_class is None:
            return paths
        if self.per_class > len(paths):
            raise InputError(
                f"{folder}: per_class: {self.per_class} is more than its {len(paths)} "
                f"images (source: {self.source})"
            )
        salt = f"cinic10:{self.sample_seed}"
        ordered = sorted(
            paths, key=lambda path: hashlib.blake2b(f"{salt}:{path.name}".encode()).digest()
        )
        return sorted(ordered[: self.per_class])


def _labels(classes: Iterable[list[Path]]) -> Tensor:
    return torch.tensor([label for label, paths in enumerate(classes) for _ in paths])


def _images_in(folder: Path) -> list[Path]:
    """The image files in ``folder``, sorted; InputError if anything else is there."""
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in paths:
        if path.suffix != ".png" or not path.name.startswith(tuple(PREFIXES.values())):
            raise InputError(f"{path}: is no image of CINIC-10 (allowed: cifar10-….png, n….png)")
    return paths


def _source(path: Path) -> str:
    return next(source for source, prefix in PREFIXES.items() if path.name.startswith(prefix))


def _pixels(image: Image.Image) -> Image.Image:
    if image.format != "PNG" or image.size != (32, 32) or image.mode.startswith("I"):
        (width, height), mode = image.size, image.mode
        raise InputError(
            f"is {width} x {height} in Pillow's mode {mode}, needs 32 x 32 of 8 bits (PNG)"
        )
    return upright_rgb(image)
