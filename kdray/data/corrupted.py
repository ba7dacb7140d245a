"""Test sets that were published corrupted: CIFAR-10-C, CIFAR-100-C and MNIST-C.

CIFAR-10-C, CIFAR-100-C (Hendrycks, Dietterich 2019, arXiv:1903.12261): ``<kind>.npy``, 50,000
images that are the test images at severity 1, then at 2, … 5, and ``labels.npy`` for any of them.
MNIST-C (Mu, Gilmer 2019, arXiv:1906.02337): ``<kind>/test_images.npy`` and
``<kind>/test_labels.npy`` of 10,000 test images at one strength. All are in the order of the
official test images. Nothing fetches them; nothing in them is unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from kdray.core import InputError, tag_of
from kdray.data.base import ImageData
from kdray.data.splits import Split, sample

CifarKind = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "speckle_noise",
    "gaussian_blur",
    "spatter",
    "saturate",
]
"""The 15 of the benchmark, then its 4 extra ones."""
MnistKind = Literal[
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "shear",
    "scale",
    "rotate",
    "brightness",
    "translate",
    "stripe",
    "fog",
    "spatter",
    "dotted_line",
    "zigzag",
    "canny_edges",
]
"""The 15 of the benchmark; its 16th folder, ``identity``, holds the test images as they are."""
Kind = CifarKind | MnistKind | Literal["identity"]
SEVERITIES = 5


class Benchmark(NamedTuple):
    """The corrupted test images of one data set."""

    name: str
    folders: tuple[str, ...]
    """Below the data folder; the first that is there is taken."""
    page: str
    image: tuple[int, int, int]
    """Height, width, channels of an image in the files."""
    classes: int
    kinds: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Kinds that are there and no part of the benchmark."""
    graded: bool = True
    """Whether a file holds the severities 1 to 5, one after the other."""

    def place(self, root: Path) -> Path:
        """The folder, or where it should be."""
        there = [root / folder for folder in self.folders if (root / folder).is_dir()]
        return there[0] if there else root / self.folders[0]

    def check(self, root: Path, kinds: tuple[str, ...]) -> None:
        """:class:`InputError` unless every kind is there, with headers and labels as they must
        be."""
        place, files = self.place(root), " and ".join(self._files("<kind>"))
        if not place.is_dir():
            raise InputError(
                f"{place} is missing; it must be a folder with {files}: unpack there what "
                f"{self.page} has, "
                f"or set --data or KDRAY_DATA to the folder that holds it"
            )
        for kind in kinds:
            self._opened(root, kind)

    def read(
        self, root: Path, kind: str, severity: int | None, *, examples: int | None = None
    ) -> Split:
        """``examples`` test images (a sample, or all) under ``kind`` at ``severity`` (none where
        there are none)."""
        images, labels = self._opened(root, kind)
        if severity is not None:
            count = len(labels) // SEVERITIES
            part = slice((severity - 1) * count, severity * count)
            images, labels = images[part], labels[part]
        numbers = torch.from_numpy(labels.astype(np.int64))
        chosen = sample(numbers, examples or len(numbers))
        pixels = torch.from_numpy(np.array(images[chosen.numpy()]))
        return Split(pixels.permute(0, 3, 1, 2).contiguous(), numbers[chosen])

    def _files(self, kind: str) -> tuple[str, str]:
        if self.graded:
            return f"{kind}.npy", "labels.npy"
        return f"{kind}/test_images.npy", f"{kind}/test_labels.npy"

    def _opened(self, root: Path, kind: str) -> tuple[Any, Any]:
        """The images, which stay on disk, and labels of ``kind``."""
        first, second = (self.place(root) / name for name in self._files(kind))
        images, labels = _array(first), _array(second)
        count = len(images) if images.ndim else 0
        if images.dtype != np.uint8 or images.shape[1:] != self.image or not count:
            raise InputError(
                f"{first}: is {_described(images)}, needs uint8 N x "
                f"{' x '.join(map(str, self.image))}"
            )
        if self.graded and count % SEVERITIES:
            raise InputError(
                f"{first}: has {count} images, needs as many at each of {SEVERITIES} severities"
            )
        if labels.dtype.kind not in "iu" or labels.shape != (count,):
            raise InputError(
                f"{second}: is {_described(labels)}, needs {count} whole numbers, one for "
                "each image"
            )
        wrong = (labels < 0) | (labels >= self.classes)
        if wrong.any():
            raise InputError(
                f"{second}: label {int(wrong.argmax())} is {labels[wrong][0]} (allowed: 0 "
                f"to {self.classes - 1})"
            )
        return images, labels


BENCHMARKS = {
    "cifar10": Benchmark(
        "CIFAR-10-C",
        ("CIFAR-10-C",),
        "https://zenodo.org/records/2535967",
        (32, 32, 3),
        10,
        get_args(CifarKind),
    ),
    "cifar100": Benchmark(
        "CIFAR-100-C",
        ("CIFAR-100-C",),
        "https://zenodo.org/records/3555552",
        (32, 32, 3),
        100,
        get_args(CifarKind),
    ),
    "mnist": Benchmark(
        "MNIST-C",
        ("MNIST-C", "mnist_c"),
        "https://zenodo.org/records/3239543",
        (28, 28, 1),
        10,
        get_args(MnistKind),
        others=("identity",),
        graded=False,
    ),
}
"""By the name of the data set whose test images they are."""


def benchmark_of(data: ImageData) -> Benchmark | None:
    return BENCHMARKS.get(tag_of(type(data)) or "")


def _array(path: Path) -> Any:
    """The array in an .npy file, mapped and not read."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        reason = (
            "it holds Python objects, which are never unpickled"
            if _is_objects(error)
            else " ".join(str(error).split())
        )
        raise InputError(f"{path}: cannot be read ({reason})") from None
    except Exception as error:  # of a damaged header, Python's own parser has many kinds
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path}: is no .npy file but an .npz archive")
    return array


def _is_objects(error: ValueError) -> bool:
    return any(word in str(error) for word in ("pickle", "memory-mapped", "Object arrays"))


def _described(array: Any) -> str:
    return f"{array.dtype} {' x '.join(map(str, array.shape)) or '(a single number)'}"
