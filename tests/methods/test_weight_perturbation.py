"""Adversarial weight perturbation: a gradient of worse weights, written out in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.methods import MART, TRADES, Adversarial, Losses
from kdray.methods.attack import Attack
from kdray.methods.attacked import AttackedMethod
from kdray.methods.weight_perturbation import WeightPerturbation, offset
from kdray.models import Classifier
from kdray.testing.methods import METHOD_CONTRACTS, logits_are_the_students_for_its_own_input
from kdray.testing.samples import classifier_of
from kdray.testing.steps import NETWORKS
from tests.contracts.members import each
from tests.methods.steps import LABELS, linear, step
from tests.tensors import linear_classifier

ATTACK = {"epsilon": 0.3, "step_size": 0.1, "steps": 2}
GAMMA = 0.1
AWP = {"gamma": GAMMA}
METHODS: tuple[AttackedMethod, ...] = (
    Adversarial(attack=Attack(steps=2), weight_perturbation=WeightPerturbation()),
    TRADES(attack=Attack(loss="kl_self", steps=2), weight_perturbation=WeightPerturbation()),
    MART(attack=Attack(steps=2), weight_perturbation=WeightPerturbation()),
)


def trades(**fields: Any) -> TRADES:
    attack = {**ATTACK, "loss": "kl_self", "start": "gaussian", **fields.pop("attack", {})}
    return parse(TRADES, {"name": "trades", "beta": 2.0, "attack": attack, **fields})


def in_double(weight: Tensor, images: Tensor, moved: Tensor) -> Tensor:
    """TRADES' loss of a linear student, with β 2."""
    clean, perturbed = (part.flatten(1).double() @ weight.T for part in (images, moved))
    p, q = clean.softmax(1), perturbed.softmax(1)
    return functional.cross_entropy(clean, LABELS) + 2 * (p * (p.log() - q.log())).sum(1).mean()


def test_the_weights_follow_the_gradient_where_the_loss_is_worse() -> None:
    case = linear()
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    moved = trades().attack.examples(step(trades(), student, case.batch, None))
    method = trades(weight_perturbation=AWP)
    found = method.losses("main", step(method, student, case.batch, None))
    found.total.backward()

    weight = torch.tensor(case.student).double().requires_grad_(True)
    (up,) = torch.autograd.grad(in_double(weight, case.batch.images, moved), weight)
    worse = (weight + GAMMA * weight.norm() * up / up.norm()).detach().requires_grad_(True)
    expected = in_double(worse, case.batch.images, moved)
    expected.backward()

    (matrix,) = [each for each in student.parameters() if each.ndim == 2]
    before = in_double(weight, case.batch.images, moved)
    assert float(found.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found.total > before
    assert matrix.grad is not None
    assert worse.grad is not None
    torch.testing.assert_close(matrix.grad.double(), worse.grad, rtol=1e-4, atol=1e-6)
    assert torch.equal(matrix, torch.tensor(case.student)), "it moved the weights themselves"


def test_every_layer_moves_by_gamma_of_its_own_length_and_nothing_else_does() -> None:
    student = classifier_of(NETWORKS[1], seed=0).train()
    images = torch.rand(4, 1, 8, 8)
    total = functional.cross_entropy(student.logits(images), torch.arange(4))
    perturbed = WeightPerturbation(gamma=0.2).perturbed(student, total)
    own = dict(student.named_parameters())
    moved = perturbed._weights
    assert moved.keys() == {name for name in own if name.endswith("weight")}
    for name, weight in moved.items():
        share = (weight - own[name]).norm() / own[name].norm()
        assert float(share.detach()) == pytest.approx(0.2, rel=1e-4), name


def test_a_layer_without_a_slope_stays_as_it_is() -> None:
    assert torch.equal(offset(torch.ones(2, 3), torch.zeros(2, 3)), torch.zeros(2, 3))


def losses_of(method: AttackedMethod, student: Classifier, epoch: int = 0) -> Losses:
    given = step(method, student, linear().batch, None)
    return method.losses("main", given._replace(epoch=epoch))


@pytest.mark.parametrize(
    ("awp", "epoch", "is_due"),
    [
        ({"gamma": 0.0}, 9, False),
        ({"gamma": GAMMA, "warmup": 3}, 2, False),
        ({"gamma": GAMMA, "warmup": 3}, 3, True),
        ({"gamma": GAMMA}, 0, True),
    ],
)
@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_it_begins_after_its_warm_up(
    awp: dict[str, Any], epoch: int, is_due: bool, batch_norm: str
) -> None:
    totals = []
    for perturbation in (None, awp):
        student = linear_classifier(torch.tensor(linear().student)).train().requires_grad_(True)
        method = trades(weight_perturbation=perturbation, attack={"batch_norm": batch_norm})
        totals.append(float(losses_of(method, student, epoch).total.detach()))
    assert (totals[0] != totals[1]) is is_due


def test_the_pass_that_finds_it_moves_no_running_statistics() -> None:
    inner = linear_classifier(torch.tensor(linear().student))
    norm = nn.BatchNorm1d(6)
    shaped = nn.Sequential(nn.Flatten(), norm, nn.Unflatten(1, (1, 1, 6)))
    student = Classifier(inner.network, shaped).train().requires_grad_(True)
    momenta: list[float | None] = []
    norm.register_forward_pre_hook(
        lambda *_: momenta.append(norm.momentum if norm.training else None)
    )
    method = trades(weight_perturbation=AWP)
    given = step(method, student, linear().batch, None)
    momenta.clear()
    method.losses("main", given)
    assert momenta == [None] * 3 + [0.0, 0.0, 0.1, 0.1], "attack, to find it, to learn"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
@each([c for c in METHOD_CONTRACTS if c is not logits_are_the_students_for_its_own_input])
def test_every_method_keeps_its_contracts(method: AttackedMethod, contract: Any) -> None:
    contract(method)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"gamma": -0.1}, r"^weight_perturbation.gamma: .*greater than or equal to 0"),
        ({"gamma": 0.1, "warmup": -1}, r"^weight_perturbation.warmup: .*greater than or equal"),
        ({"gama": 0.1}, r"^weight_perturbation.gama: unknown key, did you mean 'gamma'"),
    ],
)
def test_what_makes_no_sense_is_refused(written: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        trades(weight_perturbation=written)
