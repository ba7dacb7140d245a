"""The files of a table, read side by side, and their rows put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.core import InputError
from kdray.results.files.dictionary_encoding import coded, is_coded, texts
from kdray.results.files.store import Store
from kdray.results.files.warn import DamagedFile, warn
from kdray.results.filters import Where, expression
from kdray.results.schema import SCHEMA_VERSION, TableName, arrow_schema, columns_digest

T = TypeVar("T")


COMPACTED = "compacted-"
"""How the names begin of files that hold the rows of many."""
AHEAD = 32
"""So many files are in memory that have not been parsed."""
ATTEMPTS = 9
"""So often a table is looked through, of which files come and go meanwhile."""


class Part(NamedTuple):
    """What was read of one file."""

    rows: pa.Table
    schema: pa.Schema
    """Of the whole file."""


class Parts(NamedTuple):
    """What was read of a table's files, in the order of their names."""

    rows: pa.Table
    """Duplicates included; a column that a file lacks is null there. Of a large table texts are
    numbered (:func:`plain`)."""
    names: frozenset[str]
    """Every column that the table or one of its files has."""


def read_parts(
    store: Store, table: TableName, columns: Collection[str] | None = None, where: Where = ()
) -> Parts:
    """The readable files of a table: all columns, or those of ``columns`` that there are, and the
    rows that ``where`` holds of.

    Damaged files are left out with a :class:`DamagedFile`; damage in a column that is not read goes
    unnoticed. ``where`` may speak of columns that are read; a file that lacks one gives also rows
    that it does not hold of.
    """
    found: dict[str, Part | str] = {}
    # A file that goes away meanwhile has been merged into one that is new, and a folder that
    # changes need not be listed whole: all is there when nothing is left that has not been read.
    for _ in range(ATTEMPTS):
        names = [name for name in store.names(table, ".parquet") if name not in found]
        if not names:
            break
        # Parsed one after another: threads that parse wide files are in each other's way.
        for name, data in side_by_side(partial(fetched, store), names):
            if isinstance(data, bytes):
                found[name] = parsed(
                    store, name, data, columns=columns, where=where, coding=texts(table)
                )
            elif data is not None:
                found[name] = data
    read = [found[name] for name in sorted(found)]
    for problem in (part for part in read if isinstance(part, str)):
        warn(problem, DamagedFile)
    parts = [part for part in read if isinstance(part, Part)]
    # The columns of today, which every file may have been written before.
    today = arrow_schema(table, {})
    known = frozenset(today.names).union(*(part.schema.names for part in parts))
    empty = today.empty_table()
    asked = (
        empty
        if columns is None
        else empty.select([name for name in today.names if name in columns])
    )
    rows = joined([asked, *(part.rows for part in parts if not is_coded(part.rows))])
    large = [part.rows for part in parts if is_coded(part.rows)]
    return Parts(joined([coded(rows, table), *large]) if large else rows, known)


def read_part(
    store: Store, name: str, *, columns: Collection[str] | None = None, where: Where = ()
) -> Part | str | None:
    """One file, or what is wrong with it; none if it is gone. :class:`InputError` if it is of a
    newer schema."""
    data = fetched(store, name)
    return (
        parsed(store, name, data, columns=columns, where=where) if isinstance(data, bytes) else data
    )


def side_by_side(act: Callable[[str], T], names: Iterable[str]) -> Iterator[tuple[str, T]]:
    """What ``act`` gives for each of ``names``, in order: several at a time, but only so many ahead
    of what is asked for."""
    with ThreadPoolExecutor(8) as pool:
        ahead: deque[tuple[str, Future[T]]] = deque()
        for name in names:
            ahead.append((name, pool.submit(act, name)))
            if len(ahead) > AHEAD:
                first, its = ahead.popleft()
                yield first, its.result()
        for first, its in ahead:
            yield first, its.result()


def fetched(store: Store, name: str) -> bytes | str | None:
    """The bytes of a file, or why it cannot be read; none if it is gone."""
    try:
        return store.read(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        if store.folder is None:
            raise  # not damaged, but out of reach: nothing may be computed again for that
        return _left_out(store, name, error)


def parsed(
    store: Store,
    name: str,
    data: bytes,
    *,
    columns: Collection[str] | None = None,
    where: Where = (),
    coding: Sequence[str] = (),
) -> Part | str:
    """The rows in a file's bytes, or what is wrong with them. Of a large file the texts of
    ``coding`` are numbered."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow
        wanted = None if columns is None else [each for each in schema.names if each in columns]
        stated = [condition for condition in where if condition[0] in schema.names]
        if (
            file.num_row_groups > 1
        ):  # groups are not even read whose statistics say that there is no such row
            part = pq.read_table(
                pa.BufferReader(data),
                columns=wanted,
                filters=expression(stated) if stated else None,
                read_dictionary=coding,
                page_checksum_verification=True,
            )
        else:  # of small files faster
            part = file.read(columns=wanted, use_threads=False)
            part = part.filter(expression(stated)) if stated else part
        part.validate(full=True)
        metadata = schema.metadata or {}
        if (
            metadata.get(b"kdray_columns", digest := columns_digest(schema)) != digest
        ):  # older files have none
            raise ValueError("its columns are not those that were written")
        version = int(metadata.get(b"kdray_schema", b"1"))
    except (pa.ArrowException, OSError, ValueError) as error:
        return _left_out(store, name, error)
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{store.place}/{name}: of schema {version}, this kdray reads up to {SCHEMA_VERSION}"
        )
    return Part(part, schema)


def _left_out(store: Store, name: str, error: Exception) -> str:
    return f"{store.place}/{name}: damaged, left out ({str(error).splitlines()[0]})"


def joined(parts: list[pa.Table]) -> pa.Table:
    """The rows of all ``parts``. A file from before a column was added lacks it; its rows have null
    there."""
    try:
        return pa.concat_tables(parts, promote_options="default")
    except pa.ArrowTypeError:
        # A configuration column widens when a new component shares its path: int to float, anything
        # to text (JSON).
        text = {field.name for part in parts for field in part.schema if field.type == pa.string()}
        wide = [
            part.cast(
                pa.schema([f.with_type(pa.string()) if f.name in text else f for f in part.schema])
            )
            for part in parts
        ]
        return pa.concat_tables(wide, promote_options="permissive")
