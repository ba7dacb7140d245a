"""What every data set keeps to, whether or not its files are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdray.core import InputError, Value, parse, tag_of
from kdray.data import AnyData, ImageData, VisionData
from tests.contracts.members import FIELDS, every

every_data_set = every(AnyData)


def described(kind: type[Value], **fields: object) -> ImageData:
    """``kind`` with the fields that it requires and ``fields``."""
    return parse(AnyData, {"name": tag_of(kind), **FIELDS.get(kind, {}), **fields})  # type: ignore[arg-type, no-any-return]


@every_data_set
def test_declares_its_classes_and_its_shape(value: ImageData) -> None:
    assert value.classes >= 2
    assert value.shape == value.native_shape
    assert value.native_shape[0] in (1, 3)


@every_data_set
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_channels_and_padding_decide_the_shape(kind: type[Value], channels: int) -> None:
    assert described(kind, resize=24, channels=channels).shape == (channels, 24, 24)
    assert described(kind, resize=24, channels=channels, pad=2).shape == (channels, 28, 28)
    native = described(kind).shape
    assert described(kind, pad=1).shape == (native[0], native[1] + 2, native[2] + 2)


@every_data_set
@pytest.mark.parametrize(
    "field",
    [
        {"resize": 3},
        {"channels": 2},
        {"pad": -1},
        {"pad": 513},
        {"augment": "mirror"},
        {"normalization": "whiten"},
        {"normalization": "gcn_zca", "resize": 1024},
        {"omit_classes": [-1]},
        {"omit_classes": [1, 1]},
    ],
)
def test_an_impossible_image_is_refused(kind: type[Value], field: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(field))}: "):
        described(kind, **field)


@every_data_set
def test_every_class_but_one_may_be_omitted(kind: type[Value], value: ImageData) -> None:
    last = value.classes - 1
    assert described(kind, omit_classes=[last, 0]).omit_classes == (0, last)
    assert described(kind, omit_classes=list(range(last))).omit_classes == tuple(range(last))
    with pytest.raises(
        InputError, match=rf"omit_classes: there is no class {last + 1} \(allowed: 0 to {last}\)$"
    ):
        described(kind, omit_classes=[last + 1])
    with pytest.raises(InputError, match="at least one must stay"):
        described(kind, omit_classes=list(range(value.classes)))


def complaint(data: ImageData, root: Path) -> str | None:
    try:
        data.check(root)
    except InputError as error:
        return str(error)
    return None


@every_data_set
def test_says_how_to_get_it_or_is_there_with_the_shape_declared(
    kind: type[Value], value: ImageData, tmp_path: Path
) -> None:
    said = complaint(value, tmp_path)
    if said is None:
        dataset = value.load(tmp_path)
        for split in (dataset.train, dataset.val, dataset.test):
            assert split.images.shape[1:] == value.shape
            assert split.images.dtype == torch.uint8
            assert split.labels.unique().tolist() == list(range(value.classes))
        assert dataset.mean.shape == dataset.std.shape == value.shape[:1]
    else:
        assert f"data set {tag_of(kind)!r}" in said
        assert "is missing; " in said
        assert str(tmp_path) in said
        assert "KDRAY_DATA" in said
        assert "\n" not in said
        # What can be fetched, or what the user's own file must be.
        assert (
            f"kdray data {tag_of(kind)}" if isinstance(value, VisionData) else "it must be a"
        ) in said
    assert not list(tmp_path.iterdir())


@every_data_set
def test_kdray_data_says_what_is_there_and_writes_nothing_unless_it_is_to_fetch(
    kind: type[Value], value: ImageData, tmp_path: Path
) -> None:
    assert issubclass(kind, ImageData)
    del value
    obtained = kind.obtain(tmp_path, fetch=False)
    assert obtained.found or obtained.problems
    assert obtained.complete == (kind.remedy is None)
    assert not list(tmp_path.iterdir())
