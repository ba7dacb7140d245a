"""What the attack inside training makes rise, for linear students and teachers, whose gradients are
computed by finite differences in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.methods import AnyMethod, TrainingStep
from kdray.methods.attack import START_SIGMA, Attack
from kdray.trials.experiment import Experiment
from tests.methods.steps import LABELS, Linear, Plain, linear, softmax, step
from tests.small_trials import description
from tests.tensors import linear_classifier

STEP, EPSILON = 0.01, 0.5


def given(case: Linear, **fields: Any) -> tuple[Attack, TrainingStep]:
    attack = parse(Attack, {"epsilon": EPSILON, "step_size": STEP, "steps": 1, **fields})
    method: Any = parse(AnyMethod, {"name": "trades"})  # type: ignore[arg-type]
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    return attack, step(method, student, case.batch, teacher)


def kl(first: Any, second: Any) -> Any:
    """By row."""
    return (first * (np.log(first) - np.log(second))).sum(1)


def rising(case: Linear) -> dict[str, Callable[[Any], Any]]:
    """What each attack makes rise, by image, as a function of flat points."""
    student, teacher = case.student.astype(float), case.teacher.astype(float)
    clean = case.batch.images.flatten(1).double().numpy()
    of_teacher = softmax(case.batch.clean.flatten(1).double().numpy() @ teacher.T)
    rows = range(len(LABELS))

    def margin(x: Any) -> Any:
        logits = x @ student.T
        others = logits.copy()
        others[rows, LABELS] = -np.inf
        return others.max(1) - logits[rows, LABELS]

    return {
        "cross_entropy": lambda x: -np.log(softmax(x @ student.T)[rows, LABELS]),
        "margin": margin,
        "kl_teacher_clean": lambda x: kl(of_teacher, softmax(x @ student.T)),
        "kl_teacher": lambda x: kl(softmax(x @ teacher.T), softmax(x @ student.T)),
        "kl_self": lambda x: kl(softmax(clean @ student.T), softmax(x @ student.T)),
    }


def slope(function: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of each row's own value, by central differences."""
    found, width = np.zeros_like(x), 1e-5
    for pixel in range(x.shape[1]):
        ahead, behind = x.copy(), x.copy()
        ahead[:, pixel] += width
        behind[:, pixel] -= width
        found[:, pixel] = (function(ahead) - function(behind)) / (2 * width)
    return found


@pytest.mark.parametrize("loss", list(rising(linear())))
def test_a_step_goes_where_the_loss_of_that_name_rises(loss: str) -> None:
    case = linear()
    # Half way from 0 to 1, so that no step is cut off.
    middle = case.batch._replace(images=0.25 + case.batch.images / 2)
    case = case._replace(batch=middle)
    attack, working = given(case, loss=loss, start="uniform", epsilon=0.2)
    start = attack._start(working).flatten(1).double().numpy()
    attack, working = given(case, loss=loss, start="uniform", epsilon=0.2)
    moved = attack.examples(working).flatten(1).double().numpy() - start
    gradient = slope(rising(case)[loss], start)
    clear = np.abs(gradient) > 1e-4
    inside = np.abs(np.abs(moved) - STEP) < 1e-6  # not at the border of the ball
    assert (clear & inside).mean() > 0.6
    assert (np.sign(moved) == np.sign(gradient))[clear & inside].all()


@pytest.mark.parametrize("loss", list(rising(linear())))
def test_many_steps_raise_it_at_every_image(loss: str) -> None:
    case = linear()
    attack, working = given(case, loss=loss, start="gaussian", steps=20)
    x = attack.examples(working).flatten(1).double().numpy()
    clean = case.batch.images.flatten(1).double().numpy()
    function = rising(case)[loss]
    assert (function(x) > function(clean)).all()
    assert np.abs(x - clean).max() <= EPSILON + 1e-6
    assert x.min() >= 0
    assert x.max() <= 1


def test_the_teacher_is_asked_once_for_the_clean_images_or_at_every_step() -> None:
    case = linear()
    for loss, count in (("cross_entropy", 0), ("kl_self", 0), ("kl_teacher_clean", 1)):
        attack, working = given(case, loss=loss, steps=7)
        attack.examples(working)
        assert isinstance(working.teacher, Plain)
        assert len(working.teacher.asked) == count
        assert all(torch.equal(each.images, case.batch.clean) for each in working.teacher.asked)
    attack, working = given(case, loss="kl_teacher", steps=7)
    attack.examples(working)
    assert isinstance(working.teacher, Plain)
    assert [asked.with_graph for asked in working.teacher.asked] == [True] * 7
    assert {asked.temperature for asked in working.teacher.asked} == {1.0}


def test_a_gaussian_start_is_beside_the_image() -> None:
    case = linear()
    attack, working = given(case, start="gaussian")
    offset = attack._start(working) - case.batch.images
    assert 0 < float(offset.abs().max()) < 6 * START_SIGMA
    assert float(offset.std()) == pytest.approx(START_SIGMA, rel=0.5)


def test_nothing_of_the_attack_teaches() -> None:
    for loss in rising(linear()):
        attack, working = given(linear(), loss=loss)
        assert not attack.examples(working).requires_grad
        assert all(parameter.grad is None for parameter in working.student.parameters())


def test_an_attack_that_asks_a_teacher_needs_one() -> None:
    method = {"name": "adversarial", "attack": {"loss": "kl_teacher_clean"}}
    with pytest.raises(InputError, match=r"method adversarial needs a teacher, and there is none$"):
        Experiment.parse(description(method=method))
    Experiment.parse(description(method=method, teacher=description()))
    Experiment.parse(description(method={**method, "mix": 0.0}))  # no attack is made
