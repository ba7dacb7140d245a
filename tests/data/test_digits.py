from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.data import Dataset, Digits, Split
from kdray.data.splits import stratified

NOWHERE = Path("/nowhere")


def loaded(**fields: object) -> Dataset:
    return parse(Digits, {"name": "digits", **fields}).load(NOWHERE)


def parts(dataset: Dataset) -> tuple[Split, Split, Split]:
    return dataset.train, dataset.val, dataset.test


def counted(*splits: Split) -> Counter[bytes]:
    return Counter(
        bytes([int(label)]) + image.numpy().tobytes()
        for s in splits
        for image, label in zip(*s, strict=True)
    )


@pytest.fixture(scope="module")
def official() -> Split:
    images, labels = load_digits(return_X_y=True)
    scaled = np.round(images.reshape(-1, 1, 8, 8) * 255 / 16).astype(np.uint8)
    return Split(torch.from_numpy(scaled), torch.from_numpy(labels).long())


def test_the_three_splits_together_are_scikit_learns_digits_each_once(official: Split) -> None:
    dataset = loaded()
    assert [len(split.labels) for split in parts(dataset)] == [1077, 360, 360]
    assert counted(*parts(dataset)) == counted(official)


def test_all_17_grey_levels_stay_apart(official: Split) -> None:
    assert len(official.images.unique()) == len(loaded().train.images.unique()) == 17


def test_every_split_is_the_part_of_the_official_order_that_stratification_says(
    official: Split,
) -> None:
    rest, test = stratified(official.labels, 360, salt="digits:test")
    train, val = stratified(official.labels[rest], 360, salt="digits:validation")
    for split, index in zip(parts(loaded()), (rest[train], rest[val], test), strict=True):
        assert torch.equal(split.images, official.images[index])
        assert torch.equal(split.labels, official.labels[index])


def test_the_split_is_frozen(official: Split) -> None:
    rest, test = stratified(official.labels, 360, salt="digits:test")
    train, val = stratified(official.labels[rest], 360, salt="digits:validation")
    parts = (rest[train], rest[val], test)
    digests = [
        hashlib.sha256(index.numpy().astype("<i8").tobytes()).hexdigest()[:16] for index in parts
    ]
    assert digests == ["943783d13598f63c", "9aa2022f4a1d75a0", "5b6650341ba8720d"]


@pytest.mark.parametrize("examples", [None, 100, 300, 1001])
def test_every_split_holds_every_class_in_proportion(official: Split, examples: int | None) -> None:
    dataset = loaded(examples=examples)
    used = sum(len(split.labels) for split in parts(dataset))
    assert used == (examples or 1797)
    everything = torch.cat([split.labels for split in parts(dataset)]).bincount(minlength=10)
    assert ((everything - official.labels.bincount() * used / 1797).abs() < 1).all()
    assert (
        (
            dataset.test.labels.bincount(minlength=10)
            - everything * len(dataset.test.labels) / used
        ).abs()
        < 1
    ).all()
    rest = everything - dataset.test.labels.bincount(minlength=10)
    share = len(dataset.val.labels) / int(rest.sum())
    assert ((dataset.val.labels.bincount(minlength=10) - rest * share).abs() < 1).all()


@pytest.mark.parametrize(
    ("examples", "sizes"), [(100, [60, 20, 20]), (300, [180, 60, 60]), (1797, [1077, 360, 360])]
)
def test_fewer_examples_are_split_in_the_same_proportions(examples: int, sizes: list[int]) -> None:
    assert [len(split.labels) for split in parts(loaded(examples=examples))] == sizes


def test_fewer_examples_are_some_of_all(official: Split) -> None:
    assert counted(*parts(loaded(examples=100))) < counted(official)


@pytest.mark.parametrize("examples", [99, 1798])
def test_too_few_or_too_many_examples_are_refused(examples: int) -> None:
    with pytest.raises(InputError, match=r"^examples: "):
        loaded(examples=examples)


def test_resized_digits_are_bilinear_copies() -> None:
    for side in (16, 4):
        data = Digits(resize=side)
        dataset = data.load(NOWHERE)
        assert data.shape == dataset.train.images.shape[1:] == (1, side, side)
        exact = functional.interpolate(
            loaded().val.images.float(), (side, side), mode="bilinear", antialias=True
        )
        assert (dataset.val.images.float() - exact).abs().max() <= 0.5
        assert torch.equal(dataset.val.labels, loaded().val.labels)


def test_shrunk_digits_look_like_the_means_of_their_blocks() -> None:
    means = loaded().val.images.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    shrunk = loaded(resize=4).val.images.float()
    assert torch.corrcoef(torch.stack([shrunk.flatten(), means.flatten()]))[0, 1] > 0.95


def test_resizing_to_the_native_side_changes_no_pixel() -> None:
    assert torch.equal(loaded(resize=8).test.images, loaded().test.images)


def test_three_channels_repeat_the_grey_one() -> None:
    dataset = loaded(channels=3, resize=16)
    assert dataset.train.images.shape == (1077, 3, 16, 16)
    assert torch.equal(dataset.train.images, loaded(resize=16).train.images.expand(-1, 3, -1, -1))
    assert torch.equal(dataset.mean, dataset.mean[:1].expand(3))


def test_the_statistics_are_those_of_the_training_pixels() -> None:
    for dataset in (loaded(), loaded(channels=3, resize=12), loaded(examples=100)):
        pixels = dataset.train.images.numpy().astype(np.float64) / 255
        np.testing.assert_allclose(dataset.mean.numpy(), pixels.mean((0, 2, 3)), rtol=1e-6)
        np.testing.assert_allclose(dataset.std.numpy(), pixels.std((0, 2, 3)), rtol=1e-6)


def test_digits_need_no_data_folder() -> None:
    Digits().check(NOWHERE)


def test_equal_descriptions_are_read_once() -> None:
    assert Digits().load(NOWHERE) is Digits().load(NOWHERE)
