"""The summary: what was swept, the best, the differences, and what went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy import stats

from kdray.report.page.failures import doubts, failures
from kdray.report.page.statistics import comparisons
from kdray.report.page.summary import summary
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import write_objectives
from tests.report.page.small import ALPHA, SIGMA, Small, attacked, two_by_two


def sentences(made: Small) -> list[str]:
    group = made.group()
    return summary(group, *comparisons(group, None), failures(group), doubts(group))


def test_what_was_swept_over_how_many_points_and_seeds(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.trial(None, 0, 0.9)
    assert sentences(made)[0] == (
        "The sweep “s” trained students on digits (8 × 8, scikit-learn) at 4 points "
        f"({SIGMA}: 0, 0.1 and {ALPHA}: 0.5, 1), with 2 seeds each: 8 students in all, taught by "
        "1 trained teacher."
    )


def test_a_sweep_of_which_no_point_can_be_built(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.unbuilt(0, "too deep", {SIGMA: 0.2})
    assert sentences(made) == [
        f"The sweep “s” has 1 point so far ({SIGMA}: 0.2), of which none could be trained.",
        "1 of 1 student is missing (not trained yet, given up, or failed): 1 failed (see "
        "Failures); no check casts doubt on a number.",
    ]


def test_many_numbers_are_a_range_and_cases_are_counted(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(5):
        made.point(point, [0.5], {SIGMA: point / 10}, case=f"case{point % 2}")
    assert f"5 points (2 cases and {SIGMA} from 0 to 0.4), with 1 seed each" in sentences(made)[0]


def test_many_texts_are_cut(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(8):
        made.point(point, [0.5], {"model.name": f"m{point}"})
    assert "(model.name: m0, m1, m2, m3, m4, m5, …)" in sentences(made)[0]


def test_the_best_point_has_its_numbers_and_an_interval(tmp_path: Path) -> None:
    low, high = stats.t.interval(0.95, 1, loc=0.9, scale=0.01)
    assert sentences(two_by_two(tmp_path))[1:3] == [
        f"Point 3 ({SIGMA} = 0.1, {ALPHA} = 1) has the highest val_accuracy: 0.900 ± 0.014 over "
        f"2 seeds (95 % interval of the mean {low:.3f} to {min(high, 1):.3f}).",
        "There it has test_accuracy 0.800 ± 0.014 and pgd20.accuracy 0.200 ± 0.000.",
    ]


def test_what_is_minimised_has_the_lowest(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.aim(Objective(metric="val_accuracy", mode="min"))
    assert sentences(made)[1].startswith(f"Point 0 ({SIGMA} = 0, {ALPHA} = 0.5) has the lowest")


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5])
    assert sentences(made)[1].endswith(
        "over 1 seed, so how far another seed would be from it is not known (no interval)."
    )


@pytest.mark.parametrize(("seeds", "text"), [(2, "both seeds"), (3, "all 3 seeds")])
def test_equal_seeds_have_no_interval(tmp_path: Path, seeds: int, text: str) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5] * seeds)
    assert f"({text} gave the same, so there is no interval)" in sentences(made)[1]


def test_points_that_share_the_best_place(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(2):
        made.point(point, [0.5, 0.6], {SIGMA: point / 10})
    said = " Point 1 has the same; the first in the sweep's order is called the best."
    assert sentences(made)[1].startswith(
        f"Point 0 ({SIGMA} = 0) has the highest val_accuracy: 0.550"
    )
    assert sentences(made)[1].endswith(said)
    made.point(2, [0.6, 0.5], {SIGMA: 0.2})
    assert " Points 1 and 2 have the same; the first " in sentences(made)[1]


def test_the_pareto_front_of_two_objectives(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.aim(Objective(), Objective(metric="pgd20.accuracy"))
    attacked(made, made.point(4, [0.6, 0.6], {SIGMA: 0.2, ALPHA: 1.0}), 0.4)
    assert sentences(made)[1] == (
        "No point is better in all of val_accuracy and pgd20.accuracy than point 0, point 1, "
        "point 2 and point 3: the Pareto front."
    )


def test_no_point_is_the_best_that_breaks_a_constraint(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.6], {SIGMA: 0.0})
    limit = "val_accuracy >= 0.9"
    aims = Objectives(objectives=(Objective(),), constraints=(limit,), seeds=2)
    write_objectives(made.group().results.store, made.group().sweep, aims)
    assert (
        "No point that has all its seeds and val_accuracy keeps to val_accuracy >= 0.9, so none is "
        "called the best." in sentences(made)
    )


def test_no_point_is_the_best_that_lacks_a_seed(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, None], {SIGMA: 0.0})
    assert "No point has all its seeds and val_accuracy, so none is called the best." in sentences(
        made
    )


def test_differences_follow_the_best(tmp_path: Path) -> None:
    found = sentences(two_by_two(tmp_path))
    assert found[3].startswith("Against point 3")
    assert len(found) == 5


def test_everything_went_well(tmp_path: Path) -> None:
    assert sentences(two_by_two(tmp_path))[-1] == (
        "Every trial completed; no check casts doubt on a number."
    )


def test_failures_are_counted_by_kind_and_doubts_by_number(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.trial(4, 0, None, {SIGMA: 0.2, ALPHA: 1.0}, status="diverged")
    made.trial(4, 1, None, {SIGMA: 0.2, ALPHA: 1.0}, status="failed")
    made.trial(5, 0, None, {SIGMA: 0.3, ALPHA: 1.0}, status="failed")
    made.number("s-student-0-0", "noise", "gaussian_noise", 0.5, checks="odd")
    assert sentences(made)[-1] == (
        "3 of 11 students are missing (not trained yet, given up, or failed): 1 diverged and "
        "2 failed (see Failures); checks cast doubt on 1 number (see Doubtful numbers)."
    )


def test_a_failed_evaluation_is_a_failure_of_no_student(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.number("s-student-0-0", "noise", "gaussian_noise", None, error="no memory")
    assert sentences(made)[-1].startswith("1 failed (see Failures); no check")


def test_a_seed_that_was_never_begun_is_missing(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.aim(seeds=3)
    assert sentences(made)[-1].startswith(
        "4 of 12 students are missing (not trained yet, given up, or failed); no check"
    )


def test_of_a_sweep_with_teachers_only(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(None, 0, 0.9)
    made.trial(None, 1, None, status="failed")
    assert sentences(made) == [
        "Of the sweep “s” only teachers have been trained so far (1 of the 2 begun, on digits "
        "(8 × 8, scikit-learn)): no student has a result yet.",
        "1 failed (see Failures); no check casts doubt on a number.",
    ]
