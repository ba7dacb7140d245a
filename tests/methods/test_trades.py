"""TRADES and MART, written out in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import MART, TRADES, Losses
from kdray.methods.attack import Attack
from kdray.methods.mart import boosted_cross_entropy
from tests.methods.steps import LABELS, linear, softmax, step
from tests.tensors import linear_classifier

ATTACK = {"epsilon": 0.3, "step_size": 0.1, "steps": 3}
ROWS = range(len(LABELS))


def both(kind: type[Any], seed: int = 0, **fields: Any) -> tuple[Any, Any, Any]:
    """The losses of a method, and the student's softmax of clean and perturbed images."""
    case = linear(seed)
    method = parse(kind, {"name": kind.model_fields["name"].default, **fields})
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    adversarial = method.attack.examples(step(method, student, case.batch, None))
    total, terms, logits = method.losses("main", step(method, student, case.batch, None))
    found = Losses(
        total.detach(), {name: term.detach() for name, term in terms.items()}, logits.detach()
    )
    x = adversarial.flatten(1).double().numpy()
    return found, softmax(case.logits[0]), softmax(x @ case.student.T.astype(float))


def kl(first: Any, second: Any) -> Any:
    return (first * (np.log(first) - np.log(second))).sum(1)


@pytest.mark.parametrize("beta", [0.0, 1.0, 6.0])
def test_trades_is_cross_entropy_and_beta_times_the_divergence(beta: float) -> None:
    attack = {**ATTACK, "loss": "kl_self", "start": "gaussian"}
    found, clean, perturbed = both(TRADES, beta=beta, attack=attack)
    hard, robust = -np.log(clean[ROWS, LABELS]).mean(), kl(clean, perturbed).mean()
    assert robust > 0.01
    assert float(found.terms["cross_entropy"]) == pytest.approx(hard, rel=1e-5)
    assert float(found.terms["robust"]) == pytest.approx(robust, rel=1e-4)
    assert float(found.total) == pytest.approx(hard + beta * robust, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 5.0])
def test_mart_is_the_boosted_cross_entropy_and_the_divergence_where_the_student_doubts(
    weight: float,
) -> None:
    found, clean, perturbed = both(MART, weight=weight, attack=ATTACK)
    rival = perturbed.copy()
    rival[ROWS, LABELS] = 0
    boosted = (-np.log(perturbed[ROWS, LABELS]) - np.log(1 - rival.max(1))).mean()
    robust = (kl(clean, perturbed) * (1 - clean[ROWS, LABELS])).mean()
    assert float(found.terms["boosted_cross_entropy"]) == pytest.approx(boosted, rel=1e-4)
    assert float(found.terms["robust"]) == pytest.approx(robust, rel=1e-4)
    assert float(found.total) == pytest.approx(boosted + weight * robust, rel=1e-4)


def test_the_boosted_cross_entropy_is_finite_where_a_wrong_class_is_certain() -> None:
    logits = torch.tensor([[0.0, 1e4, 0.0], [1e4, 0.0, 0.0]], requires_grad=True)
    loss = boosted_cross_entropy(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_divergence_of_trades_teaches_through_both_answers() -> None:
    case = linear()
    method = TRADES(attack=Attack(loss="kl_self", start="gaussian", epsilon=0.3, steps=3))
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    given = step(method, student, case.batch, None)
    adversarial = method.attack.examples(step(method, student, case.batch, None))
    method.losses("main", given).terms["robust"].backward()
    (parameter,) = [p for p in student.parameters() if p.ndim == 2]
    assert parameter.grad is not None
    weight = parameter.detach().double().requires_grad_(True)
    clean, moved = (
        (part.flatten(1).double() @ weight.T).softmax(1)
        for part in (case.batch.images, adversarial)
    )
    (clean * (clean.log() - moved.log())).sum(1).mean().backward()
    assert weight.grad is not None
    torch.testing.assert_close(parameter.grad.double(), weight.grad, rtol=1e-3, atol=1e-6)


def test_trades_makes_its_clean_pass_once_where_the_attack_is_made_in_train_mode() -> None:
    case = linear()
    for batch_norm, passes in (("running", 3 + 1 + 2), ("batch", 3 + 2)):
        attack = Attack(loss="kl_self", start="gaussian", steps=3, batch_norm=batch_norm)  # type: ignore[arg-type]
        student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
        calls: list[None] = []
        student.register_forward_hook(lambda *_, calls=calls: calls.append(None))
        given = step(TRADES(attack=attack), student, case.batch, None)
        calls.clear()
        TRADES(attack=attack).losses("main", given)
        assert len(calls) == passes


@pytest.mark.parametrize(("kind", "field"), [(TRADES, "beta"), (MART, "weight")])
def test_a_negative_weight_is_refused(kind: type[Any], field: str) -> None:
    with pytest.raises(InputError, match=rf"^{field}: .*greater than or equal to 0"):
        parse(kind, {"name": kind.model_fields["name"].default, field: -1.0})
