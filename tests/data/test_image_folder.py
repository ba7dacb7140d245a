from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdray.core import InputError, parse
from kdray.data import ImageFolder
from kdray.data.splits import stratified
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.plan import plan
from kdray.sweep.run import check_data
from tests.sweep.fakes import TINY

COLOURS = {"ant": (200, 10, 20), "bee": (10, 180, 30), "cat": (5, 15, 220)}
"""Of the images of every class; the names are in the order of their numbers."""


def picture(
    path: Path, colour: Any, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: Any
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """5 training images and 2 test images of each class, made in an order that is not the sorted
    one."""
    for part, count in (("train", 5), ("test", 2)):
        for name in reversed(COLOURS):
            for number in reversed(range(count)):
                red, green, blue = COLOURS[name]
                picture(
                    tmp_path / "own" / part / name / f"{number}.png", (red + number, green, blue)
                )
    return tmp_path


def own(**fields: object) -> ImageFolder:
    return parse(
        ImageFolder, {"name": "image_folder", "path": "own", "classes": 3, "size": 8, **fields}
    )


def refused(root: Path, data: ImageFolder | None = None, *, checked: bool = True) -> str:
    """What reading says, and checking where it sees as much; without the path."""
    data, said = data or own(), []
    for tried in (data.check, data.read) if checked else (data.read,):
        with pytest.raises(InputError) as raised:
            tried(root)
        said.append(str(raised.value))
    if not checked:
        data.check(root)
    assert len(set(said)) == 1
    assert "\n" not in said[0]
    return said[0].replace(f"{root / 'own'}", "own")


def test_images_are_numbered_by_the_sorted_names_and_read_in_order(folder: Path) -> None:
    own().check(folder)
    train, val, test = own().read(folder)
    assert test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    expected = [
        [red + number, green, blue] for red, green, blue in COLOURS.values() for number in range(2)
    ]
    assert test.images[:, :, 3, 5].tolist() == expected
    assert test.images.dtype == torch.uint8
    rest, held_out = stratified(
        torch.arange(3).repeat_interleave(5), 3, salt="image_folder:validation"
    )
    assert val.images[:, 0, 0, 0].tolist() == [
        list(COLOURS.values())[i // 5][0] + int(i % 5) for i in held_out
    ]
    assert train.labels.tolist() == (rest // 5).tolist()


def test_the_folders_own_validation_split_is_taken(folder: Path) -> None:
    shutil.copytree(folder / "own" / "test", folder / "own" / "val")
    train, val, test = own().read(folder)
    assert len(train.labels) == 15
    assert torch.equal(val.images, test.images)
    assert (
        refused(folder, own(validation=4))
        == "own: validation: 4: there is a folder val; leave validation out"
    )


def test_the_shorter_side_is_scaled_and_the_centre_cut_out(folder: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 18:42] = 255  # the square in the centre, and what scaling takes in beside it
    Image.fromarray(wide).save(folder / "own" / "test" / "ant" / "0.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(folder / "own" / "test" / "ant" / "1.png")
    _, _, test = own(size=10).read(folder)
    assert test.images[:2].shape == (2, 3, 10, 10)
    assert test.images[:2].min() == 255


def test_scaling_down_takes_means(folder: Path) -> None:
    board = np.indices((64, 64)).sum(0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(folder / "own" / "test" / "ant" / "0.png")
    image = own().read(folder)[2].images[0].float()
    assert (image - 127.5).abs().max() < 8


def test_every_kind_of_8_bit_image_is_read_as_colour(folder: Path) -> None:
    place = folder / "own" / "test" / "ant"
    shutil.rmtree(place)
    picture(place / "a.png", 77, mode="L")
    picture(place / "b.PNG", (10, 20, 30, 0), mode="RGBA")
    picture(place / "c.gif", (10, 20, 30))
    picture(place / "d.bmp", (10, 20, 30))
    picture(place / "e.webp", (10, 20, 30), lossless=True)
    picture(place / "f.jpeg", (10, 20, 30), quality=100)
    picture(place / "g.png", 1, mode="1")
    paletted = Image.new("P", (8, 8), 1)
    paletted.putpalette([0, 0, 0, 10, 20, 30])
    paletted.save(place / "h.png", transparency=b"\x00\x80")
    images = own().read(folder)[2].images[:8, :, 4, 4].int()
    assert images[0].tolist() == [77, 77, 77]
    assert images[6].tolist() == [255, 255, 255]
    for index in (1, 2, 3, 4, 5, 7):
        assert (images[index] - torch.tensor([10, 20, 30])).abs().max() <= 2


def test_grey_resized_padded_and_without_a_class(folder: Path) -> None:
    data = own(channels=1, resize=12, pad=2, omit_classes=[1])
    dataset = data.load(folder)
    assert data.shape == dataset.train.images.shape[1:] == (1, 16, 16)
    assert dataset.train.labels.unique().tolist() == [0, 2]
    assert dataset.test.images[4, 0, 8, 8] == round(0.299 * 5 + 0.587 * 15 + 0.114 * 220)


def test_hidden_files_are_passed_over(folder: Path) -> None:
    for place in ("own/train", "own/train/ant", "own/test/bee"):
        (folder / place / ".DS_Store").write_bytes(b"x")
    own().check(folder)
    assert len(own().read(folder)[2].labels) == 6


def test_a_class_may_be_absent_from_the_test_images(folder: Path) -> None:
    shutil.rmtree(folder / "own" / "test" / "ant")
    assert own().read(folder)[2].labels.tolist() == [1, 1, 2, 2]
    (said,) = own().remarks(folder)
    assert said.endswith("own: no test image of class 0 (of 3); accuracy there says nothing of it")


def test_with_images_of_every_class_there_is_nothing_to_mention(folder: Path) -> None:
    assert list(own().remarks(folder)) == []


# What is wrong with a folder


def test_a_missing_folder_is_told_with_what_it_must_hold(tmp_path: Path) -> None:
    said = refused(tmp_path)
    assert said.startswith(
        "data set 'image_folder': own is missing; it must be a folder with train/<class>/ "
        "and test/<class>/"
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_missing_part_is_told(folder: Path, part: str) -> None:
    shutil.rmtree(folder / "own" / part)
    assert refused(folder).startswith(
        f"own: {part} is missing; it must be a folder with train/<class>/"
    )


def test_another_number_of_classes_is_told(folder: Path) -> None:
    assert (
        refused(folder, own(classes=4))
        == "own/train: has 3 folders, needs one for each of 4 classes"
    )


def test_a_class_that_is_not_trained_on_is_told(folder: Path) -> None:
    picture(folder / "own" / "test" / "dog" / "0.png", (1, 2, 3))
    assert refused(folder) == "own/test/dog: is no class of train (there: ant, bee, cat)"


def test_a_class_is_the_same_however_its_accents_are_written(folder: Path) -> None:
    """Archives of macOS have them as characters of their own, which sorts otherwise."""
    composed, decomposed = "b\u00e9e", "be\u0301e"
    (folder / "own" / "train" / "bee").rename(folder / "own" / "train" / decomposed)
    (folder / "own" / "test" / "bee").rename(folder / "own" / "test" / composed)
    apart = own().read(folder)
    (folder / "own" / "train" / decomposed).rename(folder / "own" / "train" / composed)
    for one, other in zip(apart, own().read(folder), strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        assert one.images.equal(other.images)
    (folder / "own" / "train" / decomposed).mkdir()
    assert "has two folders 'b\u00e9e'" in refused(folder)


def test_a_class_without_an_image_is_told(folder: Path) -> None:
    for number in range(5):
        (folder / "own" / "train" / "bee" / f"{number}.png").unlink()
    assert refused(folder) == "own/train/bee: holds no image; every class needs one"


def test_a_part_without_an_image_is_told(folder: Path) -> None:
    shutil.rmtree(folder / "own" / "test")
    (folder / "own" / "test").mkdir()
    assert refused(folder) == "own/test: holds no image"


def test_what_is_no_folder_among_the_classes_is_told(folder: Path) -> None:
    (folder / "own" / "train" / "labels.csv").write_text("x")
    assert refused(folder) == "own/train/labels.csv: is no folder; needs one folder for each class"


@pytest.mark.parametrize("name", ["notes.txt", "folder.png", "image"])
def test_what_is_no_image_is_named(folder: Path, name: str) -> None:
    path = folder / "own" / "train" / "cat" / name
    path.mkdir() if name == "folder.png" else path.write_text("x")
    assert refused(folder).startswith(
        f"own/train/cat/{name}: is no image (allowed: .bmp, .gif, .jfif, .jpeg, "
    )


@pytest.mark.parametrize("bytes_", [b"", b"text", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_an_image_that_cannot_be_read_is_named(folder: Path, bytes_: bytes) -> None:
    (folder / "own" / "test" / "cat" / "1.png").write_bytes(bytes_)
    assert refused(folder, checked=False).startswith(
        "own/test/cat/1.png: cannot be read as an image ("
    )


def test_an_image_that_is_cut_off_is_named(folder: Path) -> None:
    path = folder / "own" / "train" / "cat" / "1.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert refused(folder, checked=False).startswith(
        "own/train/cat/1.png: cannot be read as an image ("
    )


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_of_16_bits_the_higher_8_count(folder: Path, kind: str) -> None:
    place = folder / "own" / "test" / "bee"
    (place / "0.png").unlink()
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(place / f"0.{kind}")
    assert own().read(folder)[2].images[2].unique().tolist() == [40_000 // 256]


def test_numbers_without_a_range_are_told(folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(folder / "own/test/bee/2.tif")
    said = refused(folder, checked=False)
    assert said == "own/test/bee/2.tif: has numbers without a range (Pillow's mode F); convert it"


def test_real_folders_mix_kinds_and_clutter(folder: Path) -> None:
    place = folder / "own" / "test" / "cat"
    picture(place / "a.JPG", (0, 255, 255, 0), mode="CMYK", quality=100)
    picture(place / "b.jfif", 90, mode="L", format="JPEG")
    picture(place / "c.png", (77, 128), mode="LA")
    for name in ("Thumbs.db", "desktop.ini", "._a.JPG"):
        (place / name).write_bytes(b"x")
    (folder / "own" / "train" / "__MACOSX").mkdir()
    own().check(folder)
    red, grey, half = own().read(folder)[2].images[-3:, :, 4, 4].int().tolist()
    assert [grey, half] == [[90] * 3, [77] * 3]
    assert red[0] > 250
    assert max(red[1:]) < 5


def test_all_images_that_cannot_be_read_are_told_at_once_and_before_anything_starts(
    folder: Path,
) -> None:
    for number in range(5):
        (folder / "own" / "train" / "cat" / f"{number}.png").write_bytes(b"torn")
    for name in COLOURS:
        (folder / "own" / "test" / name / "0.png").write_bytes(b"torn")
    own().check(folder)
    with pytest.raises(InputError) as raised:
        own().prepare(folder)
    said = str(raised.value).replace(str(folder), "")
    assert said.count("cannot be read as an image") == 5
    assert "/own/train/cat/0.png: " in said
    assert said.endswith("; and 3 more")


def test_a_validation_split_that_takes_too_much_is_told(folder: Path) -> None:
    assert (
        refused(folder, own(validation=15))
        == "own: validation: 15 of 15 training images leaves none to train on"
    )
    assert refused(folder, own(validation=14)).endswith("leaves none of class 0 to train on")


@pytest.mark.parametrize(
    "field", [{"size": 3}, {"size": 1025}, {"classes": 1}, {"path": ""}, {"channels": 2}]
)
def test_a_description_that_cannot_be_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(field))}: "):
        own(**field)


ORIENTATIONS = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.transpose(1, 0, 2),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: np.rot90(shown, 2).transpose(1, 0, 2),
    8: lambda shown: np.rot90(shown, -1),
}
"""How pixels are stored of an image that a viewer shows as it is here (EXIF 2.32, tag 0x0112)."""


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photograph_is_read_as_a_viewer_shows_it(
    folder: Path, orientation: int, kind: str
) -> None:
    shown = np.zeros((8, 8, 3), np.uint8)
    shown[:4, :4], shown[:4, 4:], shown[4:, :4] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    stored = Image.fromarray(np.ascontiguousarray(ORIENTATIONS[orientation](shown)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = folder / "own" / "test" / "ant" / f"0.{kind}"
    (folder / "own" / "test" / "ant" / "0.png").unlink()
    options = {"quality": 100} if kind in ("jpg", "webp") else {}
    stored.save(path, exif=exif, **options)
    read = own().read(folder)[2].images[0].permute(1, 2, 0).numpy().astype(int)
    for rows, columns in (((1, 3), (1, 3)), ((1, 3), (5, 7)), ((5, 7), (1, 3)), ((5, 7), (5, 7))):
        square = (slice(*rows), slice(*columns))
        assert abs(read[square] - shown[square].astype(int)).max() < 60


def test_what_main_memory_cannot_hold_is_refused_with_the_arithmetic(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.data.splits.memory", lambda: 4000)
    with pytest.raises(
        InputError,
        match=r"^experiment\.data: 21 images of 3 x 8 x 8 take 0\.0 GB, and this machine has 0\.0 GB",
    ):
        own().prepare(folder)


def test_plan_says_which_class_has_no_test_image_and_run_what_cannot_be_decoded(
    folder: Path,
) -> None:
    shutil.rmtree(folder / "own" / "test" / "ant")
    described = {"name": "image_folder", "path": "own", "classes": 3, "size": 8}
    experiment = {**TINY["experiment"], "data": described, "teacher": None}
    experiment["method"] = {"name": "cross_entropy"}
    sweep = sweep_from({"name": "own", "experiment": experiment})
    assert any("no test image of class 0" in each for each in plan(sweep, data=folder).cautions)
    (folder / "own" / "train" / "bee" / "3.png").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"own/train/bee/3\.png: cannot be read as an image"):
        check_data(sweep, folder)
