"""Robust overfitting: under each attack of the monitor the best epoch beside the last."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.container import BarContainer

from kdray.report.page.overfitting_figure import overfitting_figure
from tests.report.page.drawn import panels_of, title_of
from tests.report.page.small import SIGMA, Small


def looked(made: Small, trial: str, label: str, kind: str, *values: float) -> None:
    """Add what a monitor found after every second epoch."""
    for number, value in enumerate(values, start=1):
        made.number(trial, label, kind, value, split="val", epoch=2 * number)


def test_the_best_epoch_stands_beside_the_last_for_each_point_and_attack(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(2):
        first, second = made.point(point, [0.9, 0.8], {SIGMA: point / 10})
        looked(made, first, "pgd10_val", "pgd", 0.2, 0.5 + point / 10, 0.3)
        looked(made, second, "pgd10_val", "pgd", 0.3, 0.4, 0.4)
        looked(made, first, "fgsm", "fgsm", 0.6, 0.6, 0.7)
        looked(made, first, "clean", "clean", 0.9, 0.8)
        made.number(first, "pgd20", "pgd", 0.1)
    (figure,) = overfitting_figure(made.group(), "s0")
    panels = {title_of(axes): axes for axes in panels_of(figure)}
    assert panels.keys() == {"pgd10_val", "fgsm"}
    pgd = panels["pgd10_val"]
    assert [label.get_text() for label in pgd.get_xticklabels()] == ["sigma 0", "sigma 0.1"]
    heights = {
        str(bars.get_label()): [bar.get_height() for bar in bars]
        for bars in pgd.containers
        if isinstance(bars, BarContainer)
    }
    assert heights["best epoch"] == pytest.approx([45, 50])
    assert heights["last epoch"] == pytest.approx([35, 35])
    assert "1 to 2 seeds" in figure.caption


def test_a_trial_of_two_points_stands_at_both(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9], case="one")
    made.again(trial, 1, case="other")
    looked(made, trial, "pgd", "pgd", 0.5, 0.3)
    (figure,) = overfitting_figure(made.group(), "s0")
    (axes,) = panels_of(figure)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["one", "other"]
    heights = [
        [bar.get_height() for bar in bars]
        for bars in axes.containers
        if isinstance(bars, BarContainer)
    ]
    assert heights == [pytest.approx([50, 50]), pytest.approx([30, 30])]


@pytest.mark.parametrize("values", [(), (0.5,)])
def test_one_look_is_no_figure(values: tuple[float, ...], tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9])
    looked(made, trial, "pgd", "pgd", *values)
    assert list(overfitting_figure(made.group(), "s0")) == []


def test_numbers_of_several_strengths_or_of_classes_are_left_out(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9])
    for epoch in (1, 2):
        for epsilon in (0.1, 0.2):
            made.number(trial, "pgd", "pgd", 0.5, epoch=epoch, epsilon=epsilon)
        made.number(trial, "fgsm", "fgsm", 0.5, epoch=epoch, **{"class": 1})
    assert list(overfitting_figure(made.group(), "s0")) == []
