"""A file's name says what its rows are of; one that holds something else is left out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdray.results import Results, Store, has_completed, write_rows
from kdray.results.files.forget import forget
from kdray.results.files.parquet_bytes import ROWS_PER_GROUP, parquet_bytes
from kdray.results.files.warn import DamagedFile
from kdray.results.schema import TableName

ONE, TWO, ASKED, OTHER = "1" * 16, "2" * 16, "a" * 16, "b" * 16
NUMBER = {"trial_id": ONE, "evaluation_id": ASKED, "metric": "accuracy", "value": 0.5}
MEMBER = {"sweep": "s", "trial_id": ONE, "role": "student", "point": 0, "outcome": "completed"}
EPOCH = {"trial_id": ONE, "stage": "main", "epoch": 1}
WRONG: list[tuple[TableName, str, dict[str, Any]]] = [
    ("trials", ONE, {"trial_id": TWO, "status": "completed"}),
    ("epochs", ONE, EPOCH | {"trial_id": TWO}),
    ("robustness", f"{ONE}-{ASKED}", NUMBER | {"trial_id": TWO}),
    ("robustness", f"{ONE}-{ASKED}", NUMBER | {"evaluation_id": OTHER}),
    ("robustness", f"{ONE}-{ASKED}-{OTHER}", NUMBER | {"source_trial_id": TWO}),
    ("robustness", f"{ONE}-{ASKED}-{OTHER}", NUMBER),
    ("robustness", f"{ONE}-training", NUMBER | {"trial_id": TWO, "epoch": 1}),
    ("robustness", f"{ONE}-training", NUMBER),
    ("robustness", f"{ONE}-{ASKED}", NUMBER | {"epoch": 1}),
    ("members", f"s-0-{ONE}", MEMBER | {"trial_id": TWO}),
    ("members", f"s-0-{ONE}", MEMBER | {"sweep": "t"}),
    ("members", f"s-teacher-{ONE}", MEMBER | {"trial_id": TWO}),
    ("members", f"s-teacher-{ONE}", MEMBER),
    ("members", f"s-0-{ONE}", MEMBER | {"role": "teacher", "point": None}),
    ("members", f"s-5-{ONE}", MEMBER),
    ("members", f"s-driver-{ASKED}", MEMBER | {"sweep": "t"}),
    ("members", f"a-s-0-{ONE}", MEMBER),
    ("members", f"a-s-driver-{ASKED}", MEMBER),
]
RIGHT: list[tuple[TableName, str, dict[str, Any]]] = [
    ("trials", ONE, {"trial_id": ONE, "status": "completed"}),
    ("trials", "by hand", {"trial_id": TWO, "status": "completed"}),
    ("epochs", f"compacted-{ONE}", EPOCH | {"trial_id": TWO}),
    ("robustness", f"{ONE}-training", NUMBER | {"epoch": 1}),
    ("robustness", f"compacted-{ONE}", NUMBER | {"epoch": 1}),
    ("robustness", f"{ONE}-{ASKED}-{OTHER}", NUMBER | {"trial_id": TWO, "source_trial_id": ONE}),
    ("members", f"a-1-s-12-{ONE}", MEMBER | {"sweep": "a-1-s", "point": 12}),
    ("members", f"s-teacher-{ONE}", MEMBER | {"role": "teacher", "point": None}),
    ("members", f"s-driver-{ASKED}", MEMBER | {"trial_id": None}),
    ("members", f"copy of s-0-{ONE}", MEMBER),
]


COPIES: list[tuple[TableName, str, str, dict[str, Any]]] = [
    ("members", f"s-driver-{ASKED}", f"s-driver-{OTHER}", MEMBER),
    ("members", f"s-driver-{ASKED}", f"s-driver-{OTHER}{OTHER}", MEMBER),
    ("members", f"s-0-{ONE}", f"s-driver-{OTHER}{OTHER}", MEMBER),
    ("members", f"s-driver-{ASKED}{ASKED}", f"s-0-{ONE}", MEMBER),
    (
        "robustness",
        f"{ONE}-{ASKED}-{OTHER}",
        f"{ONE}-{ASKED}-{TWO}",
        NUMBER | {"source_trial_id": ONE},
    ),
]
"""A file, and the name of another act, which no column tells from its own."""


def read(results: Results, table: TableName) -> int:
    return len(getattr(results, table)())


@pytest.mark.parametrize("case", WRONG, ids=[f"{table}-{name}" for table, name, _ in WRONG])
def test_a_file_of_something_else_is_left_out(
    empty: Results, case: tuple[TableName, str, dict[str, Any]]
) -> None:
    table, name, row = case
    write_rows(empty.store, table, name, [row], {})
    with pytest.warns(DamagedFile, match=rf"{table}/{name}\.parquet: damaged, left out \(its rows"):
        assert read(empty, table) == 0
    if table != "members":
        with pytest.warns(DamagedFile):
            assert len(getattr(empty, table)(where=[("trial_id", "==", row["trial_id"])])) == 0


@pytest.mark.parametrize("case", RIGHT, ids=[f"{table}-{name}" for table, name, _ in RIGHT])
def test_a_file_of_what_its_name_says_is_read(
    empty: Results, case: tuple[TableName, str, dict[str, Any]]
) -> None:
    table, name, row = case
    write_rows(empty.store, table, name, [row], {})
    assert read(empty, table) == 1


def copy(store: Store, name: str, to: str) -> None:
    store.write(f"{to}.parquet", store.read(f"{name}.parquet"))


@pytest.mark.parametrize("case", COPIES, ids=[f"{name}-as-{to}" for _, name, to, _ in COPIES])
def test_a_file_that_was_written_under_another_name_is_left_out(
    empty: Results, case: tuple[TableName, str, str, dict[str, Any]]
) -> None:
    table, name, to, row = case
    write_rows(empty.store, table, name, [row], {})
    copy(empty.store, f"{table}/{name}", f"{table}/{to}")
    copy(empty.store, f"{table}/{name}", f"{table}/copy of {name}")
    for columns in (None, ["trial_id"]):
        with pytest.warns(
            DamagedFile, match=rf"{to}\.parquet: damaged, left out \(it was wr"
        ) as caught:
            assert len(getattr(empty, table)(columns)) == 1
        assert len(caught) == 1


def without_its_name(store: Store, name: str) -> None:
    """Write a file as it was before files said under which name they are written."""
    rows = pq.read_table(pa.BufferReader(store.read(f"{name}.parquet")))
    metadata = dict(rows.schema.metadata)
    assert metadata.pop(b"kdray_file").decode() == f"{name}.parquet"
    store.write(f"{name}.parquet", parquet_bytes(rows.replace_schema_metadata(metadata)))


@pytest.mark.parametrize("case", RIGHT, ids=[f"{table}-{name}" for table, name, _ in RIGHT])
def test_a_file_of_before_they_said_their_name_is_read(
    empty: Results, case: tuple[TableName, str, dict[str, Any]]
) -> None:
    table, name, row = case
    write_rows(empty.store, table, name, [row], {})
    without_its_name(empty.store, f"{table}/{name}")
    assert read(empty, table) == 1


def test_an_earlier_file_in_the_place_of_one_that_says_its_name_is_left_out(empty: Results) -> None:
    store, name = empty.store, f"members/s-driver-{ASKED}"
    write_rows(store, "members", f"s-driver-{ASKED}", [MEMBER], {})
    without_its_name(store, name)
    copy(store, name, f"{name}{ASKED}")
    with pytest.warns(DamagedFile, match=rf"{ASKED}{ASKED}\.parquet: damaged, left out \(it does"):
        assert read(empty, "members") == 1


def test_the_point_in_a_name_is_checked_though_its_column_is_not_asked_for(empty: Results) -> None:
    write_rows(empty.store, "members", f"s-5-{ONE}", [MEMBER], {})
    with pytest.warns(DamagedFile, match="its rows are of point 0, its name says otherwise"):
        assert empty.members(["trial_id"]).empty


def test_what_is_left_of_a_file_after_forgetting_is_read(empty: Results) -> None:
    name = f"s-driver-{ASKED}{ASKED}"
    write_rows(empty.store, "members", name, [MEMBER, MEMBER | {"trial_id": TWO}], {})
    assert forget(empty.store, [TWO])["members"] == 1
    assert read(empty, "members") == 1


def test_one_row_of_another_trial_is_enough(empty: Results) -> None:
    rows = [NUMBER | {"image": image} for image in range(20)]
    rows[7]["trial_id"] = TWO
    write_rows(empty.store, "robustness", f"{ONE}-{ASKED}", rows, {})
    with pytest.warns(DamagedFile):
        assert read(empty, "robustness") == 0


@pytest.mark.parametrize("other", [False, True])
def test_a_file_of_several_row_groups(empty: Results, other: bool) -> None:
    rows = [NUMBER | {"image": image} for image in range(ROWS_PER_GROUP + 1)]
    rows[-1]["trial_id"] = TWO if other else ONE
    write_rows(empty.store, "robustness", f"{ONE}-{ASKED}", rows, {})
    if other:
        with pytest.warns(DamagedFile):
            assert read(empty, "robustness") == 0
    else:
        assert read(empty, "robustness") == len(rows)


@pytest.mark.parametrize(("name", "epoch"), [("training", 1), (ASKED, None)])
def test_a_row_that_is_not_of_the_moment_that_the_name_says_is_found_among_many(
    empty: Results, name: str, epoch: int | None
) -> None:
    rows = [NUMBER | {"image": image, "epoch": epoch} for image in range(ROWS_PER_GROUP + 1)]
    write_rows(empty.store, "robustness", f"{ONE}-{name}", rows, {})
    assert read(empty, "robustness") == len(rows)
    rows[7]["epoch"] = None if epoch else 1
    write_rows(empty.store, "robustness", f"{ONE}-{name}", rows, {})
    with pytest.warns(DamagedFile, match="its rows are"):
        assert read(empty, "robustness") == 0


@pytest.mark.parametrize("table", ["trials", "epochs", "robustness", "members"])
def test_a_file_of_another_table_is_left_out(empty: Results, table: TableName) -> None:
    rows: dict[TableName, dict[str, Any]] = {
        "trials": {"trial_id": ONE, "status": "completed"},
        "epochs": EPOCH,
        "robustness": NUMBER,
        "members": MEMBER,
    }
    for other, row in rows.items():
        write_rows(empty.store, other, "x", [row], {})
        data = empty.store.read(f"{other}/x.parquet")
        empty.store.delete(f"{other}/x.parquet")
        if other != table:
            empty.store.write(f"{table}/{other}.parquet", data)
    with pytest.warns(DamagedFile, match=f"it is no part of {table}") as caught:
        assert read(empty, table) == 0
    assert len(caught) == 3


def test_nobody_has_completed_by_the_file_of_another(empty: Results) -> None:
    store: Store = empty.store
    write_rows(store, "trials", ONE, [{"trial_id": TWO, "status": "completed"}], {})
    assert not has_completed(store, ONE)
    assert not has_completed(store, TWO)
