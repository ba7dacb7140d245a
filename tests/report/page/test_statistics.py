"""Every point against a baseline: the numbers, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdray.report.page.statistics import (
    HIGHER,
    LOWER,
    NOT_SIGNIFICANT,
    UNKNOWN,
    Comparison,
    comparisons,
    named,
)
from kdray.results.points.objective import Objective
from tests.report.page.small import ALPHA, SIGMA, Small, attacked, two_by_two

LOW = [0.50, 0.52, 0.51, 0.49, 0.50]
MIDDLE = [0.52, 0.50, 0.50, 0.51, 0.49]
HIGH = [0.90, 0.91, 0.92, 0.90, 0.93]


def three(path: Path) -> Small:
    """A low point, one like it, and a high one."""
    made = Small(path)
    for point, values in enumerate((LOW, MIDDLE, HIGH)):
        made.point(point, values, {SIGMA: point / 10})
    return made


def first(made: Small, baseline: int | str | dict[str, float] | None) -> Comparison:
    return comparisons(made.group(), baseline)[1][0]


def test_differences_are_the_point_less_the_baseline(tmp_path: Path) -> None:
    found = first(three(tmp_path), 0)
    assert found.metric == "val_accuracy"
    assert [row.point for row in found.rows] == [1, 2]
    assert [row.verdict for row in found.rows] == [NOT_SIGNIFICANT, HIGHER]
    like, high = found.rows
    assert like.difference == pytest.approx(0)
    assert high.difference == pytest.approx(np.mean(HIGH) - np.mean(LOW))
    assert (high.mean, high.baseline) == (pytest.approx(np.mean(HIGH)), pytest.approx(np.mean(LOW)))
    assert high.values == f"{SIGMA} = 0.2"
    assert high.seeds == "5, paired"


def test_against_the_best_the_others_are_lower(tmp_path: Path) -> None:
    found = first(three(tmp_path), None)
    assert [(row.point, row.verdict) for row in found.rows] == [(0, LOWER), (1, LOWER)]
    assert found.different == 2
    assert found.heading == "2 of 2 points differ significantly (5 seeds)"


def test_p_values_are_those_of_the_paired_tests_corrected_for_two_points(tmp_path: Path) -> None:
    like, high = first(three(tmp_path), 0).rows
    p = stats.ttest_rel(MIDDLE, LOW).pvalue
    assert like.t_p == f"{p:.3f}"
    assert high.t_p == "< 0.001"
    low, up = stats.ttest_rel(HIGH, LOW).confidence_interval(0.95)
    assert high.interval == f"{low:+.3f} to {up:+.3f}"
    assert high.wilcoxon_p == f"{2 * stats.wilcoxon(HIGH, LOW).pvalue:.3f}"


def test_wilcoxon_cannot_reach_significance_with_five_pairs(tmp_path: Path) -> None:
    found = first(three(tmp_path), 0)
    assert [row.smallest for row in found.rows] == [2 / 2**5] * 2
    assert found.powerless.startswith("With 5 seeds Wilcoxon's p cannot be below 0.0625 even")


def test_six_pairs_are_enough_for_it(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [*LOW, 0.5])
    made.point(1, [*HIGH, 0.9], {SIGMA: 0.1})
    assert first(made, 0).powerless == ""


def test_seeds_that_are_not_the_same_are_not_paired(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, LOW[:3])
    for seed, value in enumerate(HIGH[:2]):
        made.trial(1, seed + 10, value, {SIGMA: 0.1})
    (row,) = first(made, 0).rows
    assert row.seeds == "2 and 3"
    assert row.smallest == pytest.approx(2 / 10)


def test_one_seed_says_nothing(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5])
    made.point(1, [0.9], {SIGMA: 0.1})
    found = first(made, 0)
    (row,) = found.rows
    assert (row.verdict, row.interval, row.t_p, row.effect) == (UNKNOWN, "–", "–", "–")
    assert found.heading == "no significant difference at 1 point (1 seed)"


def test_a_range_of_seeds_is_written_as_one(tmp_path: Path) -> None:
    made = three(tmp_path)
    made.point(3, [0.7, 0.7], {SIGMA: 0.3})
    assert first(made, 0).heading == "1 of 3 points differs significantly (2 to 5 seeds)"


def test_no_accuracy_differs_by_more_than_one(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.0, 0.9])
    made.point(1, [0.9, 0.0], {SIGMA: 0.1})
    (row,) = first(made, 0).rows
    assert row.interval == "-1.000 to +1.000"


def test_the_metrics_are_the_objective_clean_and_robust_accuracy(tmp_path: Path) -> None:
    group = two_by_two(tmp_path).group()
    against, found = comparisons(group, None)
    assert [each.metric for each in found] == ["val_accuracy", "test_accuracy", "pgd20.accuracy"]
    assert against == f"point 3 ({SIGMA} = 0.1, {ALPHA} = 1), the best by the objective"
    attack = {row.point: row.difference for row in found[2].rows}
    assert attack == {0: pytest.approx(0.3), 1: pytest.approx(0.2), 2: pytest.approx(0.1)}


def test_sizes_of_networks_are_no_numbers_to_test(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="macs", mode="min"))
    for point in range(2):
        made.point(point, [0.5, 0.6], {SIGMA: point / 10}, macs=100 + point)
    assert [each.metric for each in comparisons(made.group(), None)[1]] == ["test_accuracy"]


def test_a_baseline_by_value_is_the_point_that_shares_the_other_values(tmp_path: Path) -> None:
    group = two_by_two(tmp_path).group()
    against, (found, *_) = comparisons(group, {SIGMA: 0.0})
    assert against == (
        f"the points with {SIGMA} = 0, each compared with the one that shares its other values"
    )
    assert {row.point: row.values for row in found.rows} == {
        2: f"{SIGMA} = 0.1",
        3: f"{SIGMA} = 0.1",
    }
    assert [row.difference for row in found.rows] == [pytest.approx(0.2)] * 2


def test_a_baseline_by_case(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.6], case="plain")
    made.point(1, [0.7, 0.9], case="noisy")
    against, (found, *_) = comparisons(made.group(), "plain")
    assert against == "the case plain"
    assert [(row.point, row.values) for row in found.rows] == [(1, "noisy")]


def test_a_baseline_that_does_not_exist_is_a_problem_of_each_metric(tmp_path: Path) -> None:
    found = first(three(tmp_path), 77)
    assert found.rows == ()
    assert "77" in found.problem
    assert found.heading == "cannot be compared"


def test_one_point_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, LOW)
    assert comparisons(made.group(), None) == ("", [])


def test_of_points_that_share_the_best_place_the_first_is_the_baseline(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.6], {SIGMA: 0.0})
    made.point(1, [0.6, 0.5], {SIGMA: 0.1})
    assert named(made.group(), None) == (
        f"point 0 ({SIGMA} = 0), the first of those that share the best place"
    )
    assert named(made.group(), 0) == f"point 0 ({SIGMA} = 0)"


def test_only_points_that_were_attacked_are_compared_under_attack(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.point(4, [0.95, 0.95], {SIGMA: 0.2, ALPHA: 1.0})
    attacked(made, made.point(5, [0.9, 0.9], {SIGMA: 0.3, ALPHA: 1.0}), 0.0)
    found = {each.metric: each for each in comparisons(made.group(), 0)[1]}
    assert [row.point for row in found["pgd20.accuracy"].rows] == [1, 2, 3, 5]
    assert [row.point for row in found["val_accuracy"].rows] == [1, 2, 3, 4, 5]


def test_seeds_on_another_kind_of_device_are_not_paired_and_a_sentence_says_so(
    tmp_path: Path,
) -> None:
    made = Small(tmp_path)
    made.point(0, LOW, device="cpu")
    made.point(1, HIGH, {SIGMA: 0.1}, device="NVIDIA H200")
    found = first(made, 0)
    assert [row.seeds for row in found.rows] == ["5 and 5"]
    assert found.not_paired.startswith("5 seeds of 1 point not paired with the baseline's")
    assert first(three(tmp_path / "alike"), 0).not_paired == ""
