"""The indirect gradient distillation module, written out in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import Adversarial
from kdray.methods.igdm import IndirectGradient, indirect_gradient
from kdray.testing.methods import METHOD_CONTRACTS
from tests.contracts.members import each
from tests.methods.steps import Plain, linear, softmax, step
from tests.tensors import linear_classifier

ATTACK = {"epsilon": 0.3, "step_size": 0.1, "steps": 2}


def method(**fields: Any) -> Adversarial:
    """AdaAD, and what is beside it."""
    written = {
        "name": "adversarial",
        "attack": {**ATTACK, "loss": "kl_teacher"},
        "mix": 1.0,
        "perturbed": {"name": "kd", "alpha": 1.0, "temperature": 1.0},
        **fields,
    }
    return parse(Adversarial, written)


@pytest.mark.parametrize(
    ("ramp", "epoch", "weight"), [(0, 0, 20.0), (4, 0, 5.0), (4, 2, 15.0), (4, 9, 20.0)]
)
def test_the_students_answer_changes_with_the_image_as_the_teachers_does(
    ramp: int, epoch: int, weight: float
) -> None:
    case = linear()
    plain, matched = method(), method(indirect_gradient={"weight": 20.0, "ramp": ramp})
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    examples = plain.attack.examples(step(plain, student, case.batch, teacher))
    alone, both = (
        each.losses("main", step(each, student, case.batch, teacher)._replace(epoch=epoch))
        for each in (plain, matched)
    )
    delta = (examples - case.batch.images).flatten(1).double().numpy()
    # Of a linear network f(x + δ) - f(x - δ) is twice the gradient times δ.
    ours, theirs = (
        softmax(2 * delta @ weights.astype(float).T) for weights in (case.student, case.teacher)
    )
    divergence = (theirs * (np.log(theirs) - np.log(ours))).sum(1).mean()
    assert float(both.terms["indirect_gradient"].detach()) == pytest.approx(divergence, rel=1e-3)
    expected = float(alone.total.detach()) + weight * divergence
    assert float(both.total.detach()) == pytest.approx(expected, rel=1e-3)


def test_the_teachers_change_is_a_constant() -> None:
    plus, minus = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    ours = tuple(torch.randn(3, 4, requires_grad=True) for _ in range(2))
    indirect_gradient((ours[0], ours[1]), (plus, minus)).backward()
    assert plus.grad is None
    assert minus.grad is None
    assert all(part.grad is not None for part in ours)


@each(METHOD_CONTRACTS)
def test_it_keeps_the_contracts(contract: Any) -> None:
    contract(method(indirect_gradient={"ramp": 2}, mix=0.5))


def test_it_asks_a_teacher_whatever_the_losses_are() -> None:
    assert not Adversarial().asks_teacher
    assert Adversarial(indirect_gradient=IndirectGradient()).asks_teacher


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(InputError, match=r"^indirect_gradient.weight: .*greater than or equal"):
        method(indirect_gradient={"weight": -1.0})
