"""Rows as the bytes of a Parquet file."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

MAX_PLAIN_ROWS = 8
"""Files of so many rows are written without compression, dictionaries and statistics: in 230
columns with a value or two each, these cost more bytes and time than they save."""
ROWS_PER_GROUP = 2**15
"""Size of a row group: a reader that wants one trial reads those that may have it."""


def parquet_bytes(rows: pa.Table) -> bytes:
    """A file of ``rows``; its pages have checksums."""
    buffer, is_plain = io.BytesIO(), len(rows) <= MAX_PLAIN_ROWS
    pq.write_table(
        rows,
        buffer,
        compression="none" if is_plain else "zstd",
        use_dictionary=not is_plain,
        write_statistics=not is_plain,
        write_page_checksum=True,
        row_group_size=ROWS_PER_GROUP,
    )
    return buffer.getvalue()
