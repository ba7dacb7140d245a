"""What is drawn are means over seeds, their deviations, and nothing that was not measured."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.patches import Rectangle

from kdray.report import (
    absent,
    bars,
    caption,
    cells,
    from_zero,
    heat_map,
    images_with_scores,
    learning_curves,
    legend,
    lines,
    look,
    marks,
    panels,
    parallel_coordinates,
    reference,
    scatter,
    spread,
)
from kdray.report.figures.caption import beyond_seeds
from kdray.report.figures.drawing import GROUP_OFFSET
from kdray.report.figures.style import PALETTE

SEEDS = pd.DataFrame(
    {
        "x": [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0],
        "y": [0.5, 0.7, 0.8, 0.8, 0.2, 0.4, math.nan],
        "g": ["a", "a", "a", "a", "b", "b", "b"],
        "seed": [0, 1, 0, 1, 0, 1, 0],
        "data.name": "cifar10",
    }
)


def one() -> Axes:
    return panels()[1][0]


def drawn(axes: Axes) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """x, y and half the length of the bar of each labelled line."""
    found = {}
    for container in axes.containers:
        if isinstance(container, ErrorbarContainer) and container.lines[0] is not None:
            x, y = container.lines[0].get_data()
            ends = [
                np.ptp(s[:, 1]) / 2 if len(s) else math.nan
                for b in container.lines[2]
                for s in b.get_segments()
            ]
            found[str(container.get_label())] = (np.asarray(x), np.asarray(y), np.asarray(ends))
    return found


def test_lines_are_means_in_percent_with_bars_of_one_sample_deviation() -> None:
    axes = one()
    lines(axes, SEEDS, "x", "y", by="g", names={"a": "first"})
    (x, y, bar), (_, other, _) = drawn(axes)["first"], drawn(axes)["b"]
    assert y == pytest.approx([60, 80])
    assert bar[0] == pytest.approx(100 * math.sqrt(0.02))
    assert other == pytest.approx([30])  # what has no number at x = 1 ends before it
    assert abs(x - [0, 1]).max() <= GROUP_OFFSET


def test_the_middle_of_three_seeds_is_their_mean() -> None:
    numbers = spread(pd.DataFrame({"x": 0, "y": [0.0, 0.0, 0.9]}), "x", "y")
    assert numbers.to_numpy().tolist() == [[pytest.approx(0.3), pytest.approx(0.27**0.5), 3]]


def test_one_seed_has_no_bars_and_the_caption_says_so() -> None:
    single, axes = SEEDS[SEEDS["seed"].eq(0)], one()
    lines(axes, single, "x", "y", by="g")
    assert not any(len(bar) for _, _, bar in drawn(axes).values())
    assert (
        caption("What it is.", single, ["g", "x"])
        == "What it is. CIFAR-10, 1 seed. No error bars: one seed has no spread."
    )


def test_a_caption_names_data_seeds_bars_and_source() -> None:
    few = SEEDS.drop(index=0)
    assert caption("Shown", SEEDS.dropna(), ["g", "x"], source="Paper, figure 3") == (
        "Shown. CIFAR-10, 2 seeds. Error bars: ± one standard deviation over the seeds. "
        "After Paper, figure 3."
    )
    assert "CIFAR-10, 1 to 2 seeds" in caption("Shown", few, ["g", "x"])
    assert "± is one standard" in caption("Shown", few, ["g", "x"], band="±")
    assert caption("Shown", few, ["g", "x"], band="") == "Shown. CIFAR-10, 1 to 2 seeds."
    assert "CIFAR-10, MNIST" in caption(
        "Shown", pd.concat([few, few.assign(**{"data.name": "mnist"})]), []
    )


def test_a_caption_tells_data_sets_of_one_name_apart() -> None:
    described = [
        json.dumps({"data": {"name": "mnist", **fields}, "seed": 0})
        for fields in ({}, {"pad": 1}, {"validation": 10})
    ]
    rows = pd.DataFrame({"seed": 0, "data.name": "mnist", "experiment": described})
    both = "Shown. MNIST (pad 1), MNIST (pad by default), 1 seed."
    assert caption("Shown", rows, [], band="") == both
    assert caption("Shown", rows.iloc[1:2], [], band="") == "Shown. MNIST, 1 seed."
    # A figure for each data set, which by_data_set told apart.
    apart = rows.assign(**{"data set": ["mnist (pad by default)", "mnist (pad 1)", "mnist"]})
    assert caption("Shown", apart.iloc[1:2], [], band="") == "Shown. MNIST (pad 1), 1 seed."
    assert caption("Shown", apart, [], band="") == both


def test_groups_keep_their_looks_in_the_given_order_and_from_the_given_number() -> None:
    axes = one()
    lines(axes, SEEDS, "x", "y", by="g", order=["b", "nothing", "a"], first=2)
    colors = {str(c.get_label()): to_hex(c.lines[0].get_color()) for c in axes.containers}
    assert colors == {"b": PALETTE[2], "a": PALETTE[4]}


def test_learning_curves_have_a_band_of_one_deviation() -> None:
    axes = one()
    epochs = pd.DataFrame({"epoch": [1, 1, 2, 2], "val_accuracy": [0.5, 0.7, 0.8, 0.8]})
    learning_curves(axes, epochs)
    assert axes.lines[0].get_ydata() == pytest.approx([60, 80])
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert [min(heights), max(heights)] == pytest.approx([60 - 100 * math.sqrt(0.02), 80])


def test_a_heat_map_writes_every_number_and_hatches_what_is_missing() -> None:
    axes = one()
    table = cells(SEEDS, "g", "x", "y")
    heat_map(axes, table, bar=False)
    assert {(t.get_position(), t.get_text()) for t in axes.texts} == {
        ((0, 0), "60.0"),
        ((1, 0), "80.0"),
        ((0, 1), "30.0"),
        ((1, 1), "–"),
    }
    hatched = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch()]
    assert [p.get_xy() for p in hatched] == [(0.5, 0.5)]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]


def test_numbers_in_a_heat_map_are_light_on_dark_and_dark_on_light() -> None:
    axes = one()
    heat_map(axes, pd.DataFrame({"x": [0.0, 1.0]}), bar=False)
    assert [text.get_color() for text in axes.texts] == ["#ffffff", "#000000"]


def test_a_heat_map_of_nothing_is_all_missing() -> None:
    axes = one()
    heat_map(axes, pd.DataFrame({"x": [math.nan]}), bar=False)
    assert [t.get_text() for t in axes.texts] == ["–"]


def test_bars_are_means_with_deviations_and_a_missing_one_is_marked() -> None:
    axes = one()
    bars(axes, SEEDS, "x", "y", by="g")
    heights = [patch.get_height() for patch in axes.patches if isinstance(patch, Rectangle)]
    assert heights[:3] == pytest.approx([60, 80, 30])
    assert math.isnan(heights[3])
    assert [t.get_text() for t in axes.texts] == ["–"]


@pytest.mark.parametrize(
    ("modes", "front"),
    [(("max", "max"), {(10, 40), (20, 30)}), (("max", "min"), {(20, 30), (10, 10)})],
)
def test_the_line_in_a_scatter_plot_is_the_pareto_front(modes: tuple, front: set) -> None:
    axes = one()
    points = pd.DataFrame({"x": [0.1, 0.2, 0.1, 0.15], "y": [0.4, 0.3, 0.1, math.nan]})
    scatter(axes, points, "x", "y", modes=modes)
    (line,) = [line for line in axes.lines if line.get_label() == "Pareto front"]
    assert {(round(x), round(y)) for x, y in zip(*line.get_data(), strict=True)} == front
    # Of every point between two of the front, one of both is at least as good.
    assert line.get_drawstyle() == ("steps-pre" if modes[0] == "max" else "steps-post")


def test_a_legend_names_each_group_once_measured_ones_first_and_the_figure_grows_for_it() -> None:
    figure, all_axes = panels(2)
    for axes in all_axes:
        reference(axes, SEEDS, "y", "level")
        marks(axes, [0.0], [50.0], "published", 1)
        lines(axes, SEEDS, "x", "y", by="g")
    before = figure.get_figheight()
    legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "a",
        "b",
        "level",
        "published",
    ]
    assert figure.get_figheight() > before


def test_a_single_group_needs_no_legend() -> None:
    figure, (axes,) = panels()
    lines(axes, SEEDS, "x", "y")
    legend(figure)
    assert not figure.legends


def test_panels_fill_a_column_or_a_page_and_no_more_than_were_asked_for() -> None:
    assert panels()[0].get_figwidth() == 3.4
    figure, axes = panels(5, height=2.0)
    assert (figure.get_figwidth(), figure.get_figheight()) == (7.0, 4.0)
    assert len(axes) == len(figure.axes) == 5
    assert panels(2, columns=1, height=[1.0, 2.0], below=0.5)[0].get_figheight() == 3.5


def test_an_axis_that_would_begin_below_zero_begins_just_there() -> None:
    axes = one()
    axes.set_ylim(-8, 10)
    from_zero(axes)
    assert axes.get_ylim() == pytest.approx((-0.3, 10))
    axes.set_ylim(2, 10)
    from_zero(axes)
    assert axes.get_ylim() == (2, 10)


def test_an_absent_panel_says_why() -> None:
    axes = one()
    absent(axes, "not measured")
    assert [text.get_text() for text in axes.texts] == ["not measured"]
    assert [patch.get_hatch() for patch in axes.patches] == ["////"]


def test_parallel_coordinates_draw_a_line_per_point_and_leave_out_those_without_a_result() -> None:
    points = pd.DataFrame(
        {"a": [1.0, 2.0, 3.0, 2.0], "b": ["x", "y", "x", "y"], "r": [0.1, 0.9, 0.5, math.nan]}
    )
    figure = parallel_coordinates(points, ["a", "b", "r"], "r", names={"r": "result"})
    axes = figure.axes[0]
    (lines_,) = axes.collections
    paths = [path.vertices[:, 1].tolist() for path in lines_.get_paths()]
    assert paths == [[0, 0, 0], [1, 0, 0.5], [0.5, 1, 1]]  # the best last, on top
    assert lines_.norm.vmin == 0.1
    assert lines_.norm.vmax == 0.9
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "result"]


def test_images_stand_beside_the_mean_score_of_every_class() -> None:
    scores = pd.DataFrame(
        {
            "image": 0,
            "class": [0, 1, 0, 1, 1],
            "score": [0.2, 0.8, 0.9, 0.3, 0.1],
            "model": ["s", "s", "r", "r", "r"],
        }
    )
    figure = images_with_scores(
        np.zeros((1, 4, 4)), scores, ["clean"], by="model", classes=["no", "yes"], truth=[1]
    )
    left, right = figure.axes
    assert left.images[0].get_array().shape == (4, 4)
    heights = [p.get_height() for container in right.containers for p in container]
    assert heights == pytest.approx([20, 80, 90, 20])
    assert to_hex(right.containers[1][0].get_facecolor()) == look(1).color


def test_a_caption_says_what_models_of_one_seed_differ_in() -> None:
    both = pd.concat(
        [SEEDS.assign(**{"method.temperature": t, "teacher.method.temperature": t}) for t in (1, 8)]
    )
    assert "deviation over the seeds and method.temperature." in caption("Shown", both, ["g", "x"])
    one_seed = both[both["seed"].eq(0)]
    assert caption("Shown", one_seed, ["g", "x"]) == (
        "Shown. CIFAR-10, 1 seed. Error bars: ± one standard deviation over method.temperature."
    )
    assert "No error bars: one seed has no spread" in caption(
        "Shown", one_seed, ["g", "x", "method.temperature"]
    )
    assert "deviation over pairs." in caption("Shown", one_seed, ["g", "x"], over="pairs")


def test_the_closest_path_stands_for_what_it_is_in() -> None:
    noise = [f'[{{"sigma": {sigma}}}]' for sigma in (1, 2)]
    frame = pd.DataFrame(
        {"seed": 0, "supervision.noise": noise, "supervision.noise.0.sigma": [1, 2]}
    )
    assert beyond_seeds(frame, []) == ["supervision.noise.0.sigma"]
