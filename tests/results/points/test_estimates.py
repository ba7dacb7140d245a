"""Intervals, effect sizes and adjusted p values against other ways to the same numbers."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from kdray.results.points.estimates import bootstrap_interval, hedges, holm, spread, t_interval

STUDENT = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
"""Additional hours of sleep by dextro-hyoscyamine (Student 1908, section IX): mean 0.75, standard
deviation 1.70 with n."""


def test_the_t_interval_is_scipys() -> None:
    expected = stats.t.interval(0.95, 9, loc=STUDENT.mean(), scale=stats.sem(STUDENT))
    assert t_interval(STUDENT) == pytest.approx(expected, rel=1e-12)
    assert STUDENT.mean() == pytest.approx(0.75)


def test_the_t_interval_of_two_is_by_hand() -> None:
    """The quantile of one degree of freedom is that of a Cauchy distribution, tan(0.475 π)."""
    low, high = t_interval(np.array([0.25, 0.75]))
    assert (high - low) / 2 == pytest.approx(math.tan(0.475 * math.pi) * 0.25)
    assert (high + low) / 2 == pytest.approx(0.5)


def test_it_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [t_interval(rng.normal(size=3)) for _ in range(2000)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval_and_no_spread() -> None:
    for interval in (t_interval, bootstrap_interval):
        assert all(map(math.isnan, interval(np.array([0.5]))))
        assert all(map(math.isnan, interval(np.array([]))))
    assert math.isnan(spread(np.array([0.5])))


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.1] * 3, [0.1 + 0.2, 0.3]])
def test_equal_values_have_no_spread_and_so_no_interval(values: list[float]) -> None:
    """One of no length would claim certainty."""
    for interval in (t_interval, bootstrap_interval):
        assert all(map(math.isnan, interval(np.array(values))))
    assert spread(np.array(values)) == 0


def test_the_bootstrap_is_that_of_all_resamples_and_draws_the_same_every_time() -> None:
    values = np.array([0.1, 0.2, 0.4, 0.8])
    everything = np.quantile(
        [np.mean(drawn) for drawn in product(values, repeat=4)], [0.025, 0.975]
    )
    assert bootstrap_interval(values) == pytest.approx(tuple(everything), abs=0.03)
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_holm_step_by_step() -> None:
    """The smallest times 4, the next times 3, …, and none below the one before it: at 0.05 two of
    the four are rejected."""
    assert holm([0.01, 0.04, 0.03, 0.005], 4) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_rejects_what_its_rule_rejects() -> None:
    """Holm 1979: go on while the k-th smallest is at most α/(n - k + 1)."""
    rng = np.random.default_rng(1)
    for p_values in rng.beta(0.3, 2, size=(200, 6)):
        order = np.argsort(p_values)
        rejected: set[int] = set()
        for k, index in enumerate(order):
            if p_values[index] > 0.05 / (6 - k):
                break
            rejected.add(int(index))
        assert {i for i, p in enumerate(holm(list(p_values), 6)) if p <= 0.05} == rejected


def test_holm_of_one_is_itself_none_is_above_one_and_what_has_no_p_value_counts_as_the_largest() -> (
    None
):
    assert holm([0.04], 1) == [0.04]
    assert holm([0.6, 0.7], 2) == [1.0, 1.0]
    assert holm([0.02, math.nan, 0.04], 3) == pytest.approx([0.06, math.nan, 0.08], nan_ok=True)
    assert holm([0.02, 1.0, 0.04], 3)[::2] == pytest.approx([0.06, 0.08])
    assert holm([], 0) == []


def test_hedges_correction_is_near_the_exact_one() -> None:
    """Γ(df/2) / (√(df/2) Γ((df - 1)/2)) (Hedges 1981)."""
    for freedom in range(2, 30):
        exact = math.gamma(freedom / 2) / (math.sqrt(freedom / 2) * math.gamma((freedom - 1) / 2))
        assert hedges(1.0, 1.0, freedom) == pytest.approx(exact, abs=0.008)
    assert math.isnan(hedges(1.0, 1.0, 1))
    assert math.isnan(hedges(1.0, 0.0, 5))
    assert hedges(0.0, 0.0, 5) == 0
