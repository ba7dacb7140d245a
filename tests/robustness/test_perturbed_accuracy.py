"""Accuracy under noise of a ratio, photons and squares: strength 0 is clean, more is worse, the
noise is what it says."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse
from kdray.data import CIFAR10, Arrays, Digits, to_unit
from kdray.perturbations.corruptions import corrupt
from kdray.robustness import (
    AnyEvaluation,
    Clean,
    Corruptions,
    Evaluation,
    Occlusion,
    PoissonNoise,
    SignalToNoise,
    Subject,
    measurements,
)
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import Watched


def values(evaluation: Evaluation, metric: str = "accuracy") -> list[float]:
    found = measurements(evaluation, Subject(trained_on_digits(), digits().test))
    return [m.value for m in found if m.metric == metric]


def shown(evaluation: Evaluation) -> Tensor:
    watched = Watched()
    measurements(evaluation, Subject(watched, digits().test))
    return torch.cat(watched.shown)


CLEAN = values(Clean())[0]


@pytest.mark.parametrize(
    ("evaluation", "none"),
    [
        (SignalToNoise(ratios=(100.0, 10.0, 3.0, -3.0)), 100.0),
        (SignalToNoise(ratios=(1e10, 10.0, 2.0, 0.5), unit="ratio"), 1e10),
        (PoissonNoise(peaks=(1e8, 16.0, 4.0, 1.0)), 1e8),
        (Occlusion(sides=(0, 2, 4, 6)), 0),
    ],
    ids=["dB", "ratio", "photons", "square"],
)
def test_almost_none_is_clean_and_more_is_worse(evaluation: Evaluation, none: float) -> None:
    del none
    accuracies = values(evaluation)
    assert accuracies[0] == CLEAN
    assert accuracies[0] > accuracies[1] > accuracies[2] > accuracies[3]


@pytest.mark.parametrize(
    ("value", "unit", "ratio"), [(10.0, "db", 10.0), (3.0, "db", 10**0.3), (4.0, "ratio", 4.0)]
)
def test_the_ratio_is_measured_back_from_the_noise(value: float, unit: str, ratio: float) -> None:
    images = to_unit(digits().test.images)
    evaluation = parse(
        SignalToNoise, {"name": "signal_to_noise", "ratios": [value], "unit": unit, "clip": False}
    )
    noise = shown(evaluation) - images
    signal = images.square().mean((1, 2, 3))
    measured = signal / noise.square().mean((1, 2, 3))
    assert float((1 / measured).mean()) == pytest.approx(1 / ratio, rel=0.02)


@pytest.mark.parametrize("peak", [16.0, 64.0])
def test_the_photons_are_measured_back_from_the_noise(peak: float) -> None:
    images = to_unit(digits().test.images)
    noise = shown(PoissonNoise(peaks=(peak,), clip=False)) - images
    assert float(noise.square().mean()) == pytest.approx(float(images.mean()) / peak, rel=0.03)


def test_every_severity_is_measured_at_its_own_strength() -> None:
    images = to_unit(digits().test.images[:50])
    watched = Watched()
    chosen = Corruptions(kinds=("brightness",), severities=(1, 3, 5))
    measurements(chosen, Subject(watched, digits().test.first(50)))
    clean, *corrupted = watched.shown
    assert torch.equal(clean, images)
    for severity, found in zip((1, 3, 5), corrupted, strict=True):
        assert torch.equal(found, corrupt(images, "brightness", severity, draws()))


def test_clipped_images_are_in_range_and_unclipped_ones_are_not() -> None:
    for kind in (SignalToNoise, PoissonNoise):
        clipped, free = shown(kind()), shown(kind(clip=False))
        assert 0 <= float(clipped.min()) <= float(clipped.max()) <= 1
        assert float(free.max()) > 1


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"name": "signal_to_noise", "ratios": [0], "unit": "ratio"}, "is no ratio"),
        ({"name": "signal_to_noise", "ratios": []}, "at least 1 item"),
        ({"name": "poisson_noise", "peaks": [0]}, "greater than 0"),
        ({"name": "occlusion", "sides": [-1]}, "greater than or equal to 0"),
        ({"name": "corruptions", "severities": [6]}, "severities"),
        ({"name": "corruptions", "kinds": ["sepia"]}, "kinds"),
    ],
)
def test_impossible_strengths_are_refused_in_one_line(
    written: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse(AnyEvaluation, written)  # type: ignore[arg-type]  # a union of types
    assert "\n" not in str(refused.value)


def test_images_that_are_too_small_to_corrupt_do_not_fit() -> None:
    tiny = Digits(resize=4)
    assert Corruptions().misfit(tiny) is None
    assert measurements(Corruptions(), Subject(trained_on_digits(), digits().test.first(1)))
    small = Arrays(path="x.npz", classes=3, image_shape=(1, 3, 9))
    assert (
        Corruptions().misfit(small)
        == "images of 3 x 9 pixels are too small to corrupt (allowed: from 4 x 4)"
    )


def test_a_square_larger_than_the_image_does_not_fit() -> None:
    assert (
        Occlusion().misfit(Digits()) == "sides: a square of 10 pixels is larger than the image's 8"
    )
    assert Occlusion().misfit(CIFAR10()) is None


def test_corruptions_are_told_by_kind_and_severity_with_their_means_and_relative_to_clean() -> None:
    chosen = Corruptions(kinds=("gaussian_noise", "brightness"), severities=(1, 5))
    found = measurements(chosen, Subject(trained_on_digits(), digits().test.first(120)))
    clean = measurements(Clean(), Subject(trained_on_digits(), digits().test.first(120)))[0]
    assert clean.correct is not None
    by = {(m.metric, m.corruption, m.severity): m for m in found}
    for kind in chosen.kinds:
        each = [by["accuracy", kind, severity] for severity in (1, 5)]
        mean = by["accuracy", kind, None]
        assert mean.value == pytest.approx(sum(m.value for m in each) / 2)
        assert (mean.correct, mean.examples) == (sum(m.correct or 0 for m in each), 240)
        assert by["relative_accuracy", kind, None].value == pytest.approx(mean.value / clean.value)
    means = [by["accuracy", kind, None].value for kind in chosen.kinds]
    assert by["mean_accuracy", None, None].value == pytest.approx(sum(means) / 2)
    assert by["mean_relative_accuracy", None, None].value == pytest.approx(
        sum(means) / 2 / clean.value
    )


def test_relative_to_nothing_is_flagged() -> None:
    never = digits().test.first(50)
    wrong = never._replace(
        labels=(trained_on_digits().logits(to_unit(never.images)).argmax(1) + 1) % 10
    )
    found = measurements(
        Corruptions(kinds=("brightness",), severities=(1,)), Subject(trained_on_digits(), wrong)
    )
    relative = [m for m in found if "relative" in m.metric]
    assert {m.checks for m in relative} == {"no image is classified correctly without corruption"}
