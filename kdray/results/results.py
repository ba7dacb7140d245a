"""Reading the tables into pandas, whatever happened to some of their files, and asking them
questions."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from kdray.core import InputError
from kdray.results.checks import with_transfers
from kdray.results.files.dictionary_encoding import in_pandas, plain
from kdray.results.files.newest import VARYING, deciding, standing
from kdray.results.files.read import COMPACTED, Part, read_part, read_parts
from kdray.results.files.store import Store
from kdray.results.files.warn import ConflictingRows, DamagedFile, SelectedOnTest
from kdray.results.filters import Where, check_columns, check_types, checked, holding, matching
from kdray.results.naming import named_numbers
from kdray.results.points.intervals import with_intervals
from kdray.results.schema import KEYS, TableName, arrow_schema

__all__ = [
    "VARYING",
    "ConflictingRows",
    "DamagedFile",
    "Results",
    "SelectedOnTest",
    "has_completed",
    "open_results",
]

INTERVAL = ("low", "high")
"""Columns of robustness that no file has."""


class Results:
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

    def snapshot(self) -> Results:
        """The same results, each table read once when it is first needed: for many questions about
        a folder that rests."""
        kept = Results(self.store.location)
        kept._kept = {}
        return kept

    def members(
        self, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """Which trials belong to which sweep: a row per sweep, role, point and trial.

        ``parameters`` is JSON, swept path to value; ``outcome`` is completed, pruned, failed or not
        needed.
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
        """Every epoch of every finished trial: a row each, by ``trial_id``, ``stage`` and ``epoch``
        (from 1)."""
        return self._frame("epochs", columns, checked(where))

    def robustness(
        self, columns: Sequence[str] | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """Every number of every evaluation of every trial: a row each.

        In ``checks`` stand the reasons to distrust a number, also that a transferred attack beats
        the model's own.

        Where a row has ``correct``, ``low`` and ``high`` are its 95 % Wilson score interval, and
        NaN elsewhere. It takes the images for a sample of all that could have been tested, and says
        nothing of other training seeds. Where ``examples`` counts several predictions of one image
        (means over severities, repeats), which are not independent, it is too narrow. The interval
        and the comparison of attacks are computed where their columns are asked for.
        """
        return self._frame("robustness", columns, checked(where))

    def frame(self) -> pd.DataFrame:
        """``trials`` with a column for every number in ``robustness``: ``pgd20.accuracy``,
        ``noise.accuracy[sigma=0.1]``.

        Named by label and metric, and in brackets by whatever tells the numbers with that name
        apart. These columns and the accuracies, sizes and times of trials are the *metrics* of the
        other methods. Numbers taken during training are in
        :meth:`robustness` only, a row for each epoch.
        """
        return self._remembered("frame", self._wide)

    def numbers(self) -> pd.DataFrame:
        """The rows of :meth:`robustness` behind the columns of :meth:`frame`, with the column that
        each is in (``column``)."""
        needed = [
            "trial_id",
            "evaluation_id",
            "label",
            "evaluation",
            "metric",
            "value",
            "error",
            "checks",
            *VARYING,
        ]
        return self._remembered("numbers", lambda: named_numbers(self.robustness(needed)))

    def sweeps(self) -> list[str]:
        """The sweeps that have students, in the order in which they first wrote anything."""
        from kdray.results.points.replicates import sweeps

        return sweeps(self)

    def points(
        self, metric: str, *, sweep: str | None = None, where: Where | None = None
    ) -> pd.DataFrame:
        """What the seeds of every point gave: a row per sweep and point, in the sweep's order.

        ``metric`` is a column of :meth:`frame` with numbers; ``sweep`` is the name of one, or None
        for all; ``where`` filters the trials by configuration, metrics, ``case``, ``point`` or any
        other column of :meth:`frame`, before anything is averaged.

        Columns: ``sweep``, ``point`` (its number), ``case``, a column for each swept path, then
        ``n`` (completed seeds that have the metric), ``mean``, ``std`` (sample standard deviation,
        ddof 1), ``sem`` (std/√n), ``low`` and ``high`` (95 % t interval of the mean over training
        seeds: Student 1908), ``bootstrap_low`` and ``bootstrap_high`` (95 % percentile bootstrap,
        Efron 1979, always with the same draws; with few seeds it is too narrow). Of one seed all
        but n and mean are NaN, of seeds that all gave the same the intervals, of a point where no
        seed has the metric also the mean. Sweeps without the metric are left out.
        """
        from kdray.results.points.best import points

        return points(self, metric, sweep, checked(where))

    def best(
        self,
        metric: str,
        *,
        mode: Literal["max", "min"] = "max",
        sweep: str | None = None,
        where: Where | None = None,
        count: int = 1,
    ) -> pd.DataFrame:
        """The ``count`` rows of :meth:`points` with the best mean, the best first; ties in the
        sweep's order.

        Warns with :class:`SelectedOnTest` if the metric is of the test split.
        :class:`kdray.InputError` if the points are of different data.
        """
        from kdray.results.points.best import best

        return best(self, metric, mode, sweep, checked(where), count)

    def pareto(
        self,
        metrics: Sequence[str],
        modes: Sequence[Literal["max", "min"]] | None = None,
        *,
        sweep: str | None = None,
        where: Where | None = None,
    ) -> pd.DataFrame:
        """The points by what no other point is better than, in several metrics at once.

        Columns: those that say which point it is (:meth:`points`), ``n`` (seeds that have all the
        metrics), a column for each metric (mean over these seeds) and ``front``: 0 for the Pareto
        front, 1 for that of the others, and so on (non-dominated sorting, Deb et al. 2002).
        ``modes``: "max" or "min" for each; by default less is better of sizes, seconds, memory and
        losses, and more of all else. Points that lack a metric are left out. Points of different
        data: InputError.
        """
        from kdray.results.points.best import pareto

        return pareto(self, metrics, modes, sweep, checked(where))

    def compare(
        self,
        baseline: int | str | Mapping[str, Any],
        metric: str,
        *,
        sweep: str | None = None,
        where: Where | None = None,
    ) -> pd.DataFrame:
        """Every point of a sweep against a baseline: difference of means over seeds, interval,
        tests, effect size.

        ``baseline`` is the number of a point, the name of a case, or ``{path: value, …}``
        (``"case"`` and ``"point"`` count as paths). A case or mapping that several points fit gives
        each point the one of them that shares all its other swept values.

        A row per other point: the columns that say which it is, ``baseline`` (number of the point
        compared with), ``n`` and ``n_baseline`` (seeds compared), ``paired``, ``mean``,
        ``mean_baseline``, ``difference`` (mean of the point less that of the baseline, over the
        seeds compared), ``low`` and ``high`` (95 % t interval of it), ``t_p`` and ``wilcoxon_p``
        (two-sided), ``t_p_holm`` and ``wilcoxon_p_holm`` (the same, adjusted for the number of
        points compared: Holm 1979), ``effect_size``.

        Seeds are common random numbers, so points that share two seeds or more are compared seed by
        seed (``paired``: t test of the differences, Wilcoxon's signed ranks, d_z), unless the same
        teacher was chosen with another teacher seed for one of them. These and the rest are
        compared by Welch's t test, the rank sum (Mann and Whitney 1947) and d. Both effect sizes
        are in standard deviations, with Hedges' correction (1981) for few seeds.

        NaN: interval, p values and effect size of one seed; the effect size of two pairs, of which
        the correction leaves nothing; the t test and interval of differences that are all the same,
        but not 0 (where all are 0, p is 1); all numbers of a point that no baseline fits
        (``n_baseline`` 0).

        With two to four seeds few differences are significant: of n pairs Wilcoxon's smallest p is
        2^(1-n).
        :class:`kdray.InputError` if a point and its baseline are of different data, if no point or
        several fit, and where ``sweep`` is None but several sweeps have the point or case.
        """
        from kdray.results.points.compare import compare

        return compare(self, baseline, metric, sweep, checked(where))

    def importance(self, metric: str, *, sweep: str) -> pd.Series[float]:
        """How much of the variance of ``metric`` over the points of a sweep each swept path
        explains: shares that sum to 1.

        Functional ANOVA of a random forest (Hutter et al. 2014) by Optuna, with fixed draws, on the
        means over seeds; ``case`` counts as a path. Falling; empty for fewer than four points; 0
        for all where the metric is the same everywhere. Only paths that all points have and that
        differ are in it. It describes the points that were tried: a search that looked mostly at
        good ones sees less variance.
        """
        from kdray.results.points.importance import importance

        return importance(self, metric, sweep)

    def table(self, table: TableName, columns: Collection[str] | None = None) -> pa.Table:
        """A table as stored in its readable files, duplicates included; of ``columns`` those that
        there are."""
        return plain(read_parts(self.store, table, columns).rows)

    def _wide(self) -> pd.DataFrame:
        trials = self.trials()
        numbers = self.numbers()
        if numbers.empty:
            return trials
        wide = numbers.pivot_table(
            index="trial_id", columns="column", values="value", sort=False, aggfunc="last"
        )
        return trials.merge(
            wide, how="left", left_on="trial_id", right_index=True, validate="one_to_one"
        )

    def _frame(self, table: TableName, columns: Sequence[str] | None, where: Where) -> pd.DataFrame:
        if self._kept is not None:
            frame = self._remembered(table, lambda: self._read(table, None, ()))
        else:
            frame = self._read(table, columns, where)
        check_columns(columns or (), frame.columns)
        found = matching(frame, where).reset_index(drop=True)
        return found if columns is None else found[list(dict.fromkeys(columns))]

    def _remembered(self, name: str, made: Any) -> pd.DataFrame:
        if self._kept is None:
            frame: pd.DataFrame = made()
            return frame
        if name not in self._kept:
            self._kept[name] = made()
        return self._kept[name].copy(deep=False)

    def _read(
        self, table: TableName, columns: Collection[str] | None, where: Where
    ) -> pd.DataFrame:
        """The rows that count; ``columns`` None for all. Where that gives the same rows, only those
        of ``where``."""
        asked = None if columns is None else {*columns, *(name for name, _, _ in where)}
        compared = table == "robustness" and (asked is None or "checks" in asked)
        needed = asked
        if asked is not None:
            needed = asked | deciding(table)
            if compared:
                needed |= {"evaluation", "parameters", "checks"}
            if asked & set(INTERVAL):
                needed |= {"correct", "examples"}
        # All rows with one key are of one fate, so a condition on keys may come before it is known.
        # A transferred attack on a trial is compared with the trial's other attacks.
        keys = ("trial_id",) if compared else KEYS[table]
        early = [condition for condition in where if condition[0] in keys]
        check_types(arrow_schema(table, {}), early)
        parts = read_parts(self.store, table, needed, early)
        known = sorted(parts.names - {"written_at"}) + (
            list(INTERVAL) if table == "robustness" else []
        )
        check_columns([name for name, _, _ in where], known, "where")
        check_columns(columns or (), known)
        rows, positions = parts.rows.drop_columns("written_at"), standing(parts.rows, table)
        if compared and rows["source_trial_id"].null_count < len(rows):
            frame = with_transfers(in_pandas(rows, positions))
        else:
            wanted = holding(rows, where)
            if wanted is not None:
                positions = positions[np.isin(positions, wanted)]
            shown = set(rows.column_names) if asked is None else asked | {"correct", "examples"}
            frame = in_pandas(
                rows.select([name for name in rows.column_names if name in shown]), positions
            )
        if table == "robustness" and (asked is None or asked & set(INTERVAL)):
            frame = with_intervals(frame)
        return frame


def open_results(location: str | os.PathLike[str]) -> Results:
    """The results in a folder; :class:`InputError` if there are none, or they are of a newer
    schema."""
    results = Results(location)
    if not results.store.exists("schema.json"):
        raise InputError(f"{results.store.place}: no results here (no schema.json)")
    results.store.check_version()
    return results


def has_completed(store: Store, trial_id: str) -> bool:
    """Whether the trial's own file, or one that many were merged into, says that it completed:
    nothing may replace that."""
    its, seen = [("trial_id", "==", trial_id)], set[str]()
    places = (f"trials/{trial_id}.parquet", f"trials/{COMPACTED}")
    # A file that goes away meanwhile has been merged into one that is new.
    while unseen := [
        name
        for name in store.names("trials", ".parquet")
        if name.startswith(places) and name not in seen
    ]:
        for name in unseen:
            part = read_part(store, name, columns=["trial_id", "status"], where=its)
            if isinstance(part, Part) and "completed" in part.rows.column("status").to_pylist():
                return True
        seen.update(unseen)
    return False
