"""Input-gradient matching against a linear model's closed form, finite differences, and examples
one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.data import Digits
from kdray.methods import AdditiveKD, Batch, GradientMatching
from kdray.methods.gradient_matching import gradient_loss
from kdray.methods.gradients import input_gradient
from kdray.models import MLP, build
from kdray.testing.samples import draws
from tests.methods.steps import (
    CLASSES,
    LABELS,
    PIXELS,
    ROWS,
    Plain,
    hard,
    linear,
    mismatch,
    slope,
    soft,
    step,
)
from tests.tensors import linear_classifier


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_input_gradient_of_a_linear_model_is_its_closed_form(temperature: float) -> None:
    case = linear()
    images = case.batch.images.clone().requires_grad_(True)
    logits = linear_classifier(torch.tensor(case.student)).logits(images)
    found = input_gradient(images, logits, LABELS, temperature, create_graph=False)
    assert not found.requires_grad
    np.testing.assert_allclose(
        found.flatten(1), slope(case.student, case.logits[0], temperature), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_wiring_each_gradient_is_taken_at_the_image_that_its_network_sees(
    temperature: float,
) -> None:
    case = linear()
    found, teacher = case.losses(
        GradientMatching(weight=2.0, temperature=temperature, gradient_weight=5.0)
    )
    terms = {
        "cross_entropy": hard(case.logits[0]),
        "soft": soft(*case.logits, temperature),
        "gradient": mismatch(case, temperature),
    }
    assert {name: float(term) for name, term in found.terms.items()} == pytest.approx(
        terms, rel=1e-4
    )
    expected = terms["cross_entropy"] + 2 * terms["soft"] + 5 * terms["gradient"]
    assert float(found.total) == pytest.approx(expected, rel=1e-4)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert torch.equal(asked.labels, LABELS)
    assert (asked.temperature, asked.with_graph) == (temperature, True)


def test_its_gradient_in_the_weights_is_that_of_finite_differences() -> None:
    """The second backward pass: L_G of a linear student, moved weight by weight in double
    precision."""
    case, temperature, width = linear(), 2.0, 1e-5
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    method = GradientMatching(temperature=temperature)
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    method.losses("main", step(method, student, case.batch, teacher)).terms["gradient"].backward()
    expected = np.zeros((CLASSES, PIXELS))
    for index in np.ndindex(expected.shape):
        nudge = np.zeros_like(expected)
        nudge[index] = width
        up, down = (
            mismatch(case, temperature, case.student.astype(float) + sign * nudge)
            for sign in (1, -1)
        )
        expected[index] = (up - down) / (2 * width)
    found = dict(student.named_parameters())["network.head.weight"].grad
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def test_without_noise_a_student_that_is_its_teacher_matches_exactly() -> None:
    case = linear()
    clean = case.batch._replace(images=case.batch.clean)
    found, _ = case._replace(student=case.teacher, batch=clean).losses(GradientMatching())
    assert float(found.terms["gradient"]) == 0


def test_without_c1_it_is_additive_kd() -> None:
    without, _ = linear().losses(GradientMatching(gradient_weight=0.0))
    additive, _ = linear().losses(AdditiveKD())
    assert float(without.total) == float(additive.total)


def test_the_gradient_of_the_batch_is_that_of_every_example_alone() -> None:
    network = build(MLP(hidden=(16, 16)), Digits(), torch.nn.Identity(), seed=0).train()
    images = torch.rand(8, 1, 8, 8, generator=draws()).requires_grad_(True)
    labels = torch.arange(8)
    together = input_gradient(images, network.logits(images), labels, 2.0, create_graph=False)
    for index in range(8):
        image = images[index : index + 1].detach().requires_grad_(True)
        (network.logits(image) / 2).softmax(1)[0, index].backward()
        torch.testing.assert_close(
            together[index], image.grad[0] if image.grad is not None else None
        )


def test_distance_is_summed_over_pixels_and_channels_and_averaged_over_the_batch() -> None:
    first, second = torch.randn(2, 3, 2, 4, 5, generator=draws())
    expected = ((first.numpy() - second.numpy()).astype(float) ** 2).sum() / 3
    assert float(gradient_loss(first, second)) == pytest.approx(expected, rel=1e-5)


def test_descent_brings_the_gradients_together() -> None:
    case = linear()
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    method = GradientMatching(weight=0.0, gradient_weight=1.0)
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    optimizer = torch.optim.SGD(student.parameters(), 3.0)
    gaps = []
    for _ in range(100):
        gap = method.losses("main", step(method, student, case.batch, teacher)).terms["gradient"]
        gaps.append(float(gap.detach()))
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
    assert gaps[-1] < 0.5 * gaps[0]


def test_the_batch_asks_for_no_gradient_afterwards() -> None:
    case = linear()
    case.losses(GradientMatching())
    assert not case.batch.images.requires_grad
    assert not case.batch.clean.requires_grad


def test_a_single_example_of_a_batch_is_weighed_by_the_size_of_the_batch() -> None:
    case = linear()
    alone = [
        case._replace(batch=Batch(*(part[row : row + 1] for part in case.batch[:3]))).losses(
            GradientMatching()
        )[0]
        for row in range(ROWS)
    ]
    together, _ = case.losses(GradientMatching())
    mean = np.mean([float(found.terms["gradient"]) for found in alone])
    assert float(together.terms["gradient"]) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    "fields", [{"gradient_weight": -1.0}, {"weight": -1.0}, {"temperature": 0}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(GradientMatching, {"name": "gradient_matching", **fields})
