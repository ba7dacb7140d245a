"""Texts of large tables, held as numbers into a dictionary of the different ones: a fraction of the
memory, and quick to compare."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kdray.results.schema import TABLES, TableName

ENCODED = pa.dictionary(pa.int32(), pa.string())
PANDAS_TEXT = pa.large_string()
"""The type that pandas gives texts; one that it gets needs no conversion."""
TYPES_WITH_GAPS: dict[pa.DataType, type] = {pa.int64(): float, pa.bool_(): object}
"""The types that pandas gives columns with missing values."""
Positions = npt.NDArray[np.int64]


def text_columns(table: TableName) -> list[str]:
    """The columns with text that every file of a table has."""
    return [column.name for column in TABLES[table] if column.type == pa.string()]


def is_encoded(rows: pa.Table) -> bool:
    """Whether any column of ``rows`` is dictionary-encoded."""
    return any(pa.types.is_dictionary(kind) for kind in rows.schema.types)


def encoded(rows: pa.Table, table: TableName) -> pa.Table:
    """``rows`` with its :func:`text_columns` dictionary-encoded."""
    for name in set(text_columns(table)).intersection(rows.column_names):
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at).with_type(ENCODED)
        rows = rows.set_column(at, field, rows[name].cast(ENCODED))
    return rows


def decoded(rows: pa.Table, text: pa.DataType | None = None) -> pa.Table:
    """``rows`` with the texts themselves, by default of the type that they are stored with."""
    kind = text or pa.string()
    for at, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(at, field.with_type(kind), rows[field.name].cast(kind))
    return rows


def in_pandas(rows: pa.Table, positions: Positions) -> pd.DataFrame:
    """The rows at ``positions``. Columns have the types that all of ``rows`` would have: whole
    numbers of which some are missing are floats, though none at ``positions`` is missing.
    """
    if len(positions) == len(rows) and (positions[1:] > positions[:-1]).all():
        whole: pd.DataFrame = decoded(rows, PANDAS_TEXT).to_pandas()
        return whole
    with_gaps = {
        field.name: TYPES_WITH_GAPS[field.type]
        for field in rows.schema
        if field.type in TYPES_WITH_GAPS and rows[field.name].null_count
    }
    some: pd.DataFrame = decoded(rows.take(positions), PANDAS_TEXT).to_pandas()
    # Copied, because astype leaves a block of memory for each column.
    return some.astype(with_gaps).copy() if with_gaps else some
