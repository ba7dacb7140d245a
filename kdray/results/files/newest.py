"""Of several rows about the same thing, the ones that count."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdray.results.files.dictionary_encoding import Positions, plain
from kdray.results.files.warn import ConflictingRows, warn
from kdray.results.schema import KEYS, TableName

VARYING = (
    "split",
    "dataset",
    "examples",
    "norm",
    "epsilon",
    "step_size",
    "steps",
    "restarts",
    "samples",
    "sigma",
    "corruption",
    "severity",
    "snr",
    "peak",
    "side",
    "class",
    "image",
    "layer",
    "epoch",
    "source_trial_id",
)
"""Columns of the robustness table that tell the numbers with one label apart."""

FAILED: dict[TableName, tuple[str, Callable[[pd.Series[str]], pd.Series[bool]]]] = {
    "trials": ("status", lambda status: status == "failed"),
    "robustness": ("error", lambda error: error.notna()),
}
"""By which column an act failed."""
NUMBERS: dict[TableName, list[str]] = {
    "trials": ["val_accuracy", "test_accuracy"],
    "robustness": ["value"],
}
"""What two files about the same thing must agree in."""


Decided = Callable[[pd.DataFrame, TableName], pd.DataFrame]

SPARSE = 4
"""So many numbers there may be for a row before they are counted through."""


def within(table: TableName) -> list[str]:
    """What tells rows of one act apart, so that the same file copied under two names counts
    once."""
    return ["metric", *VARYING] if table == "robustness" else []


def deciding(table: TableName) -> set[str]:
    """The columns by which :func:`newest` decides."""
    failed = {FAILED[table][0]} if table in FAILED else set()
    return {*KEYS[table], "written_at", *within(table), *failed, *NUMBERS.get(table, ())}


def standing(rows: pa.Table, table: TableName, decided: Decided | None = None) -> Positions:
    """Where in ``rows`` those are that ``decided`` (by default :func:`newest`) leaves, and in its
    order.

    The same at a fraction of its time and memory: only the rows of keys that several acts or files
    speak of come to pandas.
    """
    key = numbered(rows, KEYS[table])
    apart = numbered(rows, [*KEYS[table], *within(table)])
    doubtful = np.zeros(int(key.max(initial=-1)) + 1, dtype=bool)
    doubtful[key[pd.Series(apart).duplicated()]] = True
    for column in (
        rows["written_at"].cast(pa.int64()).fill_null(-1).to_numpy(),
        _failed(rows, table),
    ):
        one = np.empty(len(doubtful), dtype=column.dtype)
        one[key] = column
        doubtful[key[one[key] != column]] = True
    unwritten = rows["written_at"].is_null().to_numpy()
    doubtful[key[unwritten]] = True
    asked = doubtful[key]
    found = np.flatnonzero(~asked)
    if asked.any():
        positions = np.flatnonzero(asked)
        spoken_of = plain(
            rows.select([name for name in rows.column_names if name in deciding(table)]).take(
                positions
            )
        )
        left = (decided or newest)(spoken_of.to_pandas(), table).index.to_numpy()
        found = np.sort(np.concatenate([found, positions[left]]))
    ordered = key[found]
    return (
        found if (ordered[1:] >= ordered[:-1]).all() else found[np.argsort(ordered, kind="stable")]
    )


def numbered(rows: pa.Table, names: Collection[str]) -> Positions:
    """A number for each row, the same where ``names`` have the same values, in their order (missing
    last); none is large."""
    numbers, size = np.zeros(len(rows), dtype=np.int64), 1
    for name in names:
        column = rows[name]
        if column.null_count == len(column):
            continue
        own, many = _ranks(column)
        if size * many > SPARSE * len(rows):
            numbers, size = _dense(numbers)
        numbers, size = numbers * many + own, size * many
    return numbers if size <= SPARSE * len(rows) else _dense(numbers)[0]


def _failed(rows: pa.Table, table: TableName) -> npt.NDArray[np.bool_]:
    """Which rows say that an act failed."""
    if table not in FAILED:
        return np.zeros(len(rows), dtype=bool)
    column, has_failed = FAILED[table]
    return has_failed(plain(rows.select([column]))[column].to_pandas()).to_numpy(dtype=bool)


def _dense(numbers: Positions) -> tuple[Positions, int]:
    ranks, values = pd.factorize(numbers, sort=True)
    return ranks, len(values)


def _ranks(column: pa.ChunkedArray) -> tuple[Positions, int]:
    """The rank of each value among those of the column, what is missing last, and how many ranks
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


def newest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """Without rows that another act replaced: all rows of the newest act stay, but no failure
    replaces what succeeded.

    What they replace with other numbers is told with a :class:`ConflictingRows`.
    """
    frame = _succeeded(frame, table)
    latest = _latest(frame, table)
    if len(latest) < len(frame) and table in NUMBERS:
        values = frame.groupby([*KEYS[table], *within(table)], dropna=False)[
            NUMBERS[table]
        ].nunique()
        for key in values[(values > 1).any(axis=1)].index:
            named = " ".join(
                str(part)
                for part in (key if isinstance(key, tuple) else (key,))
                if not pd.isna(part)
            )
            warn(
                f"{table}: {named}: stored with different numbers, the newest count",
                ConflictingRows,
            )
    return _once(latest, table)


def untold(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """The same, and nothing is told."""
    return _once(_latest(_succeeded(frame, table), table), table)


def _latest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """The rows of the newest act of each key."""
    latest = frame.groupby(list(KEYS[table]), dropna=False)["written_at"].transform("max")
    return frame[frame["written_at"] == latest]


def _once(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """Without copies, by key."""
    keys = list(KEYS[table])
    return frame.drop_duplicates([*keys, *within(table)]).sort_values(keys, kind="stable")


def _succeeded(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """Without the failures of what also succeeded."""
    if table not in FAILED:
        return frame
    column, has_failed = FAILED[table]
    failed = has_failed(frame[column])
    if not failed.any():
        return frame
    return frame[
        failed == failed.groupby([frame[key] for key in KEYS[table]], dropna=False).transform("min")
    ]
