"""A part of the training set: seeded, stratified, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse, value_types
from kdray.data import MNIST, TRAINING_ONLY, AnyData, Arrays, Dataset, Digits
from kdray.results.points import data_sets

NOWHERE = Path("/nowhere")


def digits(**fields: Any) -> Dataset:
    return parse(Digits, {"name": "digits", **fields}).load(NOWHERE)


def images(dataset: Dataset) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.train.images}


def test_each_class_has_its_proportion_and_the_other_splits_stay_whole() -> None:
    whole, part = digits(), digits(train_examples=100)
    assert torch.equal(whole.val.images, part.val.images)
    assert torch.equal(whole.test.images, part.test.images)
    expected = torch.bincount(whole.train.labels).double() * 100 / len(whole.train.labels)
    assert len(part.train.labels) == 100
    assert (torch.bincount(part.train.labels) - expected).abs().max() < 1
    assert images(part) < images(whole)


def test_so_many_of_each_class() -> None:
    assert torch.bincount(digits(train_per_class=7).train.labels).tolist() == [7] * 10
    omitted = digits(train_per_class=7, omit_classes=[3])
    assert torch.bincount(omitted.train.labels).tolist() == [7, 7, 7, 0, 7, 7, 7, 7, 7, 7]


@pytest.mark.parametrize("field", ["train_examples", "train_per_class"])
def test_a_larger_part_holds_a_smaller_one_and_a_seed_makes_another(field: str) -> None:
    small, large = digits(**{field: 20}), digits(**{field: 60})
    assert images(small) < images(large)
    assert images(digits(**{field: 20}, train_sample_seed=1)) != images(small)


def test_the_normalisation_is_fitted_to_the_part() -> None:
    part = digits(train_per_class=1)
    assert part.mean == pytest.approx(float(part.train.images.float().mean() / 255), abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_examples": 9}, "train_examples: 9 images cannot hold each of 10 classes"),
        ({"train_examples": 1078}, "train_examples: 1078 of 1077 training images"),
        ({"examples": 100, "train_examples": 61}, "train_examples: 61 of 60 training images"),
        ({"train_examples": 20, "train_per_class": 2}, "say either train_examples or"),
        (
            {"train_per_class": 1, "omit_classes": list(range(9))},
            "a single image is no training set",
        ),
        ({"train_sample_seed": 1}, "nothing is chosen without"),
    ],
)
def test_a_part_that_cannot_be_is_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits(**fields)


def test_of_an_official_data_set_what_it_has_is_known() -> None:
    with pytest.raises(InputError, match="train_examples: 55001 of 55000 training images"):
        parse(MNIST, {"name": "mnist", "train_examples": 55001})


def test_more_of_a_class_than_there_are_is_told_before_training() -> None:
    data = parse(Digits, {"name": "digits", "train_per_class": 200})
    with pytest.raises(
        InputError, match=r"^experiment\.data\.train_per_class: 200 of \d+ images of class \d$"
    ):
        data.check_part(NOWHERE)


def test_a_part_without_a_class_is_told(tmp_path: Path) -> None:
    labels = np.array([0] * 500 + [1] * 500 + [2] * 5)
    zeros = np.zeros((len(labels), 4, 4), np.uint8)
    arrays = {f"{part}_{what}": array for part in ("train", "test", "val")
              for what, array in (("images", zeros), ("labels", labels))}  # fmt: skip
    np.savez(tmp_path / "own.npz", **arrays)
    described = {"name": "arrays", "path": "own.npz", "classes": 3, "image_shape": [1, 4, 4]}
    rare = parse(Arrays, {**described, "train_examples": 10})
    with pytest.raises(InputError, match="has none of class 2; use more, or train_per_class"):
        rare.check_part(tmp_path)
    parse(Arrays, {**described, "train_per_class": 5}).check_part(tmp_path)


def test_what_changes_training_only_is_listed_alike_for_data_and_for_results() -> None:
    assert TRAINING_ONLY == data_sets.TRAINING_ONLY
    for kind in value_types(AnyData):
        assert set(TRAINING_ONLY) <= set(kind.model_fields)
