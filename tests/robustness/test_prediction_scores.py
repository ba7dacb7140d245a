"""Scores are the softmax of the model for the very image that an accuracy under the perturbation is
measured with."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.data import Digits, to_unit
from kdray.perturbations.input_noise import GaussianSNR
from kdray.robustness import (
    FGSM,
    PGD,
    Measurement,
    Occlusion,
    PredictionScores,
    SignalToNoise,
    Subject,
    measurements,
)
from kdray.robustness.base import BLOCK
from kdray.testing.samples import digits, trained_on_digits


def everything(evaluation: PredictionScores, examples: int | None = None) -> list[Measurement]:
    return measurements(evaluation, Subject(trained_on_digits(), digits().test.first(examples)))


def scores(evaluation: PredictionScores, examples: int | None = None) -> list[Measurement]:
    return [m for m in everything(evaluation, examples) if m.metric == "score"]


def table(found: list[Measurement]) -> torch.Tensor:
    """Images by classes."""
    return torch.tensor([m.value for m in found]).reshape(-1, 10)


def test_without_a_perturbation_they_are_the_softmax_of_the_chosen_images() -> None:
    found = scores(PredictionScores(images=(3, 0, BLOCK + 1)))
    assert [(m.image, m.class_) for m in found] == [
        (image, k) for image in (3, 0, BLOCK + 1) for k in range(10)
    ]
    images = to_unit(digits().test.images[[3, 0, BLOCK + 1]])
    torch.testing.assert_close(
        table(found), functional.softmax(trained_on_digits().logits(images), dim=1)
    )


def test_the_true_class_of_each_image_comes_with_them() -> None:
    under = SignalToNoise(ratios=(10.0, 0.0))
    found = everything(PredictionScores(images=(BLOCK + 1, 3), under=under))
    labels = {image: int(digits().test.labels[image]) for image in (3, BLOCK + 1)}
    true = [m for m in found if m.metric != "score"]
    assert {m.metric for m in true} == {"true_class"}
    assert [(m.image, m.value, m.class_) for m in true] == [
        (image, label, label) for image, label in labels.items()
    ]


def test_under_noise_they_are_of_the_image_that_its_accuracy_is_measured_with() -> None:
    under = SignalToNoise(ratios=(10.0, 0.0), seed=3)
    found = scores(PredictionScores(images=(BLOCK + 7,), under=under))
    rest = to_unit(digits().test.images[BLOCK:])
    for ratio, row in zip((10.0, 0.0), table(found), strict=True):
        noisy = GaussianSNR(snr=ratio, clip=True)(rest, under.generator(rest.device, 1))
        torch.testing.assert_close(
            row, functional.softmax(trained_on_digits().logits(noisy[[7]]), dim=1)[0]
        )
    assert {m.snr for m in found} == {10.0, 0.0}


@pytest.mark.parametrize("attack", [FGSM(epsilon=0.15), PGD(epsilon=0.15, step_size=0.04, steps=3)])
def test_an_attack_takes_from_the_score_of_the_label(attack: FGSM | PGD) -> None:
    label = int(digits().test.labels[5])
    clean, attacked = (
        table(scores(PredictionScores(images=(5,), under=u), 50))[0, label] for u in (None, attack)
    )
    assert attacked < clean


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images: there is no image 40 \(allowed: 0 to 39\)"):
        scores(PredictionScores(images=(40,)), 40)
    with pytest.raises(InputError, match=r"images: "):
        parse(PredictionScores, {"name": "prediction_scores", "images": []})
    assert PredictionScores(images=(0,), under=Occlusion()).misfit(Digits()) == (
        "under.sides: a square of 10 pixels is larger than the image's 8"
    )


@pytest.mark.parametrize(
    "field", [{"split": "val"}, {"examples": 5}, {"smoothing": {"samples": 2}}]
)
def test_the_perturbation_says_nothing_that_the_evaluation_says(field: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"under.{next(iter(field))}: say it one level above"):
        parse(
            PredictionScores,
            {"name": "prediction_scores", "images": [0], "under": {"name": "fgsm", **field}},
        )
