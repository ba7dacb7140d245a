"""What failed is listed with its reason, and what is doubtful is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.report.page.failures import Doubt, Failure, doubts, failures
from tests.report.page.small import ALPHA, SIGMA, Small, two_by_two


def test_nothing_failed_and_nothing_is_doubtful(tmp_path: Path) -> None:
    group = two_by_two(tmp_path).group()
    assert failures(group) == []
    assert doubts(group) == []


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_trial_that_failed_or_diverged_has_its_own_reason(tmp_path: Path, status: str) -> None:
    made = two_by_two(tmp_path)
    trial = made.trial(
        4, 1, None, {SIGMA: 0.2, ALPHA: 0.5}, status=status, error="loss is nan", member_error="no"
    )
    what = f"{SIGMA} = 0.2, {ALPHA} = 0.5"
    assert failures(made.group()) == [Failure(trial, status, 4, what, 1, "loss is nan")]


def test_a_trial_without_a_row_has_no_id_and_the_sweep_s_reason(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.trial(4, 0, None, {SIGMA: 0.2, ALPHA: 0.5}, status=None, member_error="its teacher failed")
    (found,) = failures(made.group())
    assert (found.trial_id, found.what, found.seed) == (None, "failed", None)
    assert found.reason == "its teacher failed"


def test_a_completed_trial_whose_row_is_gone_is_missing(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.trial(4, 0, None, {SIGMA: 0.2, ALPHA: 0.5}, status=None, outcome="completed")
    (found,) = failures(made.group())
    assert (found.what, found.reason) == ("missing", "no row of its training is there")


def test_a_trial_that_was_given_up_says_that_no_reason_was_stored(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.trial(4, 0, 0.1, {SIGMA: 0.2, ALPHA: 0.5}, outcome="pruned")
    (found,) = failures(made.group())
    assert (found.what, found.point, found.reason) == ("pruned", 4, "no reason was stored")


def test_a_teacher_that_failed_comes_first_and_has_no_point(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 0, None, status="failed", error="of the student")
    made.trial(None, 3, None, status="failed", error="of the teacher")
    first, second = failures(made.group())
    assert first == Failure("s-teacher-None-3", "failed", None, "teacher", 3, "of the teacher")
    assert (second.point, second.values, second.reason) == (0, "nothing is swept", "of the student")


def test_an_evaluation_that_failed_is_listed_once_with_its_label(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9], {SIGMA: 0.1})
    for sigma in (0.1, 0.2):
        made.number(trial, "noise", "gaussian_noise", None, sigma=sigma, error="out of memory")
    assert failures(made.group()) == [
        Failure(trial, "evaluation noise failed", 0, f"{SIGMA} = 0.1", 0, "out of memory")
    ]


def test_evaluations_of_another_sweep_are_not_of_this_one(tmp_path: Path) -> None:
    other = Small(tmp_path, "other")
    (trial,) = other.point(0, [0.9])
    other.number(trial, "noise", "gaussian_noise", None, error="out of memory")
    other.number(trial, "noise2", "gaussian_noise", 0.4, checks="odd")
    other.written()
    group = two_by_two(tmp_path).group()
    assert failures(group) == []
    assert doubts(group) == []


def test_doubts_that_differ_in_their_numbers_only_are_one(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point, sigma in enumerate((0.0, 0.1)):
        for seed, trial in enumerate(made.point(point, [0.9, 0.8], {SIGMA: sigma})):
            text = f"zero gradient for {seed + 1} of 400 images"
            made.number(trial, "pgd20", "pgd", 0.4, checks=text)
    assert doubts(made.group()) == [Doubt("pgd20", "zero gradient for … of … images", 4, 4, (0, 1))]


def test_one_text_is_written_in_full(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.numbers_of(made.point(2, [0.9, 0.8]), "pgd20", "pgd", 0.4, checks="3 of 400 images")
    assert doubts(made.group()) == [Doubt("pgd20", "3 of 400 images", 2, 2, (2,))]


def test_the_doubt_about_most_numbers_comes_first(tmp_path: Path) -> None:
    made = Small(tmp_path)
    first, second, third = made.point(0, [0.9, 0.8, 0.7])
    made.number(first, "pgd20", "pgd", 0.4, checks="seldom")
    for trial in (second, third):
        made.number(trial, "pgd20", "pgd", 0.4, checks="often")
    assert [(each.reason, each.numbers) for each in doubts(made.group())] == [
        ("often", 2),
        ("seldom", 1),
    ]


def test_a_doubt_about_a_teacher_is_of_no_point(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9])
    made.number(made.trial(None, 0, 0.9), "pgd20", "pgd", 0.4, checks="odd")
    (found,) = doubts(made.group())
    assert (found.points, found.trials) == ((), 1)


def test_a_doubt_about_a_trial_of_two_points_is_of_both_and_counts_once(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9], case="one")
    made.again(trial, 1, case="other")
    made.number(trial, "pgd20", "pgd", 0.4, checks="odd")
    assert doubts(made.group()) == [Doubt("pgd20", "odd", 1, 1, (0, 1))]
