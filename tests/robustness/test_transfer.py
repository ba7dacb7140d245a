"""A cell of the matrix is the accuracy of its target on its source's images; the diagonal is the
white-box attack."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from kdray.core import InputError, parse
from kdray.data import Digits, to_unit
from kdray.models import Classifier, Smoothing
from kdray.perturbations.attacks import pgd, random_start
from kdray.robustness import FGSM, PGD, Subject, Transfer, measurements
from kdray.robustness.base import is_correct
from kdray.testing.samples import digits, trained_on_digits, untrained_on_digits
from tests.tensors import linear_classifier

SPLIT = digits().test.first(80)
ATTACK = {"epsilon": 0.15, "step_size": 0.04, "steps": 4}


def subject(**others: Callable[[], Classifier]) -> Subject:
    return Subject(trained_on_digits(), SPLIT, others={"itself": trained_on_digits, **others})


def test_the_images_are_those_of_the_source_and_the_accuracy_is_the_targets() -> None:
    images = to_unit(SPLIT.images)
    start = random_start(
        images, "linf", 0.15, Transfer().attack.generator(torch.device("cpu"), 0, 0)
    )
    made = pgd(trained_on_digits().logits, images, SPLIT.labels, norm="linf", start=start, **ATTACK)
    found = {
        m.trial_id: m
        for m in measurements(Transfer(attack=PGD(**ATTACK)), subject(other=untrained_on_digits))
    }
    for name, target in (("itself", trained_on_digits()), ("other", untrained_on_digits())):
        assert found[name].correct == int(is_correct(target, made, SPLIT.labels).sum())
    assert (found["other"].norm, found["other"].epsilon, found["other"].steps) == ("linf", 0.15, 4)


def test_the_diagonal_is_below_the_others_and_every_strength_has_its_cell() -> None:
    found = measurements(
        Transfer(attack=FGSM(epsilon=(0.05, 0.15))), subject(shifted=lambda: linear())
    )
    by = {(m.trial_id, m.epsilon): m.value for m in found}
    assert by["itself", 0.15] < by["itself", 0.05]
    assert by["itself", 0.15] < by["shifted", 0.15]


def linear() -> Classifier:
    """Learned on the same digits, by least squares."""
    images, labels = to_unit(digits().train.images).flatten(1), digits().train.labels
    wanted = torch.nn.functional.one_hot(labels, 10).float()
    return linear_classifier(torch.linalg.lstsq(images, wanted, driver="gelsd").solution.T)


def test_a_target_that_cannot_be_loaded_has_an_error_and_the_others_their_numbers() -> None:
    def lost() -> Classifier:
        raise FileNotFoundError("weights/lost.safetensors")

    lacking, there = measurements(Transfer(attack=FGSM()), subject(a_lost=lost))
    assert (lacking.trial_id, lacking.metric, lacking.value) == ("a_lost", None, None)
    assert lacking.row()["error"] == "FileNotFoundError: weights/lost.safetensors"
    assert there.error is None
    assert there.value is not None


def test_smoothing_is_of_the_source_and_of_targets_that_draw() -> None:
    smoothing = Smoothing(samples=3, sigma=0.3)
    drawing = Classifier(
        trained_on_digits().network, trained_on_digits().normalization, input_sigma=0.3
    ).eval()
    found = measurements(
        Transfer(attack=FGSM(), smoothing=smoothing), subject(drawing=lambda: drawing)
    )
    assert all(m.value is not None and math.isfinite(m.value) for m in found)
    again = measurements(
        Transfer(attack=FGSM(), smoothing=smoothing), subject(drawing=lambda: drawing)
    )
    assert [m.correct for m in found] == [m.correct for m in again]


@pytest.mark.parametrize(
    "field",
    [{"split": "val"}, {"examples": 5}, {"seed": 1}, {"label": "x"}, {"smoothing": {"samples": 2}}],
)
def test_what_is_the_same_for_all_models_is_said_of_the_transfer(field: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"attack.{next(iter(field))}: say it one level above"):
        parse(Transfer, {"name": "transfer", "attack": {"name": "fgsm", **field}})


def test_nobody_to_try_it_on_is_no_number() -> None:
    assert measurements(Transfer(attack=FGSM()), Subject(trained_on_digits(), SPLIT)) == []
    assert Transfer().misfit(Digits()) is None


def drawing(sigma: float) -> Classifier:
    return Classifier(
        trained_on_digits().network, trained_on_digits().normalization, input_sigma=sigma
    ).eval()


def test_what_a_model_draws_does_not_depend_on_who_is_measured_beside_it() -> None:
    attack = Transfer(attack=FGSM(epsilon=(0.05, 0.1)))
    both = measurements(attack, subject(first=lambda: drawing(0.3), second=lambda: drawing(0.3)))
    alone = measurements(
        attack, Subject(trained_on_digits(), SPLIT, others={"second": lambda: drawing(0.3)})
    )
    assert [m.correct for m in both if m.trial_id == "second"] == [m.correct for m in alone]


def test_smoothing_averages_targets_that_draw_and_leaves_the_others() -> None:
    many = Smoothing(samples=60)
    found, plain = (
        {
            m.trial_id: m
            for m in measurements(
                Transfer(attack=FGSM(), smoothing=s), subject(drawing=lambda: drawing(0.6))
            )
        }
        for s in (many, None)
    )
    assert found["itself"].correct == plain["itself"].correct
    assert (found["drawing"].correct or 0) > (plain["drawing"].correct or 0) + 5, (
        "the mean of many noisy answers is better"
    )


def test_another_seed_starts_elsewhere() -> None:
    values = [
        [
            m.correct
            for m in measurements(
                Transfer(attack=PGD(epsilon=0.2, step_size=0.01, steps=1), seed=seed), subject()
            )
        ]
        for seed in range(4)
    ]
    assert len({tuple(each) for each in values}) > 1
