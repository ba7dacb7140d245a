"""Cross-entropy is the mean negative log-probability of the labels, without a teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdray.core import InputError, canonical_json, parse
from kdray.methods import Batch, CrossEntropy
from kdray.testing.samples import draws
from tests.methods.steps import step
from tests.tensors import linear_classifier


def test_equals_minus_the_mean_log_probability_of_the_labels() -> None:
    logits = torch.randn(6, 5, generator=draws(), dtype=torch.float64)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    total, terms = CrossEntropy().compare(logits, labels, None)
    powers = np.exp(logits.numpy())
    expected = -np.log(powers[range(6), labels] / powers.sum(1)).mean()
    assert float(total) == pytest.approx(expected, rel=1e-12)
    assert float(terms["cross_entropy"]) == float(total)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_smoothed_label_gives_every_class_its_share(smoothing: float) -> None:
    logits = torch.randn(6, 5, generator=draws(), dtype=torch.float64)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    method = CrossEntropy(label_smoothing=smoothing)
    total, terms = method.compare(logits, labels, None)
    powers = np.exp(logits.numpy())
    target = (1 - smoothing) * np.eye(5)[labels] + smoothing / 5
    expected = -(target * np.log(powers / powers.sum(1, keepdims=True))).sum(1).mean()
    assert float(total) == pytest.approx(expected, rel=1e-12)
    assert float(terms["cross_entropy"]) == float(total)
    assert ("label_smoothing" in canonical_json(method)) is (smoothing > 0)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_outside_0_to_1_is_refused(smoothing: float) -> None:
    with pytest.raises(InputError, match=r"^method\.label_smoothing: "):
        parse(CrossEntropy, {"name": "cross_entropy", "label_smoothing": smoothing}, "method")


def test_a_student_that_knows_nothing_scores_log_of_the_classes() -> None:
    total, _ = CrossEntropy().compare(torch.zeros(4, 10), torch.tensor([0, 3, 5, 9]), None)
    assert float(total) == pytest.approx(np.log(10))


def test_the_students_logits_are_of_its_noisy_input() -> None:
    student = linear_classifier(torch.randn(3, 4, generator=draws()))
    noisy, clean = torch.rand(2, 5, 1, 1, 4, generator=draws(1))
    batch = Batch(noisy, clean, torch.zeros(5, dtype=torch.long))
    losses = CrossEntropy().losses("main", step(CrossEntropy(), student, batch, None))
    assert torch.equal(losses.logits, student.logits(noisy))
