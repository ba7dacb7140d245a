"""Accuracy against the strength of a change, and on corrupted images."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.report.page.robustness_figures import corruption_figure, strength_figures
from tests.report.page.drawn import cells_of, lines_of, panels_of, title_of
from tests.report.page.small import SIGMA, Small, two_by_two


def noisy(path: Path, points: int = 2) -> Small:
    """Under noise of 0.1, 0.2 and 0.3 each point loses as much as the noise is strong."""
    made = Small(path)
    for point in range(points):
        for trial in made.point(point, [0.9, 0.9], {SIGMA: point / 10}):
            for sigma in (0.3, 0.1, 0.2):
                value = 0.9 - 0.05 * point - sigma + (0.02 if trial.endswith("1") else 0.0)
                made.number(trial, "noise", "gaussian_noise", value, sigma=sigma)
    return made


def test_a_curve_for_each_point_in_percent_over_rising_strength(tmp_path: Path) -> None:
    (figure,) = strength_figures(noisy(tmp_path).group(), "s0")
    assert figure.name == "s0-gaussian_noise-sigma"
    (axes,) = panels_of(figure)
    assert axes.get_xlabel() == "σ of the noise (pixel units)"
    found = lines_of(axes)
    assert {name: line[1] for name, line in found.items()} == {
        "sigma 0": [81, 71, 61],
        "sigma 0.1": [76, 66, 56],
    }
    assert found["sigma 0"][2] == pytest.approx([2**0.5] * 3, abs=1e-5)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.2", "0.3"]
    assert "grows to the right" in figure.caption


def test_only_some_of_many_points_have_a_curve(tmp_path: Path) -> None:
    (figure,) = strength_figures(noisy(tmp_path, 9).group(), "s0")
    assert len(lines_of(panels_of(figure)[0])) == 6
    assert "Of 9 points 6 are shown" in figure.caption


def test_two_strengths_are_no_curve(tmp_path: Path) -> None:
    assert list(strength_figures(two_by_two(tmp_path).group(), "s0")) == []


@pytest.mark.parametrize(("column", "side"), [("snr", "left"), ("peak", "left"), ("side", "right")])
def test_the_caption_says_which_end_is_harder(tmp_path: Path, column: str, side: str) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.9]):
        for strength in (1, 2, 3):
            made.number(trial, "e", "change", 0.5, **{column: strength})
    (figure,) = strength_figures(made.group(), "s0")
    assert f"grows to the {side}" in figure.caption


def test_attacks_that_differ_in_more_than_their_strength_are_no_curve(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.9]):
        for epsilon in (0.1, 0.2, 0.3):
            fields = {"norm": "linf", "steps": 20, "epsilon": epsilon}
            made.number(trial, f"long_{epsilon}", "pgd", 0.9 - epsilon, **fields)
        made.number(trial, "short", "pgd", 0.1, norm="linf", steps=7, epsilon=0.4)
    (figure,) = strength_figures(made.group(), "s0")
    ((_, y, _),) = lines_of(panels_of(figure)[0]).values()
    assert y == [80, 70, 60]


UNLIKE = {
    "smoothing": ({"smoothing": {"samples": 8}}, {}, "smoothing (samples 8)", "not smoothed"),
    "examples": ({"examples": 40, "examples.version": 2}, {}, "examples 40", "all images"),
    "split": ({"split": "val"}, {"split": "val"}, "split val", "split test"),
    "seed": ({"seed": 1}, {}, "seed 1", "seed by default"),
    "version": ({"examples": 40, "version": 2}, {}, "examples 40, version 2", "all images"),
}
"""What another evaluation of the same images at the same strengths says, the columns that say so
too, and the titles of its panel and of the first."""


@pytest.mark.parametrize("kind", UNLIKE)
def test_what_was_measured_otherwise_has_a_panel_of_its_own(tmp_path: Path, kind: str) -> None:
    given, columns, its, others = UNLIKE[kind]
    made = noisy(tmp_path)
    for point in range(2):
        for trial in (f"s-student-{point}-{seed}" for seed in range(2)):
            for sigma in (0.1, 0.2, 0.3):
                fields = {"given": given, "sigma": sigma, **columns}
                made.number(trial, "again", "gaussian_noise", 0.3, **fields)
    (figure,) = strength_figures(made.group(), "s0")
    first, second = panels_of(figure)
    assert lines_of(first)["sigma 0"][1] == [81, 71, 61]
    assert lines_of(second)["sigma 0"][1] == [30, 30, 30]
    assert others in title_of(first)
    assert title_of(second) == its
    assert "A panel for each setting" in figure.caption
    assert "2 seeds" in figure.caption


def test_attacks_of_several_step_sizes_are_told_apart(tmp_path: Path) -> None:
    """One evaluation of three radii, two steps sizes and two numbers of steps."""
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.9]):
        for epsilon in (0.1, 0.2, 0.3):
            for step_size in (0.01, 0.02):
                for steps in (5, 10):
                    value = 0.9 - epsilon - step_size - steps / 1000
                    fields = {"epsilon": epsilon, "step_size": step_size, "steps": steps}
                    made.number(trial, "pgd", "pgd", value, given={"epsilon": [0.1]}, **fields)
    (figure,) = strength_figures(made.group(), "s0")
    found = {title_of(axes): lines_of(axes)["point 0"][1] for axes in panels_of(figure)}
    assert found == {
        "step size 0.01, steps 5": [78.5, 68.5, 58.5],
        "step size 0.01, steps 10": [78, 68, 58],
        "step size 0.02, steps 5": [77.5, 67.5, 57.5],
        "step size 0.02, steps 10": [77, 67, 57],
    }


def test_an_attack_whose_steps_grow_with_its_radius_is_one_curve(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.9]):
        for epsilon in (0.1, 0.2, 0.3):
            for part in (4, 10):
                fields = {"epsilon": epsilon, "step_size": epsilon / part, "steps": 20}
                label = f"pgd_{epsilon}_{part}"
                made.number(trial, label, "pgd", 0.9 - epsilon - part / 100, **fields)
    (figure,) = strength_figures(made.group(), "s0")
    found = {title_of(axes): lines_of(axes)["point 0"][1] for axes in panels_of(figure)}
    assert found == {
        "step size / epsilon 0.1": [70, 60, 50],
        "step size / epsilon 0.25": [76, 66, 56],
    }


def test_a_strength_that_two_evaluations_share_counts_once(tmp_path: Path) -> None:
    made = noisy(tmp_path, 1)
    for trial in ("s-student-0-0", "s-student-0-1"):
        for sigma, value in ((0.2, 0.7 + 0.02 * trial.endswith("1")), (0.4, 0.5)):
            given = {"sigmas": [0.2, 0.4]}
            made.number(trial, "more", "gaussian_noise", value, given=given, sigma=sigma)
    (figure,) = strength_figures(made.group(), "s0")
    ((x, y, _),) = lines_of(panels_of(figure)[0]).values()
    assert (x, y) == ([0.1, 0.2, 0.3, 0.4], [81, 71, 61, 50])


def test_numbers_of_epochs_and_of_transferred_images_are_other_numbers(tmp_path: Path) -> None:
    made = noisy(tmp_path, 1)
    for trial in ("s-student-0-0", "s-student-0-1"):
        made.number(trial, "noise", "gaussian_noise", 0.0, sigma=0.1, epoch=1)
        made.number(trial, "noise", "gaussian_noise", 0.0, sigma=0.1, source_trial_id="x")
    (figure,) = strength_figures(made.group(), "s0")
    ((_, y, _),) = lines_of(panels_of(figure)[0]).values()
    assert y == [81, 71, 61]


def test_corruptions_are_means_over_severities_and_seeds(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(2):
        for seed, trial in enumerate(made.point(point, [0.9, 0.8], {SIGMA: point / 10})):
            for severity in (1, 5):
                for name, value in (("fog", 0.8), ("gaussian_noise", 0.5)):
                    value -= 0.2 * point + 0.02 * severity + 0.1 * seed
                    fields = {"corruption": name, "severity": severity}
                    made.number(trial, "c", "corruptions", value, **fields)
    (figure,) = corruption_figure(made.group(), "s0")
    (axes,) = panels_of(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sigma 0", "sigma 0.1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["fog", "gaussian noise"]
    assert cells_of(axes) == [["69.0", "39.0"], ["49.0", "19.0"]]
    assert "mean over severities 1, 5 and seeds" in figure.caption


def test_each_evaluation_of_corruptions_has_a_map(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for trial in made.point(0, [0.9, 0.8]):
        for severity in (1, 5):
            for label, given, value in (
                ("c", {}, 0.8),
                ("small", {"examples": 40}, 0.6),
                ("smooth", {"smoothing": {"samples": 8, "sigma": 0.1}}, 0.2),
                ("one", {"severities": [5]}, 0.1),
            ):
                fields = {"corruption": "fog", "severity": severity, "given": given}
                if label != "one" or severity == 5:
                    made.number(trial, label, "corruptions", value, **fields)
    figures = list(corruption_figure(made.group(), "s0"))
    assert [cells_of(panels_of(each)[0]) for each in figures] == [
        [["80.0"]],
        [["60.0"]],
        [["10.0"]],
        [["20.0"]],
    ]
    assert len({each.name for each in figures}) == 4
    assert [each.title.partition(": ")[2] for each in figures] == [
        "all images, severities by default, not smoothed",
        "examples 40, severities by default, not smoothed",
        "all images, severities 5, not smoothed",
        "all images, severities by default, smoothing (samples 8, noise σ 0.1)",
    ]


def test_without_corruptions_there_is_no_figure(tmp_path: Path) -> None:
    assert list(corruption_figure(noisy(tmp_path).group(), "s0")) == []
