"""The margin loss against NumPy, where it vanishes and where it cannot."""

from __future__ import annotations

import math

import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import AdditiveKD, Margin
from kdray.methods.gradients import true_class_probability
from kdray.methods.margin import margin_loss
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, ROWS, hard, linear, shortfall, soft, softmax

STUDENT, TEACHER = 3 * torch.randn(2, ROWS, 4, generator=draws(), dtype=torch.float64)


def logits_of(probability: float) -> torch.Tensor:
    """Logits of two classes of which the first has ``probability``."""
    return torch.tensor([[math.log(probability), math.log(1 - probability)]], dtype=torch.float64)


@pytest.mark.parametrize("margin", [0.01, 0.1, 0.7, 1.5])
def test_equals_the_formula_computed_with_numpy(margin: float) -> None:
    loss = float(margin_loss(STUDENT, TEACHER, LABELS, margin))
    assert loss == pytest.approx(shortfall(STUDENT, TEACHER, margin), rel=1e-12)


def test_wiring_kd_plus_c2_times_an_unsoftened_margin() -> None:
    case, method = linear(), Margin(weight=2.0, temperature=5.0, margin=0.3, margin_weight=7.0)
    found, teacher = case.losses(method)
    terms = {
        "cross_entropy": hard(case.logits[0]),
        "soft": soft(*case.logits, 5.0),
        "margin": shortfall(*case.logits, 0.3),
    }
    assert {name: float(term) for name, term in found.terms.items()} == pytest.approx(
        terms, rel=1e-5
    )
    expected = terms["cross_entropy"] + 2 * terms["soft"] + 7 * terms["margin"]
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert (asked.temperature, asked.with_graph) == (5.0, False)


def test_without_c2_it_is_additive_kd() -> None:
    margin, _ = Margin(margin_weight=0.0).compare(STUDENT, LABELS, TEACHER)
    additive, _ = AdditiveKD().compare(STUDENT, LABELS, TEACHER)
    assert float(margin) == float(additive)


def test_probability_of_the_label_is_softened_by_the_temperature() -> None:
    for temperature in (1.0, 4.0):
        expected = softmax(STUDENT / temperature)[range(ROWS), LABELS]
        assert true_class_probability(STUDENT, LABELS, temperature).tolist() == pytest.approx(
            expected.tolist()
        )


def test_a_student_as_sure_as_its_teacher_lacks_the_whole_margin() -> None:
    assert float(margin_loss(TEACHER, TEACHER, LABELS, 0.25)) == pytest.approx(0.25)


@pytest.mark.parametrize(("student", "loss"), [(0.85, 0.0), (0.75, 0.05), (0.6, 0.2), (0.1, 0.7)])
def test_the_loss_is_what_the_student_lacks_to_be_surer_by_the_margin(
    student: float, loss: float
) -> None:
    label = torch.tensor([0])
    assert float(margin_loss(logits_of(student), logits_of(0.6), label, 0.2)) == pytest.approx(
        loss, abs=1e-12
    )


def test_a_student_that_is_sure_enough_gets_no_gradient() -> None:
    label = torch.tensor([0])
    for probability, pulled in ((0.85, False), (0.75, True)):
        student = logits_of(probability).requires_grad_(True)
        margin_loss(student, logits_of(0.6), label, 0.2).backward()
        assert student.grad is not None
        assert bool(student.grad.any()) == pulled


def test_the_loss_cannot_vanish_where_the_teacher_is_surer_than_1_minus_the_margin() -> None:
    certain = torch.tensor([[1e4, 0.0]], dtype=torch.float64)
    assert float(margin_loss(certain, logits_of(0.95), torch.tensor([0]), 0.2)) == pytest.approx(
        0.15
    )


@pytest.mark.parametrize(
    "fields", [{"margin": 0}, {"margin_weight": -1.0}, {"weight": -1.0}, {"temperature": 0}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(Margin, {"name": "margin", **fields})
