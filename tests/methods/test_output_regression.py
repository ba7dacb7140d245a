"""Output regression against NumPy: half the squared distance, of probabilities or of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import OutputRegression
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, ROWS, hard, linear, softmax

CLASSES = 4
STUDENT, TEACHER = 3 * torch.randn(2, ROWS, CLASSES, generator=draws(), dtype=torch.float64)


def distance(student: Any, teacher: Any, on: str) -> Any:
    first, second = (
        (softmax(student), softmax(teacher)) if on == "probabilities" else (student, teacher)
    )
    return ((np.asarray(first) - np.asarray(second)) ** 2).sum(1).mean() / 2


@pytest.mark.parametrize("on", ["probabilities", "logits"])
@pytest.mark.parametrize("weight", [0.0, 0.3, 4.0])
def test_equals_the_formula_computed_with_numpy(weight: float, on: Any) -> None:
    total, terms = OutputRegression(weight=weight, on=on).compare(STUDENT, LABELS, TEACHER)
    assert float(terms["cross_entropy"]) == pytest.approx(hard(STUDENT), rel=1e-12)
    assert float(terms["regression"]) == pytest.approx(distance(STUDENT, TEACHER, on), rel=1e-12)
    assert float(total) == pytest.approx(
        hard(STUDENT) + weight * distance(STUDENT, TEACHER, on), rel=1e-12
    )


def test_wiring_the_noisy_student_and_the_clean_teacher_on_probabilities_unless_told() -> None:
    case = linear()
    found, teacher = case.losses(OutputRegression(weight=3.0))
    assert float(found.total) == pytest.approx(
        hard(case.logits[0]) + 3 * distance(*case.logits, "probabilities"), rel=1e-5
    )
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert (asked.temperature, asked.with_graph) == (1.0, False)


def test_gradient_of_regression_on_logits_is_their_difference() -> None:
    student = STUDENT.clone().requires_grad_(True)
    _, terms = OutputRegression(on="logits").compare(student, LABELS, TEACHER)
    terms["regression"].backward()
    np.testing.assert_allclose(student.grad, (STUDENT - TEACHER) / ROWS, atol=1e-14)


def test_on_probabilities_a_shift_of_all_logits_changes_nothing_and_two_certain_networks_are_1_apart() -> (
    None
):
    _, plain = OutputRegression().compare(STUDENT, LABELS, TEACHER)
    _, shifted = OutputRegression().compare(STUDENT + 5, LABELS, TEACHER - 3)
    assert float(shifted["regression"]) == pytest.approx(float(plain["regression"]), rel=1e-9)
    certain = 1e4 * torch.eye(CLASSES)
    _, apart = OutputRegression().compare(certain, torch.arange(CLASSES), certain.roll(1, 0))
    assert float(apart["regression"]) == 1


def test_the_term_vanishes_where_student_and_teacher_agree() -> None:
    for on in ("probabilities", "logits"):
        method = parse(OutputRegression, {"name": "output_regression", "on": on})
        assert float(method.compare(TEACHER, LABELS, TEACHER)[1]["regression"]) == 0


@pytest.mark.parametrize("fields", [{"weight": -0.1}, {"on": "features"}])
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(OutputRegression, {"name": "output_regression", **fields})
