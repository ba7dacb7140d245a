"""MNIST, Fashion-MNIST, USPS, CIFAR-10 and CIFAR-100, read through torchvision from the data
folder.

Nothing here downloads while a sweep runs: ``kdray data NAME`` fetches and verifies. The validation
split is taken from the official training images by size and belongs to the description of the data.
"""

from __future__ import annotations

import hashlib
import struct
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, model_validator

from kdray.core import InputError
from kdray.data.base import ImageData, Obtained, Shape
from kdray.data.splits import Split, stratified
from kdray.machine.torchvision import torchvision_part


class Source(NamedTuple):
    """One official file of a data set."""

    path: Path
    """Below the data folder."""
    md5: str
    url: str


class FileState(NamedTuple):
    """What ``kdray data`` found out about one file."""

    path: Path
    state: Literal["verified", "unpacked", "different", "missing"]
    """unpacked: only the decompressed file is there, complete by its header; different: not the
    official bytes."""


MEANING = {
    "verified": "checksum verified",
    "unpacked": "there without its .gz, complete, checksum not verifiable",
    "different": "NOT the official file (checksum differs)",
    "missing": "missing",
}
"""Of the state of a file, for people."""


class VisionData(ImageData):
    """A data set of torchvision with an official training and test part."""

    remedy: ClassVar[str | None] = "fetches it"
    folder: ClassVar[str]
    """Below the data folder, the ``root`` that torchvision is given."""

    training_images: ClassVar[int]
    """Of the official training part."""

    validation: Annotated[int, Field(ge=1)] | Literal["last_10000"] = 5000
    """How many training images become the validation split, stratified by class; or the last 10,000
    of the file."""

    @model_validator(mode="after")
    def _leaves_images_to_train_on(self) -> VisionData:
        held_out = 10_000 if self.validation == "last_10000" else self.validation
        if held_out >= self.training_images:
            raise ValueError(
                f"validation: {self.validation} of {self.training_images} training images "
                "leaves none to train on"
            )
        left = self.training_images - held_out
        if self.train_examples is not None and self.train_examples > left:
            raise ValueError(f"train_examples: {self.train_examples} of {left} training images")
        return self

    @abstractmethod
    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        """torchvision's data set object of one part."""

    @abstractmethod
    def sources(self) -> list[Source]:
        """The official files with their MD5 sums, as torchvision knows them."""

    @classmethod
    def obtain(cls, root: Path, *, fetch: bool) -> Obtained:
        data = cls()
        if fetch:
            try:
                data.fetch(root)  # unpacks what is there, downloads what is not
            except (OSError, RuntimeError) as error:
                return Obtained(False, problems=data._by_hand(root, error))
        states = data.states(root)
        return Obtained(
            all(state.state in ("verified", "unpacked") for state in states),
            tuple(f"{root / state.path}: {MEANING[state.state]}" for state in states),
        )

    def _by_hand(self, root: Path, error: Exception) -> tuple[str, ...]:
        """Where each official file comes from and goes, after a download failed with ``error``."""
        name, reason = tag(self), " ".join(str(error).split())
        files = [f"  {root / s.path}   from {s.url}, md5 {s.md5}" for s in self.sources()]
        advice = f"without a network, put these files there, and run kdray data {name} again:"
        return (f"{name} could not be downloaded ({reason})", "\n".join((advice, *files)))

    def place(self, root: Path) -> Path:
        """The folder of the official files, and of those that torchvision unpacks from them."""
        return root / self.sources()[0].path.parts[0]

    def states(self, root: Path) -> list[FileState]:
        """Every file, compared with its official MD5 sum."""
        return [
            FileState(source.path, _state(root / source.path, source.md5))
            for source in self.sources()
        ]

    def check(self, root: Path) -> None:
        # Of a .gz what is read is the unpacked file.
        lacking = [
            s.path
            for s in self.sources()
            if not (
                _unpacked(root / s.path) if s.path.suffix == ".gz" else (root / s.path).exists()
            )
        ]
        if lacking:
            raise InputError(
                f"data set {tag(self)!r} is not in {root}: {lacking[0]} is missing; "
                f"run 'kdray data {tag(self)}' or set --data or KDRAY_DATA to where it is"
            )

    def fetch(self, root: Path) -> None:
        """Download what is missing. Raises OSError or RuntimeError where there is no network."""
        folder = root / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            self.open(folder, train=train, download=True)

    def official(self, root: Path, *, train: bool) -> Split:
        """The official training or test images."""
        return _split(self.open(root / self.folder, train=train))

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        official, test = (self.official(root, train=train) for train in (True, False))
        total = len(official.labels)
        if self.validation == "last_10000":
            rest, val = torch.arange(total - 10_000), torch.arange(total - 10_000, total)
        else:
            rest, val = stratified(official.labels, self.validation, salt=f"{tag(self)}:validation")
        return official.take(rest), official.take(val), test


def tag(data: ImageData) -> str:
    """The name of a data set in YAML."""
    return str(type(data).model_fields["name"].default)


def _split(opened: Any) -> Split:
    images = torch.as_tensor(np.asarray(opened.data))
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return Split(images.contiguous(), torch.as_tensor(opened.targets).long())


def _state(path: Path, md5: str) -> Literal["verified", "unpacked", "different", "missing"]:
    if path.exists():
        with path.open("rb") as file:
            same = (
                hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
                == md5
            )
        return "verified" if same else "different"
    return "unpacked" if _unpacked(path) else "missing"


def _unpacked(path: Path) -> bool:
    """Whether the decompressed idx file stands beside where its ``.gz`` would be, as long as its
    header says."""
    file = path.with_suffix("")
    if path.suffix != ".gz" or not file.exists():
        return False
    with file.open("rb") as opened:
        head = opened.read(4)
        if len(head) < 4 or head[:3] != b"\0\0\x08":
            return False
        sizes = opened.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        return False
    shape = struct.unpack(f">{head[3]}I", sizes)
    return file.stat().st_size == 4 + 4 * head[3] + int(np.prod(shape))


class MNIST(VisionData):
    """MNIST: 60,000 + 10,000 handwritten digits, 1 x 28 x 28."""

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "digits"
    native_shape: ClassVar[Shape] = (1, 28, 28)
    training_images: ClassVar[int] = 60_000
    folder: ClassVar[str] = "."
    _dataset: ClassVar[str] = "MNIST"

    name: Literal["mnist"] = "mnist"

    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        return getattr(torchvision_part("datasets"), self._dataset)(
            str(root), train=train, download=download
        )

    def sources(self) -> list[Source]:
        kind = getattr(torchvision_part("datasets"), self._dataset)
        raw = Path(self._dataset) / "raw"
        return [Source(raw / name, md5, kind.mirrors[0] + name) for name, md5 in kind.resources]


class FashionMNIST(MNIST):
    """Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 1 x 28 x 28."""

    labels: ClassVar[str | None] = "fashion"
    _dataset: ClassVar[str] = "FashionMNIST"

    name: Literal["fashion_mnist"] = "fashion_mnist"  # type: ignore[assignment]


class USPS(VisionData):
    """USPS: 7,291 + 2,007 handwritten digits from envelopes, 1 x 16 x 16."""

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "digits"
    native_shape: ClassVar[Shape] = (1, 16, 16)
    training_images: ClassVar[int] = 7291
    folder: ClassVar[str] = "USPS"

    name: Literal["usps"] = "usps"
    validation: Annotated[int, Field(ge=1)] | Literal["last_10000"] = 1000

    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        return torchvision_part("datasets").USPS(str(root), train=train, download=download)

    def sources(self) -> list[Source]:
        listed = torchvision_part("datasets").USPS.split_list
        return [Source(Path(self.folder) / name, md5, url) for url, name, md5 in listed.values()]


class CIFAR10(VisionData):
    """CIFAR-10: 50,000 + 10,000 photographs in 10 classes, 3 x 32 x 32.

    torchvision reads its official files with pickle, but only after their MD5 sums matched.
    """

    classes: ClassVar[int] = 10
    labels: ClassVar[str | None] = "cifar10"
    native_shape: ClassVar[Shape] = (3, 32, 32)
    training_images: ClassVar[int] = 50_000
    folder: ClassVar[str] = "."
    _dataset: ClassVar[str] = "CIFAR10"

    name: Literal["cifar10"] = "cifar10"

    def open(self, root: Path, *, train: bool, download: bool = False) -> Any:
        return getattr(torchvision_part("datasets"), self._dataset)(
            str(root), train=train, download=download
        )

    def sources(self) -> list[Source]:
        kind = getattr(torchvision_part("datasets"), self._dataset)
        meta = (kind.meta["filename"], kind.meta["md5"])
        files = [*kind.train_list, *kind.test_list, meta]
        return [Source(Path(kind.base_folder) / name, md5, kind.url) for name, md5 in files]


class CIFAR100(CIFAR10):
    """CIFAR-100: 50,000 + 10,000 photographs in 100 classes, 3 x 32 x 32."""

    classes: ClassVar[int] = 100
    labels: ClassVar[str | None] = "cifar100"
    _dataset: ClassVar[str] = "CIFAR100"

    name: Literal["cifar100"] = "cifar100"  # type: ignore[assignment]
