"""Certificates against the exact radius of linear classifiers, the bound against scipy's test, and
the ends of both."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from kdray.core import InputError, parse
from kdray.data import Split, to_unit
from kdray.models import Classifier
from kdray.robustness import Measurement, Subject, measurements
from kdray.robustness.base import BLOCK
from kdray.robustness.certified_radius import ABSTAINED, CertifiedRadius, lower_bound
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import Watched, linear_classifier

NORMAL = NormalDist()
PIXELS = 6
WEIGHT = torch.tensor([[0.5, -0.2, 0.1, 0.0, 0.3, 0.2], [-0.3, 0.1, 0.2, 0.4, -0.1, 0.1]])
BIAS = torch.tensor([0.0, 0.1])


def split(count: int = 60) -> Split:
    images = torch.randint(0, 256, (count, 1, 1, PIXELS), generator=draws(), dtype=torch.uint8)
    return Split(images, torch.randint(0, 2, (count,), generator=draws(1)))


def measured(
    evaluation: CertifiedRadius, classifier: Classifier, on: Split
) -> dict[Any, Measurement]:
    """By metric, or by radius where there is one."""
    found = measurements(evaluation, Subject(classifier, on))
    return {m.metric if m.epsilon is None else m.epsilon: m for m in found}


def margins(on: Split) -> Tensor:
    """(z₁ - z₀)/‖w₁ - w₀‖ of the linear classifier: the signed distance to its decision
    boundary."""
    direction = (WEIGHT[1] - WEIGHT[0]).double()
    return (
        to_unit(on.images).flatten(1).double() @ direction + float(BIAS[1] - BIAS[0])
    ) / direction.norm()


# Linear classifiers: class 1 has the probability Φ(margin/σ), so that the exact radius is |margin|,
# whatever σ is


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_the_radius_of_a_linear_classifier_is_below_its_margin_by_no_more_than_the_bound_costs(
    sigma: float,
) -> None:
    on, samples = split(), 3000
    found = CertifiedRadius(sigma=sigma, samples=samples).certified(
        linear_classifier(WEIGHT, BIAS), on
    )
    certain = found.classes != ABSTAINED
    assert int(certain.sum()) > 30
    assert torch.equal(found.classes[certain], (margins(on) > 0).long()[certain])
    for exact, radius in zip(margins(on).abs().tolist(), found.radii.tolist(), strict=True):
        p = NORMAL.cdf(exact / sigma)
        # Bernstein's inequality at exp(-10), once for the votes and once for the bound.
        worst = p - 2 * (sqrt(20 * p * (1 - p) / samples) + 20 / samples)
        assert (sigma * NORMAL.inv_cdf(worst) if worst > 0.5 else 0) <= radius <= exact


def test_more_passes_come_closer_to_the_margin() -> None:
    on, classifier = split(), linear_classifier(WEIGHT, BIAS)
    gaps = [
        float(
            (
                margins(on).abs()
                - CertifiedRadius(sigma=0.5, samples=n).certified(classifier, on).radii
            ).mean()
        )
        for n in (30, 300, 3000)
    ]
    assert gaps[0] > 1.5 * gaps[1] > 2 * gaps[2] > 0


def test_in_the_worst_direction_the_answer_changes_right_behind_the_margin_and_not_within_the_radius() -> (
    None
):
    on, classifier, sigma = split(), linear_classifier(WEIGHT, BIAS), 0.25
    found = CertifiedRadius(sigma=sigma).certified(classifier, on)
    worst = (
        -torch.sign(margins(on))[:, None] * (WEIGHT[1] - WEIGHT[0]) / (WEIGHT[1] - WEIGHT[0]).norm()
    )

    def answer(shift: Tensor) -> Tensor:
        """Of the smoothed classifier, which is the linear one itself: the noise is symmetric."""
        moved = to_unit(on.images) + (shift[:, None] * worst).view(on.images.shape).float()
        return classifier.logits(moved).argmax(1)

    certain = found.classes != ABSTAINED
    assert torch.equal(answer(0.999 * found.radii)[certain], found.classes[certain])
    assert (answer(1.001 * margins(on).abs()) != answer(torch.zeros(len(worst)))).all()


# The algorithm, written out


def written_out(
    evaluation: CertifiedRadius, classifier: Classifier, on: Split
) -> tuple[list[int], list[float]]:
    classes, radii = [], []
    for number, block in enumerate(to_unit(on.images).split(BLOCK)):
        noise = evaluation.generator(torch.device("cpu"), number)
        answers = torch.stack(
            [
                classifier.logits(
                    block + evaluation.sigma * torch.randn(block.shape, generator=noise)
                ).argmax(1)
                for _ in range(evaluation.selection + evaluation.samples)
            ]
        )
        for of_image in answers.T.tolist():
            first, again = of_image[: evaluation.selection], of_image[evaluation.selection :]
            chosen = max(range(10), key=first.count)
            test = binomtest(again.count(chosen), evaluation.samples, alternative="greater")
            p = float(test.proportion_ci(1 - evaluation.alpha, method="exact").low)
            classes.append(chosen if p > 0.5 else ABSTAINED)
            radii.append(evaluation.sigma * NORMAL.inv_cdf(p) if p > 0.5 else 0.0)
    return classes, radii


def test_every_number_is_that_of_the_algorithm_written_out() -> None:
    evaluation = CertifiedRadius(
        sigma=0.4, selection=7, samples=40, alpha=0.05, radii=(0.0, 0.2, 0.4), seed=3
    )
    images, labels = digits().test.first(BLOCK + 20)
    on = Split(images, torch.where(torch.arange(BLOCK + 20) % 4 == 0, (labels + 1) % 10, labels))
    classes, radii = written_out(evaluation, trained_on_digits(), on)
    found = measured(evaluation, trained_on_digits(), on)
    right = [made == label for made, label in zip(classes, on.labels.tolist(), strict=True)]
    assert 20 < classes.count(ABSTAINED) < 100
    assert len(right) - sum(right) - classes.count(ABSTAINED) > 20, "some are certain and wrong"
    assert found["abstained"].correct == classes.count(ABSTAINED)
    for r in evaluation.radii:
        assert found[r].correct == sum(
            ok and radius >= r for ok, radius in zip(right, radii, strict=True)
        )
    mean = sum(radius for ok, radius in zip(right, radii, strict=True) if ok) / len(radii)
    assert found["radius"].value == pytest.approx(mean, rel=1e-9)
    assert {m.examples for m in found.values()} == {BLOCK + 20}
    assert {(m.sigma, m.samples) for m in found.values()} == {(0.4, 40)}
    assert [(m.metric, m.norm, m.epsilon) for m in found.values()] == [
        *(("certified_accuracy", "l2", r) for r in (0.0, 0.2, 0.4)),
        ("abstained", None, None),
        ("radius", "l2", None),
    ]


@pytest.mark.parametrize("trials", [1, 9, 100, 100_000])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.5])
def test_the_bound_is_that_of_clopper_and_pearson(trials: int, alpha: float) -> None:
    successes = sorted({0, 1, trials // 2, trials * 9 // 10, trials - 1, trials})
    expected = [
        binomtest(k, trials, alternative="greater").proportion_ci(1 - alpha, method="exact").low
        for k in successes
    ]
    found = lower_bound(torch.tensor(successes), trials=trials, alpha=alpha)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_no_pass_shows_an_image_twice_and_the_noise_is_fresh_gaussian_and_not_clipped() -> None:
    watched, on = Watched(), digits().test.first(40)
    measurements(CertifiedRadius(sigma=0.3, selection=20, samples=60), Subject(watched, on))
    assert [len(shown) for shown in watched.shown] == 80 * [40]
    noise = (torch.stack(watched.shown) - to_unit(on.images)).flatten(1).double()
    assert float(noise.mean()) == pytest.approx(0, abs=0.003)
    assert float(noise.std()) == pytest.approx(0.3, rel=0.01)
    assert float((noise**4).mean()) == pytest.approx(3 * 0.3**4, rel=0.03)
    alike = torch.corrcoef(noise) - torch.eye(80)
    assert float(alike.abs().max()) < 5 / sqrt(noise.shape[1])


# Ends


@pytest.mark.parametrize("samples", [20, 1000])
def test_a_classifier_that_never_changes_its_mind_has_the_largest_radius_that_the_passes_can_certify(
    samples: int,
) -> None:
    sure, on = linear_classifier(torch.zeros(2, PIXELS), torch.tensor([0.0, 1.0])), split()
    largest = 0.25 * NORMAL.inv_cdf(0.001 ** (1 / samples))
    chosen = CertifiedRadius(
        sigma=0.25, samples=samples, radii=(0.0, 0.99999 * largest, 1.00001 * largest)
    )
    assert chosen.certified(sure, on).radii.tolist() == pytest.approx(60 * [largest])
    found, ones = measured(chosen, sure, on), int(on.labels.sum())
    assert [found[r].correct for r in chosen.radii] == [ones, ones, 0]
    assert found["radius"].value == pytest.approx(largest * ones / 60), (
        "0 of the others, which are certified wrong"
    )
    assert found["abstained"].correct == 0
    (reached,) = chosen.certified(sure, on).radii.unique().tolist()
    at_it = chosen.model_copy(update={"radii": (reached,)})
    assert (measured(at_it, sure, on)[reached].correct, list(at_it.cautions())) == (ones, [])
    # Only the radius that no model could reach says nothing of this one.
    beyond = f"beyond what {samples} passes can certify: {largest:.3g} at most"
    assert [found[r].checks for r in chosen.radii] == [None, None, beyond]
    assert list(chosen.cautions()) == [f"radii: {1.00001 * largest:g} is {beyond}"]


def test_the_largest_radii_are_those_that_the_description_names() -> None:
    assert NORMAL.inv_cdf(0.001 ** (1 / 1000)) == pytest.approx(2.46, abs=0.005)
    assert NORMAL.inv_cdf(0.001 ** (1 / 100_000)) == pytest.approx(3.81, abs=0.005)
    assert not list(CertifiedRadius().cautions())


def test_too_few_passes_to_be_certain_of_anything_abstain_and_say_so() -> None:
    sure, on = linear_classifier(torch.zeros(2, PIXELS), torch.tensor([0.0, 1.0])), split()
    found = measured(CertifiedRadius(samples=9), sure, on)
    assert 0.001 ** (1 / 9) < 0.5 < 0.001 ** (1 / 10)
    assert (found["abstained"].value, found["radius"].value, found[0.0].value) == (1, 0, 0)
    assert "beyond what 9 passes can certify" in str(found[0.0].checks)
    assert measured(CertifiedRadius(samples=10), sure, on)["abstained"].value == 0


class Coin(Classifier):
    """Answers class 0 or 1, one for all the images of a pass."""

    def __init__(self, chance: float) -> None:
        inner = linear_classifier(torch.zeros(2, PIXELS))
        super().__init__(inner.network, inner.normalization)
        self.chance = chance

    def logits(self, images: Tensor) -> Tensor:
        answer = (torch.rand(()) < self.chance).long()
        return torch.eye(2)[answer].expand(len(images), -1)


def test_of_a_coin_flip_the_classifier_abstains() -> None:
    on = split()
    halfway = linear_classifier(torch.tensor([PIXELS * [1.0], PIXELS * [-1.0]]))
    grey = Split(torch.full_like(on.images, 0), on.labels)  # margin 0: the noise alone decides
    for classifier, images in ((halfway, grey), (Coin(0.5), on)):
        found = measured(CertifiedRadius(), classifier, images)
        assert found["abstained"].value == 1
        assert (found["radius"].value, found[0.0].value) == (0, 0)


def test_of_a_classifier_that_draws_the_probability_is_one_over_its_draws() -> None:
    """Also where a pass draws once for all its images, as noise on weights does."""
    on = split(BLOCK + 30)
    found = CertifiedRadius(samples=2000, alpha=0.01).certified(Coin(0.9), on)
    p = torch.tensor([NORMAL.cdf(radius / 0.25) for radius in found.radii.unique().tolist()])
    assert set(found.classes.tolist()) == {1}
    assert len(p) == 2, "one per block"
    assert (p < 0.9).all()
    assert (p > 0.86).all()


def test_fewer_images_are_certified_within_larger_radii() -> None:
    chosen = CertifiedRadius(sigma=0.25, samples=100, radii=(0.0, 0.1, 0.2, 0.3, 0.4))
    found = measured(chosen, trained_on_digits(), digits().test.first(200))
    correct = [found[r].correct or 0 for r in chosen.radii]
    assert correct == sorted(correct, reverse=True)
    assert correct[0] > correct[2] > correct[4]


def test_an_images_certificate_does_not_depend_on_the_other_blocks() -> None:
    chosen, on = (
        CertifiedRadius(selection=5, samples=30, alpha=0.05),
        digits().test.first(BLOCK + 30),
    )
    black = on.images.clone()
    black[:BLOCK] = 0
    whole = chosen.certified(trained_on_digits(), on)
    first = chosen.certified(trained_on_digits(), on.first(BLOCK))
    last = chosen.certified(trained_on_digits(), Split(black, on.labels))
    for one, other in ((whole.radii, first.radii), (whole.classes, first.classes)):
        assert torch.equal(one[:BLOCK], other)
    assert torch.equal(whole.radii[BLOCK:], last.radii[BLOCK:])
    assert not torch.equal(whole.radii[:BLOCK], last.radii[:BLOCK])


# What is refused


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"sigma": 0}, r"^sigma: .*greater than 0"),
        ({"selection": 0}, r"^selection: .*greater than or equal to 1"),
        ({"samples": 0}, r"^samples: .*greater than or equal to 1"),
        ({"alpha": 0}, r"^alpha: .*greater than 0"),
        ({"alpha": 1}, r"^alpha: .*less than 1"),
        ({"radii": []}, r"^radii: .*at least 1 item"),
        ({"radii": [-0.1]}, r"^radii\[0\]: .*greater than or equal to 0"),
        (
            {"smoothing": {"samples": 8}},
            r"^smoothing: certified_radius smooths the model itself, with sigma \(allowed: none\)$",
        ),
    ],
)
def test_what_makes_no_certificate_is_refused_in_one_line(
    written: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse(CertifiedRadius, {"name": "certified_radius", **written})
    assert "\n" not in str(refused.value)
