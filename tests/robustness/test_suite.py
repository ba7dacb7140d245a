"""What rows say of their evaluation, and which evaluations may look at a network while it
trains."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kdray.core import InputError, canonical, fingerprint, parse
from kdray.results import TABLES
from kdray.robustness import PGD, Clean, Monitor, Subject, columns_of, measurements
from kdray.testing.samples import digits, trained_on_digits

PGD2 = {"name": "pgd", "label": "pgd2", "steps": 2, "examples": 20, "split": "val"}
NOISE = {"name": "gaussian_noise", "sigmas": [0.1, 0.3], "split": "val"}


def monitor(*suite: dict[str, Any], **fields: Any) -> Monitor:
    return parse(Monitor, {"suite": list(suite), **fields})


def test_the_columns_of_an_evaluation_are_its_identity_label_kind_split_and_parameters() -> None:
    evaluation = PGD(label="pgd2", steps=2, split="val")
    found = columns_of(evaluation)
    assert json.loads(found.pop("evaluation_parameters")) == {
        "name": "pgd",
        "steps": 2,
        "split": "val",
    }
    assert found == {
        "evaluation_id": fingerprint(evaluation),
        "label": "pgd2",
        "evaluation": "pgd",
        "split": "val",
    }
    assert columns_of(Clean())["label"] == "clean"


def test_a_look_has_a_row_for_every_number_of_every_evaluation() -> None:
    looking, subject = monitor(PGD2, NOISE), Subject(trained_on_digits(), digits().val)
    rows = looking.rows(subject)
    assert [(row["label"], row["metric"], row["sigma"], row["steps"]) for row in rows] == [
        ("pgd2", "accuracy", None, 2),
        ("pgd2", "any_iterate_accuracy", None, 2),
        ("gaussian_noise", "accuracy", 0.1, None),
        ("gaussian_noise", "accuracy", 0.3, None),
    ]
    expected = [m.value for evaluation in looking.suite for m in measurements(evaluation, subject)]
    assert [row["value"] for row in rows] == expected
    assert all(row.keys() <= {column.name for column in TABLES["robustness"]} for row in rows)
    assert {row["split"] for row in rows} == {"val"}


def test_a_look_has_another_identity_than_the_same_evaluation_of_the_trained_network() -> None:
    looking = monitor(PGD2, NOISE, {"name": "clean", "split": "val"})
    rows = looking.rows(Subject(trained_on_digits(), digits().val.first(30)))
    ids = {row["label"]: row["evaluation_id"] for row in rows}
    assert len(set(ids.values())) == 3
    assert not set(ids.values()) & {fingerprint(evaluation) for evaluation in looking.suite}
    relabelled = monitor({**PGD2, "label": "other"})
    row, *_ = relabelled.rows(Subject(trained_on_digits(), digits().val.first(30)))
    assert row["evaluation_id"] == ids["pgd2"]


CLEAN = {"name": "clean", "split": "val"}


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ([], "suite: "),
        (
            [CLEAN, {"name": "pgd", "label": "pgd7"}],
            "suite: pgd7 is on the test split; while training set split: val",
        ),
        (
            [{"name": "prediction_bound", "split": "val"}],
            "suite: prediction_bound compares with the teacher; measure it after training",
        ),
        ([CLEAN, CLEAN], "suite: two evaluations differ in their label only"),
        ([CLEAN, {**CLEAN, "label": "again"}], "suite: two evaluations differ in their label only"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(suite: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError) as raised:
        monitor(*suite)
    assert str(raised.value).startswith(message)


def test_a_monitor_that_is_read_back_from_a_stored_experiment_is_the_same_though_labels_are_not_stored() -> (
    None
):
    looking = monitor(PGD2, {**PGD2, "label": "pgd3", "steps": 3})
    read_back = parse(Monitor, canonical(looking))
    assert [evaluation.label for evaluation in read_back.suite] == [None, None]
    assert canonical(read_back) == canonical(looking)
    subject = Subject(trained_on_digits(), digits().val.first(30))
    assert [row["evaluation_id"] for row in read_back.rows(subject)] == [
        row["evaluation_id"] for row in looking.rows(subject)
    ]


def test_a_look_at_no_epoch_is_refused() -> None:
    with pytest.raises(InputError, match=r"^every: "):
        monitor(CLEAN, every=0)
