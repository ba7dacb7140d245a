"""Metrics against what was swept: each panel shows its own metric, means over the seeds, in
percent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kdray.report.page.point_figures import effect_figures, pair_figure, trade_off_figure
from kdray.results.points.objective import Objective
from tests.report.page.drawn import bars_of, cells_of, lines_of, panels_of
from tests.report.page.small import ALPHA, SIGMA, Small, attacked, two_by_two

DEVIATION = pytest.approx(100 * 0.01 * math.sqrt(2), abs=1e-5)


def test_a_figure_for_each_path_with_a_panel_for_each_metric(tmp_path: Path) -> None:
    found = list(effect_figures(two_by_two(tmp_path).group(), "s0"))
    assert [each.name for each in found] == ["s0-effect-0", "s0-effect-1"]
    assert [each.title for each in found] == [
        f"val_accuracy and pgd20.accuracy against {path}" for path in (SIGMA, ALPHA)
    ]
    for path, figure in zip((SIGMA, ALPHA), found, strict=True):
        panels = panels_of(figure)
        assert [axes.get_xlabel() for axes in panels] == [path, path]
        assert [axes.get_ylabel() for axes in panels] == ["val_accuracy (%)", "pgd20.accuracy (%)"]


def test_a_line_for_each_value_of_the_other_path(tmp_path: Path) -> None:
    first, second = effect_figures(two_by_two(tmp_path).group(), "s0")
    clean, robust = map(lines_of, panels_of(first))
    assert set(clean) == set(robust) == {"alpha 0.5", "alpha 1"}
    assert clean["alpha 0.5"][1] == [60, 80]
    assert clean["alpha 0.5"][2] == [DEVIATION, DEVIATION]
    assert clean["alpha 1"][1] == [70, 90]
    assert robust["alpha 1"][1] == [40, 20]
    assert {name: line[1] for name, line in lines_of(panels_of(second)[0]).items()} == {
        "sigma 0": [60, 70],
        "sigma 0.1": [80, 90],
    }


def test_with_too_many_others_one_line_is_the_average_and_the_caption_says_so(
    tmp_path: Path,
) -> None:
    made = Small(tmp_path)
    for point in range(14):
        made.point(point, [0.5 + point / 100], {SIGMA: point % 2 / 10, ALPHA: point // 2 / 10})
    figure = next(effect_figures(made.group(), "s0"))
    (axes,) = panels_of(figure)
    ((_, y, _),) = lines_of(axes).values()
    assert y == [56, 57]
    assert f"average over {ALPHA} too" in figure.caption


def test_times_of_several_machines_are_called_that(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="train_seconds", mode="min"))
    for point in range(4):
        swept = {SIGMA: point % 2 / 10, ALPHA: point // 2 / 10}
        how = {"device": "cpu", "cpu": "Atom", "threads": 1 + point % 2}
        made.point(point, [0.9, 0.9], swept, train_seconds=10.0 + point, **how)
    group = made.group()
    for figure in (*effect_figures(group, "s0"), *pair_figure(group, "s0")):
        assert (
            ". train_seconds is of several machines (Atom, 1 thread; Atom, 2 threads), of which it "
            "says as much as of the points. "
        ) in figure.caption


def test_texts_are_bars(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.7], {"model.name": "mlp"})
    made.point(1, [0.9, 0.9], {"model.name": "resnet"})
    (figure,) = effect_figures(made.group(), "s0")
    assert bars_of(panels_of(figure)[0]) == {"mlp": 60, "resnet": 90}
    assert "A higher bar" in figure.caption


def test_what_is_no_share_is_drawn_as_it_is(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(metric="macs", mode="min"))
    for point in range(2):
        made.point(point, [0.5], {SIGMA: point / 10}, macs=100 + point)
    (figure,) = effect_figures(made.group(), "s0")
    (axes,) = panels_of(figure)
    assert axes.get_ylabel() == "macs"
    ((_, y, _),) = lines_of(axes).values()
    assert y == [100, 101]


def test_nothing_varies_nothing_is_drawn(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.5, 0.6], {SIGMA: 0.1})
    group = made.group()
    assert list(effect_figures(group, "s0")) == []
    assert list(pair_figure(group, "s0")) == []
    assert list(trade_off_figure(group, "s0")) == []


def test_two_paths_are_a_heat_map_of_means(tmp_path: Path) -> None:
    (figure,) = pair_figure(two_by_two(tmp_path).group(), "s0")
    clean, robust = panels_of(figure)
    assert (clean.get_xlabel(), clean.get_ylabel()) == (ALPHA, SIGMA)
    assert [label.get_text() for label in clean.get_xticklabels()] == ["0.5", "1"]
    assert [label.get_text() for label in clean.get_yticklabels()] == ["0", "0.1"]
    assert cells_of(clean) == [["60.0", "70.0"], ["80.0", "90.0"]]
    assert cells_of(robust) == [["50.0", "40.0"], ["30.0", "20.0"]]


def test_one_path_or_three_are_no_heat_map(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(4):
        swept = {SIGMA: point % 2 / 10, ALPHA: point // 2 / 10, "training.epochs": 1 + point}
        made.point(point, [0.5], swept)
    assert list(pair_figure(made.group(), "s0")) == []


def test_robust_against_clean_accuracy_with_the_front(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    attacked(made, made.point(4, [0.65, 0.65], {SIGMA: 0.2, ALPHA: 1.0}), 0.1)
    # The best in both, but not of all its seeds.
    attacked(made, made.point(5, [0.95], {SIGMA: 0.3, ALPHA: 1.0}), 0.6)
    made.aim(seeds=2)
    (figure,) = trade_off_figure(made.group(), "s0")
    (axes,) = panels_of(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("test_accuracy (%)", "pgd20.accuracy (%)")
    ((x, y, _),) = (line for name, line in lines_of(axes).items() if name != "Pareto front")
    assert x == [50, 60, 70, 80, 55, 85]
    assert y == [50, 40, 30, 20, 10, 60]
    (front,) = (line for line in axes.lines if line.get_label() == "Pareto front")
    assert [round(float(each)) for each in front.get_ydata()] == [50, 40, 30, 20]


def test_points_that_share_all_swept_values_are_not_averaged(tmp_path: Path) -> None:
    """Two sweeps of one name were merged by copying: what they differ in is not swept."""
    made = two_by_two(tmp_path)
    made.point(4, [0.2, 0.2], {SIGMA: 0.0, ALPHA: 0.5})
    first, _ = effect_figures(made.group(), "s0")
    found = lines_of(panels_of(first)[0])
    assert {name: line[1] for name, line in found.items()} == {
        "alpha 0.5, point 0": [60],
        "alpha 0.5, point 4": [20],
        "alpha 0.5": [80],
        "alpha 1": [70, 90],
    }
    assert list(pair_figure(made.group(), "s0")) == []
