"""Adversarial training is the weighted sum of its two halves, and crafting leaves no trace in the
student."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from kdray.core import InputError, parse
from kdray.data import Digits, to_unit
from kdray.methods import DIST, DKD, Adversarial, Batch, TrainingStep
from kdray.methods.attack import Attack, crafting
from kdray.models import MLP, Classifier, Described, Model, WideResNet, build, fit
from kdray.perturbations.attacks import pgd, random_start
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.methods.steps import LABELS, Linear, Plain, hard, linear, soft, step
from tests.tensors import linear_classifier

ATTACK = {"epsilon": 0.1, "step_size": 0.05, "steps": 3}
CLEAN_KD = {"name": "kd", "alpha": 0.75, "temperature": 2.0, "divergence": "cross_entropy"}
PERTURBED_KD = {"name": "kd", "alpha": 0.25, "temperature": 3.0, "divergence": "cross_entropy"}
both_modes = pytest.mark.parametrize("batch_norm", ["running", "batch"])


def method(**fields: Any) -> Adversarial:
    return parse(Adversarial, {"name": "adversarial", "attack": ATTACK, **fields})


def given(case: Linear, of: Adversarial) -> TrainingStep:
    """A step of ``case`` with a fresh generator."""
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    return step(of, student, case.batch, teacher)


def shown_to(asked: TrainingStep) -> list[Tensor]:
    assert isinstance(asked.teacher, Plain)
    return [each.images for each in asked.teacher.asked]


# The sum


@pytest.mark.parametrize("mix", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("teacher_sees", ["perturbed", "clean"])
def test_wiring_of_both_halves_with_weights_of_the_teacher_of_their_own(
    mix: float, teacher_sees: str
) -> None:
    case, distilled = (
        linear(),
        method(clean=CLEAN_KD, perturbed=PERTURBED_KD, mix=mix, teacher_sees=teacher_sees),
    )
    working = given(case, distilled)
    total, terms, logits = distilled.losses("main", working)
    adversarial = distilled.attack.examples(given(case, distilled))
    x = adversarial.flatten(1).double().numpy()
    shown = x if teacher_sees == "perturbed" else case.batch.clean.flatten(1).double().numpy()
    of_student, of_teacher = x @ case.student.T.astype(float), shown @ case.teacher.T.astype(float)
    expected = {
        "clean_cross_entropy": hard(case.logits[0]),
        "clean_soft": soft(*case.logits, 2.0),
        "perturbed_cross_entropy": hard(of_student),
        "perturbed_soft": soft(of_student, of_teacher, 3.0),
    }
    assert {name: float(term.detach()) for name, term in terms.items()} == pytest.approx(
        expected, rel=1e-4
    )
    clean = 0.25 * expected["clean_cross_entropy"] + 0.75 * 2.0**2 * expected["clean_soft"]
    perturbed = (
        0.75 * expected["perturbed_cross_entropy"] + 0.25 * 3.0**2 * expected["perturbed_soft"]
    )
    assert float(total.detach()) == pytest.approx((1 - mix) * clean + mix * perturbed, rel=1e-4)
    assert torch.equal(logits, working.student.logits(case.batch.images))
    assert not torch.equal(adversarial, case.batch.images)


@pytest.mark.parametrize("teacher_sees", ["perturbed", "clean"])
def test_the_teacher_is_shown_the_clean_image_and_in_the_perturbed_half_what_is_said(
    teacher_sees: str,
) -> None:
    case, distilled = (
        linear(),
        method(clean=CLEAN_KD, perturbed=PERTURBED_KD, teacher_sees=teacher_sees),
    )
    working = given(case, distilled)
    distilled.losses("main", working)
    first, second = shown_to(working)
    assert torch.equal(first, case.batch.clean)
    expected = (
        distilled.attack.examples(given(case, distilled))
        if teacher_sees == "perturbed"
        else case.batch.clean
    )
    assert torch.equal(second, expected)
    assert isinstance(working.teacher, Plain)
    assert [asked.temperature for asked in working.teacher.asked] == [2.0, 3.0]
    assert all(
        torch.equal(asked.labels, LABELS) and not asked.with_graph
        for asked in working.teacher.asked
    )


def test_mix_0_is_the_clean_loss_and_no_attack_is_made() -> None:
    case, distilled = linear(), method(clean=CLEAN_KD, perturbed=PERTURBED_KD, mix=0.0)
    working = given(case, distilled)
    untouched = working.draws.get_state()
    total, terms, _ = distilled.losses("main", working)
    alone = distilled.clean.losses("main", given(case, distilled))
    assert torch.equal(total, alone.total)
    assert list(terms) == ["clean_cross_entropy", "clean_soft"]
    assert torch.equal(working.draws.get_state(), untouched)
    assert len(shown_to(working)) == 1


def test_mix_1_is_the_perturbed_loss_and_nothing_is_computed_of_the_clean_image() -> None:
    case, distilled = linear(), method(clean=CLEAN_KD, perturbed=PERTURBED_KD, mix=1.0)
    working = given(case, distilled)
    total, terms, logits = distilled.losses("main", working)
    adversarial = distilled.attack.examples(given(case, distilled))
    alone = distilled.perturbed.losses(
        "main", given(case._replace(batch=Batch(adversarial, adversarial, LABELS)), distilled)
    )
    assert torch.equal(total, alone.total)
    assert list(terms) == ["perturbed_cross_entropy", "perturbed_soft"]
    assert torch.equal(logits, working.student.logits(adversarial))
    assert len(shown_to(working)) == 1


@pytest.mark.parametrize(
    ("halves", "asks", "asked"),
    [
        ({}, False, 0),
        ({"clean": CLEAN_KD}, True, 1),
        ({"perturbed": PERTURBED_KD}, True, 1),
        ({"clean": CLEAN_KD, "perturbed": {"name": "output_regression"}}, True, 2),
    ],
)
def test_a_teacher_is_asked_only_by_the_half_that_needs_one(
    halves: dict[str, Any], asks: bool, asked: int
) -> None:
    distilled = method(**halves)
    working = given(linear(), distilled)
    distilled.losses("main", working)
    assert distilled.asks_teacher is asks
    assert len(shown_to(working)) == asked


def test_without_a_teacher_it_is_adversarial_training() -> None:
    case, plain = linear(), method(mix=0.5)
    working = given(case, plain)._replace(teacher=None)
    total, terms, _ = plain.losses("main", working)
    adversarial = plain.attack.examples(given(case, plain))
    expected = (
        hard(case.logits[0]),
        hard(adversarial.flatten(1).double().numpy() @ case.student.T.astype(float)),
    )
    assert [float(term.detach()) for term in terms.values()] == pytest.approx(expected, rel=1e-4)
    assert float(total.detach()) == pytest.approx(sum(expected) / 2, rel=1e-4)


def test_terms_are_those_of_every_loss_it_may_have_twice() -> None:
    assert set(Adversarial.term_names()) == {
        f"{half}_{term}"
        for half in ("clean", "perturbed")
        for term in (*("cross_entropy", "soft", "regression", "margin"), *DKD.terms, *DIST.terms)
    } | {"indirect_gradient"}


@pytest.mark.parametrize("half", [{"name": "dkd"}, {"name": "dist"}])
def test_distillations_own_losses_are_halves_too(half: dict[str, Any]) -> None:
    distilled = method(perturbed=half, mix=1.0)
    found = distilled.losses("main", given(linear(), distilled))
    assert found.total.isfinite()
    assert all(name.startswith("perturbed_") for name in found.terms)


# The examples


def on_digits(of: Adversarial, student: Classifier, count: int = 60) -> TrainingStep:
    split = digits().train.first(count)
    images = to_unit(split.images)
    return step(of, student, Batch(images, images, split.labels), None)


def networks(model: Model) -> tuple[Classifier, Classifier]:
    """An untrained student in train mode with statistics of its own, and a copy of it."""
    student = build(model, Digits(), fit(Digits(), digits()), seed=1).train()
    student.logits(to_unit(digits().train.images[:64]))
    return student, copy.deepcopy(student)


BATCH_NORM = WideResNet(depth=10, width=1)


@both_modes
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_examples_are_in_the_ball_and_in_0_to_1_and_raise_the_loss_of_the_student_as_it_stands(
    norm: str, batch_norm: str
) -> None:
    epsilon = 0.1 if norm == "linf" else 0.8
    attack = {
        "norm": norm,
        "epsilon": epsilon,
        "step_size": epsilon / 4,
        "steps": 5,
        "batch_norm": batch_norm,
    }
    trained = copy.deepcopy(trained_on_digits()).requires_grad_(True).train()
    working = on_digits(method(attack=attack), trained)
    images, labels = working.batch.images, working.batch.labels
    adversarial = method(attack=attack).attack.examples(working)
    lengths = torch.linalg.vector_norm(
        (adversarial - images).flatten(1), ord=torch.inf if norm == "linf" else 2, dim=1
    )
    assert (lengths <= epsilon * (1 + 1e-5)).all()
    assert lengths.max() > 0.9 * epsilon
    assert (adversarial.min() >= 0, adversarial.max() <= 1) == (True, True)
    clean, perturbed = (
        functional.cross_entropy(trained.logits(shown), labels, reduction="none")
        for shown in (images, adversarial)
    )
    assert (perturbed > clean).float().mean() > 0.95
    assert not adversarial.requires_grad


def test_examples_are_made_from_the_noisy_image_and_the_label_that_is_trained_on() -> None:
    case, plain = linear(), method()
    working = given(case, plain)
    expected = pgd(
        working.student.logits,
        case.batch.images,
        LABELS,
        norm="linf",
        epsilon=0.1,
        step_size=0.05,
        steps=3,
        start=random_start(case.batch.images, "linf", 0.1, draws()),
    )
    assert torch.equal(plain.attack.examples(working), expected)


@pytest.mark.parametrize("samples", [1, 4])
def test_the_gradient_of_every_step_is_of_so_many_passes(samples: int) -> None:
    student, runs = (
        build(MLP(hidden=(8,), input_sigma=0.2), Digits(), fit(Digits(), digits()), seed=0).train(),
        [],
    )
    student.register_forward_hook(lambda *_: runs.append(1))
    plain = method(attack={**ATTACK, "samples": samples})
    plain.losses("main", on_digits(plain, student))
    assert len(runs) == 3 * samples + 2


@both_modes
def test_examples_are_crafted_with_running_or_with_batch_statistics(batch_norm: str) -> None:
    student, reference = networks(BATCH_NORM)
    plain = method(attack={**ATTACK, "batch_norm": batch_norm})
    working = on_digits(plain, student)
    reference.train(batch_norm == "batch")
    expected = pgd(
        reference.logits,
        working.batch.images,
        working.batch.labels,
        norm="linf",
        epsilon=0.1,
        step_size=0.05,
        steps=3,
        start=random_start(working.batch.images, "linf", 0.1, draws()),
    )
    assert torch.equal(plain.attack.examples(working), expected)


@both_modes
def test_crafting_changes_no_running_statistic_and_leaves_train_mode_and_momenta_and_gradients(
    batch_norm: str,
) -> None:
    student, before = networks(BATCH_NORM)
    for module in student.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = 0.37
    plain = method(attack={**ATTACK, "batch_norm": batch_norm})
    plain.attack.examples(on_digits(plain, student))
    found, expected = student.state_dict(), before.state_dict()
    for name in (name for name in expected if "num_batches" not in name):
        assert torch.equal(found[name], expected[name]), name
    assert all(module.training for module in student.modules())
    assert {module.momentum for module in student.modules() if isinstance(module, _BatchNorm)} == {
        0.37
    }
    assert all(parameter.grad is None for parameter in student.parameters())


@both_modes
def test_the_running_statistics_are_those_of_the_clean_and_then_the_perturbed_pass(
    batch_norm: str,
) -> None:
    student, reference = networks(BATCH_NORM)
    plain = method(attack={**ATTACK, "batch_norm": batch_norm})
    working = on_digits(plain, student)
    adversarial = plain.attack.examples(on_digits(plain, copy.deepcopy(student)))
    plain.losses("main", working)
    reference.logits(working.batch.images)
    reference.logits(adversarial)
    found, expected = student.state_dict(), reference.state_dict()
    for name in (name for name in expected if "running" in name):
        assert torch.equal(found[name], expected[name]), name


@both_modes
def test_a_student_is_as_it_was_though_crafting_raises(batch_norm: Any) -> None:
    student, _ = networks(BATCH_NORM)
    momenta = [module.momentum for module in student.modules() if isinstance(module, _BatchNorm)]
    with pytest.raises(RuntimeError, match="out of memory"), crafting(student, batch_norm):
        raise RuntimeError("out of memory")
    assert [
        module.momentum for module in student.modules() if isinstance(module, _BatchNorm)
    ] == momenta
    assert all(module.training for module in student.modules())


@pytest.mark.parametrize(("batch_norm", "active"), [("running", False), ("batch", True)])
def test_dropout_is_active_while_crafting_with_batch_statistics_only(
    batch_norm: Any, active: bool
) -> None:
    student, _ = networks(MLP(hidden=(32,), dropout=0.5))
    with crafting(student, batch_norm):
        one, other = (student.logits(torch.full((1, 1, 8, 8), 0.5)) for _ in range(2))
    assert torch.equal(one, other) is not active


@pytest.mark.parametrize(
    "field",
    [
        {"mix": -0.1},
        {"mix": 1.1},
        {"teacher_sees": "both"},
        {"attack": {"steps": 0}},
        {"attack": {"samples": 0}},
        {"attack": {"batch_norm": "eval"}},
    ],
)
def test_what_makes_no_sense_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(field))}"):
        method(**field)


def test_a_half_cannot_be_a_method_that_owns_its_forward_passes() -> None:
    with pytest.raises(
        InputError, match=r"^clean: unknown name 'fitnet' .*allowed: cross_entropy, kd, additive_kd"
    ):
        method(clean={"name": "fitnet"})


def test_by_default_it_is_pgd_10_with_epsilon_8_of_255() -> None:
    assert (Attack().steps, Attack().epsilon, Attack().norm, Attack().samples) == (
        10,
        8 / 255,
        "linf",
        1,
    )


@pytest.mark.parametrize("half", ["clean", "perturbed"])
def test_each_half_that_counts_must_fit(half: str) -> None:
    written = {"name": "output_regression", "on": "logits"}
    counts, not_counts = (1.0, 0.0) if half == "perturbed" else (0.0, 1.0)
    student = Described(MLP(), (1, 8, 8), 10)
    unfit = parse(Adversarial, {"name": "adversarial", half: written, "mix": counts})
    with pytest.raises(ValueError, match=rf"^method\.{half}\.on: logits: a virtual teacher"):
        unfit.check_fits(student, None)
    parse(Adversarial, {"name": "adversarial", half: written, "mix": not_counts}).check_fits(
        student, None
    )
