"""Taking trials out of a results folder, as if they had never been there."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdray.results.files.parquet_bytes import parquet_bytes
from kdray.results.files.store import Store
from kdray.results.schema import TABLES

FOLDERS = {"weights": ".safetensors", "checkpoints": ".safetensors", "logs": ".log"}
OWNERS = ("trial_id", "source_trial_id")
"""Columns that say whose a row is: also what was measured with images made on a trial is that
trial's."""


def forget(store: Store, trial_ids: Collection[str]) -> dict[str, int]:
    """Delete every row, weights, checkpoints and logs of ``trial_ids``; return how many rows of
    each table and how many files that were.

    A file that also holds rows of others is written anew without these, whole or not at all. One
    that cannot be read stays. Students that learned from a forgotten teacher stay too.
    """
    deleted: dict[str, int] = {}
    for table in TABLES:
        deleted[table] = sum(
            _delete_rows(store, name, trial_ids) for name in store.names(table, ".parquet")
        )
    for folder, suffix in FOLDERS.items():
        theirs = {f"{folder}/{trial_id}{suffix}" for trial_id in trial_ids}
        names = [name for name in store.names(folder, suffix) if name in theirs]
        for name in names:
            store.delete(name)
        deleted[folder] = len(names)
    return deleted


def _delete_rows(store: Store, name: str, trial_ids: Collection[str]) -> int:
    """Delete the rows of ``trial_ids`` from a file; return how many there were."""
    try:
        rows = pq.read_table(pa.BufferReader(store.read(name)))
    except (pa.ArrowException, OSError):
        return 0
    theirs = pa.array([False] * len(rows))
    for owner in OWNERS:
        if owner in rows.column_names:
            theirs = pc.or_(
                theirs,
                pc.fill_null(pc.is_in(rows[owner], pa.array(list(trial_ids), pa.string())), False),
            )
    count = int(pc.sum(theirs).as_py() or 0)
    if count == len(rows):
        store.delete(name)
    elif count:
        store.write(name, parquet_bytes(rows.filter(pc.invert(theirs))))
    return count
