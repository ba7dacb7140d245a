"""The four tables of a results folder in pandas, whatever happened to some of their files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

from kdray.core import InputError
from kdray.results.checks import with_transfers
from kdray.results.files.arrow_schema import arrow_schema
from kdray.results.files.dictionary_encoding import decoded, in_pandas
from kdray.results.files.newest import counting_positions, deciding
from kdray.results.files.read import Parts, read_parts
from kdray.results.files.store import Store
from kdray.results.filters import Where, check_columns, check_types, checked, holding, matching
from kdray.results.naming import named_numbers
from kdray.results.points.identity import IDENTIFYING, with_point_ids
from kdray.results.points.wilson import with_intervals
from kdray.results.record import NO_LABELS, disagree, sweep_labels, with_labels, with_labels_of
from kdray.results.schema import KEYS, NOT_NEEDED, NUMBER_AXES, TableName

INTERVAL = ("low", "high")
"""Columns of robustness that no file has."""
LABELLED = ("trial_id", "evaluation_id", "label", "epoch")
"""Columns of robustness from which the label of a row in a sweep follows."""
NUMBERS = ("trial_id", "evaluation_id", "label", "evaluation", "metric", "value", "error", "checks")


class Tables:
    """A results folder as pandas tables. Locations may be local or URIs (``s3://…``).

    Read afresh by every call; :meth:`snapshot` reads once, for many questions.

    Accuracies are fractions, times are seconds, noise and attacks are in pixel units of images in
    [0, 1]; the units of all columns stand in ``kdray.results.TABLES``, in the files and in
    ``schema.json`` beside them. What was not measured is NaN. Files that cannot be read are left
    out with a :class:`DamagedFile`. :class:`kdray.InputError` (one line) for a file of a newer
    schema, an unknown column or metric, and for whatever else cannot be answered as asked.

    ``columns`` and ``where`` are those of :func:`pandas.read_parquet` (``columns=``, ``filters=``):
    only these columns and what decides between duplicates are read from Parquet, and of the keys
    also only the rows that are wanted. The rows are the same as filtering the whole table
    afterwards.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.store = Store(location)
        self._kept: dict[str, pd.DataFrame] | None = None

    def snapshot(self) -> Self:
        """The same results, each table read once when it is first needed: for many questions about
        a folder that rests."""
        kept = type(self)(self.store.location)
        kept._kept = {}
        return kept

    def members(
        self, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """Which trials belong to which sweep: a row per sweep, role, point and trial.

        ``swept`` is JSON, swept path to value; ``outcome`` is completed, pruned, failed or not
        needed. ``point_id`` is the same of all seeds of a point, and of no other experiment.
        """
        return self._frame("members", columns, checked(where))

    def trials(
        self, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """Every trial that has ended, in any sweep: a row each, with its configuration in columns
        named by dotted path.

        >>> results.trials(["trial_id", "method.name", "test_accuracy"], [("status", "==",
        "completed"), ("seed", "<", 3)])
        """
        return self._frame("trials", columns, checked(where))

    def epochs(
        self, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """Every epoch of every finished trial: a row each, by ``trial_id``, ``stage`` (the last
        one, "main", after all others) and ``epoch`` (from 1)."""
        rows = self._frame("epochs", columns, checked(where))
        if not {"trial_id", "stage"} <= set(rows):
            return rows
        order = rows.assign(stage=rows["stage"].eq("main"))[["trial_id", "stage"]]
        return rows.loc[order.sort_values([*order], kind="stable").index].reset_index(drop=True)

    def robustness(
        self,
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        sweep: str | None = None,
    ) -> pd.DataFrame:
        """Every number of every evaluation of every trial: a row each; of one ``sweep``, its trials
        under the labels that it gives evaluations.

        In ``checks`` stand the reasons to distrust a number, also that a transferred attack beats
        the model's own.

        Where a row has ``correct``, ``low`` and ``high`` are its 95 % Wilson score interval, and
        NaN elsewhere. It takes the images for a sample of all that could have been tested, and says
        nothing of other training seeds. Where ``examples`` counts several predictions of one image
        (means over severities, repeats), which are not independent, it is too narrow. The interval
        and the comparison of attacks are computed where their columns are asked for.
        """
        conditions = checked(where)
        if sweep is None:
            return self._frame("robustness", columns, conditions)
        asked = None
        if columns is not None:
            asked = [*columns, *LABELLED, *(c[0] for c in conditions)]
        rows = self._frame("robustness", asked, [c for c in conditions if c[0] != "label"])
        rows = rows[rows["trial_id"].isin(self._parts(sweep)["trial_id"])]
        rows = with_labels_of(rows, sweep_labels(self.store).get(sweep, NO_LABELS))
        found = matching(rows, [c for c in conditions if c[0] == "label"]).reset_index(drop=True)
        return found if columns is None else found[list(dict.fromkeys(columns))]

    def frame(self, sweep: str | None = None) -> pd.DataFrame:
        """``trials`` with a column for every number in ``robustness``: ``pgd20.accuracy``,
        ``noise.accuracy[sigma=0.1]``.

        Named by label and metric, and in brackets by the axes in which the numbers with that name
        differ. These columns and the accuracies, sizes and times of trials are the *metrics* of the
        other methods. Numbers taken during training are in :meth:`robustness` only, a row for each
        epoch.

        Of one ``sweep``: its trials, a row for each ``role`` that one has in it, and numbers under
        the labels that it gives evaluations; what else was measured of its trials has a part of the
        evaluation's id in its name where the sweep means another by its label. Of all, a number
        that several sweeps call otherwise has a column for each name.
        """
        frame = self.measured_trials(sweep)
        if sweep is None:
            return frame
        roles = frame.drop(columns="role").merge(self._parts(sweep), on="trial_id")
        return roles[list(frame)]

    def measured_trials(self, sweep: str | None = None) -> pd.DataFrame:
        """:meth:`frame` with one row for each trial, in whatever roles; ``role`` is that in which
        any sweep first asked for it."""

        def made() -> pd.DataFrame:
            trials = self.trials()
            if sweep is not None:
                trials = trials[trials["trial_id"].isin(self._parts(sweep)["trial_id"])]
            return _wide(trials.reset_index(drop=True), self.numbers(sweep))

        return self._remembered(f"frame of {sweep}" if sweep is not None else "frame", made)

    def numbers(self, sweep: str | None = None) -> pd.DataFrame:
        """The rows of :meth:`robustness` behind the columns of :meth:`frame`, with the column that
        each is in (``column``); of one ``sweep`` they keep their index."""
        name = f"numbers of {sweep}" if sweep is not None else "numbers"
        return self._remembered(name, lambda: self._named(sweep))

    def table(self, table: TableName, columns: Collection[str] | None = None) -> pa.Table:
        """A table as stored in its readable files, duplicates included; of ``columns`` those that
        exist."""
        return decoded(read_parts(self.store, table, columns).rows)

    def _frame(self, table: TableName, columns: Sequence[str] | None, where: Where) -> pd.DataFrame:
        if self._kept is not None:
            frame = self._remembered(table, lambda: self._read(table, None, ()))
        else:
            frame = self._read(table, columns, where)
        check_columns(columns or (), frame.columns)
        found = matching(frame, where).reset_index(drop=True)
        return found if columns is None else found[list(dict.fromkeys(columns))]

    def _remembered(self, name: str, made: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """What ``made`` gives; a snapshot makes it once."""
        if self._kept is None:
            return made()
        if name not in self._kept:
            self._kept[name] = made()
        return self._kept[name].copy(deep=False)

    def _named(self, sweep: str | None) -> pd.DataFrame:
        """See :meth:`numbers`."""
        rows = self.robustness([*NUMBERS, *NUMBER_AXES], sweep=sweep)
        labels = sweep_labels(self.store)
        if sweep is None and disagree(rows, labels):
            rows = with_labels(rows, self.members(["sweep", "trial_id"]), labels)
        return named_numbers(rows)

    def _parts(self, sweep: str) -> pd.DataFrame:
        """The ``trial_id`` of each trial of ``sweep`` with each ``role`` that it has in it;
        :class:`InputError` if there is no such sweep."""
        members = self.members(["sweep", "trial_id", "role", "outcome"])
        if sweep not in set(members["sweep"]):
            names = ", ".join(sorted(members["sweep"].unique())) or "none"
            raise InputError(f"{self.store.place}: no sweep {sweep!r} (there are: {names})")
        members = members[members["sweep"].eq(sweep) & members["outcome"].ne(NOT_NEEDED)]
        return members[["trial_id", "role"]].dropna().drop_duplicates()

    def _read(
        self, table: TableName, columns: Collection[str] | None, where: Where
    ) -> pd.DataFrame:
        """The rows that count; ``columns`` None for all. Where that gives the same rows, only those
        of ``where``."""
        asked = None if columns is None else {*columns, *(name for name, _, _ in where)}
        compares = table == "robustness" and (asked is None or "checks" in asked)
        # All rows with one key share their fate, so a condition on keys may be applied before it is
        # known. A transferred attack on a trial is compared with the trial's other attacks.
        keys = ("trial_id",) if compares else KEYS[table]
        early = [condition for condition in where if condition[0] in keys]
        check_types(arrow_schema(table, {}), early)
        parts = read_parts(self.store, table, _needed(table, asked, compares), early)
        existing = sorted(parts.names - {"written_at"})
        existing += INTERVAL if table == "robustness" else ()
        check_columns([name for name, _, _ in where], existing, "where")
        check_columns(columns or (), existing)
        frame = self._counting(parts, table, asked, where, compares)
        if table == "robustness" and (asked is None or asked & set(INTERVAL)):
            frame = with_intervals(frame)
        if table == "members" and (asked is None or "point_id" in asked):
            frame = with_point_ids(frame, lambda: self.trials(["trial_id", "experiment"]))
        return frame

    def _counting(
        self, parts: Parts, table: TableName, asked: set[str] | None, where: Where, compares: bool
    ) -> pd.DataFrame:
        """The rows of ``parts`` that count, with the columns that are ``asked`` for."""
        rows = parts.rows.drop_columns("written_at")
        positions = counting_positions(parts.rows, table)
        if compares and rows["source_trial_id"].null_count < len(rows):
            return with_transfers(in_pandas(rows, positions))
        wanted = holding(rows, where)
        if wanted is not None:
            positions = positions[np.isin(positions, wanted)]
        if asked is not None:
            kept = asked | {"correct", "examples"} | (IDENTIFYING if "point_id" in asked else set())
            rows = rows.select([name for name in rows.column_names if name in kept])
        return in_pandas(rows, positions)


def _needed(table: TableName, asked: set[str] | None, compares: bool) -> set[str] | None:
    """The columns that are read for those that are ``asked`` for."""
    if asked is None:
        return None
    needed = asked | deciding(table)
    if compares:
        needed |= {"evaluation", "evaluation_parameters", "checks"}
    if asked & set(INTERVAL):
        needed |= {"correct", "examples"}
    return needed


def _wide(trials: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with a column for every name in ``numbers``."""
    if numbers.empty:
        return trials
    wide = numbers.pivot_table(
        index="trial_id", columns="column", values="value", sort=False, aggfunc="last"
    )
    return trials.merge(
        wide, how="left", left_on="trial_id", right_index=True, validate="one_to_one"
    )
