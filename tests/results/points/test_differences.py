"""Differences of means and their tests, by hand and by other ways."""

from __future__ import annotations

import math
import warnings
from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from kdray.results.points.differences import of_independent, of_pairs

OURS = np.array([0.81, 0.84, 0.79, 0.88, 0.83])
THEIRS = np.array([0.80, 0.80, 0.77, 0.82, 0.80])


def test_pairs_are_tested_by_their_differences() -> None:
    found = of_pairs(OURS, THEIRS)
    apart = OURS - THEIRS
    mean, deviation = apart.mean(), apart.std(ddof=1)
    assert found.difference == pytest.approx(0.032)
    t = mean / (deviation / math.sqrt(5))
    assert found.t_p == pytest.approx(2 * stats.t.sf(t, 4))
    margin = stats.t.ppf(0.975, 4) * deviation / math.sqrt(5)
    assert (found.low, found.high) == pytest.approx((mean - margin, mean + margin))
    assert found.wilcoxon_p == pytest.approx(2 / 2**5), (
        "all five are positive: of 32 signs two are as far out"
    )
    assert found.effect_size == pytest.approx(mean / deviation * (1 - 3 / 15))


def test_the_signed_ranks_are_exact_also_with_ties() -> None:
    """2 and 2 only differ by rounding, so their ranks are tied."""
    apart = [0.1, 0.1, 0.1, -0.2, 0.3]
    ranks = stats.rankdata(np.abs(np.round(apart, 6)))
    sums = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in product([0, 1], repeat=5)
    ]
    ours = sum(r for r, each in zip(ranks, apart, strict=True) if each > 0)
    extreme = np.mean([abs(each - 7.5) >= abs(ours - 7.5) for each in sums])
    theirs = np.array([0.1, 0.3, 0.5, 0.4, 0.2])
    assert of_pairs(theirs + apart, theirs).wilcoxon_p == pytest.approx(extreme)


def test_independent_samples_are_tested_by_welch_and_by_ranks() -> None:
    theirs = np.array([0.7, 0.75, 0.62])
    found = of_independent(OURS, theirs)
    errors = OURS.var(ddof=1) / 5, theirs.var(ddof=1) / 3
    freedom = sum(errors) ** 2 / (
        errors[0] ** 2 / 4 + errors[1] ** 2 / 2
    )  # Welch and Satterthwaite
    difference = OURS.mean() - theirs.mean()
    assert found.difference == pytest.approx(difference)
    assert found.t_p == pytest.approx(2 * stats.t.sf(difference / math.sqrt(sum(errors)), freedom))
    margin = stats.t.ppf(0.975, freedom) * math.sqrt(sum(errors))
    assert (found.low, found.high) == pytest.approx((difference - margin, difference + margin))
    assert found.wilcoxon_p == pytest.approx(2 / math.comb(8, 3)), (
        "all of one are above all of the other"
    )
    pooled = math.sqrt((4 * OURS.var(ddof=1) + 2 * theirs.var(ddof=1)) / 6)
    assert found.effect_size == pytest.approx(difference / pooled * (1 - 3 / 23))


def test_the_rank_sum_is_exact_also_with_ties() -> None:
    ours, theirs = np.array([0.5, 0.5, 0.9]), np.array([0.5, 0.1, 0.1])
    ranks = stats.rankdata([*ours, *theirs])
    sums = [sum(ranks[list(chosen)]) for chosen in combinations(range(6), 3)]
    extreme = np.mean([abs(each - 10.5) >= abs(sum(ranks[:3]) - 10.5) for each in sums])
    assert of_independent(ours, theirs).wilcoxon_p == pytest.approx(extreme)


@pytest.mark.parametrize("difference", [of_pairs, of_independent])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.7])
def test_equal_numbers_differ_by_nothing_with_p_of_one(difference: type, value: float) -> None:
    found = difference(np.full(3, value), np.full(3, value))
    assert tuple(found) == (pytest.approx(value), pytest.approx(value), 0, 0, 0, 1, 1, 0)


def test_one_rounding_apart_is_equal() -> None:
    found = of_pairs(np.array([0.3, 0.6]), np.array([0.1 + 0.2, 0.6]))
    assert (found.difference, found.t_p, found.wilcoxon_p) == (0, 1, 1)


@pytest.mark.parametrize("difference", [of_pairs, of_independent])
def test_the_same_difference_everywhere_leaves_no_t_test(difference: type) -> None:
    """Its spread is 0, so that any difference would be certain."""
    found = difference(np.full(4, 0.7), np.full(4, 0.6))
    assert found.difference == pytest.approx(0.1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.t_p)
    assert math.isnan(found.effect_size)
    assert found.wilcoxon_p == pytest.approx(
        2 / 2**4 if difference is of_pairs else 2 / math.comb(8, 4)
    )


def test_one_number_is_no_sample() -> None:
    found = of_independent(np.array([0.5]), OURS)
    assert found.difference == pytest.approx(0.5 - 0.83)
    assert np.isnan([found.low, found.high, found.t_p, found.wilcoxon_p, found.effect_size]).all()
    assert np.isnan(of_independent(OURS, np.array([])).difference)


def test_a_sample_of_equal_values_is_compared_without_a_warning() -> None:
    found = of_independent(np.array([0.9, 0.9]), np.array([0.91, 0.93]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = stats.ttest_ind([0.9, 0.9], [0.91, 0.93], equal_var=False)
    assert found.t_p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
