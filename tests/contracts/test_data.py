"""What every data set keeps to, whether or not its files are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdray.core import InputError, Value, parse, tag_of
from kdray.data import AnyData, ImageData
from tests.contracts.members import every

every_data_set = every(AnyData)


@every_data_set
def test_declares_its_classes_and_its_shape(value: ImageData) -> None:
    assert value.classes >= 2
    assert value.shape == value.native_shape
    assert value.native_shape[0] in (1, 3)


@every_data_set
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_and_channels_decide_the_shape(kind: type[Value], channels: int) -> None:
    resized = parse(kind, {"name": tag_of(kind), "resize": 24, "channels": channels})
    assert isinstance(resized, ImageData)
    assert resized.shape == (channels, 24, 24)


@every_data_set
@pytest.mark.parametrize("field", [{"resize": 3}, {"channels": 2}, {"augment": "mirror"}, {"normalization": "whiten"}])
def test_an_impossible_image_is_refused(kind: type[Value], field: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(field))}: "):
        parse(kind, {"name": tag_of(kind), **field})


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
        assert f"kdray data {tag_of(kind)}" in said
        assert str(tmp_path) in said
    assert not list(tmp_path.iterdir())
