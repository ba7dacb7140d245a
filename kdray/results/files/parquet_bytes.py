"""Rows as the bytes of a Parquet file."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

FEW = 8
"""Up to so many rows a file is written plainly: of 230 columns with a value or two each, whatever
is made for a column costs more than it saves, in bytes and in the time to write and to read."""
ROWS_READ_TOGETHER = 2**15
"""Size of a row group: a reader that wants one trial reads those that may have it."""


def encoded(rows: pa.Table) -> bytes:
    """A file of ``rows``; its pages have checksums."""
    buffer, few = io.BytesIO(), len(rows) <= FEW
    pq.write_table(
        rows,
        buffer,
        compression="none" if few else "zstd",
        use_dictionary=not few,
        write_statistics=not few,
        write_page_checksum=True,
        row_group_size=ROWS_READ_TOGETHER,
    )
    return buffer.getvalue()
