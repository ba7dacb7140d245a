"""One step in the direction of the sign of the gradient."""

from __future__ import annotations

import pytest
import torch

from kdray.data import Split, to_unit
from kdray.robustness import FGSM, PGD, Clean, Subject, measurements
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import linear_classifier


def test_epsilon_0_is_clean_and_larger_ones_are_worse() -> None:
    subject = Subject(trained_on_digits(), digits().test)
    clean, *_ = measurements(Clean(), subject)
    found = measurements(FGSM(epsilon=(0.0, 0.02, 0.05, 0.1)), subject)
    assert found[0].correct == clean.correct
    assert [m.value for m in found] == sorted((m.value for m in found), reverse=True)
    assert found[-1].value < found[0].value
    assert [m.epsilon for m in found] == [0.0, 0.02, 0.05, 0.1]


def test_on_a_linear_model_of_two_classes_it_is_the_strongest_attack() -> None:
    """It moves the margin by exactly ε‖w₁ - w₀‖₁, where no pixel reaches the border of [0, 1]."""
    weight = torch.randn(2, 16, generator=draws())
    weight -= weight.mean(1, keepdim=True)  # grey images are between the classes
    images = torch.randint(100, 156, (200, 1, 1, 16), generator=draws(1), dtype=torch.uint8)
    classifier, epsilon = linear_classifier(weight), 0.02
    margin = (to_unit(images).flatten(1) @ (weight[1] - weight[0])).abs()
    labels = classifier.logits(to_unit(images)).argmax(1)
    expected = int((margin > epsilon * (weight[1] - weight[0]).abs().sum()).sum())
    assert 0 < expected < 200
    subject = Subject(classifier, Split(images, labels))
    (found,) = measurements(FGSM(epsilon=(epsilon,)), subject)
    stronger, *_ = measurements(
        PGD(epsilon=epsilon, step_size=epsilon, steps=5, restarts=3), subject
    )
    assert found.correct == expected == stronger.correct


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_it_is_no_stronger_than_many_steps_with_restarts(epsilon: float) -> None:
    subject = Subject(trained_on_digits(), digits().test.first(200))
    (one,) = measurements(FGSM(epsilon=(epsilon,)), subject)
    many, *_ = measurements(
        PGD(epsilon=epsilon, step_size=epsilon / 4, steps=20, restarts=2), subject
    )
    assert many.value <= one.value
