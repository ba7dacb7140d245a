"""The robustness part of a card: each evaluation by itself, each number with what it is of."""

from __future__ import annotations

from typing import Any

import pandas as pd

from kdray.exporting.robustness import sections
from kdray.results.schema import TABLES

EMPTY = {column.name: None for column in TABLES["robustness"]} | {"low": None, "high": None}


def card(*numbers: dict[str, Any]) -> list[str]:
    """The part about numbers of one trial."""
    given = {
        "trial_id": "t",
        "label": "c",
        "evaluation": "corruptions",
        "metric": "accuracy",
        "split": "test",
        "dataset": "digits",
        "examples": 20,
        "correct": 10,
        "low": 0.1,
        "high": 0.9,
        "evaluation_parameters": "{}",
    }
    return sections(pd.DataFrame([{**EMPTY, **given, **each} for each in numbers]))


def test_two_evaluations_of_corruptions_have_a_table_each_though_they_share_a_label() -> None:
    text = "\n".join(
        card(
            {"evaluation_id": "a", "corruption": "fog", "severity": 1, "value": 0.5},
            {
                "evaluation_id": "b",
                "corruption": "fog",
                "severity": 1,
                "value": 0.25,
                "split": "val",
                "evaluation_parameters": '{"smoothing": {"samples": 8}, "examples.version": 2}',
            },
        )
    )
    assert "`c` (`digits, test`, 20 images): accuracy by corruption and severity" in text
    assert "`c` (`digits, val`, 20 images, `smoothed samples=8`): accuracy by corruption" in text
    assert text.count("| `fog` |") == 2
    assert "| `fog` | 0.5000 |" in text
    assert "| `fog` | 0.2500 |" in text


def test_a_mean_says_over_which_corruptions_it_is() -> None:
    text = "\n".join(
        card(
            {
                "evaluation_id": "a",
                "metric": "mean_accuracy",
                "value": 0.5,
                "evaluation_parameters": '{"kinds": ["fog", "frost"], "severities": [5]}',
            }
        )
    )
    assert "`kinds=[fog, frost], severities=[5]`" in text


def test_attacks_that_differ_in_what_has_no_column_say_so() -> None:
    attack = {"evaluation": "pgd", "label": "pgd", "epsilon": 8 / 255, "value": 0.5}
    text = "\n".join(
        card(
            {**attack, "evaluation_id": "a", "evaluation_parameters": '{"loss": "margin"}'},
            {**attack, "evaluation_id": "b", "evaluation_parameters": '{"seed": 3}'},
        )
    )
    assert "`epsilon=8/255, loss=margin`" in text
    assert "`epsilon=8/255, seed=3`" in text


def test_a_number_without_a_label_is_called_by_its_kind() -> None:
    text = "\n".join(
        card(
            {"evaluation_id": "a", "label": None, "evaluation": "clean", "value": 0.5},
            {"evaluation_id": "b", "label": None, "corruption": "fog", "value": 0.5},
        )
    )
    assert "| `clean` |" in text
    assert "`corruptions` (" in text
    assert "nan" not in text


def test_only_what_is_in_pixel_units_is_written_in_levels() -> None:
    plain = {"evaluation_id": "a", "correct": None, "value": 180 / 255}
    text = "\n".join(card({**plain, "metric": "mean_relative_accuracy"}))
    assert "| 0.705882 |" in text
    assert "| 180/255 |" in "\n".join(card({**plain, "metric": "radius"}))
