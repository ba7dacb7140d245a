"""The files of a table, read in several threads, and their rows put together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from kdray.core import InputError
from kdray.results.files.arrow_schema import arrow_schema, columns_digest
from kdray.results.files.dictionary_encoding import encoded, is_encoded, text_columns
from kdray.results.files.file_names import (
    check_columns_of_table,
    check_rows,
    check_statistics,
    check_written_name,
    columns_in_name,
)
from kdray.results.files.store import Store
from kdray.results.files.warn import DamagedFile, warn
from kdray.results.filters import Where, expression
from kdray.results.schema import RENAMED, SCHEMA_VERSION, TableName

T = TypeVar("T")


COMPACTED = "compacted-"
"""How the names begin of files that hold the rows of many."""
MAX_FILES_AHEAD = 32
"""Files that are held in memory before they are parsed."""
READ_THREADS = 8
LISTING_ATTEMPTS = 9
"""How often a table is listed, of which files come and go meanwhile."""


class Part(NamedTuple):
    """What was read of one file, with the names that columns have today."""

    rows: pa.Table
    schema: pa.Schema
    """Of the whole file."""


class Parts(NamedTuple):
    """What was read of a table's files, in the order of their names."""

    rows: pa.Table
    """Duplicates included; a column that a file lacks is null there. Of a large table texts are
    dictionary-encoded (:func:`decoded` reverses that)."""
    names: frozenset[str]
    """Every column that the table or one of its files has."""


def read_parts(
    store: Store, table: TableName, columns: Collection[str] | None = None, where: Where = ()
) -> Parts:
    """The readable files of a table: all columns, or those of ``columns`` that exist, and the rows
    that ``where`` holds of.

    Damaged files are left out with a :class:`DamagedFile`; damage in a column that is not read goes
    unnoticed. ``where`` may speak of columns that are read; a file that lacks one gives also rows
    that it does not hold of.
    """
    by_name: dict[str, Part | str] = {}
    # A file that goes away meanwhile has been merged into one that is new, and a folder that
    # changes need not be listed whole: all is read when a listing has nothing new.
    for _ in range(LISTING_ATTEMPTS):
        names = [name for name in store.names(table, ".parquet") if name not in by_name]
        if not names:
            break
        # Parsed one after another: threads that parse wide files are in each other's way.
        for name, data in map_in_threads(partial(fetched, store), names):
            if isinstance(data, bytes):
                by_name[name] = parsed(
                    store, name, data, columns=columns, where=where, encode=text_columns(table)
                )
            elif data is not None:
                by_name[name] = data
    read = [by_name[name] for name in sorted(by_name)]
    for problem in (part for part in read if isinstance(part, str)):
        warn(problem, DamagedFile)
    parts = [part for part in read if isinstance(part, Part)]
    # The columns of today, which every file may have been written before.
    today = arrow_schema(table, {})
    all_names = frozenset(today.names).union(*(part.schema.names for part in parts))
    empty = today.empty_table()
    if columns is not None:
        empty = empty.select([name for name in today.names if name in columns])
    rows = joined([empty, *(part.rows for part in parts if not is_encoded(part.rows))])
    large = [part.rows for part in parts if is_encoded(part.rows)]
    return Parts(joined([encoded(rows, table), *large]) if large else rows, all_names)


def read_part(
    store: Store, name: str, *, columns: Collection[str] | None = None, where: Where = ()
) -> Part | str | None:
    """One file, or what is wrong with it; None if it is gone. :class:`InputError` if it is of a
    newer schema."""
    data = fetched(store, name)
    return (
        parsed(store, name, data, columns=columns, where=where) if isinstance(data, bytes) else data
    )


def map_in_threads(act: Callable[[str], T], names: Iterable[str]) -> Iterator[tuple[str, T]]:
    """Yield each of ``names`` with what ``act`` returns for it, in order; several run at a time,
    but no more than :data:`MAX_FILES_AHEAD` ahead of the caller."""
    with ThreadPoolExecutor(READ_THREADS) as pool:
        ahead: deque[tuple[str, Future[T]]] = deque()
        for name in names:
            ahead.append((name, pool.submit(act, name)))
            if len(ahead) > MAX_FILES_AHEAD:
                first, result = ahead.popleft()
                yield first, result.result()
        for first, result in ahead:
            yield first, result.result()


def fetched(store: Store, name: str) -> bytes | str | None:
    """The bytes of a file, or why it cannot be read; None if it is gone."""
    try:
        return store.read(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        if store.folder is None:
            raise  # not damaged, but out of reach: nothing may be computed again for that
        return _damage_text(store, name, error)


def parsed(
    store: Store,
    name: str,
    data: bytes,
    *,
    columns: Collection[str] | None = None,
    where: Where = (),
    encode: Sequence[str] = (),
) -> Part | str:
    """The rows in a file's bytes, or what is wrong with them: also that they are not those that
    its name says. Of a large file the texts in ``encode`` are dictionary-encoded."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        schema = file.schema_arrow
        version = _version(schema)
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{store.place}/{name}: of schema {version}, this kdray reads up to "
                f"{SCHEMA_VERSION}"
            )
        stored = schema.names
        names = _names_in_file(name, version, stored)
        check_columns_of_table(name, stored)
        check_written_name(name, schema.metadata or {})
        wanted = None if columns is None else _translated(columns, names, stored)
        stated = [(names.get(c, c), op, value) for c, op, value in where]
        stated = [condition for condition in stated if condition[0] in stored]
        filters = expression(stated) if stated else None
        if file.num_row_groups > 1:
            check_statistics(name, file.metadata, schema)
            # Groups are not even read whose statistics say that they have no such row.
            part = pq.read_table(
                pa.BufferReader(data),
                columns=wanted,
                filters=filters,
                read_dictionary=[names.get(each, each) for each in encode],
                page_checksum_verification=True,
            )
        else:  # of small files faster
            part = _checked_rows(name, file, stored, wanted)
            part = part if filters is None else part.filter(filters)
        part.validate(full=True)
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        return _damage_text(store, name, error)
    return Part(*_with_names_of_today(part, schema, names))


def _checked_rows(
    name: str, file: pq.ParquetFile, stored: Collection[str], wanted: list[str] | None
) -> pa.Table:
    """All rows of a file, in the columns ``wanted``; ValueError if they are not those that its name
    says, by whatever column."""
    if wanted is None:
        rows = file.read(use_threads=False)
        check_rows(name, rows)
        return rows
    also = [each for each in columns_in_name(name) if each in stored and each not in wanted]
    rows = file.read(columns=[*wanted, *also], use_threads=False)
    check_rows(name, rows)
    return rows.select(wanted) if also else rows


def _version(schema: pa.Schema) -> int:
    """The schema version of a file; ValueError if its columns are not those that were written."""
    metadata = schema.metadata or {}
    # Files of the first days have no digest.
    if metadata.get(b"kdray_columns", digest := columns_digest(schema)) != digest:
        raise ValueError("its columns are not those that were written")
    return int(metadata.get(b"kdray_schema", b"1"))


def _names_in_file(file: str, version: int, stored: Collection[str]) -> dict[str, str]:
    """The columns that a file of an older schema calls otherwise: today's name to the file's."""
    if version >= SCHEMA_VERSION:
        return {}
    renamed = next((RENAMED[table] for table in RENAMED if file.startswith(f"{table}/")), {})
    return {today: before for before, today in renamed.items() if before in stored}


def _translated(
    columns: Collection[str], names: dict[str, str], stored: Collection[str]
) -> list[str]:
    """Those of ``columns`` that a file has, in its order and under its names for them."""
    wanted = {names.get(column, column) for column in columns}
    return [column for column in stored if column in wanted]


def _with_names_of_today(
    rows: pa.Table, schema: pa.Schema, names: dict[str, str]
) -> tuple[pa.Table, pa.Schema]:
    """``rows`` and ``schema`` of a file in which ``names`` says the columns of another name."""
    if not names:
        return rows, schema
    today = {before: name for name, before in names.items()}
    whole = pa.schema(
        [field.with_name(today.get(field.name, field.name)) for field in schema], schema.metadata
    )
    return rows.rename_columns([today.get(name, name) for name in rows.column_names]), whole


def _damage_text(store: Store, name: str, error: Exception) -> str:
    """The text of a :class:`DamagedFile`."""
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
