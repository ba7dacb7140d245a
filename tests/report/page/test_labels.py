"""Labels of points, metrics and axes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kdray.report.figures.drawing import panels
from kdray.report.page.labels import (
    drawn_points,
    is_numeric,
    last_part,
    metric_label,
    plain,
    point_label,
    tick_values,
    turn_long_ticks,
)
from kdray.results.points.objective import Objective
from tests.report.page.small import ALPHA, SIGMA, Small, two_by_two


def ten(path: Path) -> Small:
    """Ten points, each better than the one before, but for the last two."""
    made = Small(path)
    for point in range(10):
        made.point(point, [0.5 + 0.01 * (point if point < 8 else -point)], {SIGMA: point / 10})
    return made


def test_few_points_are_all_drawn_in_order(tmp_path: Path) -> None:
    assert drawn_points(two_by_two(tmp_path).group(), 4) == ([0, 1, 2, 3], "")


def test_of_many_points_the_best_the_worst_and_some_between(tmp_path: Path) -> None:
    points, remark = drawn_points(ten(tmp_path).group(), 4)
    assert points == [7, 4, 1, 9]
    assert remark == (
        " Of 10 points 4 are shown: those with the highest and the lowest mean val_accuracy, and some between."
    )


def test_the_best_of_what_is_minimised_is_the_lowest(tmp_path: Path) -> None:
    made = ten(tmp_path)
    made.aim(Objective(metric="val_accuracy", mode="min"))
    assert drawn_points(made.group(), 2).numbers == [9, 7]


def test_a_point_is_called_by_case_and_short_paths(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], {SIGMA: 0.1, ALPHA: 0.5}, case="noisy")
    assert point_label(made.group(), 0) == "noisy, sigma 0.1, alpha 0.5"


def test_a_point_without_a_name_has_its_number(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(7, [0.9])
    assert point_label(made.group(), 7) == "point 7"


def test_a_long_name_is_cut_and_has_the_number(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], case="x" * 200)
    assert point_label(made.group(), 0) == "x" * 51 + ", point 0"


def test_texts_are_no_mathematics_and_shares_are_percentages() -> None:
    assert plain("a$b$") == r"a\$b\$"
    assert metric_label("pgd20.accuracy") == "pgd20.accuracy (%)"
    assert metric_label("macs") == "macs"
    assert last_part("noise.input.sigma") == "sigma"


@pytest.mark.parametrize(
    ("values", "numeric"),
    [([1, 2], True), ([0.5, None], True), ([True, False], False), (["a", "b"], False)],
)
def test_flags_are_no_numbers(values: list[object], numeric: bool) -> None:
    assert is_numeric(pd.Series(values)) is numeric


def ticks(values: list[float]) -> list[str]:
    axes = panels()[1][0]
    axes.set_xticks([0.5], ["as it was"])
    tick_values(axes, pd.Series(values))
    return [label.get_text() for label in axes.get_xticklabels()]


def test_few_values_each_have_a_tick() -> None:
    assert ticks([0.2, 0.0, 0.1, 0.1]) == ["0", "0.1", "0.2"]


@pytest.mark.parametrize(
    "values",
    [[0.1], [0.0, 0.01, 1.0], [number / 10 for number in range(9)]],
    ids=["one", "close", "many"],
)
def test_otherwise_ticks_are_as_they_were(values: list[float]) -> None:
    assert ticks(values) == ["as it was"]


@pytest.mark.parametrize(("text", "turned"), [("short", False), ("a-rather-long-name", True)])
def test_long_labels_are_turned(text: str, turned: bool) -> None:
    axes = panels()[1][0]
    axes.set_xticks([0, 1], [text, text])
    turn_long_ticks(axes)
    assert all((label.get_rotation() == 40) is turned for label in axes.get_xticklabels())


def test_points_of_the_same_values_have_their_number(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.point(4, [0.2], {SIGMA: 0.0, ALPHA: 0.5})
    names = [point_label(made.group(), point) for point in (0, 1, 4)]
    assert names == [
        "sigma 0, alpha 0.5, point 0",
        "sigma 0, alpha 1",
        "sigma 0, alpha 0.5, point 4",
    ]
