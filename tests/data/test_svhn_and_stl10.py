"""SVHN and STL-10 from small files of the official layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from kdray.core import InputError, parse
from kdray.data import STL10, SVHN, AnyData, VisionData

RNG = np.random.default_rng(0)


def svhn(root: Path, train: int = 40, test: int = 10) -> np.ndarray:
    """The files, labelled 1 to 10 in turn; the test images."""
    (root / "SVHN").mkdir()
    for part, count in (("train", train), ("test", test)):
        images = RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        savemat(root / "SVHN" / f"{part}_32x32.mat", {"X": images, "y": labels})
    return images


def stl10(root: Path, train: int = 40, test: int = 10) -> np.ndarray:
    """The files, labelled 1 to 10 in turn; the test images, N x H x W x C."""
    (root / "stl10_binary").mkdir()
    for part, count in (("train", train), ("test", test)):
        images = RNG.integers(0, 256, (count, 96, 96, 3), dtype=np.uint8)
        images.transpose(0, 3, 2, 1).tofile(root / "stl10_binary" / f"{part}_X.bin")
        labels = np.arange(count) % 10 + 1
        labels.astype(np.uint8).tofile(root / "stl10_binary" / f"{part}_y.bin")
    return images


def test_svhn_is_read_with_the_digit_0_as_class_0(tmp_path: Path) -> None:
    images = svhn(tmp_path)
    data = SVHN(validation=10)
    data.check(tmp_path)
    train, val, test = data.read(tmp_path)
    assert test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert (len(train.labels), sorted(val.labels.tolist())) == (30, list(range(10)))
    assert np.array_equal(test.images.numpy(), images.transpose(3, 2, 0, 1))
    assert data.load(tmp_path).train.images.shape == (30, 3, 32, 32)


def test_stl10_is_read_column_by_column(tmp_path: Path) -> None:
    images = stl10(tmp_path)
    data = STL10(validation=10)
    data.check(tmp_path)
    train, val, test = data.read(tmp_path)
    assert test.labels.tolist() == list(range(10))
    assert (len(train.labels), len(val.labels)) == (30, 10)
    assert np.array_equal(test.images.permute(0, 2, 3, 1).numpy(), images)
    assert data.load(tmp_path).test.images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("kind", "write", "file"),
    [(SVHN, svhn, "SVHN/test_32x32.mat"), (STL10, stl10, "stl10_binary/test_X.bin")],
)
def test_a_damaged_or_missing_file_is_named(
    tmp_path: Path, kind: type[VisionData], write: Any, file: str
) -> None:
    write(tmp_path)
    (tmp_path / file).write_bytes(b"<html>" * 9)
    with pytest.raises(InputError, match=str(tmp_path / file)):
        kind(validation=10).read(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(InputError, match=f"{file} is missing; run 'kdray data "):
        kind(validation=10).check(tmp_path)


@pytest.mark.parametrize("name", ["svhn", "stl10"])
def test_kdray_data_knows_the_official_files_and_their_checksums(name: str, tmp_path: Path) -> None:
    data = parse(AnyData, {"name": name})  # type: ignore[arg-type]  # a union of types
    assert isinstance(data, VisionData)
    assert all(len(source.md5) == 32 for source in data.sources())
    found = type(data).obtain(tmp_path, fetch=False)
    assert not found.complete
    assert all(line.endswith("missing") for line in found.found)
    with pytest.raises(InputError, match="leaves none to train on"):
        parse(AnyData, {"name": name, "validation": data.training_images})  # type: ignore[arg-type]
