"""Introspective adversarial distillation, written out in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import IAD
from kdray.testing.methods import check_method
from tests.methods.steps import LABELS, Plain, linear, softmax, step
from tests.tensors import linear_classifier

ATTACK = {"epsilon": 0.3, "step_size": 0.1, "steps": 2}
ROWS = range(len(LABELS))


def iad(**fields: Any) -> IAD:
    return parse(IAD, {"name": "iad", "attack": ATTACK, **fields})


def kl(first: Any, second: Any) -> Any:
    return (first * (np.log(first) - np.log(second))).sum(1)


@pytest.mark.parametrize("guidance", ["trusted", "full"])
@pytest.mark.parametrize("epoch", [2, 3])
@pytest.mark.parametrize(
    ("alpha", "temperature", "beta"), [(1.0, 1.0, 0.1), (0.6, 3.0, 1.5), (0.0, 1.0, 0.1)]
)
def test_the_teacher_is_heeded_where_it_knows_the_label_of_the_perturbed_image(
    alpha: float, temperature: float, beta: float, epoch: int, guidance: str
) -> None:
    case = linear()
    method = iad(alpha=alpha, temperature=temperature, beta=beta, warmup=3, guidance=guidance)
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    examples = method.attack.examples(step(method, student, case.batch, teacher))
    given = step(method, student, case.batch, teacher)._replace(epoch=epoch)
    found = method.losses("main", given)

    x = examples.flatten(1).double().numpy()
    s, t = case.student.astype(float).T, case.teacher.astype(float).T
    noisy, answer = case.logits  # the student's image is noisy, the teacher's clean
    soft = temperature**2 * kl(softmax(answer / temperature), softmax(x @ s / temperature))
    own, hard = kl(softmax(noisy), softmax(x @ s)), -np.log(softmax(noisy)[ROWS, LABELS]).mean()
    trust = np.ones(len(LABELS)) if epoch < 3 else softmax(x @ t)[ROWS, LABELS] ** beta
    guided = trust * soft if guidance == "trusted" else soft
    expected = alpha * (guided + (1 - trust) * own).mean() + (1 - alpha) * hard
    assert float(found.total.detach()) == pytest.approx(expected, rel=1e-4)
    assert found.terms.keys() == {"cross_entropy", "soft", "own"}
    assert float(found.terms["own"].detach()) == pytest.approx(own.mean(), rel=1e-4)
    # Asked of the perturbed images once they count, and of the clean ones always.
    assert len(teacher.asked) == (1 if epoch < 3 else 2)


def test_no_trust_is_too_little_where_beta_is_zero() -> None:
    case = linear()
    totals = []
    for method in (iad(beta=0.0, warmup=0), iad(warmup=9)):
        teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
        student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
        totals.append(method.losses("main", step(method, student, case.batch, teacher)).total)
    assert torch.equal(*totals)


@pytest.mark.parametrize("fields", [{"warmup": 0}, {"warmup": 0, "alpha": 0.5, "beta": 2.0}])
def test_it_keeps_the_contracts_where_it_looks_into_itself(fields: dict[str, Any]) -> None:
    check_method(IAD(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"beta": -1.0}, "beta"), ({"alpha": 1.5}, "alpha"), ({"warmup": -1}, "warmup")],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError, match=rf"^{field}: "):
        iad(**fields)
