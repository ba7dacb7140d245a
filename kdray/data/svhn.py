"""SVHN: house numbers from photographs of streets (Netzer et al. 2011), cropped to one digit.

The official ``train_32x32.mat`` (73,257 images) and ``test_32x32.mat`` (26,032), read with SciPy;
the digit 0, which they number 10, is class 0 here, as in torchvision.
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


class SVHN(VisionData):
    """SVHN: 73,257 + 26,032 digits of house numbers, 3 x 32 x 32."""

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "digits"
    native_shape: ClassVar[Shape] = (3, 32, 32)
    training_images: ClassVar[int] = 73_257
    folder: ClassVar[str] = "SVHN"

    name: Literal["svhn"] = "svhn"
    validation: Annotated[int, Field(ge=1)] | Literal["last_10000"] = 5000

    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        part = "train" if train else "test"
        return torchvision_part("datasets").SVHN(str(root), split=part, download=download)

    def sources(self) -> list[Source]:
        listed = torchvision_part("datasets").SVHN.split_list
        return [
            Source(Path(self.folder) / listed[part][1], listed[part][2], listed[part][0])
            for part in ("train", "test")
        ]

    def official(self, root: Path, *, train: bool) -> Split:
        from scipy.io import loadmat  # takes half a second to import

        path = root / self.folder / ("train_32x32.mat" if train else "test_32x32.mat")
        try:
            held = loadmat(path, variable_names=["X", "y"])
            images, labels = held["X"], held["y"].reshape(-1).astype(np.int64)
        except Exception as error:  # of a damaged file SciPy raises many kinds
            raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
        if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
            raise InputError(
                f"{path}: X is {images.dtype} {images.shape}, needs uint8 32, 32, 3, N"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
        return Split(pixels, torch.from_numpy(labels % 10))
