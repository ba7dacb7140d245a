"""What is done to every data set's images after they are read: padding, and classes left out of
training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kdray.core import InputError, canonical_json, parse
from kdray.data import Dataset, Digits, Split
from kdray.data.base import _fit

NOWHERE = Path("/nowhere")


def loaded(**fields: object) -> Dataset:
    return parse(Digits, {"name": "digits", **fields}).load(NOWHERE)


def same(one: Split, other: Split) -> bool:
    return torch.equal(one.images, other.images) and torch.equal(one.labels, other.labels)


def test_padding_adds_zeros_on_every_side() -> None:
    plain, padded = loaded(), loaded(pad=3)
    assert padded.test.images.shape[1:] == (1, 14, 14)
    assert torch.equal(padded.test.images[:, :, 3:11, 3:11], plain.test.images)
    assert int(padded.test.images.long().sum()) == int(plain.test.images.long().sum())
    assert torch.equal(padded.train.labels, plain.train.labels)


def test_images_are_padded_after_they_are_resized() -> None:
    padded = loaded(resize=16, pad=6)
    assert Digits(resize=16, pad=6).shape == (1, 28, 28)
    assert torch.equal(padded.val.images[:, :, 6:22, 6:22], loaded(resize=16).val.images)


def test_images_that_are_not_square_are_padded_alike() -> None:
    images = torch.full((2, 3, 4, 6), 9, dtype=torch.uint8)
    fitted = _fit(Split(images, torch.arange(2)), (3, 8, 10), pad=2).images
    assert fitted.shape == (2, 3, 8, 10)
    assert torch.equal(fitted[:, :, 2:6, 2:8], images)
    assert int(fitted.sum()) == 9 * images.numel()


def test_omitted_classes_are_left_out_of_training_alone() -> None:
    whole, partly = loaded(), loaded(omit_classes=[7, 3])
    assert partly.omitted == (3, 7)
    assert whole.omitted == ()
    kept = (whole.train.labels != 3) & (whole.train.labels != 7)
    assert same(partly.train, whole.train.take(kept.nonzero().flatten()))
    assert same(partly.val, whole.val)
    assert same(partly.test, whole.test)
    assert partly.train.labels.unique().tolist() == [0, 1, 2, 4, 5, 6, 8, 9]


def test_the_statistics_are_those_of_the_images_that_are_trained_on() -> None:
    dataset = loaded(omit_classes=[0, 1], pad=2, channels=3)
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(dataset.mean.numpy(), pixels.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(dataset.std.numpy(), pixels.std((0, 2, 3)), rtol=1e-6)
    assert not torch.equal(dataset.mean, loaded(pad=2, channels=3).mean)


def test_what_is_done_to_images_later_is_done_to_the_same_images() -> None:
    plain = loaded(pad=5)
    assert loaded(pad=5, augment="flip", normalization="gcn_zca") is plain
    assert loaded(pad=4, augment="flip") is not plain


def test_what_is_omitted_goes_along_to_the_device() -> None:
    assert loaded(omit_classes=[5]).to(torch.device("cpu")).omitted == (5,)


def test_the_order_in_which_classes_are_omitted_means_nothing() -> None:
    one, other = (
        parse(Digits, {"name": "digits", "omit_classes": classes}) for classes in ([7, 3], [3, 7])
    )
    assert one == other
    assert canonical_json(one) == '{"name":"digits","omit_classes":[3,7]}'


def test_nothing_padded_and_nothing_omitted_is_no_part_of_the_identity() -> None:
    assert (
        canonical_json(parse(Digits, {"name": "digits", "pad": 0, "omit_classes": []}))
        == '{"name":"digits"}'
    )


@pytest.mark.parametrize(
    ("omitted", "said"),
    [
        ([10], "omit_classes: there is no class 10 (allowed: 0 to 9)"),
        ([2, 2], "omit_classes: class 2 is there twice"),
        (
            list(range(10)),
            "omit_classes: leaves none of 10 classes to train on; at least one must stay",
        ),
        ([1.5], "omit_classes[0]: input should be a valid integer, not 1.5"),
        (3, "omit_classes: input should be a valid array, not 3"),
    ],
)
def test_what_cannot_be_omitted_is_told(omitted: object, said: str) -> None:
    with pytest.raises(InputError) as raised:
        loaded(omit_classes=omitted)
    assert str(raised.value) == said
