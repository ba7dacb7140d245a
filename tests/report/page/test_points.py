"""The table of points: means, deviations, marks, and the same numbers in a file."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pytest

from kdray.report.figures.tables import Spread
from kdray.report.page.points import Cell, columns, first_metrics, lines, table
from kdray.results.points.best import best_points
from kdray.results.points.objective import Objective
from tests.report.page.small import ALPHA, SIGMA, Small, attacked, two_by_two


def test_columns_are_what_was_swept_the_seeds_and_the_metrics(tmp_path: Path) -> None:
    found = columns(two_by_two(tmp_path).group())
    assert [each.title for each in found] == [
        SIGMA,
        ALPHA,
        "seeds",
        "val_accuracy",
        "test_accuracy",
        "pgd20.accuracy",
    ]
    assert all(each.numeric and each.visible for each in found)


def test_cases_have_a_column_of_text(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], case="noisy")
    made.point(1, [0.8], case="clean")
    found = columns(made.group())
    assert (found[0].title, found[0].numeric) == ("case", False)
    assert [line.cells[0] for line in lines(made.group())] == [Cell("noisy"), Cell("clean")]


def test_each_cell_is_its_own_metric_s_mean_and_deviation(tmp_path: Path) -> None:
    group = two_by_two(tmp_path).group()
    found = lines(group)
    assert [line.point for line in found] == [0, 1, 2, 3]
    titles = [each.title for each in columns(group)]
    third = dict(zip(titles, found[2].cells, strict=True))
    assert third[SIGMA] == Cell("0.1", 0.1)
    assert third[ALPHA] == Cell("0.5", 0.5)
    assert third["seeds"] == Cell("2", 2)
    assert third["val_accuracy"].text == "0.800 ± 0.014"
    assert third["val_accuracy"].order == pytest.approx(0.8)
    assert third["test_accuracy"].text == "0.700 ± 0.014"
    assert third["pgd20.accuracy"] == Cell("0.300 ± 0.000", 0.3)


def test_a_line_opens_the_first_trial_of_its_point(tmp_path: Path) -> None:
    assert [line.trial_id for line in lines(two_by_two(tmp_path).group())] == [
        f"s-student-{point}-0" for point in range(4)
    ]


def test_a_failed_seed_counts_in_no_mean_and_takes_the_star(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.7], {SIGMA: 0.0})
    made.point(1, [0.9, None], {SIGMA: 0.1})
    first, second = lines(made.group())
    assert (first.mark, second.mark) == ("best", "")
    assert [cell.text for cell in second.cells[1:3]] == ["1", "0.900"]


def test_a_number_that_was_not_measured_is_a_dash_that_sorts_nowhere(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.numbers_of(made.point(0, [0.5, 0.7], {SIGMA: 0.0}), "pgd20", "pgd", 0.1)
    made.point(1, [0.9, 0.8], {SIGMA: 0.1})
    assert lines(made.group())[1].cells[-1] == Cell("–", None)


def test_the_best_point_has_a_mark_and_so_has_the_front_of_clean_and_robust(tmp_path: Path) -> None:
    # The more clean accuracy, the less under attack: no point is worse in both.
    assert [line.mark for line in lines(two_by_two(tmp_path).group())] == [
        "Pareto front",
        "Pareto front",
        "Pareto front",
        "best, Pareto front",
    ]


def test_a_point_that_is_worse_in_both_is_not_on_the_front(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    attacked(made, made.point(4, [0.6, 0.6], {SIGMA: 0.2, ALPHA: 1.0}), 0.4)
    assert lines(made.group())[4].mark == ""


def test_only_a_point_that_can_be_the_best_is_marked_as_on_the_front(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(seeds=2, constraints=("val_accuracy >= 0.7",))
    attacked(made, made.point(0, [0.9, 0.9], {SIGMA: 0.0}), 0.2)
    attacked(made, made.point(1, [0.8], {SIGMA: 0.1}), 0.6)
    attacked(made, made.point(2, [0.5, 0.5], {SIGMA: 0.2}), 0.5)
    attacked(made, made.point(3, [0.8, 0.8], {SIGMA: 0.3})[:1], 0.4)
    group = made.group()
    assert [line.mark for line in lines(group)] == ["best, Pareto front", "", "", ""]
    front = group.results.pareto(["test_accuracy", "pgd20.accuracy"])
    assert front["point"].tolist() == [0]


def test_the_best_of_an_objective_that_is_minimised_is_the_lowest(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="val_accuracy", mode="min"))
    made.point(0, [0.5, 0.5], {SIGMA: 0.0})
    made.point(1, [0.9, 0.9], {SIGMA: 0.1})
    assert [line.mark for line in lines(made.group())] == ["best", ""]


def test_of_points_that_share_the_first_place_the_first_is_the_best_as_everywhere(
    tmp_path: Path,
) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.7], {SIGMA: 0.0})
    made.point(1, [0.7, 0.5], {SIGMA: 0.1})
    group = made.group()
    assert [line.mark for line in lines(group)] == ["best", ""]
    assert best_points(group.results, "s") == group.best == [0]
    assert group.results.best("val_accuracy")["point"].tolist() == [0]


def test_of_two_objectives_the_front_is_marked(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.aim(Objective(), Objective(metric="pgd20.accuracy"))
    attacked(made, made.point(4, [0.6, 0.6], {SIGMA: 0.2, ALPHA: 1.0}), 0.4)
    marks = [line.mark for line in lines(made.group())]
    assert marks == ["Pareto front"] * 4 + [""]


def test_only_some_metrics_are_visible_at_first_the_objective_before_all(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="f.accuracy"))
    for trial in made.point(0, [0.9, 0.8]):
        for label in "abcdef":
            made.number(trial, label, "gaussian_noise", 0.5)
    group = made.group()
    assert first_metrics(group)[:3] == ["f.accuracy", "val_accuracy", "test_accuracy"]
    assert [each.title for each in columns(group) if each.visible and each.title != "seeds"] == [
        name for name in group.metrics if name in first_metrics(group)
    ]
    assert len(first_metrics(group)) == 5


def test_a_file_has_the_same_numbers_in_full(tmp_path: Path) -> None:
    group = two_by_two(tmp_path).group()
    made = table(group, exact=True)
    rows = list(csv.DictReader(io.StringIO(made.to_csv())))
    assert [row["point"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["best"] for row in rows][-1] == "best, Pareto front"
    assert rows[2][SIGMA] == "0.1"
    assert rows[2][ALPHA] == "0.5"
    assert rows[2]["n"] == "2"
    assert float(rows[2]["val_accuracy"]) == pytest.approx(0.8)
    assert float(rows[2]["val_accuracy std"]) == pytest.approx(0.01 * math.sqrt(2))
    assert float(rows[2]["pgd20.accuracy"]) == pytest.approx(0.3)
    assert "case" not in rows[0]


def test_a_number_of_fewer_seeds_than_its_row_says_of_how_many(tmp_path: Path) -> None:
    made = Small(tmp_path)
    ids = made.point(0, [0.7, 0.8, 0.9])
    for trial, value in zip(ids, (0.5, 0.6), strict=False):
        made.number(trial, "pgd20", "pgd", value)
    group = made.group()
    (line,) = lines(group)
    assert [cell.text for cell in line.cells] == [
        "3",
        "0.800 ± 0.100",
        "0.700 ± 0.100",
        "0.550 ± 0.071 (n = 2)",
    ]
    shown = table(group, exact=False)
    assert "0.550 ± 0.071 (n = 2)" in shown.to_markdown()
    assert r"0.550 $\pm$ 0.071 (n = 2)" in shown.to_latex()
    (row,) = csv.DictReader(io.StringIO(shown.to_csv()))
    assert (row["n"], row["val_accuracy n"], row["pgd20.accuracy n"]) == ("3", "3", "2")
    (found,) = group.results.points("pgd20.accuracy")["n"]
    assert found == 2


def test_exact_values_keep_all_digits_and_whole_numbers_stay_whole(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], {SIGMA: 0.123456789, "method.temperature": 4.0})
    made.point(1, [0.8], {SIGMA: 0.2, "method.temperature": 8.0})
    group = made.group()
    exact, short = (table(group, exact=each).frame.iloc[0] for each in (True, False))
    assert (exact[SIGMA], exact["method.temperature"]) == ("0.123456789", 4)
    assert (short[SIGMA], short["method.temperature"]) == ("0.123457", "4")


def test_one_seed_has_no_deviation_in_the_file(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9])
    (cell,) = table(made.group(), exact=True).frame["val_accuracy"]
    assert isinstance(cell, Spread)
    assert (cell.mean, cell.n) == (0.9, 1)
    assert math.isnan(cell.std)


def test_without_a_completed_trial_there_is_no_line(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [None, None], {SIGMA: 0.1})
    assert lines(made.group()) == []
    assert [each.title for each in columns(made.group())] == [SIGMA, "seeds"]
