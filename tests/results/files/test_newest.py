"""Which rows count is decided quickly, and just as pandas would decide it."""

from __future__ import annotations

import json
import math
import warnings
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdray.results import ConflictingRows, Results, TableName, write_rows
from kdray.results.files.arrow_schema import arrow_schema
from kdray.results.files.dictionary_encoding import encoded
from kdray.results.files.newest import counting_positions, newest, newest_silently
from kdray.results.naming import _names, column_names

FEW, VALUES = st.sampled_from(["a", "b", "c"]), st.sampled_from([0.1, 0.2])
ROWS: dict[TableName, dict[str, st.SearchStrategy[Any]]] = {
    "trials": {
        "trial_id": FEW,
        "status": st.sampled_from(["completed", "failed"]),
        "val_accuracy": VALUES,
    },
    "epochs": {"trial_id": FEW, "stage": FEW, "epoch": st.sampled_from([1, 2, 11])},
    "members": {"sweep": FEW, "role": FEW, "case": FEW, "swept": FEW, "trial_id": FEW},
    "robustness": {
        "trial_id": FEW,
        "source_trial_id": st.just("a"),
        "metric": FEW,
        "error": st.just("it broke"),
        "value": VALUES,
        "sigma": st.sampled_from([0.0, -0.0, 0.5, math.nan]),
        "severity": st.integers(1, 2),
    },
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[TableName, pa.Table]:
    table: TableName = draw(st.sampled_from(sorted(ROWS)))
    times = st.integers(1, 2).map(lambda second: datetime(2025, 1, 1, second=second, tzinfo=UTC))
    row = st.fixed_dictionaries({}, optional={**ROWS[table], "written_at": times})
    rows = draw(st.lists(row, max_size=12))
    chunks = [
        pa.Table.from_pylist(each, schema=arrow_schema(table, {})) for each in (rows[:5], rows[5:])
    ]
    return table, pa.concat_tables(chunks)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(tables(), st.booleans())
def test_what_stands_is_what_pandas_leaves(
    asked: tuple[TableName, pa.Table], numbered: bool
) -> None:
    table, rows = asked
    told: list[list[str]] = []
    found = []
    for decide in (
        lambda: newest(rows.to_pandas(), table).index.tolist(),
        lambda: counting_positions(encoded(rows, table) if numbered else rows, table).tolist(),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(decide())
        told.append([str(each.message) for each in caught])
    assert found[1] == found[0]
    assert told[1] == told[0], "and the same is told"
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConflictingRows)
        assert counting_positions(rows, table, newest_silently).tolist() == found[0]


NUMBERS = st.fixed_dictionaries(
    {"trial_id": FEW, "label": FEW, "metric": FEW, "evaluation_id": FEW, "value": st.just(0.5)},
    optional={
        "sigma": st.sampled_from([0.1, 0.25]),
        "severity": st.integers(1, 2),
        "corruption": FEW,
        "examples": st.sampled_from([10, 20]),
    },
)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(NUMBERS, min_size=1, max_size=10))
def test_a_name_is_the_same_of_every_trial_that_was_measured_alike(
    rows: list[dict[str, Any]],
) -> None:
    frame = pa.Table.from_pylist(rows, schema=arrow_schema("robustness", {})).to_pandas()
    pd.testing.assert_series_equal(
        column_names(frame), _names(frame), check_dtype=False, check_names=False
    )


@pytest.mark.parametrize("columns", [None, ["label", "steps"]])
def test_a_column_has_the_type_that_it_has_of_all_rows(
    empty: Results, columns: list[str] | None
) -> None:
    number = {
        "trial_id": "a",
        "metric": "accuracy",
        "value": 0.5,
        "evaluation_parameters": json.dumps({}),
    }
    for label, steps in (("pgd", 20), ("clean", None)):
        row = {**number, "evaluation_id": label, "label": label, "steps": steps}
        write_rows(empty.store, "robustness", label, [row], {})
    whole = empty.robustness(columns)
    found = empty.robustness(columns, [("label", "==", "pgd")])
    assert found["steps"].tolist() == [20]
    pd.testing.assert_series_equal(found.dtypes, whole.dtypes)


def test_of_one_act_what_failed_does_not_stand_beside_what_succeeded(empty: Results) -> None:
    number = {"trial_id": "a", "evaluation_id": "e", "label": "noise"}
    rows = [
        {**number, "metric": "accuracy", "value": 0.5},
        {**number, "metric": "loss", "error": "it broke"},
    ]
    write_rows(empty.store, "robustness", "a", rows, {})
    assert empty.robustness()["metric"].tolist() == ["accuracy"]
