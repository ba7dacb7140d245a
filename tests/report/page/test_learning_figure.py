"""Learning curves: mean over the seeds, epoch by epoch, through all stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.report.page.learning_figure import learning_figure
from tests.report.page.drawn import panels_of
from tests.report.page.small import SIGMA, Small


def test_accuracy_in_percent_and_loss_as_it_is(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(2):
        first, second = made.point(point, [0.9, 0.8], {SIGMA: point / 10})
        made.learning(first, 0.1, 0.5, 0.9)
        made.learning(second, 0.3, 0.5, 0.7)
    (figure,) = learning_figure(made.group(), "s0")
    accuracy, loss = panels_of(figure)
    assert accuracy.get_ylabel() == "Validation accuracy (%)"
    assert loss.get_ylabel() == "Training loss"
    assert [str(line.get_label()) for line in accuracy.lines] == ["sigma 0", "sigma 0.1"]
    assert accuracy.lines[0].get_xdata() == pytest.approx([1, 2, 3])
    assert accuracy.lines[0].get_ydata() == pytest.approx([20, 50, 80])
    assert loss.lines[0].get_ydata() == pytest.approx([0.8, 0.5, 0.2])


def test_stages_are_counted_through(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9])
    made.learning(trial, 0.1, 0.2, stage="hint")
    made.learning(trial, 0.3, 0.4)
    (figure,) = learning_figure(made.group(), "s0")
    (line,) = panels_of(figure)[0].lines
    assert line.get_xdata() == pytest.approx([1, 2, 3, 4])
    assert line.get_ydata() == pytest.approx([10, 20, 30, 40])


def test_a_trial_of_two_points_has_the_same_curve_at_both(tmp_path: Path) -> None:
    made = Small(tmp_path)
    (trial,) = made.point(0, [0.9], case="one")
    made.again(trial, 1, case="other")
    made.learning(trial, 0.1, 0.2, 0.3)
    (figure,) = learning_figure(made.group(), "s0")
    one, other = panels_of(figure)[0].lines
    for line in (one, other):
        assert line.get_xdata() == pytest.approx([1, 2, 3])
        assert line.get_ydata() == pytest.approx([10, 20, 30])


def test_one_epoch_is_no_curve(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.learning(made.trial(0, 0, 0.9), 0.9)
    assert list(learning_figure(made.group(), "s0")) == []


def test_failed_trials_have_no_curve(tmp_path: Path) -> None:
    made = Small(tmp_path)
    first, second = made.point(0, [0.9, None])
    made.learning(first, 0.4, 0.6)
    made.learning(second, 0.0, 0.0)
    (figure,) = learning_figure(made.group(), "s0")
    assert panels_of(figure)[0].lines[0].get_ydata() == pytest.approx([40, 60])
    assert "1 seed" in figure.caption


def test_terms_of_the_loss_are_nothing_that_models_differ_in(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        made.learning(trial, 0.1, 0.5)
    for number, row in enumerate(made.epochs):
        row["loss.kd"] = number / 10
    (figure,) = learning_figure(made.group(), "s0")
    assert "over the seeds." in figure.caption
