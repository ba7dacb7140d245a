"""Every evaluation is described by its parameters, as they were given or as its rows hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdray.report.page.evaluation_facts import evaluations
from tests.report.page.small import SIGMA, Small


def described(
    path: Path, kind: str, given: dict[str, Any] | None = None, **fields: Any
) -> list[tuple[str, str]]:
    made = Small(path)
    made.numbers_of(made.point(0, [0.9, 0.8]), "e", kind, 0.4, given=given, **fields)
    return list(evaluations(made.group()))


def test_an_attack_has_the_defaults_that_its_rows_hold(tmp_path: Path) -> None:
    given = {"epsilon": 8 / 255, "loss": "margin"}
    fields = {"norm": "linf", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 20, "restarts": 5}
    assert described(tmp_path, "pgd", given, **fields, samples=1, examples=1000) == [
        (
            "Evaluation e",
            "pgd: norm linf, ε 8/255, step size 2/255, steps 20, restarts 5, loss margin, "
            "on 1,000 images of test",
        )
    ]


def test_several_samples_of_the_gradient_are_named(tmp_path: Path) -> None:
    assert described(tmp_path, "pgd", samples=10) == [("Evaluation e", "pgd: samples 10")]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sigmas": [0.1, 0.2, 0.4]}, "noise σ 0.1, 0.2 and 0.4"),
        ({"ratios": [10, 5]}, "signal-to-noise ratios 10 and 5"),
        ({"peaks": [255.0, 16.0]}, "photons at white 255 and 16"),
        ({"snr": 3}, "signal-to-noise ratio 3"),
        ({"batch_size": 64}, "batch size 64"),
        ({"clip": True}, "clip true"),
        ({"smoothing": {"sigma": 0.25, "samples": 10}}, "smoothing (noise σ 0.25, samples 10)"),
        ({"epsilon": [1 / 255, 0.1]}, "ε 1/255 and 0.1"),
    ],
)
def test_parameters_are_named_in_words(tmp_path: Path, given: dict[str, Any], text: str) -> None:
    assert described(tmp_path, "kind", given) == [("Evaluation e", f"kind: {text}")]


def test_what_every_evaluation_has_is_no_parameter(tmp_path: Path) -> None:
    given = {"label": "e", "split": "val", "examples": 100, "sigma": 0.1}
    assert described(tmp_path, "gaussian_noise", given) == [
        ("Evaluation e", "gaussian_noise: noise σ 0.1")
    ]


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    ((_, text),) = described(tmp_path, "gaussian_noise", {"sigmas": list(range(20))})
    assert text.endswith("noise σ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9 more")


def test_numbers_of_images_that_differ_are_a_range_without_single_classes(tmp_path: Path) -> None:
    made = Small(tmp_path)
    first, second = made.point(0, [0.9, 0.8])
    made.number(first, "e", "clean", 0.4, examples=1000)
    made.number(second, "e", "clean", 0.4, examples=400, split="val")
    made.number(second, "e", "clean", 0.4, examples=40, **{"class": 3})
    assert list(evaluations(made.group())) == [
        ("Evaluation e", "clean: on 400 to 1,000 images of test and val")
    ]


def test_a_label_with_two_meanings_is_described_twice_in_the_table_s_order(tmp_path: Path) -> None:
    made = Small(tmp_path)
    first = made.point(0, [0.9], {SIGMA: 0.0})
    second = made.point(1, [0.9], {SIGMA: 0.1})
    made.numbers_of(first, "e", "fgsm", 0.4, given={"epsilon": 0.1})
    made.numbers_of(second, "e", "fgsm", 0.4, given={"epsilon": 0.3}, evaluation_id="e2")
    assert [text for _, text in evaluations(made.group())] == ["fgsm: ε 0.1", "fgsm: ε 0.3"]


def test_evaluations_of_teachers_count_and_those_of_other_sweeps_do_not(tmp_path: Path) -> None:
    other = Small(tmp_path, "other")
    other.numbers_of(other.point(0, [0.9]), "theirs", "clean", 0.4)
    other.written()
    made = Small(tmp_path)
    made.point(0, [0.9])
    made.number(made.trial(None, 0, 0.9), "ours", "clean", 0.4)
    assert [name for name, _ in evaluations(made.group())] == ["Evaluation ours"]
