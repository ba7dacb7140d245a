"""Hints against NumPy, what each stage teaches and what it leaves alone, and the main stage's
distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdray.core import InputError, parse
from kdray.data import Digits
from kdray.methods import AdditiveKD, Batch, FitNet, TrainingStep
from kdray.methods.fitnet import Hints, check_regression, hint_loss, middle, regressor
from kdray.models import MLP, CifarResNet, Classifier, Model, WideResNet, build
from kdray.testing.samples import draws
from tests.methods.steps import Plain, hard, step

MAPS: tuple[Model, Model] = (WideResNet(depth=10, width=1), CifarResNet(depth=8))
VECTORS: tuple[Model, Model] = (MLP(hidden=(7, 6, 5)), MLP(hidden=(12, 11)))
both_kinds = pytest.mark.parametrize("networks", [MAPS, VECTORS], ids=["maps", "vectors"])
both_readings = pytest.mark.parametrize("hint", ["regression", "classifier"])


def method(**fields: Any) -> FitNet:
    return parse(FitNet, {"name": "fitnet", **fields})


def classifier(model: Model, seed: int) -> Classifier:
    return build(model, Digits(), nn.Identity(), seed)


def batch() -> Batch:
    noisy, clean = torch.rand(2, 9, 1, 8, 8, generator=draws(3))
    return Batch(noisy, clean, torch.randint(0, 10, (9,), generator=draws(4)))


def given(fitnet: FitNet, networks: tuple[Model, Model] = MAPS) -> TrainingStep:
    student, teacher = (classifier(model, seed) for seed, model in enumerate(networks))
    return step(fitnet, student.train(), batch(), Plain(teacher.requires_grad_(True)))


def hints(working: TrainingStep) -> Hints:
    assert isinstance(working.helper, Hints)
    return working.helper


def hint_layer(working: TrainingStep, index: int) -> Tensor:
    assert isinstance(working.teacher, Plain)
    outputs = working.teacher.classifier(working.batch.clean)
    stages: tuple[Tensor, ...] = outputs.stages
    return stages[index].detach()


def guided_layer(working: TrainingStep, index: int) -> Tensor:
    """In train mode, as in the step; the running statistics do not matter to it."""
    stages: tuple[Tensor, ...] = working.student(working.batch.images).stages
    return stages[index].detach()


def learned(working: TrainingStep) -> set[str]:
    """The parameters that a gradient reached: those of the student, and the helper's by their
    module."""
    student = {
        name
        for name, parameter in working.student.network.named_parameters()
        if parameter.grad is not None
    }
    helper = {
        f"helper.{name}"
        for name, parameter in working.helper.named_parameters()
        if parameter.grad is not None
    }
    return student | helper


# Stages


def test_by_regression_there_are_two_stages_and_by_a_classifier_three() -> None:
    assert method(hint_epochs=4).stages(7) == (("hint", 4), ("main", 7))
    by_classifier = method(hint="classifier", hint_epochs=4, classifier_epochs=2)
    assert by_classifier.stages(7) == (("classifier", 2), ("hint", 4), ("main", 7))


def test_the_middle_is_the_earlier_of_two() -> None:
    assert [middle(count) for count in (1, 2, 3, 4, 5)] == [0, 0, 1, 1, 2]


# The hint loss


@pytest.mark.parametrize("shape", [(5, 3, 4, 2), (5, 6)])
def test_half_the_squared_distance_is_summed_or_averaged_over_the_layer_and_averaged_over_the_batch(
    shape: tuple[int, ...],
) -> None:
    ours, theirs = torch.randn(2, *shape, generator=draws())
    squares = (ours.double().numpy() - theirs.double().numpy()) ** 2
    assert float(hint_loss(ours, theirs, "sum")) == pytest.approx(squares.sum() / 2 / 5, rel=1e-6)
    assert float(hint_loss(ours, theirs, "mean")) == pytest.approx(squares.mean() / 2, rel=1e-6)


@both_kinds
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_wiring_the_regressed_guided_layer_of_the_noisy_image_against_the_hint_layer_of_the_clean_one(
    networks: tuple[Model, Model], reduction: str
) -> None:
    fitnet = method(hint_reduction=reduction)
    working = given(fitnet, networks)
    total, terms, logits = fitnet.losses("hint", working)
    hint = hint_layer(working, middle(3 if networks is MAPS else 2)).double().numpy()
    guided = guided_layer(working, 1)
    regressed = hints(working).regressor(guided).detach().double().numpy()
    squares = (regressed - hint) ** 2 / 2
    expected = squares.mean() if reduction == "mean" else squares.sum() / 9
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert {name: float(term.detach()) for name, term in terms.items()} == {
        "hint": float(total.detach())
    }
    assert torch.equal(logits, working.student.logits(working.batch.images))


def test_the_regressor_of_vectors_is_linear() -> None:
    working = given(method(), VECTORS)
    found = hints(working).regressor
    assert isinstance(found, nn.Linear)
    assert (found.in_features, found.out_features) == (
        6,
        12,
    )  # the second of three and the first of two


@pytest.mark.parametrize(
    ("guided", "hint", "kernel"),
    [
        ((16, 8, 8), (32, 4, 4), (5, 5)),
        ((4, 8, 6), (2, 8, 2), (1, 5)),
        ((3, 5, 5), (3, 5, 5), (1, 1)),
        ((3, 4, 4), (2, 1, 1), (4, 4)),
    ],
)
def test_the_regressor_of_maps_is_a_convolution_as_large_as_the_guided_map_exceeds_the_hint_map(
    guided: tuple[int, ...], hint: tuple[int, ...], kernel: tuple[int, int]
) -> None:
    found = regressor(guided, hint)
    assert isinstance(found, nn.Conv2d)
    assert found.kernel_size == kernel
    assert found(torch.rand(2, *guided)).shape == (2, *hint)


@pytest.mark.parametrize(
    ("guided", "hint"),
    [
        ((16, 4, 4), (16, 8, 8)),
        ((16, 8, 4), (16, 4, 8)),
        ((16,), (16, 8, 8)),
        ((16, 8, 8), (16,)),
        ((4, 4), (4, 4)),
    ],
)
def test_a_smaller_map_and_a_vector_for_a_map_cannot_be_regressed(
    guided: tuple[int, ...], hint: tuple[int, ...]
) -> None:
    with pytest.raises(
        ValueError,
        match=r"^method fitnet: the student's stage .* cannot be regressed onto the teacher's",
    ):
        check_regression(guided, hint)
    with pytest.raises(ValueError, match="cannot be regressed"):
        regressor(guided, hint)


@pytest.mark.parametrize(("student_stage", "teacher_stage"), [(0, 2), (1, 1), (2, 2)])
def test_the_stages_may_be_chosen(student_stage: int, teacher_stage: int) -> None:
    fitnet = method(student_stage=student_stage, teacher_stage=teacher_stage)
    working = given(fitnet)
    total, _, _ = fitnet.losses("hint", working)
    regressed = hints(working).regressor(guided_layer(working, student_stage))
    assert torch.equal(total, hint_loss(regressed, hint_layer(working, teacher_stage), "mean"))


# What each stage teaches


BELOW = {"stem": 0, "stages.0": 1, "stages.1": 2}


@both_readings
@pytest.mark.parametrize("guided", [0, 1])
def test_a_hint_teaches_the_layers_up_to_the_guided_one_and_the_regressor(
    hint: str, guided: int
) -> None:
    fitnet = method(hint=hint, student_stage=guided, teacher_stage=2)
    working = given(fitnet)
    fitnet.losses("hint", working).total.backward()
    names = {name for name, _ in working.student.network.named_parameters()}
    expected = {
        name
        for name in names
        for top, depth in BELOW.items()
        if name.startswith(top) and depth <= guided + 1
    }
    assert learned(working) == expected | {"helper.regressor.weight", "helper.regressor.bias"}
    for module in (working.student, working.helper):
        assert all(
            parameter.grad is None or parameter.grad.any() for parameter in module.parameters()
        )
    assert isinstance(working.teacher, Plain)
    assert all(parameter.grad is None for parameter in working.teacher.classifier.parameters())


def test_the_classifier_stage_teaches_the_classifier_alone() -> None:
    fitnet = method(hint="classifier")
    working = given(fitnet)
    fitnet.losses("classifier", working).total.backward()
    assert learned(working) == {"helper.classifier.weight", "helper.classifier.bias"}
    assert isinstance(working.teacher, Plain)
    assert all(parameter.grad is None for parameter in working.teacher.classifier.parameters())


@both_readings
def test_the_main_stage_teaches_the_student_alone(hint: str) -> None:
    fitnet = method(hint=hint)
    working = given(fitnet)
    fitnet.losses("main", working).total.backward()
    assert learned(working) == {name for name, _ in working.student.network.named_parameters()}


# The other reading


@both_kinds
def test_wiring_the_classifier_learns_the_labels_from_the_mean_over_the_teachers_map(
    networks: tuple[Model, Model],
) -> None:
    fitnet = method(hint="classifier")
    working = given(fitnet, networks)
    total, terms, logits = fitnet.losses("classifier", working)
    hint = hint_layer(working, middle(3 if networks is MAPS else 2)).double().numpy()
    pooled = hint.mean((2, 3)) if hint.ndim == 4 else hint
    linear = hints(working).classifier
    expected = (
        pooled @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
    )
    np.testing.assert_allclose(logits.detach(), expected, atol=1e-5)
    assert float(total.detach()) == pytest.approx(hard(expected, working.batch.labels), rel=1e-5)
    assert {name: float(term.detach()) for name, term in terms.items()} == {
        "hint_classifier": float(total.detach())
    }


@both_kinds
def test_wiring_the_classifier_is_then_applied_to_the_students_regressed_features(
    networks: tuple[Model, Model],
) -> None:
    fitnet = method(hint="classifier")
    working = given(fitnet, networks)
    total, terms, logits = fitnet.losses("hint", working)
    regressed = hints(working).regressor(guided_layer(working, 1)).detach().double().numpy()
    pooled = regressed.mean((2, 3)) if regressed.ndim == 4 else regressed
    linear = hints(working).classifier
    answers = (
        pooled @ linear.weight.detach().double().numpy().T + linear.bias.detach().double().numpy()
    )
    assert float(total.detach()) == pytest.approx(hard(answers, working.batch.labels), rel=1e-5)
    assert {name: float(term.detach()) for name, term in terms.items()} == {
        "hint": float(total.detach())
    }
    assert torch.equal(logits, working.student.logits(working.batch.images)), (
        "its training accuracy is the student's"
    )


# The main stage


@both_readings
def test_the_main_stage_is_additive_distillation(hint: str) -> None:
    fitnet = method(hint=hint, weight=2.5, temperature=1.5)
    found = fitnet.losses("main", given(fitnet))
    expected = AdditiveKD(weight=2.5, temperature=1.5).losses("main", given(fitnet))
    assert torch.equal(found.total, expected.total)
    assert torch.equal(found.logits, expected.logits)
    assert found.terms.keys() == expected.terms.keys()
    assert all(torch.equal(term, expected.terms[name]) for name, term in found.terms.items())


@both_readings
def test_the_teacher_is_asked_about_the_clean_image_in_every_stage(hint: str) -> None:
    fitnet = method(hint=hint, temperature=2.5)
    for stage in fitnet.stages(1):
        working = given(fitnet)
        assert isinstance(working.teacher, Plain)
        working.teacher.asked.clear()  # by the helper
        fitnet.losses(stage.name, working)
        (asked,) = working.teacher.asked
        assert torch.equal(asked.images, working.batch.clean)
        assert torch.equal(asked.labels, working.batch.labels)
        assert (asked.temperature, asked.with_graph) == (2.5, False)


@pytest.mark.parametrize(
    "fields",
    [
        {"hint": "both"},
        {"hint_epochs": 0},
        {"classifier_epochs": 0},
        {"student_stage": -1},
        {"teacher_stage": -1},
        {"hint_reduction": "max"},
        {"weight": -1.0},
        {"temperature": 0},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        method(**fields)


# Hints throughout


@both_readings
def test_hints_throughout_are_a_weighted_term_of_one_stage(hint: str) -> None:
    fitnet = method(hint=hint, hint_timing="throughout", hint_weight=0.3, weight=2.0)
    names = [name for name, _ in fitnet.stages(7)]
    assert names == (["classifier", "main"] if hint == "classifier" else ["main"])
    working = given(fitnet)
    total, terms, logits = fitnet.losses("main", working)
    before = method(hint=hint, weight=2.0)
    main, hinted = (before.losses(stage, working) for stage in ("main", "hint"))
    assert torch.allclose(total, main.total + 0.3 * hinted.total)
    assert set(terms) == {"cross_entropy", "soft", "hint"}
    for name, value in (main.terms | hinted.terms).items():
        assert torch.allclose(terms[name], value)
    assert torch.equal(logits, main.logits)


def test_hints_throughout_teach_the_student_whole_and_the_regressor() -> None:
    fitnet = method(hint_timing="throughout")
    working = given(fitnet)
    fitnet.losses("main", working).total.backward()
    names = {name for name, _ in working.student.network.named_parameters()}
    assert learned(working) == names | {"helper.regressor.weight", "helper.regressor.bias"}


@pytest.mark.parametrize(
    "fields", [{"hint_weight": 2.0}, {"hint_timing": "throughout", "hint_epochs": 3}]
)
def test_what_the_timing_has_no_use_for_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="has no use for it"):
        method(**fields)
