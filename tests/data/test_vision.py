from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.data import (
    CIFAR10,
    CIFAR100,
    MNIST,
    USPS,
    AnyData,
    FashionMNIST,
    ImageData,
    VisionData,
    data_root,
)
from kdray.data.vision import tag
from kdray.machine.torchvision import torchvision_part

KINDS: list[type[VisionData]] = [MNIST, FashionMNIST, USPS, CIFAR10, CIFAR100]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray) -> bytes:
    """The file format of MNIST: magic number, sizes, bytes."""
    return (
        struct.pack(f">I{array.ndim}I", 0x800 | array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


def write(path: Path, data: bytes) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def fake_mnist(root: Path, train: int = 40, test: int = 10, folder: str = "MNIST") -> np.ndarray:
    """MNIST files of ``train`` and ``test`` images, each filled with its own number, labelled by
    its last digit."""
    for part, count in (("train", train), ("t10k", test)):
        images = np.broadcast_to(np.arange(count).astype(np.uint8)[:, None, None], (count, 28, 28))
        write(root / folder / "raw" / f"{part}-images-idx3-ubyte", idx(images))
        write(root / folder / "raw" / f"{part}-labels-idx1-ubyte", idx(np.arange(count) % 10))
    return np.arange(train)


# Fakes, read through torchvision


def test_mnist_is_read_with_a_stratified_validation_split(tmp_path: Path) -> None:
    fake_mnist(tmp_path)
    data = MNIST(validation=10)
    data.check(tmp_path)
    dataset = data.load(tmp_path)
    assert dataset.train.images.shape == (30, 1, 28, 28)
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (torch.uint8, torch.int64)
    assert dataset.val.labels.sort().values.tolist() == list(range(10))
    together = torch.cat([dataset.train.images, dataset.val.images])[:, 0, 5, 7]
    assert together.sort().values.tolist() == list(range(40))
    for split in (dataset.train, dataset.val, dataset.test):
        assert torch.equal(split.images[:, 0, 0, 0] % 10, split.labels)
    assert dataset.test.images[:, 0, 27, 27].tolist() == list(range(10))


def test_fashion_mnist_lies_in_its_own_folder(tmp_path: Path) -> None:
    fake_mnist(tmp_path, folder="FashionMNIST")
    FashionMNIST().check(tmp_path)
    assert len(FashionMNIST(validation=10).load(tmp_path).train.labels) == 30
    with pytest.raises(InputError, match="MNIST"):
        MNIST().check(tmp_path)


def test_the_last_10000_are_the_end_of_the_training_file(tmp_path: Path) -> None:
    fake_mnist(tmp_path, train=10_007)
    train, val, _ = MNIST(validation="last_10000").read(tmp_path)
    assert train.images[:, 0, 0, 0].tolist() == list(range(7))
    assert val.images[:, 0, 0, 0].tolist() == (np.arange(7, 10_007) % 256).tolist()


@pytest.mark.parametrize(
    ("name", "validation", "images"), [("usps", "last_10000", 7291), ("mnist", 60000, 60000)]
)
def test_a_validation_split_that_leaves_nothing_is_refused(
    name: str, validation: int | str, images: int
) -> None:
    with pytest.raises(
        InputError, match=f"{validation} of {images} training images leaves none to train on"
    ):
        parse(AnyData, {"name": name, "validation": validation})  # type: ignore[arg-type]  # a union of types


def test_more_validation_images_than_there_are_is_refused(tmp_path: Path) -> None:
    fake_mnist(tmp_path)
    with pytest.raises(InputError, match="a part of 40 images cannot be split off 40"):
        MNIST(validation=40).read(tmp_path)


def test_usps_is_read_from_its_sparse_text(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("usps", 30), ("usps.t", 5)):
        pixels = rng.integers(0, 256, (count, 256))
        lines = [
            f"{number % 10 + 1} "
            + " ".join(f"{i + 1}:{p / 127.5 - 1:.6f}" for i, p in enumerate(row))
            for number, row in enumerate(pixels)
        ]
        write(tmp_path / "USPS" / f"{name}.bz2", bz2.compress("\n".join(lines).encode()))
    USPS().check(tmp_path)
    dataset = USPS(validation=10).load(tmp_path)
    assert dataset.train.images.shape == (20, 1, 16, 16)
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 4]
    found = (
        dataset.test.images.reshape(5, 256).numpy().astype(int)
    )  # `pixels` are the last part's, the test images
    assert np.abs(found - pixels).max() <= 1  # torchvision cuts off fractions


def fake_cifar(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, labels: str, classes: int
) -> dict[str, Any]:
    """Batch files of torchvision's CIFAR class ``name`` with 20 training and 10 test images, their
    sums made official."""
    kind = getattr(torchvision_part("datasets"), name)
    rng = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for attribute, count in (("train_list", 20), ("test_list", 10)):
        part = {
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            labels: [i * classes // count for i in range(count)],
        }
        parts[attribute] = part
        data = write(root / kind.base_folder / attribute, pickle.dumps(part, protocol=2))
        monkeypatch.setattr(kind, attribute, [[attribute, md5(data)]])
    data = write(
        root / kind.base_folder / "meta",
        pickle.dumps({kind.meta["key"]: list(range(classes))}, protocol=2),
    )
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": "meta", "md5": md5(data)})
    return parts


@pytest.mark.parametrize(
    ("data", "name", "labels"),
    [
        (CIFAR10(validation=10), "CIFAR10", "labels"),
        (CIFAR100(validation=10), "CIFAR100", "fine_labels"),
    ],
)
def test_cifar_is_read_channel_by_channel(
    data: VisionData, name: str, labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = fake_cifar(tmp_path, monkeypatch, name, labels, data.classes)
    data.check(tmp_path)
    dataset = data.load(tmp_path)
    assert torch.equal(
        dataset.test.images, torch.from_numpy(parts["test_list"]["data"]).view(10, 3, 32, 32)
    )
    assert dataset.test.labels.tolist() == parts["test_list"][labels]
    assert [len(split.labels) for split in dataset[:3]] == [10, 10, 10]
    assert {state.state for state in data.states(tmp_path)} == {"verified"}


def test_altered_cifar_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar(tmp_path, monkeypatch, "CIFAR10", "labels", 10)
    path = tmp_path / "cifar-10-batches-py" / "train_list"
    # A pickle that would create a file if it were read.
    write(path, f"cbuiltins\nopen\n(S'{tmp_path / 'pwned'}'\nS'w'\ntR.".encode())
    assert [state.state for state in CIFAR10().states(tmp_path)] == [
        "different",
        "verified",
        "verified",
    ]
    with pytest.raises(RuntimeError, match="corrupted"):
        CIFAR10(validation=10).read(tmp_path)
    assert not (tmp_path / "pwned").exists()


# What is there


@pytest.mark.parametrize("kind", KINDS)
def test_missing_data_are_told_with_the_way_to_get_them(
    kind: type[VisionData], tmp_path: Path
) -> None:
    data = kind()
    with pytest.raises(InputError) as raised:
        data.check(tmp_path)
    message = str(raised.value)
    assert message.startswith(
        f"data set {tag(data)!r} is not in {tmp_path}: {data.sources()[0].path} is missing; "
    )
    assert f"'kdray data {tag(data)}'" in message
    assert "--data" in message
    assert "KDRAY_DATA" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_has_an_official_sum_and_address(kind: type[VisionData]) -> None:
    sources = kind().sources()
    assert len({source.path for source in sources}) == len(sources) >= 2
    assert all(len(source.md5) == 32 and source.url.startswith("http") for source in sources)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The content of the one official file of MNIST, ``MNIST/raw/some.gz``."""
    content = gzip.compress(idx(np.arange(6).reshape(1, 2, 3)), mtime=0)
    monkeypatch.setattr(
        torchvision_part("datasets").MNIST, "resources", [("some.gz", md5(content))]
    )
    return content


def state(root: Path) -> str:
    (found,) = MNIST().states(root)
    assert found.path == Path("MNIST/raw/some.gz")
    return found.state


def test_official_bytes_are_verified(official: bytes, tmp_path: Path) -> None:
    write(tmp_path / "MNIST/raw/some.gz", official)
    assert state(tmp_path) == "verified"


def test_other_bytes_are_different(official: bytes, tmp_path: Path) -> None:
    write(tmp_path / "MNIST/raw/some.gz", official + b"x")
    assert state(tmp_path) == "different"


def test_nothing_is_missing(official: bytes, tmp_path: Path) -> None:
    assert state(tmp_path) == "missing"


def test_the_decompressed_file_alone_is_unpacked(official: bytes, tmp_path: Path) -> None:
    write(tmp_path / "MNIST/raw/some", gzip.decompress(official))
    assert state(tmp_path) == "unpacked"
    MNIST().check(tmp_path)


@pytest.mark.parametrize("length", [0, 3, 4, 15, 16, 21, 23])
def test_an_incomplete_decompressed_file_is_missing(
    official: bytes, tmp_path: Path, length: int
) -> None:
    whole = gzip.decompress(official)
    assert len(whole) == 22
    write(tmp_path / "MNIST/raw/some", (whole + b"x")[:length])
    assert state(tmp_path) == "missing"
    with pytest.raises(InputError, match=r"MNIST/raw/some\.gz is missing"):
        MNIST().check(tmp_path)


def test_a_decompressed_file_that_is_no_idx_file_is_missing(
    official: bytes, tmp_path: Path
) -> None:
    write(tmp_path / "MNIST/raw/some", b"<!doctype html>" + gzip.decompress(official))
    assert state(tmp_path) == "missing"


def test_mnist_that_is_still_packed_is_not_ready(official: bytes, tmp_path: Path) -> None:
    write(tmp_path / "MNIST/raw/some.gz", official)
    with pytest.raises(InputError, match="'kdray data mnist'"):
        MNIST().check(tmp_path)


# Descriptions


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (MNIST(), (1, 28, 28)),
        (MNIST(resize=32, channels=3), (3, 32, 32)),
        (USPS(), (1, 16, 16)),
        (CIFAR10(channels=1), (1, 32, 32)),
        (CIFAR100(resize=8), (3, 8, 8)),
    ],
)
def test_the_shape_follows_from_the_description(
    data: ImageData, shape: tuple[int, int, int]
) -> None:
    assert data.shape == shape


@pytest.mark.parametrize("validation", [0, -5, 1.5, "last_5000", True])
def test_validation_is_a_number_of_images_or_the_last_10000(validation: object) -> None:
    with pytest.raises(InputError, match=r"^validation: "):
        parse(MNIST, {"name": "mnist", "validation": validation})


# The real ones, where KDRAY_DATA points at a folder with them


def real(data: VisionData) -> Path:
    if "KDRAY_DATA" not in os.environ:
        pytest.skip(f"KDRAY_DATA is not set: no folder with {tag(data)}")
    try:
        data.check(data_root())
    except InputError as error:
        pytest.skip(str(error))
    return data_root()


def test_real_mnist_is_the_official_one() -> None:
    root = real(MNIST())
    assert {state.state for state in MNIST().states(root)} <= {"verified", "unpacked"}
    train, val, test = MNIST().read(root)
    assert [len(split.labels) for split in (train, val, test)] == [55_000, 5_000, 10_000]
    # Class counts and pixel statistics as they are published for MNIST.
    official = train.labels.bincount() + val.labels.bincount()
    assert official.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    pixels = torch.cat([train.images, val.images]).double() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=5e-5)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=5e-5)
    assert ((val.labels.bincount() - official / 12).abs() < 1).all()


def test_real_mnists_last_10000_are_the_usual_validation_images() -> None:
    root = real(MNIST())
    train, val, _ = MNIST(validation="last_10000").read(root)
    opened = MNIST().open(root, train=True)
    assert torch.equal(train.images[:, 0], opened.data[:50_000])
    assert torch.equal(val.images[:, 0], opened.data[50_000:])
    assert torch.equal(val.labels, opened.targets[50_000:])


def test_real_usps_has_its_published_size() -> None:
    root = real(USPS())
    train, val, test = USPS().read(root)
    assert [len(split.labels) for split in (train, val, test)] == [6_291, 1_000, 2_007]
    # Class counts as they are published for USPS.
    official = train.labels.bincount() + val.labels.bincount()
    assert official.tolist() == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    assert test.labels.bincount().tolist() == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]


def test_real_cifar10_has_its_published_size() -> None:
    root = real(CIFAR10())
    train, val, test = CIFAR10().read(root)
    assert [len(split.labels) for split in (train, val, test)] == [45_000, 5_000, 10_000]
    assert test.labels.bincount().tolist() == [1000] * 10
