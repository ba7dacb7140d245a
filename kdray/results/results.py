"""The questions that a results folder answers: points, the best, comparisons, importance."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

from kdray.core import InputError
from kdray.results.files.read import COMPACTED, Part, read_part
from kdray.results.files.store import Store
from kdray.results.filters import Where, checked
from kdray.results.points.best import best, pareto, points
from kdray.results.points.compare import compare
from kdray.results.points.importance import importance
from kdray.results.points.replicates import sweeps
from kdray.results.schema import TRAINED_STATUS
from kdray.results.tables import Tables


class Results(Tables):
    """A results folder: its tables, and the questions that they answer."""

    def sweeps(self) -> list[str]:
        """The sweeps that have students, in the order in which they first wrote anything."""
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

        Warns with :class:`SelectedOnTest` if the metric is of the test split, and with
        :class:`SeveralMachines` if it is a time, a speed or memory, taken on several machines (so
        do :meth:`points` of a mean, :meth:`pareto`, :meth:`compare` and :meth:`importance`).
        :class:`kdray.InputError` if the points are of different data, or of sweeps that mean
        different evaluations by the metric.
        """
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
        data, or of sweeps that mean different evaluations by a metric: InputError.
        """
        return pareto(self, metrics, modes, sweep, checked(where))

    def compare(
        self,
        baseline: int | str | Mapping[str, Any],
        metric: str,
        *,
        sweep: str | None = None,
        where: Where | None = None,
        across: bool = False,
    ) -> pd.DataFrame:
        """Every point of a sweep against a baseline: difference of means over seeds, interval,
        tests, effect size.

        ``across``: the points of every sweep of the folder, against a baseline in ``sweep`` (or in
        the only one that has it); equal seeds are paired whichever sweep trained them.

        ``baseline`` is the number of a point, the name of a case, or ``{path: value, …}``
        (``"case"`` and ``"point"`` count as paths). A case or mapping that several points fit gives
        each point the one of them that shares all its other swept values.

        A row per other point: the columns that say which it is, ``baseline`` (number of the point
        compared with), ``n`` and ``n_baseline`` (seeds compared), ``paired``,
        ``n_other_device`` (seeds that both have, on two kinds of device), ``mean``,
        ``mean_baseline``, ``difference`` (mean of the point less that of the baseline, over the
        seeds compared), ``low`` and ``high`` (95 % t interval of it), ``t_p`` and ``wilcoxon_p``
        (two-sided), ``t_p_holm`` and ``wilcoxon_p_holm`` (the same, adjusted for the number of
        points compared: Holm 1979), ``effect_size``.

        Seeds are common random numbers on one kind of device (the column ``device``: every model of
        GPU and size of MIG slice is one, all CPUs are one); those on two are never paired, and a
        warning says how many. So points that share two seeds or more are compared seed by
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
        return compare(self, baseline, metric, sweep, checked(where), across=across)

    def importance(
        self, metric: str, *, sweep: str, where: Where | None = None
    ) -> pd.Series[float]:
        """How much each swept path decides whether a point of a sweep is among the best by
        ``metric``: shares that sum to 1.

        PED-ANOVA (Watanabe, Bansal and Hutter 2023) by Optuna, on the means over seeds; the best
        are a tenth of the points, or 5 where that is more (half of fewer than 10), and better is
        what :mod:`kdray.results.metrics` says of the metric. ``case`` counts as a path. A path that
        only some points have counts among those. Falling; empty for fewer than four points; 0 for
        all where the metric is the same everywhere. Only paths whose values differ are in it.
        """
        return importance(self, metric, sweep, checked(where))


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
            if isinstance(part, Part) and not set(TRAINED_STATUS).isdisjoint(
                part.rows.column("status").to_pylist()
            ):
                return True
        seen.update(unseen)
    return False
