"""The robust student's loss is the sum of its three, from one forward pass of each network."""

from __future__ import annotations

import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import GradientMatching, Margin, RobustStudent
from tests.methods.steps import LABELS, Plain, hard, linear, mismatch, shortfall, soft, step
from tests.tensors import linear_classifier


def test_wiring_kd_plus_c1_times_the_gradient_loss_plus_c2_times_the_margin_loss() -> None:
    case = linear()
    method = RobustStudent(
        weight=2.0, temperature=1.5, gradient_weight=5.0, margin=0.3, margin_weight=7.0
    )
    found, teacher = case.losses(method)
    terms = {
        "cross_entropy": hard(case.logits[0]),
        "soft": soft(*case.logits, 1.5),
        "gradient": mismatch(case, 1.5),
        "margin": shortfall(*case.logits, 0.3),
    }
    assert min(terms.values()) > 0.05
    assert {name: float(term) for name, term in found.terms.items()} == pytest.approx(
        terms, rel=1e-4
    )
    expected = (
        terms["cross_entropy"] + 2 * terms["soft"] + 5 * terms["gradient"] + 7 * terms["margin"]
    )
    assert float(found.total) == pytest.approx(expected, rel=1e-4)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert torch.equal(asked.labels, LABELS)
    assert (asked.temperature, asked.with_graph) == (1.5, True)


def test_without_one_of_its_losses_it_is_the_method_of_the_other() -> None:
    def total(method: RobustStudent | Margin | GradientMatching) -> float:
        return float(linear().losses(method)[0].total)

    assert total(RobustStudent(margin_weight=0.0)) == total(GradientMatching())
    assert total(RobustStudent(gradient_weight=0.0)) == total(Margin())
    assert total(RobustStudent()) > max(total(GradientMatching()), total(Margin()))


def test_the_student_is_run_once() -> None:
    case, runs = linear(), []
    student = linear_classifier(torch.tensor(case.student)).train()
    student.register_forward_hook(lambda *_: runs.append(1))
    teacher, method = Plain(linear_classifier(torch.tensor(case.teacher))), RobustStudent()
    method.losses("main", step(method, student, case.batch, teacher))
    assert (len(runs), len(teacher.asked)) == (1, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"gradient_weight": -1.0},
        {"margin_weight": -1.0},
        {"margin": 0},
        {"weight": -1.0},
        {"temperature": 0},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(RobustStudent, {"name": "robust_student", **fields})
