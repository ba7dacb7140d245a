from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, canonical_json, parse
from kdray.data import Arrays, data_root
from kdray.data.splits import stratified

RNG = np.random.default_rng(0)


def content(
    train: int = 40, test: int = 12, shape: tuple[int, ...] = (8, 9), classes: int = 4
) -> dict[str, np.ndarray]:
    """Images labelled 0, 1, … in turn."""
    out: dict[str, np.ndarray] = {}
    for part, count in (("train", train), ("test", test)):
        out[f"{part}_images"] = RNG.integers(0, 256, (count, *shape), dtype=np.uint8)
        out[f"{part}_labels"] = np.arange(count) % classes
    return out


def written(root: Path, arrays: dict[str, Any], compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(root / "own.npz", **arrays)
    return root / "own.npz"


def own(**fields: object) -> Arrays:
    return parse(
        Arrays,
        {"name": "arrays", "path": "own.npz", "classes": 4, "image_shape": [1, 8, 9], **fields},
    )


def refused(data: Arrays, root: Path) -> str:
    """What check and read say, which is the same, in one line without the path."""
    said = []
    for tried in (data.check, data.read):
        with pytest.raises(InputError) as raised:
            tried(root)
        said.append(str(raised.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    assert str(root / "own.npz") in said[0]
    return said[0].replace(f"{root / 'own.npz'}: ", "")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int8, ">i4", np.uint64])
def test_grey_images_are_read(tmp_path: Path, compressed: bool, dtype: Any) -> None:
    arrays = content()
    arrays |= {
        name: array.astype(dtype) for name, array in arrays.items() if name.endswith("labels")
    }
    written(tmp_path, arrays, compressed)
    own().check(tmp_path)
    train, val, test = own().read(tmp_path)
    assert torch.equal(test.images[:, 0], torch.from_numpy(arrays["test_images"]))
    assert test.labels.tolist() == arrays["test_labels"].tolist()
    rest, held_out = stratified(
        torch.from_numpy(arrays["train_labels"].astype(np.int64)), 8, salt="arrays:validation"
    )
    for split, index in ((train, rest), (val, held_out)):
        assert torch.equal(split.images[:, 0], torch.from_numpy(arrays["train_images"])[index])
        assert split.labels.tolist() == (index % 4).tolist()
        assert split.labels.dtype == torch.int64


def test_grey_images_may_have_an_axis_for_their_channel(tmp_path: Path) -> None:
    arrays = content(shape=(8, 9, 1))
    written(tmp_path, arrays)
    assert torch.equal(
        own().read(tmp_path)[2].images[:, 0], torch.from_numpy(arrays["test_images"])[..., 0]
    )


@pytest.mark.parametrize("order", ["C", "F"])
def test_colour_comes_last_in_the_file_and_first_in_the_tensor(tmp_path: Path, order: Any) -> None:
    arrays = content(shape=(8, 9, 3))
    arrays["test_images"] = np.asarray(arrays["test_images"], order=order)
    written(tmp_path, arrays)
    data = own(image_shape=[3, 8, 9])
    data.check(tmp_path)
    dataset = data.load(tmp_path)
    assert data.shape == dataset.test.images.shape[1:] == (3, 8, 9)
    assert dataset.test.images[5, 2, 3, 4] == arrays["test_images"][5, 3, 4, 2]
    assert dataset.test.images.is_contiguous()


def test_the_files_own_validation_split_is_taken(tmp_path: Path) -> None:
    arrays = content()
    arrays |= {"val_images": arrays["test_images"][::-1], "val_labels": arrays["test_labels"][::-1]}
    written(tmp_path, arrays)
    train, val, _ = own().read(tmp_path)
    assert len(train.labels) == 40
    assert torch.equal(val.images[:, 0], torch.from_numpy(arrays["val_images"].copy()))
    assert "validation: 5: the file has val_images; leave validation out" in refused(
        own(validation=5), tmp_path
    )


@pytest.mark.parametrize(
    ("images", "validation", "expected"), [(40, None, 8), (41, None, 9), (40, 13, 13)]
)
def test_validation_images_are_a_fifth_or_as_many_as_is_said(
    tmp_path: Path, images: int, validation: int | None, expected: int
) -> None:
    written(tmp_path, content(images))
    train, val, _ = own(validation=validation).read(tmp_path)
    assert (len(train.labels), len(val.labels)) == (images - expected, expected)


def test_resize_channels_padding_and_omission_work_on_them(tmp_path: Path) -> None:
    written(tmp_path, content())
    data = own(resize=16, channels=3, pad=1, omit_classes=[2])
    dataset = data.load(tmp_path)
    assert data.shape == dataset.train.images.shape[1:] == (3, 18, 18)
    assert dataset.train.labels.unique().tolist() == [0, 1, 3]


def test_the_path_may_be_absolute_or_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path, content())
    for path in (str(tmp_path / "own.npz"), "~/own.npz"):
        own(path=path).check(Path("/nowhere"))


def test_a_checksum_makes_the_description_that_of_these_numbers(tmp_path: Path) -> None:
    digest = hashlib.sha256(written(tmp_path, content()).read_bytes()).hexdigest()
    own(sha256=digest).check(tmp_path)
    assert own(sha256=digest.upper()) == own(sha256=digest)
    wrong = "0" * 64
    assert (
        refused(own(sha256=wrong), tmp_path) == f"sha256 is {digest}, the description has {wrong}"
    )
    assert "sha256" not in canonical_json(own())


# What is wrong with a file


def test_a_missing_file_is_told_with_what_it_must_be(tmp_path: Path) -> None:
    said = refused(own(), tmp_path)
    assert said.startswith(
        f"data set 'arrays': {tmp_path}/own.npz is missing; it must be an .npz file with "
        "train_images, "
    )
    assert "--data or KDRAY_DATA" in said
    (tmp_path / "own.npz").mkdir()
    assert refused(own(), tmp_path) == said


@pytest.mark.parametrize("bytes_", [b"", b"PK", b"\x93NUMPY" + bytes(200), b"<html>" * 50])
def test_a_file_that_is_no_npz_is_told(tmp_path: Path, bytes_: bytes) -> None:
    (tmp_path / "own.npz").write_bytes(bytes_)
    assert refused(own(), tmp_path).startswith(
        "is no .npz file; it must be an .npz file with train_images"
    )


@pytest.mark.parametrize("at", [0.02, 0.3, 0.6])
def test_a_file_with_a_byte_changed_or_cut_off_is_told(tmp_path: Path, at: float) -> None:
    path = written(tmp_path, content(), compressed=True)
    whole = path.read_bytes()
    place = int(len(whole) * at)
    path.write_bytes(whole[:place])
    assert "is no .npz file" in refused(own(), tmp_path)
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: cannot be read \("):
        own().read(tmp_path)


def test_members_that_are_no_arrays_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        for key in content():
            file.writestr(f"{key}.npy", b"not an array")
    assert "cannot be read" in refused(own(), tmp_path)
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        for key in content():
            file.writestr(key, b"not even named like one")
    assert "cannot be read" in refused(own(), tmp_path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "pwned",))

    written(tmp_path, {**content(), "train_labels": np.array([Trap()] * 40, dtype=object)})
    assert refused(own(), tmp_path).startswith("train_labels: is object 40, needs 40 whole numbers")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("key", ["train_images", "train_labels", "test_images", "test_labels"])
def test_a_missing_array_is_told_with_those_that_are_there(tmp_path: Path, key: str) -> None:
    arrays = content()
    del arrays[key]
    written(tmp_path, arrays)
    assert refused(own(), tmp_path) == f"{key} is missing (there: {', '.join(sorted(arrays))})"


def test_half_a_validation_split_is_told(tmp_path: Path) -> None:
    arrays = content()
    written(tmp_path, {**arrays, "val_labels": arrays["test_labels"]})
    assert refused(own(), tmp_path).startswith("val_images is missing (there: ")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "float images": (
        {"test_images": np.zeros((12, 8, 9))},
        "test_images: is float64 12 x 8 x 9, needs uint8 N x 8 x 9 or N x 8 x 9 x 1 (image_shape)",
    ),
    "colour": (
        {"train_images": np.zeros((40, 8, 9, 3), np.uint8)},
        "train_images: is uint8 40 x 8 x 9 x 3, needs uint8 N x 8 x 9 or N x 8 x 9 x 1 "
        "(image_shape)",
    ),
    "another size": (
        {"train_images": np.zeros((40, 9, 8), np.uint8)},
        "train_images: is uint8 40 x 9 x 8, needs uint8 N x 8 x 9 or N x 8 x 9 x 1 (image_shape)",
    ),
    "a number": (
        {"train_images": np.uint8(3)},
        "train_images: is uint8 (a single number), needs uint8 N x 8 x 9 or N x 8 x 9 x 1 "
        "(image_shape)",
    ),
    "no images": (
        {"test_images": np.zeros((0, 8, 9), np.uint8), "test_labels": np.zeros(0, int)},
        "test_images: holds no image",
    ),
    "float labels": (
        {"train_labels": np.zeros(40)},
        "train_labels: is float64 40, needs 40 whole numbers, one for each image",
    ),
    "one-hot labels": (
        {"train_labels": np.eye(4, dtype=int)[np.arange(40) % 4]},
        "train_labels: is int64 40 x 4, needs 40 whole numbers, one for each image",
    ),
    "too few labels": (
        {"test_labels": np.arange(11) % 4},
        "test_labels: is int64 11, needs 12 whole numbers, one for each image",
    ),
    "labels from 1": (
        {"test_labels": np.arange(12) % 4 + 1},
        "test_labels[3]: is 4 (allowed: 0 to 3, of 4 classes)",
    ),
    "negative label": (
        {"train_labels": np.arange(40) % 4 - 1},
        "train_labels[0]: is -1 (allowed: 0 to 3, of 4 classes)",
    ),
    "huge label": (
        {"train_labels": np.full(40, 2**64 - 1, np.uint64)},
        "train_labels[0]: is 18446744073709551615 (allowed: 0 to 3, of 4 classes)",
    ),
    "absent class": (
        {"train_labels": np.arange(40) % 2},
        "train_labels: no image of class 2; every class from 0 to 3 needs one",
    ),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_array_is_told_with_what_is_needed(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    written(tmp_path, {**content(), **changes})
    assert refused(own(), tmp_path) == said


def test_a_class_may_be_absent_from_the_test_images(tmp_path: Path) -> None:
    written(tmp_path, {**content(), "test_labels": np.zeros(12, int)})
    own().check(tmp_path)


def test_a_validation_split_that_takes_too_much_is_told(tmp_path: Path) -> None:
    written(tmp_path, content())
    for validation in (40, 1000):
        assert refused(own(validation=validation), tmp_path) == (
            f"validation: {validation} of 40 training images leaves none to train on"
        )
    assert (
        refused(own(validation=38), tmp_path)
        == "validation: 38 of 40 training images leaves none of class 0 to train on"
    )


def test_checking_reads_no_pixel(tmp_path: Path) -> None:
    """A file whose images are cut short within an intact archive passes the check and is refused
    when it is read."""
    arrays, path = content(), tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as file:
        for key, array in arrays.items():
            packed = io.BytesIO()
            np.save(packed, array)
            file.writestr(
                f"{key}.npy", packed.getvalue()[:-7] if key == "train_images" else packed.getvalue()
            )
    own().check(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        own().read(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"image_shape": [8, 9]},
            "image_shape: [8, 9] is not [channels, height, width] with 1 or 3 channels",
        ),
        (
            {"image_shape": [8, 9, 3]},
            "image_shape: [8, 9, 3] is not [channels, height, width] with 1 or 3 channels",
        ),
        (
            {"image_shape": [1, 0, 9]},
            "image_shape[1]: input should be greater than or equal to 1, not 0",
        ),
        ({"classes": 1}, "classes: input should be greater than or equal to 2, not 1"),
        ({"path": ""}, 'path: string should have at least 1 character, not ""'),
        ({"sha256": "abc"}, "sha256: string should match pattern '^[0-9a-fA-F]{64}$', not \"abc\""),
        ({"validation": 0}, "validation: input should be greater than or equal to 1, not 0"),
    ],
)
def test_a_description_that_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        own(**fields)
    assert str(raised.value) == said


def test_real_images_of_cifar10() -> None:
    path = data_root() / "cifar10_subset.npz"
    if "KDRAY_DATA" not in os.environ or not path.is_file():
        pytest.skip("KDRAY_DATA is not set, or has no cifar10_subset.npz")
    data = own(path=path.name, classes=10, image_shape=[3, 32, 32])
    data.check(data_root())
    dataset = data.load(data_root())
    assert dataset.train.labels.unique().tolist() == list(range(10))
    assert dataset.mean.tolist() == pytest.approx(
        [0.491, 0.482, 0.447], abs=0.02
    )  # as published for CIFAR-10
