"""Of several rows about the same thing, the ones that count.

Rows with the same keys were written by one act (a training, a measurement), which its axes tell
apart. An act that was done again replaces the one before, unless it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdray.results.columns import ColumnRole
from kdray.results.files.dictionary_encoding import Positions, decoded
from kdray.results.files.warn import ConflictingRows, warn
from kdray.results.schema import AXES, KEYS, TableName, names

OUTCOME_COLUMNS: dict[TableName, str] = {"trials": "status", "robustness": "error"}
"""The column that says whether an act failed."""
COMPARED: dict[TableName, tuple[str, ...]] = {
    "trials": names("trials", ColumnRole.MEASURE),
    "robustness": names("robustness", ColumnRole.MEASURE),
}
"""What two acts of the same keys must agree in; of epochs, which follow from their trial, nothing
is said."""
MAX_NUMBERS_PER_ROW = 4
"""Row numbers are made dense as soon as there could be more of them than this for each row."""

Selection = Callable[[pd.DataFrame, TableName], pd.DataFrame]


def deciding(table: TableName) -> set[str]:
    """The columns by which :func:`newest` decides."""
    outcome = {OUTCOME_COLUMNS[table]} if table in OUTCOME_COLUMNS else set()
    return {*KEYS[table], *AXES[table], "written_at", *outcome, *COMPARED.get(table, ())}


def counting_positions(
    rows: pa.Table, table: TableName, select: Selection | None = None
) -> Positions:
    """The positions in ``rows`` of those that ``select`` (by default :func:`newest`) leaves, in its
    order.

    The result is that of pandas on the whole table at a fraction of its time and memory: only rows
    whose keys stand in several acts or files come to pandas.
    """
    key = row_numbers(rows, KEYS[table])
    distinct = row_numbers(rows, [*KEYS[table], *AXES[table]])
    is_doubtful = np.zeros(int(key.max(initial=-1)) + 1, dtype=bool)
    is_doubtful[key[pd.Series(distinct).duplicated()]] = True
    for column in (
        rows["written_at"].cast(pa.int64()).fill_null(-1).to_numpy(),
        _failed_rows(rows, table),
    ):
        one = np.empty(len(is_doubtful), dtype=column.dtype)
        one[key] = column
        is_doubtful[key[one[key] != column]] = True
    is_doubtful[key[rows["written_at"].is_null().to_numpy()]] = True
    to_decide = is_doubtful[key]
    counting = np.flatnonzero(~to_decide)
    if to_decide.any():
        positions = np.flatnonzero(to_decide)
        columns = [name for name in rows.column_names if name in deciding(table)]
        doubtful = decoded(rows.select(columns).take(positions)).to_pandas()
        left = (select or newest)(doubtful, table).index.to_numpy()
        counting = np.sort(np.concatenate([counting, positions[left]]))
    ordered = key[counting]
    is_sorted = (ordered[1:] >= ordered[:-1]).all()
    return counting if is_sorted else counting[np.argsort(ordered, kind="stable")]


def row_numbers(rows: pa.Table, columns: Collection[str]) -> Positions:
    """A number for each row, equal where all of ``columns`` are equal, and in their order (missing
    values last)."""
    numbers, size = np.zeros(len(rows), dtype=np.int64), 1
    for name in columns:
        column = rows[name]
        if column.null_count == len(column):
            continue
        ranks, rank_count = _ranks(column)
        if size * rank_count > MAX_NUMBERS_PER_ROW * len(rows):
            numbers, size = _dense(numbers)
        numbers, size = numbers * rank_count + ranks, size * rank_count
    return numbers if size <= MAX_NUMBERS_PER_ROW * len(rows) else _dense(numbers)[0]


def newest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """``frame`` without the rows that another act replaced: all rows of the newest act stay, and no
    failure replaces a success.

    A :class:`ConflictingRows` warns of replaced rows with other numbers.
    """
    frame = _without_repaired_failures(frame, table)
    latest = _latest(frame, table)
    if len(latest) < len(frame) and table in COMPARED:
        _warn_of_conflicts(frame, table)
    return _without_copies(latest, table)


def newest_silently(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """The rows of :func:`newest`, without its warnings."""
    return _without_copies(_latest(_without_repaired_failures(frame, table), table), table)


def _warn_of_conflicts(frame: pd.DataFrame, table: TableName) -> None:
    compared = [name for name in COMPARED[table] if name in frame]
    values = frame.groupby([*KEYS[table], *AXES[table]], dropna=False)[compared].nunique()
    for key in values[(values > 1).any(axis=1)].index:
        parts = key if isinstance(key, tuple) else (key,)
        name = " ".join(str(part) for part in parts if not pd.isna(part))
        warn(f"{table}: {name}: stored with different numbers, the newest count", ConflictingRows)


def _has_failed(column: pd.Series[str], table: TableName) -> pd.Series[bool]:
    """Which rows say, in the table's outcome column, that an act failed."""
    return column.eq("failed") if table == "trials" else column.notna()


def _failed_rows(rows: pa.Table, table: TableName) -> npt.NDArray[np.bool_]:
    """Which rows say that an act failed."""
    if table not in OUTCOME_COLUMNS:
        return np.zeros(len(rows), dtype=bool)
    column = decoded(rows.select([OUTCOME_COLUMNS[table]]))[OUTCOME_COLUMNS[table]]
    return _has_failed(column.to_pandas(), table).to_numpy(dtype=bool)


def _dense(numbers: Positions) -> tuple[Positions, int]:
    """``numbers`` as ranks, and how many of them differ."""
    ranks, values = pd.factorize(numbers, sort=True)
    return ranks, len(values)


def _ranks(column: pa.ChunkedArray) -> tuple[Positions, int]:
    """The rank of each value among those of the column, missing values last, and how many ranks
    there may be."""
    if pa.types.is_string(column.type):
        column = column.dictionary_encode()
    if not pa.types.is_dictionary(column.type):
        ranks, values = pd.factorize(column.to_pandas(), sort=True)
        return np.where(ranks < 0, len(values), ranks), len(values) + 1
    chunks = column.unify_dictionaries().chunks
    order = pc.sort_indices(chunks[0].dictionary).to_numpy()
    ranks = np.empty(len(order) + 1, dtype=np.int64)
    ranks[order], ranks[-1] = np.arange(len(order)), len(order)
    indices = pa.chunked_array([chunk.indices for chunk in chunks]).fill_null(len(order))
    return ranks[indices.to_numpy()], len(order) + 1


def _latest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """The rows of the newest act of each key."""
    latest = frame.groupby(list(KEYS[table]), dropna=False)["written_at"].transform("max")
    return frame[frame["written_at"] == latest]


def _without_copies(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """``frame`` by key, each row once."""
    keys = list(KEYS[table])
    return frame.drop_duplicates([*keys, *AXES[table]]).sort_values(keys, kind="stable")


def _without_repaired_failures(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """``frame`` without the failures of what another act did successfully."""
    if table not in OUTCOME_COLUMNS:
        return frame
    failed = _has_failed(frame[OUTCOME_COLUMNS[table]], table)
    if not failed.any():
        return frame
    always_failed = failed.groupby([frame[key] for key in KEYS[table]], dropna=False)
    return frame[failed == always_failed.transform("min")]
