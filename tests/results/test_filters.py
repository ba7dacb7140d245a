"""Columns and rows that are asked for are those of the whole table, whatever happened to its rows
and files."""

from __future__ import annotations

import operator
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdray.core import InputError
from kdray.results import ConflictingRows, Results, TableName, write_rows
from kdray.results.columns import ColumnRole
from kdray.results.files import read as parts_module
from kdray.results.files.arrow_schema import arrow_schema
from kdray.results.schema import names

KINDS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, given: value in given,
    "not in": lambda value, given: value not in given,
}


def holds(value: Any, condition: tuple[str, str, Any]) -> bool:
    """What a condition means, of one value; written down without Arrow."""
    _, kind, wanted = condition
    return kind == "not in" if pd.isna(value) else KINDS[kind](value, wanted)


def filtered(
    whole: pd.DataFrame, columns: list[str] | None, where: list[tuple[str, str, Any]]
) -> pd.DataFrame:
    kept = [
        all(holds(row[name], (name, *rest)) for name, *rest in where)
        for row in whole.to_dict("records")
    ]  # type: ignore[misc]
    found = whole[pd.Series(kept, dtype=bool, index=whole.index)].reset_index(drop=True)
    return found if columns is None else found[columns]


@contextmanager
def stored(
    files: list[tuple[TableName, list[dict[str, Any]], dict[str, type], list[str], bool]],
) -> Iterator[Results]:
    """Files in the order in which they were written: rows, extra columns, columns taken away as in
    older files, a copy."""
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConflictingRows)
        for number, (table, rows, extra, lost, copied) in enumerate(files):
            schema = arrow_schema(table, extra)
            written = datetime(2025, 1, 1, second=number, tzinfo=UTC)
            part = pa.Table.from_pylist(
                [{**row, "written_at": written} for row in rows], schema=schema
            )
            part = part.drop_columns(lost if number else []).replace_schema_metadata(None)
            folder = Path(place) / table
            folder.mkdir(exist_ok=True)
            for name in [
                f"{9 - number}",
                *([f"copy-{number}"] if copied else []),
            ]:  # what is newer comes first by name
                pq.write_table(part, folder / f"{name}.parquet", row_group_size=1)
        yield Results(place)


IDS = st.sampled_from(["a", "b", "c"])
TRIALS = st.fixed_dictionaries(
    {"trial_id": IDS, "status": st.sampled_from(["completed", "failed"])},
    optional={
        "val_accuracy": st.sampled_from([0.25, 0.5, 0.75]),
        "host": st.sampled_from(["x", "y"]),
        "seed": st.integers(0, 2),
        "model.width": st.integers(1, 3),
    },
)
NUMBERS = st.fixed_dictionaries(
    {"trial_id": IDS, "evaluation_id": st.sampled_from(["e", "f"])},
    optional={
        "label": st.sampled_from(["pgd", "clean"]),
        "metric": st.sampled_from(["accuracy", "loss"]),
        "value": st.sampled_from([0.1, 0.2]),
        "sigma": st.sampled_from([0.1, 0.2]),
        "epoch": st.integers(1, 2),
        "error": st.just("it broke"),
        "source_trial_id": IDS,
        "correct": st.integers(0, 5),
        "examples": st.just(10),
        "evaluation": st.sampled_from(["pgd", "transfer"]),
        "evaluation_parameters": st.sampled_from(["{}", '{"smoothing": 1}']),
    },
)
CONDITIONS: dict[str, dict[str, list[Any]]] = {
    "trials": {
        "trial_id": ["a", "b"],
        "status": ["failed", "completed"],
        "val_accuracy": [0.5, 0.75],
        "host": ["x", "y"],
        "seed": [0, 1],
        "model.width": [1, 2],
    },
    "robustness": {
        "trial_id": ["a", "b"],
        "evaluation_id": ["e", "f"],
        "label": ["pgd", "clean"],
        "value": [0.1, 0.2],
        "sigma": [0.1, 0.2],
        "epoch": [1, 2],
        "error": ["it broke", "x"],
        "source_trial_id": ["a", "b"],
        "low": [0.1, 0.2],
        "high": [0.3, 0.5],
        "checks": ["x", "y"],
        "metric": ["accuracy", "loss"],
    },
}


@st.composite
def questions(draw: st.DrawFn, table: str) -> tuple[list[str] | None, list[tuple[str, str, Any]]]:
    names = sorted(CONDITIONS[table])
    columns = draw(
        st.none() | st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)
    )
    where = []
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        kind, value = (
            draw(st.sampled_from(list(KINDS))),
            draw(st.sampled_from(CONDITIONS[table][name])),
        )
        where.append(
            (
                name,
                kind,
                draw(st.sampled_from([[value], CONDITIONS[table][name]]))
                if "in" in kind
                else value,
            )
        )
    return columns, where


@st.composite
def trial_files(draw: st.DrawFn) -> list[Any]:
    wide = draw(st.lists(st.sampled_from([int, float]), min_size=1, max_size=4))
    return [
        (
            "trials",
            draw(st.lists(TRIALS, min_size=1, max_size=3)),
            {"model.width": kind},
            draw(st.sampled_from([[], ["seed"], ["model.width", "host"]])),
            draw(st.booleans()),
        )
        for kind in wide
    ]


@st.composite
def number_files(draw: st.DrawFn) -> list[Any]:
    return [
        (
            "robustness",
            draw(st.lists(NUMBERS, min_size=1, max_size=4)),
            {},
            draw(st.sampled_from([[], ["sigma"], ["source_trial_id"], ["correct", "epoch"]])),
            draw(st.booleans()),
        )
        for _ in range(draw(st.integers(1, 4)))
    ]


def assert_as_the_whole(
    files: list[Any], columns: list[str] | None, where: list[tuple[str, str, Any]]
) -> None:
    table = files[0][0]
    with stored(files) as results:
        expected = filtered(getattr(results, table)(), columns, where)
        for read in (results, results.snapshot()):
            found = getattr(read, table)(columns, where)
            pd.testing.assert_frame_equal(found, expected, check_dtype=False)


SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@SETTINGS
@given(trial_files(), questions("trials"))
def test_trials_are_those_of_the_whole_table(files: list[Any], question: Any) -> None:
    assert_as_the_whole(files, *question)


@SETTINGS
@given(number_files(), questions("robustness"))
def test_numbers_are_those_of_the_whole_table(files: list[Any], question: Any) -> None:
    assert_as_the_whole(files, *question)


def test_a_filter_does_not_bring_back_what_a_newer_row_replaced(empty: Results) -> None:
    for value, host in ((0.5, "old"), (0.5, "new")):
        row = {"trial_id": "a", "status": "completed", "val_accuracy": value, "host": host}
        write_rows(empty.store, "trials", host, [row], {})
    assert empty.trials(where=[("host", "==", "old")]).empty
    assert empty.trials(["host"], [("trial_id", "==", "a")])["host"].tolist() == ["new"]


def test_a_filter_by_trial_leaves_the_attacks_that_its_checks_compare(empty: Results) -> None:
    number = {
        "trial_id": "a",
        "metric": "accuracy",
        "examples": 10,
        "steps": 5,
        "evaluation_parameters": "{}",
    }
    write_rows(
        empty.store,
        "robustness",
        "a",
        [
            {**number, "evaluation_id": "own", "evaluation": "pgd", "value": 0.9},
            {
                **number,
                "evaluation_id": "transferred",
                "evaluation": "transfer",
                "value": 0.2,
                "source_trial_id": "b",
            },
        ],
        {},
    )
    found = empty.robustness(["checks"], [("trial_id", "==", "a"), ("evaluation_id", "==", "own")])
    assert found["checks"].str.startswith("transferred attack beats").tolist() == [True]


def test_conditions_mean_what_they_mean_to_pandas(empty: Results, tmp_path: Path) -> None:
    for trial_id, seed in (("a", 1), ("b", None), ("c", 2)):
        write_rows(
            empty.store,
            "trials",
            trial_id,
            [{"trial_id": trial_id, "status": "completed", "seed": seed}],
            {},
        )
    for where in (
        [("seed", "!=", 1)],
        [("seed", "not in", [1])],
        [("seed", "in", [1, None])],
        [("seed", ">=", 1.5)],
    ):
        theirs = pd.read_parquet(
            tmp_path / "results" / "trials", columns=["trial_id"], filters=where
        )
        assert (
            empty.trials(["trial_id"], where)["trial_id"].tolist() == theirs["trial_id"].tolist()
        ), where


def test_a_time_is_compared_with_a_time(empty: Results) -> None:
    row = {"trial_id": "a", "status": "completed", "started_at": datetime(2025, 1, 1, tzinfo=UTC)}
    write_rows(empty.store, "trials", "a", [row], {})
    assert len(empty.trials(where=[("started_at", ">", datetime(2024, 1, 1, tzinfo=UTC))])) == 1
    assert empty.trials(where=[("started_at", "<", pd.Timestamp("2024-01-01", tz="UTC"))]).empty


def test_only_what_is_needed_is_read(empty: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(
        empty.store, "trials", "a", [{"trial_id": "a", "status": "completed"}], {"model.width": int}
    )
    read: list[set[str]] = []
    original = parts_module.parsed

    def noting(*arguments: Any, **options: Any) -> Any:
        part = original(*arguments, **options)
        assert isinstance(part, parts_module.Part)
        read.append(set(part.rows.column_names))
        return part

    monkeypatch.setattr(parts_module, "parsed", noting)
    empty.trials(["seed"], [("model.width", ">", 1)])
    deciding = {"trial_id", "status", "written_at"} | set(names("trials", ColumnRole.MEASURE))
    assert read == [deciding | {"seed", "model.width"}]


@pytest.mark.parametrize(
    ("columns", "where", "told"),
    [
        (["sed"], [], "columns: no column 'sed'; did you mean seed"),
        (["written_at"], [], "columns: no column 'written_at'"),
        (None, [("statsu", "==", "x")], "where: no column 'statsu'; did you mean status"),
        (None, [("zzzzzz", "==", "x")], "where: no column 'zzzzzz'; there are "),
        (
            None,
            [("seed", "=", 1)],
            r"where: seed: unknown operator '='; .*\(allowed: ==, !=, <, <=, >, >=, in, not in\)",
        ),
        (None, [("case", "==", None)], "where: case == None: missing values are not compared"),
        (None, [("seed", "in", 1)], "where: seed in 1: needs a list of values"),
        (None, [("seed", "==", [1])], r"where: seed == \[1\]: needs one value"),
        (None, [("trial_id", "==", 1)], "where: trial_id == 1: the column holds text"),
        (None, [("status", ">", 1)], "where: status > 1: the column holds text"),
        (
            None,
            ("seed", "==", 1),
            r"where: 'seed' is no condition \(allowed: a list of \(column, operator, value\)\)",
        ),
        (None, [("seed", 1)], "is no condition"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    empty: Results, columns: Any, where: Any, told: str
) -> None:
    write_rows(empty.store, "trials", "a", [{"trial_id": "a", "status": "completed"}], {})
    for results in (empty, empty.snapshot()):
        with pytest.raises(InputError, match=told) as caught:
            results.trials(columns, where)
        assert "\n" not in str(caught.value)
