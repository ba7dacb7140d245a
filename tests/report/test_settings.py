"""Numbers share a setting where an evaluation says the same but for its label and an axis."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from kdray.report.settings import AXES, by_setting, differing, setting_of, setting_text


def number(label: str, columns: dict[str, Any], **stated: Any) -> dict[str, Any]:
    told = json.dumps({"name": "pgd", "label": label, **stated})
    return {**dict.fromkeys(AXES), "evaluation_parameters": told, "label": label, **columns}


def labels(rows: list[dict[str, Any]], *along: str) -> list[list[str]]:
    return [its["label"].tolist() for its in by_setting(pd.DataFrame(rows), along)]


def test_an_axis_says_which_value_of_a_list_was_meant() -> None:
    rows = [
        number("list", {"steps": 10}, steps=[10, 20]),
        number("list", {"steps": 20}, steps=[10, 20]),
        number("one", {"steps": 20}, steps=20),
    ]
    assert labels(rows) == [["list"], ["list", "one"]]
    assert labels(rows, "steps") == [["list", "list", "one"]]


def test_what_has_no_column_tells_settings_apart_unless_it_says_nothing() -> None:
    rows = [
        number("a", {}),
        number("b", {}, loss="cross_entropy", repeats=1, lowest_run=True),
        number("c", {}, loss="margin"),
    ]
    assert labels(rows) == [["a", "b"], ["c"]]
    settings = [setting_of(its) for its in by_setting(pd.DataFrame(rows))]
    assert differing(settings) == ["loss"]
    assert [setting_text(each, ["loss"]) for each in settings] == ["loss by default", "loss margin"]


def test_rows_that_are_not_numbered_from_zero() -> None:
    rows = pd.DataFrame([number("a", {}), number("b", {}, loss="margin")], index=[5, 5])
    assert [len(its) for its in by_setting(rows)] == [1, 1]
