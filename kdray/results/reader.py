"""Reading the tables into pandas, whatever happened to some of their files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kdray.core import InputError
from kdray.results.checks import with_transfers
from kdray.results.intervals import with_intervals
from kdray.results.schema import KEYS, SCHEMA_VERSION, TableName, arrow_schema, columns_digest
from kdray.results.store import Store

VARYING = ("split", "dataset", "examples", "norm", "epsilon", "step_size", "steps", "restarts", "samples", "sigma",
           "corruption", "severity", "snr", "peak", "side", "class", "image", "layer", "epoch", "source_trial_id")  # fmt: skip
"""Columns of the robustness table that tell the numbers with one label apart."""


class DamagedFile(UserWarning):
    """A file of the results cannot be read; it was left out."""


class ConflictingRows(UserWarning):
    """Two files hold different numbers for the same thing; the newer one was taken."""


class Results:
    """A results folder, read afresh by every call. Locations may be local or URIs (``s3://…``)."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.store = Store(location)

    def members(self) -> pd.DataFrame:
        """Which trials belong to which sweep: a row per sweep, point and trial."""
        return self._frame("members")

    def trials(self) -> pd.DataFrame:
        """Every trial: a row each, with its configuration in columns named by dotted path."""
        return self._frame("trials")

    def epochs(self) -> pd.DataFrame:
        """Every epoch of every finished trial."""
        return self._frame("epochs")

    def robustness(self) -> pd.DataFrame:
        """Every number of every evaluation of every trial.

        In ``checks`` stand the reasons to distrust a number, also that a transferred attack beats the model's own.

        Where a row has ``correct``, ``low`` and ``high`` are its 95 % Wilson score interval, and NaN elsewhere. It takes the
        images for a sample of all that could have been tested, and says nothing of other training seeds. Where ``examples``
        counts several predictions of one image (means over severities, repeats), which are not independent, it is too narrow.
        """
        return with_intervals(with_transfers(self._frame("robustness")))

    def frame(self) -> pd.DataFrame:
        """``trials`` with a column for every number in ``robustness``: ``pgd20.accuracy``, ``noise.accuracy[sigma=0.1]``.

        Numbers taken during training are in :meth:`robustness` only, a row for each epoch.
        """
        trials = self.trials()
        numbers = self.robustness()
        numbers = numbers[numbers["error"].isna() & numbers["epoch"].isna()]
        if numbers.empty:
            return trials
        wide = numbers.assign(column=column_names(numbers)).pivot_table(
            index="trial_id", columns="column", values="value", sort=False, aggfunc="last"
        )
        return trials.merge(wide, how="left", left_on="trial_id", right_index=True, validate="one_to_one")

    def table(self, table: TableName) -> pa.Table:
        """A table as stored in its readable files, duplicates included."""
        names = self.store.names(table, ".parquet")
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(partial(_read, self.store), names))
        for problem in (part for part in read if isinstance(part, str)):
            warnings.warn(problem, DamagedFile, stacklevel=4)
        parts = [part for part in read if isinstance(part, pa.Table)]
        # The columns of today, which every file may have been written before.
        return _joined([arrow_schema(table, {}).empty_table(), *parts])

    def _frame(self, table: TableName) -> pd.DataFrame:
        frame: pd.DataFrame = self.table(table).to_pandas()
        return _newest(frame, table).drop(columns="written_at").reset_index(drop=True)


def open_results(location: str | os.PathLike[str]) -> Results:
    """The results in a folder; :class:`InputError` if there are none, or they are of a newer schema."""
    results = Results(location)
    if not results.store.exists("schema.json"):
        raise InputError(f"{results.store.place}: no results here (no schema.json)")
    results.store.check_version()
    return results


def has_completed(store: Store, trial_id: str) -> bool:
    """Whether the trial's own file says that it completed: nothing may replace such a row."""
    part = _read(store, f"trials/{trial_id}.parquet")
    return isinstance(part, pa.Table) and "completed" in part.column("status").to_pylist()


def column_names(numbers: pd.DataFrame) -> pd.Series[str]:
    """A name for each row of a robustness table: label.metric, and in brackets whatever else tells its numbers apart."""
    names = numbers["label"] + "." + numbers["metric"]
    grouped = numbers.groupby(names)
    for column in VARYING:
        # In one trial always, and over the trials where a label came to mean several things.
        differs = grouped[column].transform("nunique", dropna=False) > 1
        if column == "examples":  # of one evaluation they differ with the data, not in meaning
            differs &= grouped["evaluation_id"].transform("nunique") > 1
        stated = numbers[column].map(
            lambda value, c=column: f"{c}={value:g}" if isinstance(value, float) else f"{c}={value}"
        )
        names = names.where(~differs | numbers[column].isna(), names + "|" + stated)
    # What is left are evaluations that differ in something without a column (their seed): their identity tells.
    unlike = numbers.groupby(names)["evaluation_id"].transform("nunique") > 1
    names = names.where(~unlike, names + "|" + numbers["evaluation_id"])
    return names.map(_bracketed)


def _bracketed(name: str) -> str:
    start, *stated = name.split("|")
    return f"{start}[{','.join(stated)}]" if stated else start


def _read(store: Store, name: str) -> pa.Table | str | None:
    """The rows of one file, or what is wrong with it; none if it is gone."""
    try:
        data = store.read(name)
    except FileNotFoundError:
        return None  # taken away between listing and reading: its rows stand in a newer file
    except OSError as error:
        if store.folder is None:
            raise  # not damaged, but out of reach: nothing may be computed again for that
        return _left_out(store, name, error)
    try:
        part = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        part.validate(full=True)
        metadata = part.schema.metadata or {}
        if metadata.get(b"kdray_columns", digest := columns_digest(part.schema)) != digest:  # older files have none
            raise ValueError("its columns are not those that were written")
        version = int(metadata.get(b"kdray_schema", b"1"))
    except (pa.ArrowException, OSError, ValueError) as error:
        return _left_out(store, name, error)
    if version > SCHEMA_VERSION:
        raise InputError(f"{store.place}/{name}: of schema {version}, this kdray reads up to {SCHEMA_VERSION}")
    return part


def _left_out(store: Store, name: str, error: Exception) -> str:
    return f"{store.place}/{name}: damaged, left out ({str(error).splitlines()[0]})"


def _joined(parts: list[pa.Table]) -> pa.Table:
    """The rows of all ``parts``. A file from before a column was added lacks it; its rows have null there."""
    try:
        return pa.concat_tables(parts, promote_options="default")
    except pa.ArrowTypeError:
        # A configuration column widens when a new component shares its path: int to float, anything to text (JSON).
        text = {field.name for part in parts for field in part.schema if field.type == pa.string()}
        wide = [
            part.cast(pa.schema([f.with_type(pa.string()) if f.name in text else f for f in part.schema]))
            for part in parts
        ]
        return pa.concat_tables(wide, promote_options="permissive")


def _newest(frame: pd.DataFrame, table: TableName) -> pd.DataFrame:
    """Without rows that another act replaced: all rows of the newest act stay, but no failure replaces what succeeded."""
    keys = list(KEYS[table])
    if table in FAILED:
        failed = FAILED[table](frame)
        frame = frame[failed == failed.groupby([frame[key] for key in keys], dropna=False).transform("min")]
    latest = frame.groupby(keys, dropna=False)["written_at"].transform("max")
    kept = frame[frame["written_at"] == latest]
    if len(kept) < len(frame) and table in NUMBERS:
        told_apart = [*keys, *_within(table)]
        values = frame.groupby(told_apart, dropna=False)[NUMBERS[table]].nunique()
        for key in values[(values > 1).any(axis=1)].index:
            named = " ".join(str(part) for part in (key if isinstance(key, tuple) else (key,)) if not pd.isna(part))
            warnings.warn(
                f"{table}: {named}: stored with different numbers, the newest count", ConflictingRows, stacklevel=4
            )
    return kept.drop_duplicates([*keys, *_within(table)]).sort_values(keys, kind="stable")


FAILED: dict[TableName, Callable[[pd.DataFrame], pd.Series[bool]]] = {
    "trials": lambda frame: frame["status"] == "failed",
    "robustness": lambda frame: frame["error"].notna(),
}
NUMBERS: dict[TableName, list[str]] = {"trials": ["val_accuracy", "test_accuracy"], "robustness": ["value"]}
"""What two files about the same thing must agree in."""


def _within(table: TableName) -> list[str]:
    """What tells rows of one act apart, so that the same file copied under two names counts once."""
    return ["metric", *VARYING] if table == "robustness" else []
