"""One copy on a node: the same bits, made once, never stale, never believed when damaged, and done
without where it must be."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from kdray.core import InputError, parse, value_types
from kdray.data import (
    AnyData,
    Arrays,
    Dataset,
    Digits,
    ImageData,
    ImageFolder,
    Views,
    VisionData,
    base,
)
from kdray.data.augmentation import Augment, Augmentation
from kdray.data.base import _decoded, _load, _load_test
from kdray.data.origin import origin
from tests.machine.node_cache.test_tensors import bits, kept


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the files are."""
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "cache"))
    _load.cache_clear()
    _load_test.cache_clear()
    yield tmp_path / "cache" / f"kdray-{os.geteuid()}"
    _load.cache_clear()
    _load_test.cache_clear()


def drawn(root: Path, seed: int) -> None:
    """Write own.npz, always as large."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {}
    for part, count in (("train", 80), ("test", 30)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 4
    np.savez(root / "own.npz", **arrays)


def own(**fields: object) -> Arrays:
    return parse(
        Arrays,
        {"name": "arrays", "path": "own.npz", "classes": 4, "image_shape": [3, 32, 32], **fields},
    )


def loaded(data: ImageData, root: Path) -> Dataset:
    """As a process that starts now loads it."""
    _load.cache_clear()
    return data.load(root)


def tensors_of(dataset: Dataset) -> dict[str, Tensor]:
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    parts = {
        f"{name}_{part}": tensor
        for name, split in splits.items()
        for part, tensor in split._asdict().items()
    }
    return {**parts, "mean": dataset.mean, "std": dataset.std}


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often arrays were decoded."""
    counted: Counter[str] = Counter()
    read = Arrays.read

    def counting(self: Arrays, root: Path) -> Any:
        counted["read"] += 1
        return read(self, root)

    monkeypatch.setattr(Arrays, "read", counting)
    return counted


@pytest.mark.parametrize(
    "fields",
    [{}, {"resize": 12, "pad": 2}, {"channels": 1}, {"omit_classes": [1, 3]}, {"validation": 7}],
)
def test_shared_data_are_those_that_were_read(
    tmp_path: Path, reads: Counter[str], fields: dict[str, object]
) -> None:
    drawn(tmp_path, 0)
    data = own(**fields)
    expected = _decoded(data, tmp_path)
    for dataset in (loaded(data, tmp_path), loaded(data, tmp_path)):
        assert bits(tensors_of(dataset)) == bits(expected)
        assert dataset.omitted == data.omit_classes
    assert reads["read"] == 2


def test_the_test_split_alone_is_shared_too(tmp_path: Path, reads: Counter[str]) -> None:
    drawn(tmp_path, 0)
    for _ in range(2):
        _load_test.cache_clear()
        split = own(resize=8).test_split(tmp_path)
    assert reads["read"] == 1
    expected = loaded(own(resize=8), tmp_path).test
    assert torch.equal(split.images, expected.images)
    assert torch.equal(split.labels, expected.labels)


def test_what_is_done_to_loaded_images_is_done_to_one_copy(
    tmp_path: Path, reads: Counter[str], folder: Path
) -> None:
    drawn(tmp_path, 0)
    plain = own().load(tmp_path)
    assert own(augment="crop_flip").load(tmp_path) is plain
    loaded(own(augment="flip", normalization="gcn"), tmp_path)
    assert reads["read"] == 1
    assert len(kept(folder)) == 1


def test_descriptions_of_other_tensors_have_other_copies(
    tmp_path: Path, reads: Counter[str]
) -> None:
    drawn(tmp_path, 0)
    varied: list[dict[str, object]] = [
        {},
        {"resize": 16},
        {"channels": 1},
        {"pad": 1},
        {"omit_classes": [0]},
        {"omit_classes": [1]},
        {"validation": 9},
    ]
    for fields in varied:
        loaded(own(**fields), tmp_path)
    assert reads["read"] == len(varied)


def test_images_that_were_overwritten_are_read_again(tmp_path: Path) -> None:
    drawn(tmp_path, 0)
    before = tensors_of(loaded(own(), tmp_path))
    told = (tmp_path / "own.npz").stat()
    drawn(tmp_path, 1)  # the same file, as long and, it is made to seem, as old
    os.utime(tmp_path / "own.npz", ns=(told.st_atime_ns, told.st_mtime_ns))
    again = (tmp_path / "own.npz").stat()
    assert (again.st_ino, again.st_size, again.st_mtime_ns) == (
        told.st_ino,
        told.st_size,
        told.st_mtime_ns,
    )
    after = tensors_of(loaded(own(), tmp_path))
    assert bits(after) == bits(_decoded(own(), tmp_path))
    assert not torch.equal(before["test_images"], after["test_images"])


def test_images_that_changed_while_they_were_read_are_not_kept(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path, 0)
    read = Arrays.read

    def overtaken(self: Arrays, root: Path) -> Any:
        parts = read(self, root)
        drawn(root, 1)
        return parts

    monkeypatch.setattr(Arrays, "read", overtaken)
    loaded(own(), tmp_path)
    assert kept(folder) == set()


def test_other_code_reads_again(
    tmp_path: Path, reads: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path, 0)
    loaded(own(), tmp_path)
    monkeypatch.setattr(base, "code", lambda *_: "another")
    loaded(own(), tmp_path)
    assert reads["read"] == 2


def test_few_bytes_are_not_worth_a_file(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(tmp_path, 0)
    monkeypatch.setattr(base, "SMALL", 10**7)
    loaded(own(), tmp_path)
    assert not folder.exists()


def test_missing_images_are_told_as_ever(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match=r"own\.npz is missing"):
        loaded(own(), tmp_path)
    assert not folder.exists()


def test_every_change_to_a_folder_of_images_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "SMALL", 0)
    place = tmp_path / "pictures"
    for name, shade in (
        ("train/a/1", 10),
        ("train/a/2", 20),
        ("train/b/1", 30),
        ("train/b/2", 40),
        ("test/a/1", 50),
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(place / f"{name}.png")
    (place / "train" / ".round").symlink_to(place)  # not read, and no way to go round in for ever
    data = ImageFolder(path="pictures", classes=2, size=8, validation=1)

    def shades() -> list[int]:
        dataset = loaded(data, tmp_path)
        assert bits(tensors_of(dataset)) == bits(_decoded(data, tmp_path))
        return sorted(image[0, 0, 0].item() for split in dataset[:3] for image in split.images)

    assert origin(place) is not None
    assert shades() == [10, 20, 30, 40, 50]
    Image.new("RGB", (8, 8), (60, 0, 0)).save(place / "train/b/2.png")
    assert shades() == [10, 20, 30, 50, 60]
    Image.new("RGB", (8, 8), (70, 0, 0)).save(place / "test/a/2.png")
    assert shades() == [10, 20, 30, 50, 60, 70]
    (place / "train/a/1.png").rename(place / "train/b/0.png")  # into another class
    assert shades() == [10, 20, 30, 50, 60, 70]
    (place / "test/a/1.png").unlink()
    assert shades() == [10, 20, 30, 60, 70]


@pytest.mark.parametrize("kind", list(value_types(AnyData)))
def test_every_kind_of_data_that_is_read_from_files_tells_where_they_are(
    kind: type[ImageData], tmp_path: Path
) -> None:
    given = {"path": "own", "classes": 2, "size": 8, "image_shape": (1, 8, 8)}
    data = kind(**{name: value for name, value in given.items() if name in kind.model_fields})  # type: ignore[arg-type]
    place = data.place(tmp_path)
    assert (place is None) == (kind is Digits)
    if isinstance(data, VisionData):
        assert place is not None
        assert all((tmp_path / source.path).is_relative_to(place) for source in data.sources())


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop_flip"])
def test_batches_leave_the_images_as_they_are(tmp_path: Path, augment: Augment) -> None:
    drawn(tmp_path, 0)
    train = loaded(own(), tmp_path).train
    before = train.images.clone()
    views = Views.drawn(
        len(before), Augmentation(augment, 32), order=torch.Generator(), draws=torch.Generator()
    )
    for batch in views.batches(train, 16):
        batch.images.zero_()
    assert torch.equal(train.images, before)
