"""Many small files into few: what a table holds stays the same, and opening it takes a fraction of
the time.

Nothing is lost and nothing counts twice whenever it is killed. The new file appears whole, is read
back and compared, and only then do the old ones go; while both are there, readers drop the rows
that stand in both, as they do of copied files.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdray.results.files.arrow_schema import arrow_schema, columns_digest
from kdray.results.files.dictionary_encoding import Positions
from kdray.results.files.newest import counting_positions, deciding, newest_silently, row_numbers
from kdray.results.files.parquet_bytes import parquet_bytes
from kdray.results.files.read import COMPACTED, Part, fetched, joined, map_in_threads, parsed
from kdray.results.files.store import Store
from kdray.results.files.warn import DamagedFile, warn
from kdray.results.schema import AXES, KEYS, SCHEMA_VERSION, TABLES, TableName

LARGE_FILE_BYTES = 4 * 2**20
"""Size from which a file is left alone while a sweep runs, so that the cost of a merge does not
grow with the results."""


class Compacted(NamedTuple):
    """What became of one table's files."""

    before: int
    after: int
    damaged: tuple[str, ...]
    """Left where they are, with what is wrong."""


class _Source(NamedTuple):
    """A file that is to be merged."""

    name: str
    digest: bytes
    rows: pa.Table


def compact(store: Store) -> dict[TableName, Compacted]:
    """Put the rows of each table's files into one. Whoever calls it sees to it that no sweep is
    being run in the folder.

    A row that stands in several files is kept once; what a newer row replaces is kept too. Rows of
    an older schema get the names of today's. Damaged files are left as they are.
    :class:`kdray.InputError` if there is a file of a newer schema, OSError if the new file reads
    back otherwise than it should: then the old ones stay.
    """
    done: dict[TableName, Compacted] = {}
    for table in TABLES:
        names = store.names(table, ".parquet")
        damaged = _merge(store, table, names)
        for problem in damaged:
            warn(problem, DamagedFile)
        done[table] = Compacted(len(names), len(store.names(table, ".parquet")), damaged)
    return done


def merge_small(
    store: Store,
    table: TableName,
    most: int,
    *,
    busy: Set[str] = frozenset(),
    left: Set[str] = frozenset(),
) -> set[str]:
    """Put the small files of a table into one if there are more than ``most``, in a folder in which
    a sweep may be running.

    Those of the trials ``busy``, which may be written anew right now, are not touched, nor those
    ``left`` behind before. Returns the names of the damaged files that are left behind this time.
    Errors are those of :func:`compact`. If another process writes a file anew in the instant before
    it is deleted, what it replaced counts again, and the act is done once more.
    """
    small = [
        name
        for name, size in store.sizes(table, ".parquet").items()
        if size < LARGE_FILE_BYTES and name not in left and busy.isdisjoint(_ids_in(name))
    ]
    if len(small) <= most:
        return set()
    _merge(store, table, small)
    return set(small).intersection(store.names(table, ".parquet"))


def _ids_in(name: str) -> list[str]:
    """The ids in the name of a file, among its other parts."""
    return PurePosixPath(name).stem.split("-")


def _merge(store: Store, table: TableName, names: Sequence[str]) -> tuple[str, ...]:
    """Put the rows of ``names`` into one new file and delete these; return what is wrong with those
    that are damaged."""
    read = [
        _source(store, name, data) for name, data in map_in_threads(partial(fetched, store), names)
    ]
    damaged = tuple(each for each in read if isinstance(each, str))
    sources = [each for each in read if isinstance(each, _Source)]
    if len(sources) < 2:
        return damaged
    whole = joined(
        [arrow_schema(table, {}).empty_table(), *(source.rows for source in sources)]
    ).combine_chunks()
    kept = _positions_of_different(whole, table)
    metadata = {"kdray_schema": str(SCHEMA_VERSION), "kdray_columns": columns_digest(whole.schema)}
    rows = whole.take(kept).replace_schema_metadata(metadata)
    # Nobody else makes a file of this name, so if it is not right nobody relies on it.
    merged = f"{table}/{COMPACTED}{uuid.uuid4().hex[:16]}.parquet"
    store.write(merged, parquet_bytes(rows))
    try:
        right = _are_equal(_read_back(store, merged), rows) and _readers_find_the_same(
            kept, whole, table
        )
    except FileNotFoundError:
        return damaged  # another process has merged it on; the old files are found next time
    if not right:
        store.delete(merged)
        raise OSError(
            f"{store.place}/{merged}: reads back otherwise than it was written; the old files stay"
        )
    digests = {source.name: source.digest for source in sources}
    deque(map_in_threads(partial(_delete_if, store, digests), digests), maxlen=0)
    return damaged


def _source(store: Store, name: str, data: bytes | str | None) -> _Source | str | None:
    """What ``data`` of a file hold, or what is wrong with them; None if the file is gone."""
    if not isinstance(data, bytes):
        return data
    part = parsed(store, name, data)
    return (
        _Source(name, hashlib.sha256(data).digest(), part.rows) if isinstance(part, Part) else part
    )


def _positions_of_different(rows: pa.Table, table: TableName) -> Positions:
    """The positions of the rows, sorted by key; of equal rows from several files one stays."""
    distinct = row_numbers(rows, [*KEYS[table], *AXES[table], "written_at"])
    order = np.argsort(row_numbers(rows, KEYS[table]), kind="stable")
    return order[~pd.Series(distinct[order]).duplicated().to_numpy()]


def _read_back(store: Store, name: str) -> pa.Table | None:
    part = parsed(store, name, store.read(name))
    return part.rows if isinstance(part, Part) else None


def _readers_find_the_same(kept: Positions, whole: pa.Table, table: TableName) -> bool:
    """Whether a reader finds in the rows ``kept`` those that it finds in the ``whole``."""
    rows = whole.select([name for name in whole.column_names if name in deciding(table)])
    of_some, of_all = (
        counting_positions(each, table, newest_silently) for each in (rows.take(kept), rows)
    )
    return bool(np.array_equal(kept[of_some], of_all))


def _are_equal(one: pa.Table | None, other: pa.Table) -> bool:
    return (
        one is not None
        and bool(one.schema.equals(other.schema, check_metadata=True))
        and all(_are_equal_columns(one[name], other[name]) for name in one.column_names)
    )


def _are_equal_columns(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(one.type):
        return bool(one.equals(other))
    # To Arrow a NaN is not itself.
    nothing = pa.scalar(None, one.type)
    numbers = [pc.if_else(pc.is_nan(column), nothing, column) for column in (one, other)]
    return bool(pc.is_nan(one).equals(pc.is_nan(other)) and numbers[0].equals(numbers[1]))


def _delete_if(store: Store, digests: Mapping[str, bytes], name: str) -> None:
    """Delete a file, unless a worker has written it anew meanwhile."""
    with suppress(FileNotFoundError):
        if hashlib.sha256(store.read(name)).digest() == digests[name]:
            store.delete(name)
