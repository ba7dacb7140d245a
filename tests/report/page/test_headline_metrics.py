"""The metrics that stand for many."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.report.page.headline_metrics import clean, is_share, robust, trade_off
from tests.report.page.small import SIGMA, Small, two_by_two


@pytest.mark.parametrize(
    ("metric", "share"),
    [
        ("val_accuracy", True),
        ("pgd20.accuracy", True),
        ("noise.accuracy[sigma=0.1]", True),
        ("corruptions.mean_accuracy", True),
        ("certified.radius", False),
        ("parameters", False),
        ("checks.ece", True),
    ],
)
def test_accuracies_are_shares(metric: str, share: bool) -> None:
    assert is_share(metric) is share


def test_clean_accuracy_is_that_of_the_test_split(tmp_path: Path) -> None:
    assert clean(two_by_two(tmp_path).group()) == "test_accuracy"


def test_without_one_it_is_that_of_the_validation_split(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 0, 0.9, test_accuracy=None)
    assert clean(made.group()) == "val_accuracy"


def test_without_evaluations_nothing_is_robust(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9, 0.8])
    made.point(1, [0.9, 0.8], {SIGMA: 0.1})
    assert robust(made.group()) is None
    assert trade_off(made.group()) is None


def test_the_strongest_kind_of_attack_comes_first_however_low_others_are(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        made.number(trial, "weak", "fgsm", 0.1)
        made.number(trial, "strong", "pgd", 0.4)
        made.number(trial, "noise", "gaussian_noise", 0.05)
    assert robust(made.group()) == "strong.accuracy"


def test_of_several_attacks_of_a_kind_the_one_that_leaves_least_counts(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        made.number(trial, "pgd7", "pgd", 0.4)
        made.number(trial, "pgd20", "pgd", 0.3)
        made.number(trial, "pgd1", "pgd", 0.5)
    assert robust(made.group()) == "pgd20.accuracy"


def test_a_metric_that_fewer_points_have_does_not_count(tmp_path: Path) -> None:
    made = Small(tmp_path)
    first, second = made.point(0, [0.9]), made.point(1, [0.9], {SIGMA: 0.1})
    made.numbers_of(first + second, "pgd7", "pgd", 0.4)
    made.numbers_of(first, "pgd20", "pgd", 0.1)
    assert robust(made.group()) == "pgd7.accuracy"


def test_without_attacks_the_mean_over_corruptions_counts(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        made.number(trial, "noise", "gaussian_noise", 0.2)
        made.number(trial, "corruptions", "corruptions", 0.7, metric="mean_accuracy")
    assert robust(made.group()) == "corruptions.mean_accuracy"


def test_else_the_change_that_leaves_least(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        for sigma in (0.1, 0.4, 0.2):
            made.number(trial, "noise", "gaussian_noise", 0.9 - sigma, sigma=sigma)
    assert robust(made.group()) == "noise.accuracy[sigma=0.4]"


@pytest.mark.parametrize("kind", ["clean", "gradients"])
def test_clean_images_and_gradients_say_nothing_of_robustness(tmp_path: Path, kind: str) -> None:
    made = Small(tmp_path)
    made.numbers_of(made.point(0, [0.9, 0.8]), "other", kind, 0.1)
    assert robust(made.group()) is None


def test_a_trade_off_needs_two_points_that_have_both(tmp_path: Path) -> None:
    assert trade_off(two_by_two(tmp_path / "four").group()) == ("test_accuracy", "pgd20.accuracy")
    made = Small(tmp_path / "one")
    made.numbers_of(made.point(0, [0.9, 0.8]), "pgd20", "pgd", 0.1)
    made.point(1, [0.9, 0.8], {SIGMA: 0.1})
    assert trade_off(made.group()) is None
