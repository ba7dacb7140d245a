"""ImageNet and Tiny ImageNet from small folders of the official layout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from kdray.core import InputError
from kdray.data import ImageNet, TinyImageNet

WORDS = [f"n{number:08}" for number in range(200)]


def image(path: Path, colour: int, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 0, 255 - colour)).save(path, quality=100)
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Two training images and one validation image of every class, and test images without
    labels."""
    place, lines = tmp_path / "tiny-imagenet-200", []
    for number, word in enumerate(reversed(WORDS)):
        colour = WORDS.index(word)
        first = image(place / "train" / word / "images" / f"{word}_0.JPEG", colour)
        shutil.copy(first, first.with_name(f"{word}_1.JPEG"))
        (place / "train" / word / f"{word}_boxes.txt").write_text("x\t0\t0\t9\t9\n")
        image(place / "val" / "images" / f"val_{number}.JPEG", colour)
        lines.append(f"val_{number}.JPEG\t{word}\t0\t32\t44\t62\n")
    (place / "val" / "val_annotations.txt").write_text("".join(lines))
    (place / "wnids.txt").write_text("\n".join(WORDS))
    image(place / "test" / "images" / "test_0.JPEG", 9)
    return tmp_path


def test_tiny_imagenet_is_tested_on_its_annotated_images(tiny: Path) -> None:
    data = TinyImageNet(validation=200)
    data.check(tiny)
    train, val, test = data.read(tiny)
    assert test.labels.tolist() == train.labels.tolist() == val.labels.tolist() == [*range(200)]
    assert (test.images[:, 0, 30, 30].int() - test.labels).abs().max() <= 3
    assert [each.tolist() for each in data.split_labels(tiny)] == [[*range(200)]] * 3
    assert type(data).obtain(tiny, fetch=False).complete is False, "10,000 are held out of 400"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("train", "train: is missing; "),
        ("train/n00000003", "has 199 folders, needs 200"),
        ("train/n00000003/images", "n00000003/images: holds no image; every class needs one"),
        ("val/val_annotations.txt", "val_annotations.txt: is missing; "),
        ("val/images/val_7.JPEG", "val_annotations.txt:8: 'val_7.JPEG' of class 'n00000192' is "),
    ],
)
def test_what_is_missing_is_told(tiny: Path, broken: str, said: str) -> None:
    path = tiny / "tiny-imagenet-200" / broken
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError) as raised:
        TinyImageNet(validation=200).check(tiny)
    assert said in str(raised.value)


def test_an_image_that_is_torn_is_told_before_anything_starts(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200" / "val" / "images" / "val_7.JPEG").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"val_7\.JPEG: cannot be read as an image"):
        TinyImageNet(validation=200).prepare(tiny)


def test_imagenet_is_read_at_a_chosen_size(tmp_path: Path) -> None:
    place, one = tmp_path / "imagenet", image(tmp_path / "one.JPEG", 200, (30, 20))
    for number in range(1000):
        for part, count in (("train", 2), ("val", 1)):
            folder = place / part / f"n{number:08}"
            folder.mkdir(parents=True)
            for copy in range(count):
                os.link(one, folder / f"{copy}.JPEG")
    data = ImageNet(size=8, validation=1000)
    assert data.shape == (3, 8, 8)
    data.check(tmp_path)
    train, val, test = data.read(tmp_path)
    for split in (train, val, test):
        assert split.images.shape == (1000, 3, 8, 8)
        assert split.labels.tolist() == [*range(1000)]
    assert (test.images[:, 0].int() - 200).abs().max() <= 2
    shutil.rmtree(place / "val" / "n00000000")
    data.check(tmp_path)
    with pytest.raises(InputError, match="validation: 2000 of 2000 training images leaves none"):
        ImageNet(size=8, validation=2000).check(tmp_path)
