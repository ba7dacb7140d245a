"""Accuracy on other images of the same classes: brought to the model's shape, counted like the
model's own test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from kdray.core import InputError, parse, tag_of, value_types
from kdray.data import AnyData, Arrays, Digits, ImageData, OwnData, to_unit
from kdray.models import MLP, build, fit
from kdray.robustness import Clean, Measurement, Subject, measurements
from kdray.robustness.out_of_distribution import OutOfDistribution, fitting
from kdray.teachers import frozen
from kdray.testing.samples import digits, trained_on_digits
from tests.tensors import Watched

ROOT = Path("/nowhere")
OWN = {"name": "arrays", "path": "own.npz", "classes": 10}


def described(**fields: Any) -> ImageData:
    return parse(AnyData, fields)  # type: ignore[arg-type, no-any-return]  # a union of types


def evaluation(data: dict[str, Any], **fields: Any) -> OutOfDistribution:
    return parse(OutOfDistribution, {"name": "out_of_distribution", "data": data, **fields})


def measured(data: dict[str, Any], root: Path = ROOT, **fields: Any) -> list[Measurement]:
    """Of the classifier that was trained on digits, which takes 1 x 8 x 8."""
    subject = Subject(trained_on_digits(), digits().val, data=Digits(), root=root)
    return measurements(evaluation(data, **fields), subject)


def shown(data: dict[str, Any], root: Path = ROOT, **fields: Any) -> torch.Tensor:
    watched = Watched()
    subject = Subject(watched, digits().test, data=Digits(), root=root)
    measurements(evaluation(data, **fields), subject)
    return torch.cat(watched.shown)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """30 test images of the digits as colour images of 16 x 16, in ``own.npz``; its training images
    are all black."""
    test = digits().test.first(30)
    large = test.images.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)
    np.savez(
        tmp_path / "own.npz",
        train_images=np.zeros((20, 16, 16, 3), np.uint8),
        train_labels=np.arange(20) % 10,
        test_images=large.permute(0, 2, 3, 1).numpy(),
        test_labels=test.labels.numpy(),
    )
    return tmp_path


# What is counted


@pytest.mark.parametrize(
    "trained", [Digits(), Digits(pad=3), Digits(resize=12), Digits(resize=12, channels=3, pad=2)]
)
def test_of_the_models_own_data_set_it_is_the_accuracy_on_its_own_test_images(
    trained: Digits,
) -> None:
    dataset = trained.load(ROOT)
    classifier = frozen(build(MLP(hidden=(16,)), trained, fit(trained, dataset), seed=3))
    clean = measurements(Clean(), Subject(classifier, dataset.test))
    # Whatever split the subject comes with.
    found = measurements(
        evaluation({"name": "digits"}), Subject(classifier, dataset.val, data=trained)
    )
    assert found == [m for m in clean if m.metric in ("accuracy", "class_accuracy")]


def test_other_images_are_counted_over_all_and_by_class(own: Path) -> None:
    total, *classes = measured({**OWN, "image_shape": [3, 16, 16]}, own)
    test = digits().test.first(30)
    large = test.images.repeat_interleave(2, 2).repeat_interleave(2, 3).float()
    small = functional.interpolate(large, (8, 8), mode="bilinear", antialias=True).round() / 255
    right = trained_on_digits().logits(small).argmax(1) == test.labels
    assert 0 < int(right.sum()) < 30
    assert (total.metric, total.correct, total.examples) == ("accuracy", int(right.sum()), 30)
    assert [m.metric for m in classes] == ["class_accuracy"] * len(test.labels.unique())
    assert [(m.class_, m.correct, m.examples) for m in classes] == [
        (label, int(right[test.labels == label].sum()), int((test.labels == label).sum()))
        for label in test.labels.unique().tolist()
    ]


def test_only_a_sample_of_the_examples_is_shown() -> None:
    chosen = digits().test.sample(40)
    assert torch.equal(shown({"name": "digits"}, examples=40), to_unit(chosen.images))
    assert measured({"name": "digits"}, examples=40)[0].examples == 40


def test_nothing_is_fitted_to_the_other_images(own: Path) -> None:
    """They are shown as they are in [0, 1]; the model's first layer stays what its training images
    made it."""
    before = {name: tensor.clone() for name, tensor in trained_on_digits().state_dict().items()}
    images = shown({**OWN, "image_shape": [3, 16, 16], "normalization": "gcn"}, own)
    assert torch.equal(images, shown({**OWN, "image_shape": [3, 16, 16]}, own))
    assert all(
        torch.equal(tensor, before[name])
        for name, tensor in trained_on_digits().state_dict().items()
    )


def test_says_the_metric_and_the_data_set() -> None:
    one = evaluation({"name": "cinic10", "source": "imagenet", "per_class": 2100})
    assert one.metrics() == {"accuracy": 1}
    assert (one.dataset(described(name="cifar10")), Clean().dataset(described(name="cifar10"))) == (
        "cinic10",
        "cifar10",
    )


# Which shape the images are given


@pytest.mark.parametrize(
    ("there", "here", "scaled_to", "pad"),
    [
        ({"name": "mnist"}, {"name": "usps"}, 16, 0),
        ({"name": "usps"}, {"name": "mnist"}, 28, 0),
        ({"name": "usps", "pad": 6}, {"name": "mnist"}, 16, 6),
        ({"name": "mnist"}, {"name": "usps", "pad": 6}, 28, 0),
        ({"name": "digits"}, {"name": "usps", "pad": 6}, 16, 6),
        ({"name": "mnist", "resize": 20}, {"name": "usps", "pad": 6}, 20, 4),
        ({"name": "digits", "pad": 4}, {"name": "mnist"}, 20, 4),
        ({"name": "digits"}, {"name": "digits", "pad": 3}, 8, 3),
        ({"name": "cinic10"}, {"name": "cifar10"}, 32, 0),
        (
            {**OWN, "image_shape": [1, 10, 14]},
            {**OWN, "image_shape": [1, 10, 14], "pad": 2},
            None,
            2,
        ),
    ],
)
def test_size_and_padding_are_those_given_else_what_the_model_needs(
    there: dict[str, Any], here: dict[str, Any], scaled_to: int | None, pad: int
) -> None:
    data, trained = described(**there), described(**here)
    fitted = fitting(data, trained)
    assert fitted is not None
    assert fitted.shape == trained.shape
    assert fitted.pad == pad
    assert (fitted.resize or scaled_to) == scaled_to
    assert fitted.shape[1] - 2 * fitted.pad == (scaled_to or 10)
    assert evaluation(there).misfit(trained) is None


def test_images_become_grey_or_colour_as_the_models_are(own: Path) -> None:
    assert shown({**OWN, "image_shape": [3, 16, 16]}, own).shape == (30, 1, 8, 8)
    fitted = fitting(Digits(), Digits(resize=16, channels=3))
    assert fitted is not None
    assert fitted.shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("there", "here", "problem"),
    [
        ({"name": "mnist", "resize": 28}, {"name": "usps"}, "1 x 16 x 16"),
        ({"name": "mnist", "resize": 20, "pad": 1}, {"name": "usps", "pad": 6}, "1 x 28 x 28"),
        ({"name": "digits", "resize": 21}, {"name": "mnist"}, "1 x 28 x 28"),
        ({"name": "mnist", "pad": 13}, {"name": "usps", "pad": 6}, "1 x 28 x 28"),
        ({"name": "mnist", "pad": 40}, {"name": "usps", "pad": 6}, "1 x 28 x 28"),
        ({"name": "mnist", "channels": 3}, {"name": "usps"}, "1 x 16 x 16"),
        ({"name": "digits"}, {**OWN, "image_shape": [1, 10, 14]}, "1 x 10 x 14"),
    ],
)
def test_a_size_that_cannot_be_the_models_is_refused(
    there: dict[str, Any], here: dict[str, Any], problem: str
) -> None:
    name, trained = there["name"], described(**here)
    assert evaluation(there).misfit(trained) == (
        f"data: resize, channels and pad of {name} do not give the {problem} of "
        f"{here['name']}; leave them out"
    )


# What is refused


@pytest.mark.parametrize(
    ("there", "here", "problem"),
    [
        (
            "fashion_mnist",
            "mnist",
            "data: fashion_mnist has other classes than mnist (fashion, not digits)",
        ),
        ("cifar10", "digits", "data: cifar10 has other classes than digits (cifar10, not digits)"),
        (
            "cifar100",
            "cifar10",
            "data: cifar100 has other classes than cifar10 (cifar100, not cifar10)",
        ),
        ("digits", "mnist", None),
        ("mnist", "usps", None),
        ("cinic10", "cifar10", None),
    ],
)
def test_other_classes_are_refused_where_it_is_known(
    there: str, here: str, problem: str | None
) -> None:
    assert evaluation({"name": there}).misfit(described(name=here)) == problem


def test_of_own_data_the_number_of_classes_must_be_the_same() -> None:
    ten, three = ({**OWN, "image_shape": [1, 8, 8], "classes": count} for count in (10, 3))
    assert evaluation(ten).misfit(described(name="fashion_mnist")) is None
    assert (
        evaluation(three).misfit(described(name="digits"))
        == "data: arrays has 3 classes, digits 10"
    )
    assert (
        evaluation({"name": "digits"}).misfit(described(**three))
        == "data: digits has 10 classes, arrays 3"
    )
    assert described(**ten).labels is None


def test_every_data_set_that_is_no_users_own_says_what_its_classes_are() -> None:
    for kind in value_types(AnyData):
        assert isinstance(kind, type)
        own = issubclass(kind, OwnData)
        fields = {
            "path": "x",
            "classes": 3,
            **({"image_shape": [1, 8, 8]} if kind is Arrays else {"size": 8}),
        }
        assert (described(name=tag_of(kind), **(fields if own else {})).labels is None) == own  # type: ignore[attr-defined]


def test_the_validation_split_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^split: input should be 'test', not \"val\"$"):
        evaluation({"name": "digits"}, split="val")


def test_the_other_images_are_checked_and_not_the_models(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data set 'arrays': .* is missing") as raised:
        evaluation({**OWN, "image_shape": [1, 8, 8]}).check(Digits(), tmp_path)
    assert "\n" not in str(raised.value)
    evaluation({"name": "digits"}).check(described(name="mnist"), tmp_path)
