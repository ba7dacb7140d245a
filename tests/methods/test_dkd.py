"""Decoupled distillation against NumPy in double precision, its identity with Hinton's loss, and
networks that are sure of one class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import DKD, KD
from kdray.methods.dkd import decoupled, without_label
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, ROWS, hard, linear, softmax

STUDENT, TEACHER = 3 * torch.randn(2, ROWS, 4, generator=draws(), dtype=torch.float64)


def written_out(student: Any, teacher: Any, temperature: float) -> tuple[float, float]:
    """TCKD and NCKD, example by example, from eqs. 1 to 5."""
    target, non_target = [], []
    for z_s, z_t, y in zip(np.asarray(student), np.asarray(teacher), LABELS.tolist(), strict=True):
        p_s, p_t = (np.exp(z / temperature) / np.exp(z / temperature).sum() for z in (z_s, z_t))
        b_s, b_t = (np.array([p[y], 1 - p[y]]) for p in (p_s, p_t))
        target.append((b_t * np.log(b_t / b_s)).sum())
        hat_s, hat_t = (np.delete(p, y) / np.delete(p, y).sum() for p in (p_s, p_t))
        non_target.append((hat_t * np.log(hat_t / hat_s)).sum())
    return float(np.mean(target)), float(np.mean(non_target))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_equals_the_formula_computed_with_numpy(temperature: float) -> None:
    method = DKD(alpha=0.7, beta=3.0, temperature=temperature, cross_entropy_weight=0.4)
    total, terms = method.compare(STUDENT, LABELS, TEACHER)
    target, non_target = written_out(STUDENT, TEACHER, temperature)
    assert float(terms["target"]) == pytest.approx(target, rel=1e-9)
    assert float(terms["non_target"]) == pytest.approx(non_target, rel=1e-9)
    expected = 0.4 * hard(STUDENT) + temperature**2 * (0.7 * target + 3 * non_target)
    assert float(total) == pytest.approx(expected, rel=1e-9)


def test_by_default_cross_entropy_and_16_times_tckd_plus_8_nckd() -> None:
    case = linear()
    found, teacher = case.losses(DKD())
    target, non_target = written_out(*case.logits, 4.0)
    expected = hard(case.logits[0]) + 16 * (target + 8 * non_target)
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert (asked.temperature, asked.with_graph) == (4.0, False)


def test_hintons_loss_is_tckd_plus_what_the_teacher_leaves_to_the_others_times_nckd() -> None:
    """Eq. 6, which holds example by example."""
    left = 1 - softmax(TEACHER / 4)[range(ROWS), LABELS]
    for row in range(ROWS):
        one = slice(row, row + 1)
        target, others = decoupled(STUDENT[one], TEACHER[one], LABELS[one], 4.0)
        _, whole = KD().compare(STUDENT[one], LABELS[one], TEACHER[one])
        assert float(target + left[row] * others) == pytest.approx(float(whole["soft"]), rel=1e-9)


def test_the_others_stay_in_their_order_without_the_label() -> None:
    logits = torch.arange(12.0).view(3, 4)
    others = without_label(logits, torch.tensor([0, 2, 3]))
    assert others.tolist() == [[1, 2, 3], [4, 5, 7], [8, 9, 10]]


def test_two_classes_have_no_non_target_term() -> None:
    target, others = decoupled(STUDENT[:, :2], TEACHER[:, :2], LABELS.clamp(max=1), 4.0)
    assert float(others) == 0
    assert float(target) > 0


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("temperature", [0.1, 4.0])
def test_loss_and_gradient_are_finite_and_right_at_logits_of_a_million(
    sign: int, temperature: float
) -> None:
    """At a temperature the loss is what the student lacks in logits: nothing where it is sure of
    what its teacher is sure of."""
    student = torch.tensor([[1e6, 0.0, -1e6], [-1e6, 1e6, 0.0]], requires_grad=True)
    teacher, labels = sign * student.detach(), torch.tensor([0, 0])
    total, terms = DKD(temperature=temperature).compare(student, labels, teacher)
    total.backward()
    assert student.grad is not None
    assert all(number.isfinite().all() for number in (total, *terms.values(), student.grad))
    if sign == 1:
        assert float(terms["target"].detach()) == float(terms["non_target"].detach()) == 0


@pytest.mark.parametrize(
    "fields", [{"alpha": -1.0}, {"beta": -1.0}, {"temperature": 0}, {"cross_entropy_weight": -0.1}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}: "):
        parse(DKD, {"name": "dkd", **fields}, "method")
