"""CINIC-10 is read by part, class and source; a sample of the test part depends on the names of the
images alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdray.cli import main
from kdray.core import InputError, parse
from kdray.data import CIFAR10, CINIC10
from kdray.data.cinic10 import NAMES

COUNTS = {"train": (2, 3), "valid": (1, 2), "test": (2, 5)}
"""Images of each class: of CIFAR-10, of ImageNet."""


def colour(part: str, label: int, number: int) -> tuple[int, int, int]:
    """Of the image ``number`` of a class; from 100 on it is one of ImageNet's."""
    return list(COUNTS).index(part) * 50 + 7, label, number


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for part, (cifar, imagenet) in COUNTS.items():
        for label, name in reversed(list(enumerate(NAMES))):
            folder = root / "CINIC-10" / part / name
            folder.mkdir(parents=True)
            for number in reversed(range(cifar)):
                picture = Image.new("RGB", (32, 32), colour(part, label, number))
                picture.save(folder / f"cifar10-{part}-{number}.png")
            for number in range(100, 100 + imagenet):
                picture = Image.new("RGB", (32, 32), colour(part, label, number))
                picture.save(folder / f"n0{number}_{label}.png")
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def cinic(**fields: object) -> CINIC10:
    return parse(CINIC10, {"name": "cinic10", **fields})


def numbers(data: CINIC10, root: Path) -> list[int]:
    """The number of every test image, in order."""
    images: list[int] = data.read_test(root).images[:, 2, 9, 9].tolist()
    return images


def test_parts_are_the_splits_and_classes_have_cifar10s_numbers(made: Path) -> None:
    assert tuple(sorted(NAMES)) == NAMES
    for part, split in zip(COUNTS, cinic().read(made), strict=True):
        each = [*range(COUNTS[part][0]), *range(100, 100 + COUNTS[part][1])]
        expected = [colour(part, label, number) for label in range(10) for number in each]
        assert [tuple(pixel) for pixel in split.images[:, :, 20, 3].tolist()] == expected
        assert split.labels.tolist() == [label for _, label, _ in expected]


@pytest.mark.parametrize(
    ("source", "each"), [("cifar10", [0, 1]), ("imagenet", [100, 101, 102, 103, 104])]
)
def test_a_source_is_told_by_the_names_of_the_files(
    source: str, each: list[int], made: Path
) -> None:
    assert numbers(cinic(source=source), made) == each * 10
    train, val, _ = cinic(source=source).read(made)
    assert {
        number >= 100 for split in (train, val) for number in split.images[:, 2, 0, 0].tolist()
    } == {source == "imagenet"}


def test_a_sample_has_so_many_test_images_of_each_class_and_leaves_the_other_parts(
    made: Path,
) -> None:
    sampled = cinic(per_class=4)
    train, val, test = sampled.read(made)
    assert test.labels.bincount().tolist() == [4] * 10
    assert (len(train.labels), len(val.labels)) == (50, 30)
    for label in range(10):
        images = test.images[test.labels == label]
        assert len(images[:, :, 0, 0].unique(dim=0)) == 4
        assert images[:, 1].unique().tolist() == [label]


def test_a_larger_sample_holds_the_smaller_and_another_seed_is_another_sample(made: Path) -> None:
    four, three = (numbers(cinic(source="imagenet", per_class=count), made) for count in (4, 3))
    for label in range(10):
        assert set(three[3 * label : 3 * label + 3]) < set(four[4 * label : 4 * label + 4])
    assert numbers(cinic(source="imagenet", per_class=4, sample_seed=1), made) != four
    assert numbers(cinic(source="imagenet", per_class=4), made) == four
    assert len({tuple(four[4 * label : 4 * label + 4]) for label in range(10)}) > 1


def test_a_sample_of_one_source_does_not_depend_on_the_other(made: Path, folder: Path) -> None:
    for path in folder.glob("CINIC-10/test/*/cifar10-test-0.png"):
        path.unlink()
    data = cinic(source="imagenet", per_class=2)
    assert numbers(data, folder) == numbers(data, made)


def test_the_test_split_is_that_of_the_data_set_and_is_read_alone(made: Path, folder: Path) -> None:
    data = cinic(resize=16, channels=1, pad=2, source="cifar10")
    whole = data.load(made).test
    for part in ("train", "valid"):
        shutil.rmtree(folder / "CINIC-10" / part)
    alone = data.test_split(folder)
    assert alone.images.shape[1:] == (1, 20, 20)
    assert torch.equal(alone.images, whole.images)
    assert torch.equal(alone.labels, whole.labels)
    assert data.test_split(folder).images is alone.images


def test_what_the_class_numbers_mean_is_what_it_is_in_cifar10() -> None:
    assert cinic().labels == CIFAR10().labels == "cifar10"


def test_grey_and_paletted_images_are_read_as_colour(folder: Path) -> None:
    place = folder / "CINIC-10/test/cat"
    Image.new("L", (32, 32), 77).save(place / "cifar10-test-0.png")
    paletted = Image.new("P", (32, 32), 1)
    paletted.putpalette([0, 0, 0, 10, 20, 30])
    paletted.save(place / "cifar10-test-1.png", transparency=b"\x00\x80")
    test = cinic(source="cifar10").read_test(folder)
    assert test.images[test.labels == 3][:, :, 5, 5].tolist() == [[77, 77, 77], [10, 20, 30]]


def refused(root: Path, data: CINIC10) -> str:
    with pytest.raises(InputError) as raised:
        data.check(root)
    with pytest.raises(InputError):
        data.read(root)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(f"{root}/", "")


@pytest.mark.parametrize("part", COUNTS)
def test_a_missing_part_or_class_is_told(part: str, folder: Path) -> None:
    shutil.rmtree(folder / "CINIC-10" / part / "ship")
    assert refused(folder, cinic()).startswith(
        f"CINIC-10/{part}/ship: is missing; CINIC-10 must be a folder with train/"
    )
    shutil.rmtree(folder / "CINIC-10" / part)
    assert refused(folder, cinic()).startswith(f"CINIC-10/{part}/airplane: is missing; ")


def drop_imagenet(place: Path) -> None:
    for path in place.glob("n*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "fields", "message"),
    [
        (drop_imagenet, {"source": "imagenet"}, "holds no image (source: imagenet)"),
        (drop_imagenet, {"per_class": 3}, "per_class: 3 is more than its 2 images (source: all)"),
        (lambda place: (place / "dog.jpg").touch(), {}, "dog.jpg: is no image of CINIC-10"),
        (lambda place: (place / "dog.png").touch(), {}, "dog.png: is no image of CINIC-10"),
    ],
)
def test_what_is_wrong_with_a_class_is_told(
    damage: Callable[[Path], None], fields: dict[str, object], message: str, folder: Path
) -> None:
    damage(folder / "CINIC-10/test/dog")
    said = refused(folder, cinic(**fields))
    assert said.startswith("CINIC-10/test/dog")
    assert message in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no image", "cannot be read as an image ("),
        (Image.new("RGB", (32, 31)), "is 32 x 31 in Pillow's mode RGB, needs 32 x 32 of 8 bits"),
        (
            Image.fromarray(np.full((32, 32), 40_000, np.uint16)),
            "is 32 x 32 in Pillow's mode I;16, needs 32 x 32 of 8",
        ),
    ],
)
def test_an_image_that_is_not_as_it_must_be_is_named(
    content: bytes | Image.Image, message: str, folder: Path
) -> None:
    path = folder / "CINIC-10/test/dog/cifar10-test-0.png"
    path.write_bytes(content) if isinstance(content, bytes) else content.save(path)
    cinic().check(folder)
    with pytest.raises(InputError) as raised:
        cinic().read_test(folder)
    assert str(raised.value).startswith(f"{path}: {message}")


def test_the_command_says_where_it_comes_from_and_goes_to_by_hand(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "cinic10", "--data", str(tmp_path)]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert CINIC10.page in error
    assert f"unpack it so that {tmp_path}/CINIC-10 is a folder with train/<class>/" in error
    assert main(["data", "cinic10", "--data", str(made)]) == 0
    assert (
        capsys.readouterr().out
        == f"{made}/CINIC-10: there, with every class; checksum not verifiable\n"
    )
