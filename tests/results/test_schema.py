"""The tables describe themselves: every column has a type, and the files say what it means."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from kdray.results.columns import ColumnRole
from kdray.results.files.arrow_schema import arrow_schema, columns_digest, description
from kdray.results.schema import KEYS, SCHEMA_VERSION, TABLES, TableName, columns, names

every_table = pytest.mark.parametrize("table", list(TABLES))


@every_table
def test_no_column_is_there_twice_and_the_key_is_among_them(table: TableName) -> None:
    listed = [column.name for column in TABLES[table]]
    assert len(set(listed)) == len(listed)
    assert set(KEYS[table]) | {"written_at"} <= set(listed)


@every_table
def test_every_column_says_what_it_means(table: TableName) -> None:
    silent = {
        "finished_at",
        "kdray_version",
        "python_version",
        "ray_version",
        "torch_version",
        "torchvision_version",
    }  # the name says it
    assert {column.name for column in TABLES[table] if not column.meaning} <= silent


@every_table
def test_fields_carry_unit_and_meaning_and_the_schema_its_version(table: TableName) -> None:
    schema = arrow_schema(table, {})
    assert schema.metadata == {
        b"kdray_schema": str(SCHEMA_VERSION).encode(),
        b"kdray_columns": columns_digest(schema),
    }
    for column in TABLES[table]:
        field = schema.field(column.name)
        assert field.type == column.type
        assert field.metadata == {
            b"unit": column.unit.encode(),
            b"role": column.role.encode(),
            b"meaning": column.meaning.encode(),
        }


def test_times_are_utc_and_accuracies_are_fractions() -> None:
    for listed in TABLES.values():
        for column in listed:
            assert pa.types.is_timestamp(column.type) == (column.name.endswith("_at"))
            assert not column.name.endswith("accuracy") or column.unit == "fraction"
            assert not column.name.endswith("_at") or (column.type.tz, column.unit) == (
                "UTC",
                "UTC",
            )


def test_handed_in_columns_follow_sorted_with_their_type_and_a_known_name_keeps_its_own() -> None:
    extra = {
        "method.temperature": float,
        "data.name": str,
        "model.depth": int,
        "noise.clip": bool,
        "seed": str,
    }
    added = columns("trials", extra)[len(TABLES["trials"]) :]
    assert [(column.name, column.type) for column in added] == [
        ("data.name", pa.string()),
        ("method.temperature", pa.float64()),
        ("model.depth", pa.int64()),
        ("noise.clip", pa.bool_()),
    ]
    assert arrow_schema("trials", extra).field("seed").type == pa.int64()


def test_the_description_beside_the_tables_lists_every_column() -> None:
    described = json.loads(description())
    assert described["kdray_schema"] == SCHEMA_VERSION
    assert {
        table: [column["name"] for column in listed]
        for table, listed in described["tables"].items()
    } == {table: [column.name for column in listed] for table, listed in TABLES.items()}


@every_table
def test_every_column_has_a_role_and_only_axes_are_of_a_part(table: TableName) -> None:
    for column in TABLES[table]:
        assert isinstance(column.role, ColumnRole), column.name
        assert column.role is ColumnRole.AXIS or not column.part, column.name
    assert KEYS[table] == names(table, ColumnRole.KEY)
