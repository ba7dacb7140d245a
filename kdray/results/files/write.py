"""Writing rows: one act, one file, with the full schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from kdray.results.files.arrow_schema import arrow_schema
from kdray.results.files.file_names import WRITTEN_AS
from kdray.results.files.parquet_bytes import parquet_bytes
from kdray.results.files.store import Store
from kdray.results.schema import TableName

Row = Mapping[str, Any]


def write_rows(
    store: Store, table: TableName, file: str, rows: Sequence[Row], extra: Mapping[str, type]
) -> None:
    """Write ``rows`` as ``table/file.parquet``, which says its name; columns that a row lacks are
    null, one that the schema lacks is an error."""
    schema, name = arrow_schema(table, extra), f"{table}/{file}.parquet"
    unknown = sorted({name for row in rows for name in row} - set(schema.names))
    if unknown:
        raise ValueError(f"no such columns in {table}: {', '.join(unknown)}")
    now = datetime.now(UTC)
    written = pa.Table.from_pylist([{**row, "written_at": now} for row in rows], schema=schema)
    said = {**schema.metadata, WRITTEN_AS: name.encode()}
    store.write(name, parquet_bytes(written.replace_schema_metadata(said)))
