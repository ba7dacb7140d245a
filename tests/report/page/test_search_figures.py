"""Which swept value mattered, and all points side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdray.report.page.search_figures import search_figures
from kdray.results.points.objective import Objective
from tests.report.page.drawn import panels_of
from tests.report.page.small import ALPHA, SIGMA, Small, two_by_two


def grid(path: Path) -> Small:
    """Twelve points: accuracy falls with sigma and knows nothing of alpha."""
    made = Small(path)
    for point in range(12):
        sigma, alpha = point // 3 / 10, point % 3 / 2
        made.point(point, [0.9 - sigma, 0.9 - sigma], {SIGMA: sigma, ALPHA: alpha})
    return made


def test_what_mattered_comes_first_and_the_shares_are_of_a_hundred(tmp_path: Path) -> None:
    figure, _ = search_figures(grid(tmp_path).group(), "s0")
    (axes,) = panels_of(figure)
    names = [label.get_text() for label in axes.get_yticklabels()]
    widths = [bar.get_width() for bar in axes.patches]
    assert names[-1] == SIGMA  # the upper bar
    assert widths[-1] > 90
    assert np.isclose(sum(widths), 100)
    assert axes.get_xlabel() == "Importance for val_accuracy (%)"


def timed(path: Path, *threads: int) -> Small:
    """Twelve points by training time, which were trained with each of these numbers of threads."""
    made = Small(path)
    made.aim(Objective(metric="train_seconds", mode="min"))
    for point in range(12):
        sigma, alpha = point // 3 / 10, point % 3 / 2
        machine = {"device": "cpu", "cpu": "Atom", "threads": threads[point % len(threads)]}
        swept = {SIGMA: sigma, ALPHA: alpha}
        made.point(point, [0.9], swept, train_seconds=10 + sigma, **machine)
    return made


def test_times_of_several_machines_are_called_that(tmp_path: Path) -> None:
    importance, parallel = search_figures(timed(tmp_path, 1, 2).group(), "s0")
    remark = (
        "train_seconds is of several machines (Atom, 1 thread; Atom, 2 threads), of which it says "
        "as much as of the points. "
    )
    assert importance.name == "s0-importance"
    assert remark in importance.caption
    assert remark in parallel.caption


def test_of_one_machine_no_word_is_lost(tmp_path: Path) -> None:
    for figure in search_figures(timed(tmp_path, 1).group(), "s0"):
        assert "machines" not in figure.caption


def test_every_point_is_a_line_through_its_values(tmp_path: Path) -> None:
    *_, figure = search_figures(two_by_two(tmp_path).group(), "s0")
    assert figure.name == "s0-parallel"
    axes = panels_of(figure)[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        SIGMA,
        ALPHA,
        "val_accuracy (%)",
        "pgd20.accuracy (%)",
    ]
    (collection,) = axes.collections
    heights = [path.vertices[:, 1].round(4).tolist() for path in collection.get_paths()]
    # From the lowest to the highest validation accuracy; under attack the other way round.
    assert heights == [[0, 0, 0, 1], [0, 1, 0.3333, 0.6667], [1, 0, 0.6667, 0.3333], [1, 1, 1, 0]]
    assert collection.get_array().round().tolist() == [60, 70, 80, 90]


def test_texts_and_flags_are_set_out_by_name(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point, (kind, clip) in enumerate([("a", True), ("b", False), ("a", False)]):
        made.point(point, [0.5 + point / 10], {"model.name": kind, "noise.input.clip": clip})
    *_, figure = search_figures(made.group(), "s0")
    texts = {text.get_text() for text in panels_of(figure)[0].texts}
    assert {"a", "b"} <= texts


def test_one_path_is_no_search(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(5):
        made.point(point, [0.5 + point / 10], {SIGMA: point / 10})
    assert list(search_figures(made.group(), "s0")) == []


def test_three_points_say_nothing_of_importance(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point, (sigma, alpha) in enumerate([(0.0, 0.5), (0.1, 1.0), (0.1, 0.5)]):
        made.point(point, [0.5 + point / 10], {SIGMA: sigma, ALPHA: alpha})
    assert [each.name for each in search_figures(made.group(), "s0")] == ["s0-parallel"]
