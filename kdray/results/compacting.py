"""Many small files into few: what a table holds stays the same, and opening it takes a fraction of the time.

Nothing is lost and nothing counts twice whenever it is killed. The new file appears whole, is read back and compared, and only
then do the old ones go; while both are there, readers drop the rows that stand in both, as they do of copied files.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdray.results.newest import newest, within
from kdray.results.parts import COMPACTED, Part, joined, parsed
from kdray.results.schema import KEYS, SCHEMA_VERSION, TABLES, TableName, arrow_schema, columns_digest
from kdray.results.store import Store
from kdray.results.warn import ConflictingRows, DamagedFile, warn

ROWS_READ_TOGETHER = 2**15
"""Size of a row group: a reader that wants one trial reads those that may have it."""


class Compacted(NamedTuple):
    """What became of one table's files."""

    before: int
    after: int
    damaged: tuple[str, ...]
    """Left where they are, with what is wrong."""


class _Source(NamedTuple):
    name: str
    digest: bytes
    rows: pa.Table


def compact(store: Store) -> dict[TableName, Compacted]:
    """Put the rows of each table's files into one. Whoever calls it sees to it that no sweep is being run in the folder.

    A row that stands in several files is kept once; what a newer row replaces is kept too. Damaged files, and those of an older
    schema, are left as they are. :class:`kdray.InputError` if there is a file of a newer schema, OSError if the new file reads
    back otherwise than it should: then the old ones stay.
    """
    return {table: _compact(store, table) for table in TABLES}


def _compact(store: Store, table: TableName) -> Compacted:
    names = store.names(table, ".parquet")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(partial(_source, store), names))
    damaged = tuple(each for each in found if isinstance(each, str))
    for problem in damaged:
        warn(problem, DamagedFile)
    sources = [each for each in found if isinstance(each, _Source)]
    if len(sources) < 2:
        return Compacted(len(names), len(names), damaged)
    whole = joined([arrow_schema(table, {}).empty_table(), *(source.rows for source in sources)])
    rows = _once(whole, table)
    data = _written(rows)
    merged = f"{table}/{COMPACTED}{hashlib.sha256(data).hexdigest()[:16]}.parquet"
    store.write(merged, data)
    if not _holds(store, merged, rows, whole, table):
        if merged not in names:
            store.delete(merged)
        raise OSError(f"{store.place}/{merged}: reads back otherwise than it was written; the old files stay")
    for source in sources:
        # A worker may have written it anew, since a run was started meanwhile.
        if source.name != merged and _digest(store, source.name) == source.digest:
            store.delete(source.name)
    return Compacted(len(names), len(store.names(table, ".parquet")), damaged)


def _source(store: Store, name: str) -> _Source | str | None:
    """A file that is to be merged, or what is wrong with it; none if it is gone or of an older schema."""
    try:
        data = store.read(name)
    except FileNotFoundError:
        return None
    part = parsed(store, name, data)
    if not isinstance(part, Part):
        return part
    current = (part.schema.metadata or {}).get(b"kdray_schema", b"1") == str(SCHEMA_VERSION).encode()
    return _Source(name, hashlib.sha256(data).digest(), part.rows) if current else None


def _once(rows: pa.Table, table: TableName) -> pa.Table:
    """The rows by key, without those that stand in several files."""
    keys = list(KEYS[table])
    columns = dict.fromkeys([*keys, *within(table), "written_at"])
    told_apart = rows.select(list(columns)).to_pandas().sort_values(keys, kind="stable").drop_duplicates()
    kept = rows.take(pa.array(told_apart.index.to_numpy()))
    metadata = {"kdray_schema": str(SCHEMA_VERSION), "kdray_columns": columns_digest(rows.schema)}
    return kept.replace_schema_metadata(metadata).combine_chunks()


def _written(rows: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        rows, buffer, compression="zstd", write_page_checksum=True, row_group_size=ROWS_READ_TOGETHER
    )
    return buffer.getvalue()


def _holds(store: Store, name: str, rows: pa.Table, whole: pa.Table, table: TableName) -> bool:
    """Whether a file gives back all ``rows``, and to a reader the same as all files together, ``whole``."""
    part = parsed(store, name, store.read(name))
    if not isinstance(part, Part) or not _same(part.rows, rows):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConflictingRows)
        read, known = (newest(each.to_pandas(), table).reset_index(drop=True) for each in (part.rows, whole))
    return bool(read.equals(known))


def _same(one: pa.Table, other: pa.Table) -> bool:
    return bool(one.schema.equals(other.schema, check_metadata=True)) and all(
        _same_column(one[name], other[name]) for name in one.column_names
    )


def _same_column(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(one.type):
        return bool(one.equals(other))
    # To Arrow a NaN is not itself.
    nothing = pa.scalar(None, one.type)
    numbers = [pc.if_else(pc.is_nan(column), nothing, column) for column in (one, other)]
    return bool(pc.is_nan(one).equals(pc.is_nan(other)) and numbers[0].equals(numbers[1]))


def _digest(store: Store, name: str) -> bytes | None:
    try:
        return hashlib.sha256(store.read(name)).digest()
    except FileNotFoundError:
        return None
