"""The details of single trials: every number under its own name, texts once, nothing that JSON
lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdray.report.page.trials import MAX_NUMBERS, Texts, details
from tests.report.page.small import SIGMA, Small


def of(made: Small) -> dict[str, Any]:
    found = details([made.group()])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_each_text_has_one_number() -> None:
    texts = Texts()
    assert [texts.number(text) for text in ("a", "b", "a")] == [0, 1, 0]
    assert list(texts.all) == ["a", "b"]


def test_no_groups_no_details() -> None:
    assert details([]) == {"texts": [], "trials": {}, "points": {}}


def test_a_point_that_cannot_be_built_has_no_trials(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 0, 0.9, {SIGMA: 0.1})
    made.unbuilt(1, "too deep", {SIGMA: 0.2})
    points = of(made)["points"]
    assert [len(point["trials"]) for point in points.values()] == [1, 0]


def test_accuracies_stand_under_their_own_names(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 3, 0.87654321, parameters=1210, train_seconds=4.5, device="cpu", host="here")
    found = of(made)
    (trial,) = found["trials"].values()
    assert trial["val"] == 0.8765
    assert trial["test"] == 0.7765
    assert (trial["role"], trial["status"], trial["seed"]) == ("student", "completed", 3)
    assert (trial["parameters"], trial["seconds"]) == (1210, 4.5)
    assert found["texts"][trial["where"]] == "cpu, here"
    assert not {"error", "teacher", "commit", "epochs", "numbers", "stages"} & set(trial)


def test_points_name_their_trials_in_order(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(4, [0.5, 0.6], {SIGMA: 0.1})
    made.trial(None, 0, 0.9)
    found = of(made)
    assert found["points"] == {
        "0-4": {
            "about": f"{SIGMA} = 0.1",
            "sweep": "s",
            "trials": ["s-student-4-0", "s-student-4-1"],
        }
    }
    assert next(iter(found["trials"])) == "s-teacher-None-0"


def test_a_trial_without_a_row_has_no_details(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 0, 0.5)
    made.trial(0, 1, None, status=None)
    found = of(made)
    assert set(found["trials"]) == {"s-student-0-0"}
    assert found["points"]["0-0"]["trials"] == ["s-student-0-0", "s-student-0-1"]


def test_curves_are_in_order_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.learning(made.trial(0, 0, 0.5), 0.1, 0.23456)
    (trial,) = of(made)["trials"].values()
    assert trial["epochs"] == {"val_accuracy": [0.1, 0.235], "loss": [0.9, 0.765]}
    assert "stages" not in trial


def test_several_stages_are_named_with_their_epochs(tmp_path: Path) -> None:
    made = Small(tmp_path)
    trial = made.trial(0, 0, 0.5)
    made.learning(trial, 0.1, stage="hint")
    made.learning(trial, 0.2, 0.3)
    assert of(made)["trials"][trial]["stages"] == [["hint", 1], ["main", 2]]


def test_a_number_has_value_interval_and_examples_and_ends_with_what_is_known(
    tmp_path: Path,
) -> None:
    made = Small(tmp_path)
    trial = made.trial(0, 0, 0.5)
    made.number(trial, "plain", "clean", 0.12345)
    made.number(trial, "counted", "clean", 0.25, correct=100, examples=400)
    made.number(trial, "odd", "pgd", 0.5, checks="zero gradient")
    made.number(trial, "broken", "pgd", None, error="no memory")
    found = of(made)
    texts = found["texts"]
    numbers = {texts[number[0]]: number[1:] for number in found["trials"][trial]["numbers"]}
    assert numbers["plain.accuracy"] == [0.1235]
    value, low, high, examples = numbers["counted.accuracy"]
    assert (value, examples) == (0.25, 400)
    assert (low, high) == (pytest.approx(0.210, abs=1e-3), pytest.approx(0.295, abs=1e-3))
    assert numbers["odd.accuracy"][0] == 0.5
    assert texts[numbers["odd.accuracy"][-1]] == "zero gradient"
    assert numbers["broken: no number"][0] is None
    assert texts[numbers["broken: no number"][-1]] == "no memory"


def test_single_classes_images_and_epochs_stay_in_the_tables(tmp_path: Path) -> None:
    made = Small(tmp_path)
    trial = made.trial(0, 0, 0.5)
    for field in ("class", "image", "epoch"):
        made.number(trial, "e", "clean", 0.5, **{field: 1})
    assert "numbers" not in of(made)["trials"][trial]


def test_of_very_many_numbers_the_first_are_held(tmp_path: Path) -> None:
    made = Small(tmp_path)
    trial = made.trial(0, 0, 0.5)
    for number in range(MAX_NUMBERS + 5):
        made.number(trial, "e", "noise", 0.5, sigma=number / 1000)
    assert len(of(made)["trials"][trial]["numbers"]) == MAX_NUMBERS


def test_what_is_not_finite_is_nothing(tmp_path: Path) -> None:
    made = Small(tmp_path)
    trial = made.trial(0, 0, 0.5)
    made.number(trial, "e", "certified", float("inf"), metric="radius")
    assert of(made)["trials"][trial]["numbers"][0][1:] == []


def test_two_sweeps_share_a_trial_and_each_has_its_point(tmp_path: Path) -> None:
    groups = []
    for sweep in ("one", "two"):
        made = Small(tmp_path, sweep)
        made.trial(0, 0, 0.5)
        groups.append(made)
    one, two = (made.group() for made in groups)
    found = details([two, one])
    assert [each["sweep"] for each in found["points"].values()] == ["two", "one"]
    assert list(found["points"]) == ["0-0", "1-0"]
