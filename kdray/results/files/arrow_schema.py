"""The Arrow schema of a table's files, and the description of all tables beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pyarrow as pa

from kdray.results.schema import SCHEMA_VERSION, TABLES, TableName, columns


def arrow_schema(table: TableName, extra: Mapping[str, type]) -> pa.Schema:
    """The full Arrow schema of ``table``: a field's metadata say its unit, role and meaning, the
    schema's own its version and a digest of the columns."""
    fields = [
        pa.field(
            column.name,
            column.type,
            metadata={"unit": column.unit, "role": column.role, "meaning": column.meaning},
        )
        for column in columns(table, extra)
    ]
    # Pages have checksums of their own; the digest is for the names and types, which stand in the
    # footer.
    digest = columns_digest(pa.schema(fields))
    return pa.schema(
        fields, metadata={"kdray_schema": str(SCHEMA_VERSION), "kdray_columns": digest}
    )


def columns_digest(schema: pa.Schema) -> bytes:
    """A digest of the names and types, by which a reader notices a footer that has changed."""
    text = "\n".join(
        f"{name}:{kind}" for name, kind in zip(schema.names, schema.types, strict=True)
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest().encode()


def description() -> str:
    """The tables as JSON, for the file ``schema.json`` in the results folder."""
    tables = {
        name: [
            {
                "name": c.name,
                "type": str(c.type),
                "unit": c.unit,
                "role": c.role,
                "meaning": c.meaning,
            }
            for c in listed
        ]
        for name, listed in TABLES.items()
    }
    return json.dumps({"kdray_schema": SCHEMA_VERSION, "tables": tables}, indent=1)
