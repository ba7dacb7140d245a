"""robust_student's KD against NumPy, its ends, and its gradient written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import KD, AdditiveKD
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, ROWS, hard, linear, soft, softmax

CLASSES = 4
STUDENT, TEACHER = 3 * torch.randn(2, ROWS, CLASSES, generator=draws(), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 20.0])
@pytest.mark.parametrize("weight", [0.0, 0.3, 4.0])
def test_equals_the_formula_computed_with_numpy(weight: float, temperature: float) -> None:
    total, terms = AdditiveKD(weight=weight, temperature=temperature).compare(
        STUDENT, LABELS, TEACHER
    )
    assert float(terms["cross_entropy"]) == pytest.approx(hard(STUDENT), rel=1e-12)
    assert float(terms["soft"]) == pytest.approx(soft(STUDENT, TEACHER, temperature), rel=1e-12)
    assert float(total) == pytest.approx(
        hard(STUDENT) + weight * soft(STUDENT, TEACHER, temperature), rel=1e-12
    )


def test_wiring_the_noisy_student_and_the_clean_teacher_at_the_temperature_of_the_loss() -> None:
    case, method = linear(), AdditiveKD(weight=2.0, temperature=5.0)
    found, teacher = case.losses(method)
    assert float(found.total) == pytest.approx(
        hard(case.logits[0]) + 2 * soft(*case.logits, 5.0), rel=1e-5
    )
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert torch.equal(asked.labels, LABELS)
    assert (asked.temperature, asked.with_graph) == (5.0, False)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_of_the_soft_term_is_divided_by_the_temperature_and_not_made_up_for(
    temperature: float,
) -> None:
    student = STUDENT.clone().requires_grad_(True)
    AdditiveKD(weight=0.7, temperature=temperature).compare(student, LABELS, TEACHER)[0].backward()
    of_labels = softmax(STUDENT) - np.eye(CLASSES)[LABELS]
    of_teacher = (softmax(STUDENT / temperature) - softmax(TEACHER / temperature)) / temperature
    np.testing.assert_allclose(student.grad, (of_labels + 0.7 * of_teacher) / ROWS, atol=1e-14)


def test_the_teacher_is_the_target_the_least_is_its_entropy() -> None:
    _, same = AdditiveKD(temperature=2.0).compare(TEACHER, LABELS, TEACHER)
    p = softmax(TEACHER / 2)
    assert float(same["soft"]) == pytest.approx(-(p * np.log(p)).sum(1).mean(), rel=1e-12)
    _, other = AdditiveKD(temperature=2.0).compare(STUDENT, LABELS, TEACHER)
    assert float(other["soft"]) > float(same["soft"])


def test_it_is_hintons_loss_rescaled() -> None:
    """(1-α)·CE + α·τ²·CE(p_T, p_S) is 1-α times this one at λ = α·τ²/(1-α)."""
    hinton, _ = KD(alpha=0.75, temperature=2.0, divergence="cross_entropy").compare(
        STUDENT, LABELS, TEACHER
    )
    additive, _ = AdditiveKD(weight=12.0, temperature=2.0).compare(STUDENT, LABELS, TEACHER)
    assert float(hinton) == pytest.approx(0.25 * float(additive), rel=1e-12)


@pytest.mark.parametrize("fields", [{"weight": -0.1}, {"temperature": 0}, {"weight": float("inf")}])
def test_a_negative_weight_and_a_temperature_not_above_0_are_refused(
    fields: dict[str, float],
) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(AdditiveKD, {"name": "additive_kd", **fields})
