"""The bound of theorem 1 against its formula, its ends, and the direction that its proof shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse
from kdray.data import Split, to_unit
from kdray.models import Classifier
from kdray.perturbations.attacks import in_ball
from kdray.robustness import Measurement, PredictionBound, Subject
from kdray.robustness.base import BLOCK
from kdray.robustness.prediction_bound import true_class_score
from kdray.testing.samples import digits, draws, trained_on_digits, untrained_on_digits
from tests.methods.steps import slope, softmax
from tests.tensors import linear_classifier

PIXELS, CLASSES = 6, 4


def split(count: int = BLOCK + 40, pixels: int = PIXELS, classes: int = CLASSES) -> Split:
    images = torch.randint(0, 256, (count, 1, 1, pixels), generator=draws(), dtype=torch.uint8)
    return Split(images, torch.randint(0, classes, (count,), generator=draws(1)))


def measured(
    bound: PredictionBound, student: Classifier, teacher: Classifier, on: Split
) -> dict[str, Measurement]:
    return {m.metric: m for m in bound.measure(Subject(student, on, teacher=teacher))}


def scores(weight: Any, x: Any, labels: Tensor) -> tuple[Any, Any]:
    """f and its slope for a linear classifier, straight from the formulas."""
    logits = x @ np.asarray(weight, dtype=float).T
    return softmax(logits)[range(len(labels)), labels], slope(weight, logits, 1.0, labels)


def written_out(bound: PredictionBound, student: Tensor, teacher: Tensor, on: Split) -> Any:
    """The radius of every image."""
    radii = []
    images = to_unit(on.images)
    for number, (block, labels) in enumerate(
        zip(images.split(BLOCK), on.labels.split(BLOCK), strict=True)
    ):
        generator, x = (
            bound.generator(torch.device("cpu"), number),
            block.flatten(1).double().numpy(),
        )
        points = [x] + [
            x + in_ball(block, "l2", bound.epsilon, generator).flatten(1).double().numpy()
            for _ in range(bound.points)
        ]
        steepest = np.zeros(len(labels))
        for at in points:
            gap = scores(teacher, at, labels)[1] - scores(student, at, labels)[1]
            steepest = np.maximum(steepest, np.sqrt((gap**2).sum(1)))
        lead = scores(student, x, labels)[0] - scores(teacher, x, labels)[0]
        radii.append(np.where(lead > 0, np.minimum(lead / steepest, bound.epsilon), 0))
    return np.concatenate(radii)


def weights(seed: int = 0) -> tuple[Tensor, Tensor]:
    student, teacher = 3 * torch.randn(2, CLASSES, PIXELS, generator=draws(seed))
    return student, teacher


@pytest.mark.parametrize("points", [1, 8])
@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_the_radius_is_the_lead_over_the_largest_difference_of_slopes_in_the_ball(
    points: int, epsilon: float
) -> None:
    bound, on, (student, teacher) = (
        PredictionBound(points=points, epsilon=epsilon, seed=3),
        split(),
        weights(),
    )
    found = measured(bound, linear_classifier(student), linear_classifier(teacher), on)
    expected = written_out(bound, student, teacher, on)
    assert 0.2 < (expected > 0).mean() < 0.8
    assert found["radius"].value == pytest.approx(expected.mean(), rel=1e-4)
    assert (found["ahead"].correct, found["ahead"].value) == (
        int((expected > 0).sum()),
        (expected > 0).mean(),
    )
    assert {m.examples for m in found.values()} == {BLOCK + 40}
    assert {(m.norm, m.epsilon, m.samples) for m in found.values()} == {("l2", epsilon, points)}


def test_the_score_is_the_softmax_of_the_label_and_its_slope_that_of_finite_differences() -> None:
    classifier, on = trained_on_digits(), digits().test.first(4)
    images = to_unit(on.images)
    score, gradient = true_class_score(classifier, images, on.labels)
    expected = softmax(classifier.logits(images).double().numpy())[range(4), on.labels]
    np.testing.assert_allclose(score, expected, rtol=1e-4)
    direction = torch.randn(images.shape, generator=draws())
    ahead, behind = (
        true_class_score(classifier, images + s * 1e-3 * direction, on.labels)[0] for s in (1, -1)
    )
    along = (gradient * direction).sum((1, 2, 3))
    torch.testing.assert_close((ahead - behind) / 2e-3, along, rtol=0.02, atol=2e-3)


def test_a_student_that_is_its_teacher_is_nowhere_ahead() -> None:
    found = measured(
        PredictionBound(points=2), trained_on_digits(), trained_on_digits(), digits().test.first(50)
    )
    assert (found["radius"].value, found["ahead"].value) == (0.0, 0.0)


def test_a_student_ahead_by_a_constant_keeps_its_lead_in_the_whole_ball() -> None:
    on = split(classes=2)
    sure, unsure = (
        linear_classifier(torch.zeros(2, PIXELS), torch.tensor([bias, 0.0])) for bias in (2.0, 0.0)
    )
    found = measured(PredictionBound(epsilon=0.7), sure, unsure, on)
    zeros = int((on.labels == 0).sum())
    assert found["ahead"].correct == zeros, "of the other class it is behind"
    assert found["radius"].value == pytest.approx(0.7 * zeros / len(on.labels), rel=1e-5)


@pytest.mark.parametrize("epsilon", [1e-3, 0.3, 50.0])
def test_no_radius_is_above_epsilon_or_below_0(epsilon: float) -> None:
    bound, on = PredictionBound(epsilon=epsilon, points=4), digits().test.first(60)
    radii = [
        measured(
            bound, trained_on_digits(), untrained_on_digits(), Split(image[None], label[None])
        )["radius"].value
        for image, label in zip(on.images, on.labels, strict=True)
    ]
    assert 0 <= min(radii) <= max(radii) <= epsilon * (1 + 1e-6)
    assert max(radii) > 0


def test_a_student_of_nobody_cannot_be_measured() -> None:
    with pytest.raises(
        ValueError, match="compares a student with its trained teacher, and there is none"
    ):
        list(PredictionBound().measure(Subject(trained_on_digits(), digits().test.first(3))))


def test_it_says_that_it_is_an_estimate() -> None:
    found = measured(
        PredictionBound(points=1),
        trained_on_digits(),
        untrained_on_digits(),
        digits().test.first(3),
    )
    assert all("estimate, not certified" in str(m.checks) for m in found.values())


# The direction of the theorem


def linear_score(classifier: Classifier, images: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    """f as a linear function, the logit of class 0: its slope is the same everywhere, so that the
    sampled maximum is exact."""
    weight = classifier.network.head.weight[0]  # type: ignore[index,union-attr]
    assert isinstance(weight, Tensor)
    return classifier.logits(images)[:, 0].detach(), weight.detach().view(1, 1, 1, -1).expand_as(
        images
    )


def test_no_shorter_perturbation_puts_the_teacher_ahead_and_a_longer_one_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kdray.robustness.prediction_bound.true_class_score", linear_score)
    student, teacher = weights(2)
    centred = torch.zeros(CLASSES).index_fill(
        0, torch.tensor(0), float((teacher - student)[0].sum() / 2)
    )
    of_student, of_teacher, on = (
        linear_classifier(student, centred),
        linear_classifier(teacher),
        split(60),
    )
    bound, tested = PredictionBound(epsilon=1e3, points=1), 0
    for image, label in zip(to_unit(on.images), on.labels, strict=True):
        one = Split((image[None] * 255).round().to(torch.uint8), label[None])
        radius = measured(bound, of_student, of_teacher, one)["radius"].value
        directions = torch.randn(500, 1, 1, PIXELS, generator=draws(5))
        worst = (teacher[0] - student[0]).view(1, 1, 1, -1)
        directions = torch.cat([directions, worst])
        directions = directions / directions.flatten(1).norm(dim=1).view(-1, 1, 1, 1)

        def lead(length: float, image: Tensor = image, directions: Tensor = directions) -> Tensor:
            moved = image + length * directions
            return of_student.logits(moved)[:, 0] - of_teacher.logits(moved)[:, 0]

        if radius == 0:
            assert lead(0.0)[0] <= 0
            continue
        tested += 1
        assert (lead(0.99 * radius) > 0).all()
        assert (lead(1.01 * radius)[-1] < 0).all(), "the bound is exact in the worst direction"
    assert 10 < tested < 50


def test_in_one_dimension_the_bound_is_no_longer_than_the_way_to_where_the_teacher_is_as_sure() -> (
    None
):
    """Of softmax itself: f_S = σ(4x - 2) and f_T = 1/2, which are equal at x = 1/2, where f_S is
    steepest."""
    student = linear_classifier(torch.tensor([[4.0], [0.0]]), torch.tensor([-2.0, 0.0]))
    teacher = linear_classifier(torch.zeros(2, 1))
    for pixel in (130, 180, 250):
        one = Split(torch.full((1, 1, 1, 1), pixel, dtype=torch.uint8), torch.tensor([0]))
        radius = measured(PredictionBound(points=200), student, teacher, one)["radius"].value
        x = pixel / 255
        lead = 1 / (1 + np.exp(-(4 * x - 2))) - 0.5
        assert radius == pytest.approx(lead / (4 / 4), rel=1e-3), (
            "σ'(0) = 1/4 of the weight is the largest slope"
        )
        assert radius <= 1.001 * (x - 0.5), "but for the sampling"


@pytest.mark.parametrize("fields", [{"epsilon": 0}, {"epsilon": -1.0}, {"points": 0}])
def test_a_ball_without_extent_and_no_points_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(PredictionBound, {"name": "prediction_bound", **fields})
