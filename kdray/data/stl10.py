"""STL-10 (Coates, Ng, Lee 2011): photographs of ImageNet, 96 x 96, few of them labelled.

The official binary files: images column by column, one colour after the other; labels from 1. The
unlabelled images are not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from kdray.core import InputError
from kdray.data.base import Shape
from kdray.data.splits import Split
from kdray.data.vision import Source, VisionData
from kdray.machine.torchvision import torchvision_part

FILES = ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


class STL10(VisionData):
    """STL-10: 5,000 + 8,000 photographs in 10 classes, 3 x 96 x 96."""

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "stl10"
    native_shape: ClassVar[Shape] = (3, 96, 96)
    training_images: ClassVar[int] = 5000
    folder: ClassVar[str] = "."

    name: Literal["stl10"] = "stl10"
    validation: Annotated[int, Field(ge=1)] | Literal["last_10000"] = 1000

    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        part = "train" if train else "test"
        return torchvision_part("datasets").STL10(str(root), split=part, download=download)

    def sources(self) -> list[Source]:
        kind = torchvision_part("datasets").STL10
        digests = dict([*kind.train_list, *kind.test_list])
        return [Source(Path(kind.base_folder) / name, digests[name], kind.url) for name in FILES]

    def official(self, root: Path, *, train: bool) -> Split:
        place = root / self.folder / "stl10_binary"
        part = "train" if train else "test"
        pixels = np.fromfile(place / f"{part}_X.bin", dtype=np.uint8)
        labels = np.fromfile(place / f"{part}_y.bin", dtype=np.uint8)
        if not len(labels) or len(pixels) != len(labels) * 3 * 96 * 96:
            raise InputError(
                f"{place / f'{part}_X.bin'}: has {len(pixels)} bytes, needs 3 x 96 x 96 for each "
                f"of {len(labels)} labels"
            )
        images = pixels.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2)
        numbers = labels.astype(np.int64) - 1
        if numbers.min() < 0 or numbers.max() > 9:
            raise InputError(f"{place / f'{part}_y.bin'}: labels go from 1 to 10")
        return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(numbers))
