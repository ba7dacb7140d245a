"""Arrays as others write them: MedMNIST's file, other keys, .npy files, Parquet with images."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from kdray.core import InputError, canonical_json, parse
from kdray.data import Arrays, Digits, splits

RNG = np.random.default_rng(0)
COUNTS = {"train": 24, "val": 8, "test": 12}


def own(path: str = "own", shape: tuple[int, ...] = (3, 8, 8), **fields: Any) -> Arrays:
    described = {"name": "arrays", "path": path, "classes": 4, "image_shape": list(shape)}
    return parse(Arrays, {**described, **fields})


def images(part: str, *sides: int) -> np.ndarray:
    return RNG.integers(0, 256, (COUNTS[part], *sides), dtype=np.uint8)


def labels(part: str) -> np.ndarray:
    return np.arange(COUNTS[part]) % 4


def refused(data: Arrays, root: Path) -> str:
    said = []
    for tried in (data.check, data.read):
        with pytest.raises(InputError) as raised:
            tried(root)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    return said[0].replace(f"{root}/", "")


@pytest.mark.parametrize("sides", [(28, 28), (28, 28, 3)])
def test_a_file_of_medmnist_is_taken_as_it_is(tmp_path: Path, sides: tuple[int, ...]) -> None:
    arrays = {f"{part}_images": images(part, *sides) for part in COUNTS}
    arrays |= {f"{part}_labels": labels(part)[:, None].astype(np.uint8) for part in COUNTS}
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)
    data = own("bloodmnist.npz", (3 if len(sides) == 3 else 1, 28, 28))
    data.check(tmp_path)
    splits = data.read(tmp_path)
    for part, split in zip(COUNTS, splits, strict=True):
        assert split.labels.tolist() == labels(part).tolist()
        shown = split.images.permute(0, 2, 3, 1).numpy()
        assert np.array_equal(shown.reshape(arrays[f"{part}_images"].shape), shown.squeeze())
        assert np.array_equal(shown.squeeze(), arrays[f"{part}_images"])


def test_arrays_with_other_keys_are_named(tmp_path: Path) -> None:
    keras = {"x_train": images("train", 8, 8), "y_train": labels("train"),
             "x_test": images("test", 8, 8), "y_test": labels("test")}  # fmt: skip
    np.savez(tmp_path / "own.npz", **keras)
    keys = {"train_images": "x_train", "train_labels": "y_train",
            "test_images": "x_test", "test_labels": "y_test"}  # fmt: skip
    data = own("own.npz", (1, 8, 8), keys=keys)
    data.check(tmp_path)
    assert torch.equal(data.read(tmp_path)[2].images[:, 0], torch.from_numpy(keras["x_test"]))
    lacking = own("own.npz", (1, 8, 8), keys={**keys, "test_labels": "labels"})
    said = refused(lacking, tmp_path)
    assert said == "own.npz: labels is missing (there: x_test, x_train, y_test, y_train)"
    assert "keys" not in canonical_json(own(keys={}))


def test_npy_files_in_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    test_images = images("test", 8, 8, 3)
    for part in ("train", "test"):
        np.save(tmp_path / "own" / f"{part}_labels.npy", labels(part))
    np.save(tmp_path / "own" / "train_images.npy", images("train", 8, 8, 3))
    assert refused(own(), tmp_path).startswith("own: test_images is missing (there: test_labels, ")
    np.save(tmp_path / "own" / "test_images.npy", test_images)
    own().check(tmp_path)
    train, val, test = own().read(tmp_path)
    assert (len(train.labels), len(val.labels)) == (19, 5)
    assert np.array_equal(test.images.permute(0, 2, 3, 1).numpy(), test_images)
    assert "sha256: is of one file" in refused(own(sha256="0" * 64), tmp_path)
    np.save(tmp_path / "own" / "test_images.npy", np.array([{}] * 12, dtype=object))
    assert "cannot be read" in refused(own(), tmp_path)


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    content = BytesIO()
    Image.fromarray(array).save(content, kind)
    return content.getvalue()


def cells(part: str, pixels: np.ndarray, how: str) -> pa.Array:
    if how == "nested":
        return pa.array(pixels.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8()))))
    files = [encoded(each) for each in pixels]
    if how == "struct":
        return pa.array([{"bytes": each, "path": f"{part}.png"} for each in files])
    return pa.array(files, pa.binary())


def write_parquet(place: Path, how: str, image: str = "img", label: str = "fine") -> np.ndarray:
    place.mkdir()
    for part in COUNTS:
        pixels = images(part, 8, 8, 3)
        table = pa.table({image: cells(part, pixels, how), label: labels(part)})
        half = COUNTS[part] // 2
        pq.write_table(table[:half], place / f"{part}-00000-of-00002.parquet")
        pq.write_table(table[half:], place / f"{part}-00001-of-00002.parquet")
    return pixels


@pytest.mark.parametrize("how", ["bytes", "struct", "nested"])
def test_parquet_with_a_column_of_images_is_read(tmp_path: Path, how: str) -> None:
    pixels = write_parquet(tmp_path / "own", how)
    data = own(image_column="img", label_column="fine")
    data.check(tmp_path)
    data.prepare(tmp_path)
    train, val, test = data.read(tmp_path)
    assert [len(split.labels) for split in (train, val, test)] == [24, 8, 12]
    assert np.array_equal(test.images.permute(0, 2, 3, 1).numpy(), pixels)
    assert test.labels.tolist() == labels("test").tolist()
    assert [len(each) for each in data.split_labels(tmp_path)] == [24, 8, 12]


def test_a_missing_column_and_part_are_told_with_what_is_there(tmp_path: Path) -> None:
    write_parquet(tmp_path / "own", "bytes")
    assert refused(own(), tmp_path) == (
        "own/train-00000-of-00002.parquet: there is no column 'image' (there: img, fine; "
        "image_column names it)"
    )
    said = refused(own(image_column="img", label_column="img"), tmp_path)
    assert said.endswith("is object 24, needs 24 whole numbers, one for each image")
    for path in (tmp_path / "own").glob("test*"):
        path.unlink()
    said = refused(own(image_column="img", label_column="fine"), tmp_path)
    assert said.startswith("own: test*.parquet is missing (there: train-00000")


def test_encoded_images_that_cannot_be_decoded_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for part in ("train", "test"):
        column = [{"bytes": b"torn" if n < 3 else encoded(each), "path": None}
                  for n, each in enumerate(images(part, 8, 8, 3))]  # fmt: skip
        pq.write_table(
            pa.table({"image": pa.array(column), "label": labels(part)}),
            tmp_path / "own" / f"{part}.parquet",
        )
    own().check(tmp_path)
    with pytest.raises(InputError, match=r"image 0 of train: .*image 1 of train: .*image 2 of t"):
        own().prepare(tmp_path)


def test_encoded_images_of_another_size_are_scaled_and_grey_ones_wanted_grey(
    tmp_path: Path,
) -> None:
    (tmp_path / "own").mkdir()
    wide = np.full((20, 40, 3), 90, np.uint8)
    for part in ("train", "test"):
        files = [encoded(wide, "JPEG")] * COUNTS[part]
        pq.write_table(
            pa.table({"image": files, "label": labels(part)}), tmp_path / "own" / f"{part}.parquet"
        )
    for channels in (1, 3):
        test = own(shape=(channels, 8, 8)).read(tmp_path)[2]
        assert test.images.shape == (12, channels, 8, 8)
        assert (test.images.int() - 90).abs().max() <= 1


def test_nested_images_of_another_shape_are_told(tmp_path: Path) -> None:
    write_parquet(tmp_path / "own", "nested", "image", "label")
    said = refused(own(shape=(3, 9, 8)), tmp_path)
    assert said == (
        "own: train*.parquet: image: is uint8 24 x 8 x 8 x 3, needs uint8 N x 9 x 8 x 3 "
        "(image_shape)"
    )


@pytest.mark.parametrize("kind", ["npz", "npy", "nested", "bytes"])
def test_more_images_than_main_memory_holds_are_refused_with_the_arithmetic(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = own()
    if kind in ("npz", "npy"):
        arrays = {f"{part}_images": images(part, 8, 8, 3) for part in COUNTS}
        arrays |= {f"{part}_labels": labels(part) for part in COUNTS}
        if kind == "npz":
            data = own("own.npz")
            np.savez(tmp_path / "own.npz", **arrays)
        else:
            (tmp_path / "own").mkdir()
            for name, array in arrays.items():
                np.save(tmp_path / "own" / f"{name}.npy", array)
    else:
        write_parquet(tmp_path / "own", kind)
        data = own(image_column="img", label_column="fine")
    needed = 44 * 3 * 8 * 8
    monkeypatch.setattr(splits, "memory", lambda: needed)
    data.check(tmp_path)
    monkeypatch.setattr(splits, "memory", lambda: needed - 1)
    said = refused(data, tmp_path)
    assert "44 images of 3 x 8 x 8 take 0.0 GB, and this machine has 0.0 GB of main memory" in said


def test_images_that_only_fit_before_they_are_made_larger_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = parse(Digits, {"name": "digits", "examples": 100, "resize": 32})
    monkeypatch.setattr(splits, "memory", lambda: 100 * 32 * 32 - 1)
    with pytest.raises(InputError, match="100 images of 1 x 32 x 32 take"):
        data.load(Path("/nowhere"))
