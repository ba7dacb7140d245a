"""Our numbers of the robust student beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import robust_student as script
from kdray.report import Figure, Missing, Table
from kdray.report.papers.script import drawn
from papers.robust_student.networks import CLASSES
from tests.analysis.made import Sweeps, cells

CIFAR = ("standard", "kd", "fitnet", "robust")


@pytest.fixture
def made(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path / "results")


def cifar(made: Sweeps, *data: str) -> dict[tuple[str, str], list[str]]:
    """Teachers and students of the sweep robust-cifar on each of ``data``; accuracy rises from case
    to case."""
    found = {}
    for number, name in enumerate(data):
        fields = {"data__name": name, "data__pad": 0}
        found[name, "teacher"] = made.point(
            "robust-cifar", number, 0.5 - number / 10, role="teacher", seeds=[0], **fields
        )
        for point, case in enumerate(CIFAR):
            accuracy = 0.6 + point / 10 - number / 20
            found[name, case] = made.point(
                "robust-cifar", 4 * number + point, accuracy, case=case, **fields
            )
    return found


def test_table_1_crosses_noise_in_training_with_noise_in_the_test(made: Sweeps) -> None:
    trained = {"clean": None, "gaussian": "gaussian_snr", "poisson": "poisson"}
    point = 0
    for method in ("kd", "robust"):
        for number, (noise, name) in enumerate(trained.items()):
            if method == "robust" and noise != "clean":
                continue
            case = f"{method}_{noise}"
            trials = made.point(
                "robust-training-noise",
                point,
                0.5 + number / 10,
                case=case,
                noise__input__name=name,
            )
            made.numbers_of(trials, "gaussian", "signal_to_noise", 0.3 + number / 10, snr=10)
            made.numbers_of(trials, "gaussian", "signal_to_noise", 0.01, snr=8)
            for peak, value in ((64, 0.4), (16, 0.2)):
                made.numbers_of(trials, "poisson", "poisson_noise", value + number / 10, peak=peak)
            point += 1
    made.point("robust-training-noise", 0, 0.9, role="teacher", seeds=[0])
    # Neither the table's networks nor its noises.
    for case, noise in (("standard", "gaussian_snr"), ("kd_blur", "gaussian")):
        made.point("robust-training-noise", point, 0.1, case=case, noise__input__name=noise)
        point += 1
    table = script.table_i(made.snapshot())
    assert not [each for each in table.frame.to_numpy().ravel() if "standard" in str(each)]
    kd, strong, robust = (cells(table, row) for row in ("KD", "KD, 16 photons", "Robust"))
    assert [
        kd[name].mean for name in ("C/C", "C/G", "C/P", "G/G", "G/P", "P/P", "P/G")
    ] == pytest.approx([50, 30, 40, 40, 50, 60, 50])
    assert [strong[name].mean for name in ("C/P", "G/P", "P/P")] == pytest.approx([20, 30, 40])
    assert strong["G/G"] is None
    assert robust["G/P"].mean == robust["C/P"].mean == pytest.approx(40)
    assert cells(table, "KD (published)")["P/G"] == 82.27
    assert cells(table, "Teacher")["C/G"] is None
    assert "91.63 % in the text" in table.caption


def test_table_2_keeps_the_data_sets_apart(made: Sweeps) -> None:
    for (name, case), trials in cifar(made, "cifar10", "cifar100").items():
        value = (0.8 if name == "cifar10" else 0.4) - (0.1 if case == "teacher" else 0)
        made.numbers_of(trials, "occlusion", "occlusion", value, side=4)
    table = script.table_ii(made.snapshot())
    assert cells(table, "CIFAR10, KD")["4×4 block"].mean == pytest.approx(80)
    assert cells(table, "CIFAR100, Teacher")["4×4 block"].mean == pytest.approx(30)
    assert cells(table, "CIFAR100, Robust (published)")["10×10 block"] == 55.11
    assert cells(table, "CIFAR10, KD")["2×2 block"] is None
    assert "CIFAR-10, CIFAR-100" in table.caption


def test_digits_stand_in_for_the_first_data_set_and_the_caption_says_so(made: Sweeps) -> None:
    cifar(made, "digits")
    table = script.table_iv(made.snapshot())
    robust = cells(table, "Robust learning")
    assert (robust["CIFAR-10, %"].mean, robust["CIFAR-100, %"]) == (pytest.approx(90), None)
    assert (robust["CIFAR-10, % (published)"], robust["CIFAR-100, % (published)"]) == (91.93, 65.28)
    assert (robust["Weights"], robust["Weights (published)"]) == (1000, 2_500_000)
    assert "digits (8 × 8, scikit-learn)" in table.caption
    assert cells(table, "Network in Network")["CIFAR-10, % (published)"] == 91.2


def test_table_3_has_what_was_tried_on_the_other_digits(made: Sweeps) -> None:
    point = 0
    for name, pad, other in (("mnist", 0, "usps"), ("usps", 6, "mnist")):
        made.point(
            "robust-domains", point, 0.9, role="teacher", seeds=[0], data__name=name, data__pad=pad
        )
        for method in ("kd", "robust"):
            trials = made.point(
                "robust-domains",
                point,
                0.95,
                case=f"{name}_{method}",
                data__name=name,
                data__pad=pad,
            )
            if method == "robust":
                made.numbers_of(
                    trials, "away", "out_of_distribution", 0.7 + pad / 100, dataset=other
                )
            point += 1
    table = script.table_iii(made.snapshot())
    robust, kd = cells(table, "Robust"), cells(table, "KD")
    assert [robust[name].mean for name in robust.index if " to " in name] == pytest.approx(
        [95, 70, 95, 76]
    )
    assert kd["MNIST to USPS: on USPS"] is None
    assert cells(table, "KD (published)")["MNIST to USPS: on USPS"] == 93.25


def test_digits_of_mnist_stay_in_its_column_however_they_are_padded(made: Sweeps) -> None:
    for point, pad in enumerate((0, 2)):
        how = {"case": "mnist_kd", "data__name": "mnist", "data__pad": pad}
        made.point("robust-domains", point, 0.9 - pad / 10, **how)
    made.point("robust-domains", 0, 0.9, role="teacher", data__name="mnist", data__pad=0)
    rows = script.table_iii(made.snapshot()).frame.set_index("Network")
    padded = rows.loc["KD, data.pad = 2"]
    assert padded["MNIST to USPS: on MNIST"].mean == pytest.approx(70)
    assert padded["USPS to MNIST: on USPS"] is None


def test_table_5_has_every_class(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        for number in range(10):
            made.numbers_of(
                trials, "clean", "clean", number / 10, metric="class_accuracy", **{"class": number}
            )
    table = script.table_v(made.snapshot())
    assert [cells(table, "FitNet")[name].mean for name in CLASSES] == pytest.approx(
        [10.0 * n for n in range(10)]
    )
    assert cells(table, "FitNet (published)")["truck"] == 93.5


def test_table_6_shows_errors(made: Sweeps) -> None:
    made.point("robust-mnist", 0, 0.9, role="teacher", seeds=[0], data__name="mnist")
    made.point("robust-mnist", 1, 0.7, case="kd", data__name="mnist")
    row = cells(script.table_vi(made.snapshot()), "Knowledge Distillation")
    assert (row["Test error, %"].mean, row["Test error, % (published)"]) == (
        pytest.approx(30),
        0.65,
    )


def test_table_7_compares_sizes_with_the_teacher(made: Sweeps) -> None:
    made.point(
        "robust-sizes", 0, 0.9, role="teacher", seeds=[0], weights=9000, images_per_second=100.0
    )
    for point, case in enumerate(("fitnet", "robust")):
        made.point(
            "robust-sizes",
            point,
            0.7 + point / 10,
            case=case,
            model__network="student_1",
            weights=250,
        )
    table = script.table_vii(made.snapshot())
    small = cells(table, "Student 1")
    assert (small["Compression"].mean, small["Speed-up"].mean) == (36, 5)
    assert (small["FitNet, %"].mean, small["Robust, %"].mean, small["n"]) == (
        pytest.approx(70),
        pytest.approx(80),
        2,
    )
    assert cells(table, "Student 3 (published)")["Multiplications"] == 392_000_000


def test_accuracy_falls_with_noise_on_a_panel_for_each_data_set(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10", "cifar100").values():
        for snr in (12, 10, 8):
            made.numbers_of(trials, "snr", "signal_to_noise", snr / 20, snr=snr)
        made.numbers_of(trials, "once more", "signal_to_noise", 0.5, snr=10)
    figure = script.figure_2(made.snapshot())
    first, second = figure.figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == (
        "CIFAR-10, robust-cifar",
        "CIFAR-100, robust-cifar",
    )
    # A trial that was measured twice at one ratio counts once there.
    assert list(first.lines[0].get_ydata()) == pytest.approx([40, 50, 60])
    assert "1 to 2 seeds" in figure.caption


def scores(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        for snr in (None, 10.0):
            for image in (0, 3):
                for number in range(10):
                    made.numbers_of(
                        trials,
                        f"scores {snr}",
                        "prediction_scores",
                        0.1,
                        metric="score",
                        image=image,
                        snr=snr,
                        **{"class": number},
                    )


def test_scores_are_drawn_without_images(made: Sweeps) -> None:
    scores(made)
    (figure,) = script.figure_3(made.snapshot())
    assert isinstance(figure, Figure)
    titles = [axes.get_title(loc="left") for axes in figure.figure.axes]
    assert titles == ["Image 0, clean", "Image 0, 10 dB", "Image 3, clean", "Image 3, 10 dB"]
    assert [label.get_text() for label in figure.figure.axes[0].get_xticklabels()] == list(CLASSES)
    assert "images/cifar10.npz" in figure.caption


def test_scores_are_drawn_beside_images_that_lie_with_the_results(made: Sweeps) -> None:
    scores(made)
    snapshot = made.snapshot()
    (made.path / "images").mkdir()
    np.savez(
        made.path / "images" / "cifar10.npz",
        images=np.zeros((4, 8, 8, 3), np.uint8),
        labels=np.arange(4),
    )
    (figure,) = script.figure_3(snapshot)
    assert isinstance(figure, Figure)
    assert len([axes for axes in figure.figure.axes if axes.images]) == 4
    assert "the true class shaded" in figure.caption


def stored_images(made: Sweeps, labels: list[int]) -> None:
    (made.path / "images").mkdir()
    images = np.zeros((len(labels), 8, 8, 3), np.uint8)
    np.savez(made.path / "images" / "cifar10.npz", images=images, labels=np.array(labels))


def true_classes(made: Sweeps, **classes: int) -> None:
    for trial in {row["trial_id"] for row in made.trials}:
        for image, label in enumerate(classes.values()):
            fields = {"metric": "true_class", "image": image, "class": label}
            made.number(trial, "scores None", "prediction_scores", label, **fields)


def test_images_of_other_classes_than_the_scores_are_refused(made: Sweeps) -> None:
    scores(made)
    true_classes(made, first=0, second=1, third=2, fourth=3)
    snapshot = made.snapshot()
    stored_images(made, [0, 1, 2, 9])
    (missing,) = script.figure_3(snapshot)
    assert isinstance(missing, Missing)
    assert missing.name == "figure_3_cifar10"
    assert missing.reason == (
        "images/cifar10.npz is not of the images that the scores are of: image 3 is of class 9 "
        "there, and of class 3 where it was measured"
    )


@pytest.mark.parametrize("known", [True, False])
def test_whether_the_classes_were_compared_is_said(made: Sweeps, known: bool) -> None:
    scores(made)
    if known:
        true_classes(made, first=0, second=1, third=2, fourth=3)
    snapshot = made.snapshot()
    stored_images(made, [0, 1, 2, 3])
    (figure,) = script.figure_3(snapshot)
    assert isinstance(figure, Figure)
    unchecked = "taken from images/cifar10.npz as they are: their classes were not stored with"
    assert (unchecked in figure.caption) is not known


def test_what_was_not_measured_is_missing(made: Sweeps, tmp_path: Path) -> None:
    cifar(made, "cifar10")
    results = made.snapshot()
    for draw in (script.figure_2, script.figure_3, script.table_v):
        (missing,) = drawn(draw, results)
        assert isinstance(missing, Missing)
        assert "sweeps/suites/robust_student.yaml" in missing.reason
    assert script.main([str(made.path), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "README.md").read_text()
    assert "no trained students of the sweep robust-mnist" in page
    assert (tmp_path / "out" / "table_iv.tex").exists()


def told(**stated: object) -> str:
    """The parameters of an evaluation, as its rows have them."""
    return json.dumps(stated, sort_keys=True)


def test_ratios_are_no_decibels(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        made.numbers_of(trials, "snr", "signal_to_noise", 0.5, snr=10)
        made.numbers_of(
            trials,
            "quotient",
            "signal_to_noise",
            0.9,
            snr=10,
            evaluation_parameters=told(unit="ratio"),
        )
    figure = script.figure_2(made.snapshot())
    assert list(figure.figure.axes[0].lines[0].get_ydata()) == pytest.approx([50])


def test_a_line_is_of_one_evaluation_and_the_caption_says_which(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        for snr in (10, 8):
            made.numbers_of(trials, "all", "signal_to_noise", 0.5, snr=snr)
            made.numbers_of(
                trials[:1],
                "few",
                "signal_to_noise",
                0.9,
                snr=snr,
                evaluation_parameters=told(examples=100),
            )
    (figure,) = drawn(script.figure_2, made.snapshot())
    assert isinstance(figure, Figure)
    assert list(figure.figure.axes[0].lines[0].get_ydata()) == pytest.approx([50, 50])
    assert "the one that most models have: all images." in figure.caption


def test_a_clean_image_has_nothing_done_to_it(made: Sweeps) -> None:
    scores(made)
    for trials in cifar(made, "cifar10").values():
        for under in ({"name": "occlusion"}, {"name": "signal_to_noise", "unit": "ratio"}):
            made.numbers_of(
                trials,
                f"under {under}",
                "prediction_scores",
                0.9,
                metric="score",
                image=0,
                evaluation_parameters=told(under=under),
                **{"class": 3},
            )
    (figure,) = drawn(script.figure_3, made.snapshot())
    assert isinstance(figure, Figure)
    heights = {bar.get_height() for bar in figure.figure.axes[0].patches}
    assert max(heights) == pytest.approx(10)


def scored(made: Sweeps, trials: list[str], value: float, snr: float | None, **stated: Any) -> None:
    """Scores of image 0, on clean images or at this ratio, of an evaluation that says this."""
    under = {"name": "signal_to_noise", "ratios": [snr], **stated.pop("under", {})}
    text = told(**{"images": [0], **stated}, **({} if snr is None else {"under": under}))
    how: dict[str, Any] = {"metric": "score", "image": 0, "class": 3, "snr": snr}
    label = f"scores {text}"
    made.numbers_of(trials, label, "prediction_scores", value, evaluation_parameters=text, **how)


def heights(figure: Figure) -> list[list[float]]:
    """The heights of the bars that are none of zero, panel by panel."""
    return [
        sorted({round(bar.get_height()) for bar in axes.patches if bar.get_height() > 0})
        for axes in figure.figure.axes
    ]


def test_all_panels_of_scores_are_of_one_evaluation_and_the_caption_says_which(
    made: Sweeps,
) -> None:
    smoothing = {"samples": 8, "sigma": 0.25}
    for trials in cifar(made, "cifar10").values():
        scored(made, trials, 0.5, None)
        scored(made, trials, 0.4, 10.0)
        scored(made, trials, 0.3, 5.0, smoothing=smoothing)
    (figure,) = drawn(script.figure_3, made.snapshot())
    assert isinstance(figure, Figure)
    assert heights(figure) == [[50], [40]]
    assert (
        "Evaluations prediction_scores of robust-cifar had 2 settings, this is of the one that "
        "most models have: not smoothed."
    ) in figure.caption


def test_noise_of_all_panels_is_of_one_kind_and_the_caption_says_which(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        scored(made, trials, 0.5, None)
        scored(made, trials, 0.4, 10.0)
        scored(made, trials, 0.3, 5.0, under={"clip": False})
    (figure,) = drawn(script.figure_3, made.snapshot())
    assert isinstance(figure, Figure)
    assert heights(figure) == [[50], [40]]
    assert (
        "had 2 settings, this is of the one that most models have: clip by default."
        in figure.caption
    )


def test_which_images_were_asked_for_together_is_no_setting(made: Sweeps) -> None:
    for trials in cifar(made, "cifar10").values():
        scored(made, trials, 0.5, None, images=[0, 1])
        scored(made, trials, 0.4, 10.0)
    (figure,) = drawn(script.figure_3, made.snapshot())
    assert isinstance(figure, Figure)
    assert heights(figure) == [[50], [40]]
    assert "settings" not in figure.caption


@pytest.mark.parametrize("other", [{"examples": 100}, {"smoothing": {"samples": 8}}])
def test_tables_take_one_evaluation(made: Sweeps, other: dict[str, object]) -> None:
    for trials in cifar(made, "cifar10").values():
        for stated, value in (({}, 0.5), (other, 0.9)):
            how = {"evaluation_parameters": told(**stated)}
            made.numbers_of(trials, f"o {stated}", "occlusion", value, side=4, **how)
            for number in range(10):
                made.numbers_of(
                    trials,
                    f"c {stated}",
                    "clean",
                    value,
                    metric="class_accuracy",
                    **{"class": number},
                    **how,
                )
    snapshot = made.snapshot()
    (table,) = drawn(script.table_ii, snapshot)
    assert cells(table, "CIFAR10, KD")["4×4 block"].mean == pytest.approx(50)
    (table,) = drawn(script.table_v, snapshot)
    assert isinstance(table, Table)
    assert cells(table, "KD")["cat"].mean == pytest.approx(50)
    assert (
        "Evaluations clean of robust-cifar had 2 settings, this is of the one that most models have"
        in table.caption
    )


def test_a_swept_leaf_has_rows_and_lines_of_its_own(made: Sweeps) -> None:
    for point, temperature in enumerate((1.0, 4.0)):
        trials = made.point(
            "robust-cifar",
            point,
            0.5 + point / 10,
            case="kd",
            data__pad=0,
            swept={"method.temperature": temperature},
        )
        made.numbers_of(trials, "snr", "signal_to_noise", 0.5 + point / 10, snr=10)
    made.point("robust-cifar", 0, 0.9, role="teacher", seeds=[0], data__pad=0)
    snapshot = made.snapshot()
    table = script.table_iv(snapshot)
    assert [
        cells(table, f"Knowledge Distillation, method.temperature = {t}")["CIFAR-10, %"].mean
        for t in (1, 4)
    ] == pytest.approx([50, 60])
    figure = script.figure_2(snapshot)
    assert [line.get_ydata()[0] for line in figure.figure.axes[0].lines] == pytest.approx([50, 60])


def test_sizes_are_compared_with_one_teacher(made: Sweeps) -> None:
    for number, width in enumerate((1.0, 4.0)):
        made.point(
            "robust-sizes", number, 0.9, role="teacher", seeds=[number], method__temperature=width
        )
    made.point("robust-sizes", 0, 0.8, case="robust", model__network="student_1")
    (missing,) = drawn(script.table_vii, made.snapshot())
    assert isinstance(missing, Missing)
    assert "would average several points" in missing.reason


def test_speeds_are_compared_on_one_kind_of_machine(made: Sweeps) -> None:
    made.point(
        "robust-sizes", 0, 0.9, role="teacher", seeds=[0], images_per_second=100.0, device="cpu"
    )
    for point, device in enumerate(("cpu", "an accelerator")):
        how = {"model__network": f"student_{point + 1}", "device": device, "weights": 250}
        made.point("robust-sizes", point, 0.7, case="robust", **how)
    table = script.table_vii(made.snapshot())
    assert cells(table, "Student 1")["Speed-up"].mean == 5
    assert cells(table, "Student 2")["Speed-up"] is None
    assert "machines" not in table.caption


def test_a_mean_of_speeds_on_several_machines_is_called_one(made: Sweeps) -> None:
    for point, (device, speed) in enumerate((("cpu", 100.0), ("an accelerator", 250.0))):
        how = {"images_per_second": speed, "device": device}
        made.point("robust-sizes", 0, 0.9, role="teacher", seeds=[point], **how)
        student = {"model__network": "student_1", "weights": 250}
        made.point("robust-sizes", 0, 0.7, case="robust", seeds=[point], device=device, **student)
    table = script.table_vii(made.snapshot())
    assert cells(table, "Student 1")["Speed-up"].mean == 3.5
    assert "on the machine that trained, here one of 2)" in table.caption
