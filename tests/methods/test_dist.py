"""DIST's relations against NumPy's own correlations, and what has no variance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import DIST
from kdray.methods.dist import pearson, relations
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, ROWS, hard, linear, softmax

STUDENT, TEACHER = 3 * torch.randn(2, ROWS, 4, generator=draws(), dtype=torch.float64)


def written_out(student: Any, teacher: Any, temperature: float) -> tuple[float, float]:
    """Of the classes of each example, and of the examples for each class."""
    y_s, y_t = (
        softmax(np.asarray(student) / temperature),
        softmax(np.asarray(teacher) / temperature),
    )
    inter = [1 - np.corrcoef(y_s[i], y_t[i])[0, 1] for i in range(y_s.shape[0])]
    intra = [1 - np.corrcoef(y_s[:, j], y_t[:, j])[0, 1] for j in range(y_s.shape[1])]
    return float(np.mean(inter)), float(np.mean(intra))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_formula_computed_with_numpy(temperature: float) -> None:
    method = DIST(beta=0.7, gamma=3.0, temperature=temperature, cross_entropy_weight=0.4)
    total, terms = method.compare(STUDENT, LABELS, TEACHER)
    inter, intra = written_out(STUDENT, TEACHER, temperature)
    assert float(terms["inter_class"]) == pytest.approx(inter, rel=1e-9)
    assert float(terms["intra_class"]) == pytest.approx(intra, rel=1e-9)
    assert float(total) == pytest.approx(0.4 * hard(STUDENT) + 0.7 * inter + 3 * intra, rel=1e-9)


def test_by_default_cross_entropy_and_both_relations_at_a_temperature_of_1() -> None:
    case = linear()
    found, teacher = case.losses(DIST())
    expected = hard(case.logits[0]) + sum(written_out(*case.logits, 1.0))
    assert float(found.total) == pytest.approx(expected, rel=1e-5)
    (asked,) = teacher.asked
    assert (asked.temperature, asked.with_graph) == (1.0, False)


def test_a_student_that_says_the_same_up_to_scale_and_shift_has_no_loss() -> None:
    values = torch.rand(3, 6, generator=draws(1), dtype=torch.float64)
    assert pearson(values, 0.1 * values + 2).tolist() == pytest.approx([1] * 3)
    assert pearson(values, -values).tolist() == pytest.approx([-1] * 3)
    assert sum(map(float, relations(TEACHER, TEACHER, 1.0))) == pytest.approx(0, abs=1e-12)


def test_what_has_no_variance_is_related_to_nothing_and_gets_no_gradient() -> None:
    flat = torch.zeros(ROWS, 4, dtype=torch.float64, requires_grad=True)
    inter, intra = relations(flat, TEACHER, 1.0)
    assert (inter.item(), intra.item()) == (1.0, 1.0)
    (inter + intra).backward()
    assert flat.grad is not None
    assert not flat.grad.any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_loss_and_gradient_are_finite_at_logits_of_a_million(sign: int, temperature: float) -> None:
    student = torch.tensor([[1e6, 0.0, -1e6], [1e6, 1.0, 0.0]], requires_grad=True)
    total, terms = DIST(temperature=temperature).compare(
        student, torch.tensor([1, 0]), sign * student.detach()
    )
    total.backward()
    assert student.grad is not None
    assert all(number.isfinite().all() for number in (total, *terms.values(), student.grad))


@pytest.mark.parametrize(
    "fields", [{"beta": -1.0}, {"gamma": -1.0}, {"temperature": 0}, {"cross_entropy_weight": -0.1}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}: "):
        parse(DIST, {"name": "dist", **fields}, "method")
