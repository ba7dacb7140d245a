"""Texts as numbers of texts, which a large table shares: a fraction of the memory, and quickly told
apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from kdray.results.schema import TABLES, TableName

CODED = pa.dictionary(pa.int32(), pa.string())
OF_PANDAS = pa.large_string()
"""What pandas makes of texts, so that it need not."""
GAPS: dict[pa.DataType, type] = {pa.int64(): float, pa.bool_(): object}
"""What becomes in pandas of columns in which some values are missing."""
Positions = npt.NDArray[np.int64]


def texts(table: TableName) -> list[str]:
    """The columns with text that every file of a table has."""
    return [column.name for column in TABLES[table] if column.type == pa.string()]


def is_coded(rows: pa.Table) -> bool:
    return any(pa.types.is_dictionary(kind) for kind in rows.schema.types)


def coded(rows: pa.Table, table: TableName) -> pa.Table:
    """``rows`` with numbers for :func:`texts`."""
    for name in set(texts(table)).intersection(rows.column_names):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at).with_type(CODED), rows[name].cast(CODED))
    return rows


def plain(rows: pa.Table, text: pa.DataType | None = None) -> pa.Table:
    """``rows`` with the texts themselves, by default of the type that they are stored with."""
    kind = text or pa.string()
    for at, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(at, field.with_type(kind), rows[field.name].cast(kind))
    return rows


def in_pandas(rows: pa.Table, positions: Positions) -> pd.DataFrame:
    """The rows at ``positions``, in columns of the types that they have of all: of whole numbers of
    which some are missing that is float.
    """
    if len(positions) == len(rows) and (positions[1:] > positions[:-1]).all():
        whole: pd.DataFrame = plain(rows, OF_PANDAS).to_pandas()
        return whole
    gaps = {
        field.name: GAPS[field.type]
        for field in rows.schema
        if field.type in GAPS and rows[field.name].null_count
    }
    some: pd.DataFrame = plain(rows.take(positions), OF_PANDAS).to_pandas()
    return (
        some.astype(gaps).copy() if gaps else some
    )  # in one piece again: astype leaves a piece for each column
