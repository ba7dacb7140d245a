"""Our numbers of current understanding beside the paper's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import current_understanding as script
from kdray.report import Figure, Missing, Table
from kdray.report.papers.script import drawn
from tests.analysis.made import Sweeps, cells


@pytest.fixture
def made(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path / "results", "mnist")


def teacher_free(made: Sweeps) -> None:
    """Of two temperatures the second is the better one on validation, the first on test."""
    sweep = "teacher-free"
    for point, (case, temperature, test, validation) in enumerate(
        (
            ("baseline", None, 0.5, 0.5),
            ("tf_kd_reg", 1.0, 0.9, 0.6),
            ("tf_kd_reg", 20.0, 0.6, 0.9),
            ("tf_kd_self", 4.0, 0.7, 0.7),
        )
    ):
        trials = [
            made.trial(
                sweep,
                point,
                seed,
                case=case,
                method__temperature=temperature,
                test_accuracy=test,
                val_accuracy=validation,
            )
            for seed in (0, 1)
        ]
        for layer, gradient in (("body.conv1", 0.002), ("body.fc", 0.001)):
            for epoch in (1, 2):
                made.numbers_of(
                    trials,
                    "gradients",
                    "gradients",
                    gradient * (point + 1) * epoch,
                    metric="mean_gradient",
                    split="train",
                    layer=layer,
                    epoch=epoch,
                )


def test_table_1_has_both_networks(made: Sweeps) -> None:
    made.point("vanilla-mnist", 0, 0.9, case="distilled", weights=317_600, macs=317_600)
    made.point("vanilla-mnist", 1, 0.8, case="plain", weights=317_600, macs=317_600)
    made.point("vanilla-mnist", 0, 0.95, role="teacher", weights=2_392_800, macs=2_392_800)
    table = script.table_1(made.snapshot())
    large, small = cells(table, "Large Model"), cells(table, "Small Model")
    assert large["Weights"] == large["Weights (published)"] == large["Multiplications"] == 2_392_800
    assert (small["Alone, %"].mean, small["Distilled, %"].mean) == (
        pytest.approx(80),
        pytest.approx(90),
    )
    assert (small["Alone, % (published)"], small["Distilled, % (published)"]) == (98.06, 98.73)
    assert (large["Distilled, %"], small["n"]) == (None, 2)
    assert "MNIST, 2 seeds" in table.caption


def test_table_2_keeps_the_omitted_digit_apart(made: Sweeps) -> None:
    point = 0
    for case, seen, omitted in (("distilled", 0.9, 0.6), ("plain", 0.8, 0.0)):
        for digit in (1, 2):
            trials = made.point(
                "omitted-digits", point, 0.5, case=case, swept={"data.omit_classes": [digit]}
            )
            made.numbers_of(trials, "clean", "clean", seen + digit / 100, metric="seen_accuracy")
            made.numbers_of(
                trials, "clean", "clean", omitted + digit / 100, metric="omitted_accuracy"
            )
            point += 1
    two = cells(script.table_2(made.snapshot()), "Two")
    shown = {
        name: two[f"{name}, %"].mean
        for name in ("Alone, other digits", "Alone, omitted digit", "Distilled, omitted digit")
    }
    assert list(shown.values()) == pytest.approx([82, 2, 62])
    assert two["Distilled, omitted digit, % (published)"] == pytest.approx(92.73)


def test_table_2_takes_one_evaluation_and_a_row_for_each_point(made: Sweeps) -> None:
    for point, temperature in enumerate((1.0, 10.0)):
        how = {"case": "distilled", "swept": {"data.omit_classes": [1]}}
        trials = made.point("omitted-digits", point, 0.5, method__temperature=temperature, **how)
        made.numbers_of(trials, "clean", "clean", 0.5 + point / 10, metric="seen_accuracy")
        few = {"evaluation_parameters": '{"examples": 9}'}
        made.numbers_of(trials[:1], "few", "clean", 0.9, metric="seen_accuracy", **few)
    (table,) = drawn(script.table_2, made.snapshot())
    assert isinstance(table, Table)
    assert [
        cells(table, f"One, method.temperature = {t}")["Distilled, other digits, %"].mean
        for t in (1, 10)
    ] == pytest.approx([50, 60])
    assert "the one that most models have: all images" in table.caption


def test_table_3_calls_the_large_network_the_teacher_as_the_paper_does(made: Sweeps) -> None:
    made.point("reversed", 0, 0.7, case="re_kd")
    made.point("reversed", 1, 0.6, case="baseline")
    made.point("reversed", 0, 0.5, role="teacher")
    table = script.table_3(made.snapshot())
    assert [cell.mean for cell in table.frame["Accuracy, %"]] == pytest.approx([60, 50, 70])
    assert (
        "| Re-KD (S → T) | 70.00 ± 1.41 | 95.46 ± 0.12 | 2 | student, reversed, re_kd |"
        in table.to_markdown()
    )


def test_table_4_chooses_the_temperature_on_validation(made: Sweeps) -> None:
    teacher_free(made)
    table = script.table_4(made.snapshot())
    assert cells(table, "Tf KD-reg")["Accuracy, %"].mean == pytest.approx(60)
    assert cells(table, "Tf KD-reg, T = 1")["Accuracy, %"].mean == pytest.approx(90)
    assert "T = 20" in table.caption


@pytest.mark.parametrize("measured", ["pgd", "autoattack"])
def test_table_5_says_what_stands_for_autoattack(made: Sweeps, measured: str) -> None:
    for point, case in enumerate(
        ("at_no_teacher", "student_of_at_teacher", "at_tf_kd_reg", "at_tf_kd_self")
    ):
        trials = made.point("adversarial-teacher-free", point, 0.8, case=case)
        linf = {"norm": "linf", "steps": 20, "restarts": 5, "samples": 1, "examples": 100}
        made.numbers_of(trials, "pgd20", "pgd", 0.4, **linf, epsilon=8 / 255)
        weak = {**linf, "norm": "l2", "epsilon": 0.5}
        made.numbers_of(trials[:1], "pgd20 in l2", "pgd", 0.9, **weak)
        if measured == "autoattack":
            made.numbers_of(trials, "autoattack", "autoattack", 0.3)
            made.numbers_of(trials[:1], "autoattack of few", "autoattack", 0.9, examples=10)
    table = script.table_5(made.snapshot())
    attacked = cells(table, "ResNet18 (AT) Tf KD-self")
    assert attacked["Attacked, %"].mean == (
        pytest.approx(40) if measured == "pgd" else pytest.approx(30)
    )
    assert attacked["Attacked, % (published)"] == 48.83
    assert ("in place of AutoAttack" in table.caption) == (measured == "pgd")


def test_the_virtual_teacher_is_far_less_sure_than_designed() -> None:
    """Its vector goes through a softmax: 0.2128 is the most that it says at K = 10 and 0.9; it
    flattens with temperature."""
    assert script.virtual_teacher(0.9, 10, 1.0)[0] == pytest.approx(0.2128, abs=5e-5)
    assert script.virtual_teacher(0.9, 10, 20.0)[0] == pytest.approx(0.1041, abs=5e-5)
    assert script.virtual_teacher(1.0, 10, 1.0).sum() == pytest.approx(1)
    np.testing.assert_allclose(script.virtual_teacher(0.9, 10, 1e6), 0.1, atol=1e-6)


def test_gradients_are_compared_with_the_baseline(made: Sweeps) -> None:
    teacher_free(made)
    figure = script.figure_2(made.snapshot())
    assert isinstance(figure, Figure)
    left, right = figure.figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["conv1", "fc"]
    # The mean over two epochs, of the baseline and of T = 20 (the third point).
    assert left.images[0].get_array().tolist()[0] == pytest.approx([3, 9, 12])
    assert right.images[0].get_array().tolist()[0] == pytest.approx([3, 4])


def test_gradients_are_of_the_epochs_that_all_have(made: Sweeps) -> None:
    teacher_free(made)
    for number in [row for row in made.numbers if row["epoch"] == 2]:
        if "-0-" in number["trial_id"]:  # the baseline trained for longer
            made.numbers.append({**number, "epoch": 3, "value": 9.0})
    (figure,) = drawn(script.figure_2, made.snapshot())
    assert isinstance(figure, Figure)
    shown = figure.figure.axes[0].images[0].get_array()
    assert shown[0].tolist() == pytest.approx([3.0, 9.0, 12.0])
    assert "over all steps of the 2 epochs that all of them have, and seeds" in figure.caption


def test_gradients_that_were_not_kept_are_missing(made: Sweeps) -> None:
    made.point("teacher-free", 0, 0.5, case="tf_kd_reg", method__temperature=1.0)
    (missing,) = drawn(script.figure_2, made.snapshot())
    assert isinstance(missing, Missing)
    assert "training.gradients" in missing.reason


def test_the_formula_is_drawn_whatever_was_trained(made: Sweeps, tmp_path: Path) -> None:
    made.point("quickstart", 0, 0.5)
    made.written()
    assert script.main([str(made.path), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "figure_1.pdf").exists()
    assert (
        "no trained students of the sweep vanilla-mnist"
        in (tmp_path / "out" / "README.md").read_text()
    )
