"""A transferred attack that beats the white-box one is told beside the white-box number."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdray.results.checks import with_transfers

COLUMNS = {
    "trial_id": "t",
    "evaluation_id": "e",
    "label": "x",
    "evaluation": "transfer",
    "split": "test",
    "dataset": "digits",
    "metric": "accuracy",
    "value": 0.5,
    "examples": 100,
    "norm": "linf",
    "epsilon": 0.1,
    "epoch": None,
    "source_trial_id": None,
    "checks": None,
    "steps": 10,
    "evaluation_parameters": "{}",
}


def checks(*rows: dict[str, Any]) -> list[str | None]:
    found = with_transfers(pd.DataFrame([{**COLUMNS, **row} for row in rows]))["checks"]
    return [None if pd.isna(text) else text for text in found]


def test_the_diagonal_and_every_white_box_attack_in_the_same_ball_are_doubted() -> None:
    found = checks(
        {"source_trial_id": "t", "value": 0.4},
        {"source_trial_id": "other", "value": 0.3},
        {"source_trial_id": "third", "value": 0.35},
        {"evaluation": "pgd", "value": 0.45, "checks": "known"},
        {"evaluation": "pgd", "value": 0.25},
        {"evaluation": "pgd", "value": 0.45, "epsilon": 0.2},
        {"evaluation": "gaussian_noise", "value": 0.9},
        {"evaluation": "pgd", "value": 0.9, "trial_id": "u"},
        {"evaluation": "pgd", "value": 0.9, "epoch": 3},
        {"evaluation": "pgd", "value": 0.9, "examples": 50},
        {"evaluation": "pgd", "value": 0.9, "split": "val"},
        {"evaluation": "pgd", "value": 0.9, "dataset": "mnist"},
        {"evaluation": "pgd", "value": 0.9, "norm": "l2"},
        {"evaluation": "pgd", "value": 0.9, "evaluation_parameters": '{"smoothing":{"samples":8}}'},
    )
    beaten = "transferred attack beats the white-box one: 0.3000 with images made on other"
    assert found == [beaten, None, None, f"known; {beaten}", *[None] * 10]


def test_an_attack_of_fewer_steps_is_not_compared_with_one_of_more() -> None:
    found = checks(
        {"source_trial_id": "other", "value": 0.3, "steps": 10},
        {"source_trial_id": "other", "value": 0.4, "steps": 2},
        {"evaluation": "pgd", "value": 0.45, "steps": 2},
        {"evaluation": "pgd", "value": 0.45, "steps": 20},
        {"evaluation": "fgsm", "value": 0.35, "steps": 1},
        {"evaluation": "autoattack", "value": 0.35, "steps": None},
    )
    assert [text and text.split()[6] for text in found] == [
        None,
        None,
        "0.4000",
        "0.3000",
        None,
        "0.3000",
    ]


def test_an_equal_one_is_no_reason_and_nothing_transferred_is_nothing_to_say() -> None:
    assert checks({"source_trial_id": "t"}, {"source_trial_id": "other"}) == [None, None]
    assert checks({"evaluation": "pgd"}) == [None]
