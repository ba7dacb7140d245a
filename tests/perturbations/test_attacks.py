"""PGD does on linear models what can be worked out by hand, and never leaves the ball and [0,
1]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from kdray.perturbations.attacks import Norm, iterates, pgd, project, random_start
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import distance_from_uniform, linear_classifier

NORMS: list[Norm] = ["linf", "l2"]
DUAL = {"linf": 1, "l2": 2}
both_norms = pytest.mark.parametrize("norm", NORMS)


def binary(weight: Tensor, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Logits of two classes, ∓w·x/2: the second one's margin is w·x, the first one's is -w·x."""
    return lambda images: scale * (images.flatten(1) @ weight)[:, None] * torch.tensor([-0.5, 0.5])


def drop_in_margin(adversarial: Tensor, images: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    return (images - adversarial).flatten(1) @ weight * (2 * labels - 1)


def lengths(offsets: Tensor, norm: Norm) -> Tensor:
    return torch.linalg.vector_norm(
        offsets.flatten(1), ord=float("inf") if norm == "linf" else 2, dim=1
    )


@both_norms
@pytest.mark.parametrize(("steps", "step_size"), [(1, 0.1), (1, 0.3), (5, 0.04)])
def test_gain_on_a_linear_model_is_epsilon_times_the_dual_norm(
    norm: Norm, steps: int, step_size: float
) -> None:
    weight = torch.randn(48, generator=draws())
    images, labels = (
        0.3 + 0.4 * torch.rand(6, 3, 4, 4, generator=draws(1)),
        torch.tensor([0, 1, 0, 1, 1, 0]),
    )
    adversarial = pgd(
        binary(weight),
        images,
        labels,
        norm=norm,
        epsilon=0.1,
        step_size=step_size,
        steps=steps,
        start=images,
    )
    gain = drop_in_margin(adversarial, images, labels, weight)
    torch.testing.assert_close(
        gain, torch.full((6,), 0.1 * float(weight.norm(DUAL[norm]))), rtol=1e-4, atol=0
    )


@both_norms
def test_gain_on_a_linear_model_does_not_depend_on_the_random_start(norm: Norm) -> None:
    weight = torch.randn(48, generator=draws())
    images, labels = torch.full((20, 3, 4, 4), 0.5), torch.ones(20, dtype=torch.long)
    start = random_start(images, norm, 0.1, draws(1))
    adversarial = pgd(
        binary(weight), images, labels, norm=norm, epsilon=0.1, step_size=0.1, steps=40, start=start
    )
    gain = drop_in_margin(adversarial, images, labels, weight)
    torch.testing.assert_close(
        gain, torch.full((20,), 0.1 * float(weight.norm(DUAL[norm]))), rtol=1e-3, atol=0
    )


@both_norms
def test_an_example_of_which_the_model_is_almost_certain_moves_as_far_as_any(norm: Norm) -> None:
    weight = torch.randn(48, generator=draws())
    images = torch.full((1, 3, 4, 4), 0.5)
    certain = binary(weight, scale=70 / abs(float(images.flatten() @ weight)))  # the loss is e⁻⁷⁰
    label = (certain(images)[:, 1] > 0).long()
    adversarial = pgd(
        certain, images, label, norm=norm, epsilon=0.1, step_size=0.1, steps=1, start=images
    )
    gain = float(drop_in_margin(adversarial, images, label, weight))
    assert gain == pytest.approx(0.1 * float(weight.norm(DUAL[norm])), rel=1e-4)


def test_two_steps_by_hand() -> None:
    image, weight = torch.tensor([0.5, 0.98]).view(1, 1, 1, 2), torch.tensor([1.0, -2.0])
    steps = [
        pgd(
            binary(weight),
            image,
            torch.tensor([1]),
            norm="linf",
            epsilon=0.1,
            step_size=0.06,
            steps=n,
            start=image,
        )
        for n in (1, 2)
    ]
    torch.testing.assert_close(steps[0].flatten(), torch.tensor([0.44, 1.0]))
    torch.testing.assert_close(steps[1].flatten(), torch.tensor([0.4, 1.0]))


@both_norms
def test_the_final_iterate_of_two_steps_is_one_step_after_one_step(norm: Norm) -> None:
    split, ball = digits().test.first(30), {"norm": norm, "epsilon": 0.3, "step_size": 0.1}
    images, logits = split.images / 255, trained_on_digits().logits
    once = pgd(logits, images, split.labels, steps=1, start=images, **ball)
    twice = pgd(logits, images, split.labels, steps=2, start=images, **ball)
    assert torch.equal(pgd(logits, images, split.labels, steps=1, start=once, **ball), twice)


@both_norms
def test_an_example_does_not_depend_on_the_others_in_its_batch(norm: Norm) -> None:
    split, ball = (
        digits().test.first(10),
        {"norm": norm, "epsilon": 0.3, "step_size": 0.1, "steps": 5},
    )
    images, logits = split.images / 255, trained_on_digits().logits
    together = pgd(logits, images, split.labels, start=images, **ball)
    alone = [
        pgd(logits, x[None], y[None], start=x[None], **ball)
        for x, y in zip(images, split.labels, strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


@settings(max_examples=60)
@given(
    norm=st.sampled_from(NORMS),
    epsilon=st.floats(0, 2),
    step_size=st.floats(1e-3, 3),
    steps=st.integers(0, 4),
    seed=st.integers(0, 1000),
)
def test_result_is_in_the_ball_and_in_0_to_1(
    norm: Norm, epsilon: float, step_size: float, steps: int, seed: int
) -> None:
    images = (1.5 * torch.rand(4, 2, 3, 3, generator=draws(seed)) - 0.25).clamp(
        0, 1
    )  # a third of the pixels at the ends
    labels = torch.randint(0, 3, (4,), generator=draws(seed))
    first, second = (
        torch.randn(18, 8, generator=draws(seed)),
        torch.randn(8, 3, generator=draws(seed)),
    )
    start = random_start(images, norm, epsilon, draws(seed + 1))
    adversarial = pgd(
        lambda x: (x.flatten(1) @ first).tanh() @ second,
        images,
        labels,
        norm=norm,
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        start=start,
    )
    for points in (start, adversarial):
        assert (lengths(points - images, norm) <= epsilon * (1 + 1e-5) + 1e-6).all()
        assert points.min() >= 0
        assert points.max() <= 1


@both_norms
def test_epsilon_zero_is_the_identity(norm: Norm) -> None:
    images, labels = torch.rand(5, 1, 4, 4, generator=draws()), torch.tensor([0, 1, 0, 1, 1])
    start = random_start(images, norm, 0.0, draws(1))
    weight = torch.randn(16, generator=draws(2))
    adversarial = pgd(
        binary(weight), images, labels, norm=norm, epsilon=0.0, step_size=0.1, steps=3, start=start
    )
    assert torch.equal(start, images)
    assert torch.equal(adversarial, images)


@both_norms
def test_a_gradient_of_zero_leaves_an_example_where_it_is(norm: Norm) -> None:
    images, labels = torch.rand(5, 1, 4, 4, generator=draws()), torch.zeros(5, dtype=torch.long)
    flat = binary(torch.zeros(16))
    unmoved = pgd(
        flat, images, labels, norm=norm, epsilon=0.1, step_size=0.1, steps=3, start=images
    )
    assert torch.equal(unmoved, images)
    start = random_start(images, norm, 0.1, draws(1))
    torch.testing.assert_close(
        pgd(flat, images, labels, norm=norm, epsilon=0.1, step_size=0.1, steps=3, start=start),
        start,
    )


@both_norms
def test_no_steps_return_the_start(norm: Norm) -> None:
    images, labels = torch.rand(5, 1, 4, 4, generator=draws()), torch.zeros(5, dtype=torch.long)
    start = random_start(images, norm, 0.1, draws(1))
    weight = torch.ones(16)
    assert torch.equal(
        pgd(
            binary(weight),
            images,
            labels,
            norm=norm,
            epsilon=0.1,
            step_size=0.1,
            steps=0,
            start=start,
        ),
        start,
    )


@both_norms
def test_attacking_leaves_no_trace_in_model_images_or_start(norm: Norm) -> None:
    classifier = linear_classifier(torch.randn(3, 16, generator=draws())).requires_grad_(True)
    images, labels = torch.rand(5, 1, 4, 4, generator=draws(1)), torch.tensor([0, 1, 2, 1, 0])
    start = random_start(images, norm, 0.1, draws(2))
    before = images.clone(), start.clone()
    adversarial = pgd(
        classifier.logits,
        images,
        labels,
        norm=norm,
        epsilon=0.1,
        step_size=0.1,
        steps=3,
        start=start,
    )
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert torch.equal(images, before[0])
    assert torch.equal(start, before[1])
    assert not any(points.requires_grad for points in (images, start, adversarial))


def test_linf_start_is_uniform_on_the_interval() -> None:
    images = torch.full((500, 1, 2, 2), 0.5)
    offsets = random_start(images, "linf", 0.1, draws()) - images
    assert distance_from_uniform((offsets / 0.1 + 1) / 2) < 1.95


def test_l2_start_has_radius_to_the_power_of_the_dimension_uniform_and_no_preferred_direction() -> (
    None
):
    images, dimension = torch.full((4000, 1, 2, 2), 0.5), 4
    offsets = (random_start(images, "l2", 0.1, draws()) - images).flatten(1) / 0.1
    assert distance_from_uniform(offsets.norm(dim=1) ** dimension) < 1.95
    assert (offsets.mean(0).abs() < 4 * (1 / (dimension + 2) / 4000) ** 0.5).all()
    # The covariance of the uniform distribution on the unit ball is I / (d + 2).
    torch.testing.assert_close(
        offsets.T.cov(), torch.eye(dimension) / (dimension + 2), rtol=0, atol=0.01
    )


@both_norms
def test_same_draws_same_start(norm: Norm) -> None:
    images = torch.rand(5, 1, 4, 4, generator=draws())
    assert torch.equal(
        random_start(images, norm, 0.1, draws(1)), random_start(images, norm, 0.1, draws(1))
    )
    assert not torch.equal(
        random_start(images, norm, 0.1, draws(1)), random_start(images, norm, 0.1, draws(2))
    )


def test_projection_moves_points_outside_the_ball_to_its_surface_and_others_not_at_all() -> None:
    centre = torch.full((2, 1, 1, 2), 0.5)
    points = torch.tensor([[0.9, 0.8], [0.6, 0.5]]).view(2, 1, 1, 2)
    l2, linf = (project(points, centre, norm, 0.25).flatten(1) for norm in ("l2", "linf"))
    torch.testing.assert_close(
        l2, torch.tensor([[0.7, 0.65], [0.6, 0.5]])
    )  # (0.4, 0.3) has length 0.5
    torch.testing.assert_close(linf, torch.tensor([[0.75, 0.75], [0.6, 0.5]]))


# In expectation over a model's own draws


class Drawing:
    """A linear model of two classes that has another weight at every call."""

    def __init__(self, weights: Tensor) -> None:
        self.weights, self.calls = weights, 0

    def __call__(self, images: Tensor) -> Tensor:
        weight = self.weights[self.calls % len(self.weights)]
        self.calls += 1
        return binary(weight)(images)


@both_norms
def test_a_step_follows_the_mean_gradient_over_the_calls(norm: Norm) -> None:
    weights, images = (
        3 * torch.randn(5, 8, generator=draws()),
        torch.rand(1, 1, 2, 4, generator=draws(1)) / 2 + 0.25,
    )
    model = Drawing(weights)
    moved = pgd(
        model,
        images,
        torch.tensor([1]),
        norm=norm,
        epsilon=0.2,
        step_size=0.05,
        steps=1,
        start=images,
        samples=5,
    )
    assert model.calls == 5
    # The cross-entropy of class 1 is log(1 + exp(-w.x)), its gradient -w / (1 + exp(w.x)).
    w, x = weights.double().numpy(), images.flatten().double().numpy()
    gradients = -w / (1 + np.exp(w @ x))[:, None]
    mean = gradients.mean(0)
    direction = np.sign(mean) if norm == "linf" else mean / np.linalg.norm(mean)
    np.testing.assert_allclose((moved - images).flatten(), 0.05 * direction, atol=1e-6)
    for gradient in (gradients[0], gradients[-1]):
        alone = np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)
        assert np.abs(alone - direction).max() > 0.05, "and not one call's"


def test_every_step_makes_its_own_calls() -> None:
    model, images = Drawing(torch.randn(3, 4, generator=draws())), torch.full((2, 1, 2, 2), 0.5)
    pgd(
        model,
        images,
        torch.tensor([0, 1]),
        norm="l2",
        epsilon=0.2,
        step_size=0.05,
        steps=4,
        start=images,
        samples=3,
    )
    assert model.calls == 12


@both_norms
def test_many_calls_of_a_model_that_draws_nothing_are_one(norm: Norm) -> None:
    split = digits().test.first(20)
    images = split.images / 255
    once, often = (
        pgd(
            trained_on_digits().logits,
            images,
            split.labels,
            norm=norm,
            epsilon=0.3,
            step_size=0.1,
            steps=4,
            start=images,
            samples=samples,
        )
        for samples in (1, 4)
    )
    torch.testing.assert_close(often, once, rtol=0, atol=1e-5)


def test_with_one_call_a_step_it_is_plain_pgd_to_the_last_bit() -> None:
    split = digits().test.first(20)
    images = split.images / 255
    start = random_start(images, "linf", 0.1, draws())
    found = pgd(
        trained_on_digits().logits,
        images,
        split.labels,
        norm="linf",
        epsilon=0.1,
        step_size=0.03,
        steps=5,
        start=start,
    )
    expected = start
    for _ in range(5):
        expected = expected.detach().requires_grad_(True)
        loss = functional.cross_entropy(
            trained_on_digits().logits(expected), split.labels, reduction="sum"
        )
        (gradient,) = torch.autograd.grad(loss, expected)
        moved = expected.detach() + 0.03 * gradient.sign()
        expected = torch.minimum(torch.maximum(moved, images - 0.1), images + 0.1).clamp(0, 1)
    assert torch.equal(found, expected)


def test_each_iterate_is_what_an_attack_of_so_many_steps_ends_with() -> None:
    logits = binary(torch.randn(48, generator=draws()))
    images, labels = torch.rand(4, 3, 4, 4, generator=draws(1)), torch.tensor([0, 1, 0, 1])
    how = {"norm": "l2", "epsilon": 0.4, "step_size": 0.1, "start": images}
    path = list(iterates(logits, images, labels, steps=3, **how))  # type: ignore[arg-type]
    assert [iterate.number for iterate in path] == [0, 1, 2, 3]
    assert [iterate.is_last for iterate in path] == [False, False, False, True]
    for iterate in path:
        ended = pgd(logits, images, labels, steps=iterate.number, **how)  # type: ignore[arg-type]
        assert torch.equal(iterate.points, ended)


def test_images_that_are_left_out_change_nothing_for_the_others() -> None:
    calls = []

    def logits(points: Tensor) -> Tensor:
        calls.append(len(points))
        return binary(weight)(points)

    weight = torch.randn(48, generator=draws())
    images, labels = torch.rand(4, 3, 4, 4, generator=draws(1)), torch.tensor([0, 1, 0, 1])
    stay = torch.tensor([True, False, True, True])
    how = {"norm": "linf", "epsilon": 0.4, "step_size": 0.1, "steps": 2, "start": images}
    for iterate in iterates(logits, images, labels, **how):  # type: ignore[arg-type]
        if iterate.number == 0:
            iterate.leave_out(~stay)
    assert calls == [4, 3]
    assert torch.equal(iterate.labels, labels[stay])
    assert torch.equal(iterate.points, pgd(logits, images, labels, **how)[stay])  # type: ignore[arg-type]
