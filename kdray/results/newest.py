"""Of several rows about the same thing, the ones that count."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from kdray.results.schema import KEYS, TableName
from kdray.results.warn import ConflictingRows, warn

VARYING = ("split", "dataset", "examples", "norm", "epsilon", "step_size", "steps", "restarts", "samples", "sigma",
           "corruption", "severity", "snr", "peak", "side", "class", "image", "layer", "epoch", "source_trial_id")  # fmt: skip
"""Columns of the robustness table that tell the numbers with one label apart."""

FAILED: dict[TableName, tuple[str, Callable[[pd.Series[str]], pd.Series[bool]]]] = {
    "trials": ("status", lambda status: status == "failed"),
    "robustness": ("error", lambda error: error.notna()),
}
"""By which column an act failed."""
NUMBERS: dict[TableName, list[str]] = {"trials": ["val_accuracy", "test_accuracy"], "robustness": ["value"]}
"""What two files about the same thing must agree in."""


def within(table: TableName) -> list[str]:
    """What tells rows of one act apart, so that the same file copied under two names counts once."""
    return ["metric", *VARYING] if table == "robustness" else []


def deciding(table: TableName) -> set[str]:
    """The columns by which :func:`newest` decides."""
    failed = {FAILED[table][0]} if table in FAILED else set()
    return {*KEYS[table], "written_at", *within(table), *failed, *NUMBERS.get(table, ())}


def newest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """Without rows that another act replaced: all rows of the newest act stay, but no failure replaces what succeeded."""
    keys = list(KEYS[table])
    if table in FAILED:
        column, has_failed = FAILED[table]
        failed = has_failed(frame[column])
        if failed.any():
            frame = frame[failed == failed.groupby([frame[key] for key in keys], dropna=False).transform("min")]
    latest = frame.groupby(keys, dropna=False)["written_at"].transform("max")
    kept = frame[frame["written_at"] == latest]
    if len(kept) < len(frame) and table in NUMBERS:
        told_apart = [*keys, *within(table)]
        values = frame.groupby(told_apart, dropna=False)[NUMBERS[table]].nunique()
        for key in values[(values > 1).any(axis=1)].index:
            named = " ".join(str(part) for part in (key if isinstance(key, tuple) else (key,)) if not pd.isna(part))
            warn(f"{table}: {named}: stored with different numbers, the newest count", ConflictingRows)
    return kept.drop_duplicates([*keys, *within(table)]).sort_values(keys, kind="stable")
