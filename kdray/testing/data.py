"""What every data set keeps to, whether or not its files are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kdray.core import InputError, canonical, parse, tag_of
from kdray.data import ImageData, data_root
from kdray.testing.contracts import Contract, check
from kdray.testing.values import VALUE_CONTRACTS

IMPOSSIBLE: tuple[dict[str, Any], ...] = (
    {"resize": 3},
    {"channels": 2},
    {"pad": -1},
    {"pad": 513},
    {"augment": "mirror"},
    {"normalization": "whiten"},
    {"normalization": "gcn_zca", "resize": 1024},
    {"omit_classes": [-1]},
    {"omit_classes": [1, 1]},
)
"""What no data set can be asked for, the field that is wrong first."""


def it_declares_its_classes_and_its_shape(data: ImageData, root: Path) -> None:
    """Before anything is read there are at least two classes, and the shape of an image."""
    del root
    plain = changed(data, resize=None, channels=None, pad=0)
    assert data.classes >= 2, f"it has {data.classes} classes"
    channels, height, width = data.native_shape
    assert channels in (1, 3), f"its images have {channels} channels (allowed: 1 and 3)"
    assert plain.shape == (channels, height, width), (
        f"without resizing its shape is {plain.shape}, natively {data.native_shape}"
    )


def resize_channels_and_padding_decide_the_shape(data: ImageData, root: Path) -> None:
    """Its fields make images of the shape that they say."""
    del root
    channels, height, width = data.native_shape
    for wanted in (1, 3):
        scaled = {"resize": 24, "channels": wanted}
        for pad, side in ((0, 24), (2, 28)):
            found = changed(data, **scaled, pad=pad).shape
            assert found == (wanted, side, side), (
                f"{scaled} and pad: {pad} make images of {found}, not {(wanted, side, side)}"
            )
    padded = changed(data, resize=None, channels=None, pad=1).shape
    assert padded == (channels, height + 2, width + 2), f"pad: 1 makes images of {padded}"


def an_impossible_image_is_refused(data: ImageData, root: Path) -> None:
    """What no data set can be is an InputError that starts with the field."""
    del root
    for fields in IMPOSSIBLE:
        said = refusal(data, **fields)
        assert said is not None, f"{fields} is taken"
        assert said.startswith(f"{next(iter(fields))}: "), f"{fields} is refused with {said!r}"


def every_class_but_one_may_be_omitted(data: ImageData, root: Path) -> None:
    """``omit_classes`` takes any classes that it has, in any order, but for the last that is
    left."""
    del root
    last = data.classes - 1
    free: dict[str, Any] = {"train_examples": None, "train_per_class": None, "train_sample_seed": 0}
    if last > 1:
        omitted = changed(data, **free, omit_classes=[last, 0]).omit_classes
        assert omitted == (0, last), f"of {[last, 0]} it omits {omitted}"
    most = changed(data, **free, omit_classes=list(range(last))).omit_classes
    assert most == tuple(range(last)), f"of {list(range(last))} it omits {most}"
    said = refusal(data, **free, omit_classes=[last + 1])
    assert said == f"omit_classes: there is no class {last + 1} (allowed: 0 to {last})", (
        f"omitting class {last + 1} is refused with {said!r}"
    )
    said = refusal(data, **free, omit_classes=list(range(data.classes)))
    assert said is not None, "every class can be omitted"
    assert "at least one must stay" in said, f"omitting every class is refused with {said!r}"


def it_is_there_with_the_shape_declared_or_says_in_one_line_why_not(
    data: ImageData, root: Path
) -> None:
    """``check`` raises an InputError of one line, or everything loads: uint8 images of the shape
    that it declares, labels below its number of classes, all of them (but the omitted) in train."""
    said = complaint(data, root)
    if said is not None:
        assert "\n" not in said, f"check says more than one line: {said!r}"
        return
    dataset = data.load(root)
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        shape = tuple(split.images.shape[1:])
        assert len(split.labels), f"{name} has no image"
        assert shape == data.shape, f"{name} has images of {shape}, declared are {data.shape}"
        assert split.images.dtype == torch.uint8, f"the images of {name} are {split.images.dtype}"
        assert split.labels.dtype == torch.int64, f"the labels of {name} are {split.labels.dtype}"
        labels = split.labels.unique().tolist()
        assert 0 <= labels[0] <= labels[-1] < data.classes, (
            f"{name} has labels from {labels[0]} to {labels[-1]}, and there are {data.classes} "
            "classes"
        )
    trained = set(dataset.train.labels.tolist())
    lost = sorted(set(range(data.classes)) - set(data.omit_classes) - trained)
    assert not lost, f"train has no image of class {lost[0]}" if lost else ""
    for name in ("mean", "std"):
        shape = tuple(getattr(dataset, name).shape)
        assert shape == data.shape[:1], f"{name} has shape {shape}, not one number per channel"


def reading_twice_gives_the_same_images(data: ImageData, root: Path) -> None:
    """What is read (if its files are there) depends on nothing but the files: no ambient draws."""
    if complaint(data, root) is not None:
        return
    for name, one, other in zip(
        ("train", "val", "test"), data.read(root), data.read(root), strict=True
    ):
        assert torch.equal(one.images, other.images), f"{name} has other images when read again"
        assert torch.equal(one.labels, other.labels), f"{name} has other labels when read again"


def its_labels_are_those_of_its_images(data: ImageData, root: Path) -> None:
    """``split_labels`` and ``read_test``, short cuts, give what ``read`` gives (if its files are
    there)."""
    if complaint(data, root) is not None:
        return
    splits = data.read(root)
    for name, labels, split in zip(
        ("train", "val", "test"), data.split_labels(root), splits, strict=True
    ):
        assert torch.equal(labels, split.labels), f"split_labels has other labels of {name}"
    test = data.read_test(root)
    assert torch.equal(test.images, splits[2].images), "read_test has other images"
    assert torch.equal(test.labels, splits[2].labels), "read_test has other labels"


def it_says_what_is_there_and_writes_nothing_unless_it_is_to_fetch(
    data: ImageData, root: Path
) -> None:
    """``kdray data NAME --check`` has something to say, and neither it nor ``check`` nor reading
    writes into the data folder."""
    before = _listed(root)
    obtained = type(data).obtain(root, fetch=False)
    assert obtained.found or obtained.problems, "obtain says neither what is there nor what is not"
    if type(data).remedy is None:
        assert obtained.complete, "obtain finds something missing, and there is no remedy"
    if complaint(data, root) is None:
        data.load(root)
    added = sorted(path.name for path in _listed(root) - before)
    assert not added, f"it wrote {', '.join(added)} into the data folder"


DATA_CONTRACTS: tuple[Contract, ...] = (
    it_declares_its_classes_and_its_shape,
    resize_channels_and_padding_decide_the_shape,
    an_impossible_image_is_refused,
    every_class_but_one_may_be_omitted,
    it_is_there_with_the_shape_declared_or_says_in_one_line_why_not,
    reading_twice_gives_the_same_images,
    its_labels_are_those_of_its_images,
    it_says_what_is_there_and_writes_nothing_unless_it_is_to_fetch,
)


def check_data(data: ImageData, *, root: Path | None = None) -> None:
    """Raise AssertionError unless ``data`` keeps to every contract of a data set; its files are
    below ``root`` (none: kdray's data folder), or it says so."""
    __tracebackhide__ = True
    check(data, VALUE_CONTRACTS)
    check(data, DATA_CONTRACTS, data_root(root))


def changed(data: ImageData, **fields: Any) -> ImageData:
    """Return ``data`` with ``fields`` as a sweep file would say them; InputError if it cannot."""
    written = {**canonical(data), **fields}
    tag = tag_of(type(data))
    return parse(type(data), written if tag is None else {**written, "name": tag})


def refusal(data: ImageData, **fields: Any) -> str | None:
    """Return why ``data`` cannot have ``fields``; none if it can."""
    try:
        changed(data, **fields)
    except InputError as error:
        return str(error)
    return None


def complaint(data: ImageData, root: Path) -> str | None:
    """Return why ``data`` cannot be read below ``root``; none if it can."""
    try:
        data.check(root)
    except InputError as error:
        return str(error)
    return None


def _listed(root: Path) -> set[Path]:
    return set(root.iterdir()) if root.is_dir() else set()
