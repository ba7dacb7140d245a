"""The tables of a results folder as figures need them: one row per trained student, with what was
swept and measured."""

from __future__ import annotations

import json
from functools import cached_property

import pandas as pd

from kdray.core import InputError
from kdray.results import TABLES, Results
from kdray.results.points.data_sets import test_set_names
from kdray.results.points.identity import point_id_of
from kdray.results.points.replicates import replicates
from kdray.results.schema import NOT_NEEDED, PRUNED, TRAINED_STATUS

NUMBER_COLUMNS = [
    column.name
    for column in TABLES["robustness"]
    if column.name not in ("error", "seconds", "written_at")
]
"""The columns of a number, in the rows of :meth:`Snapshot.measured`."""


class Snapshot:
    """The results as they were when first read: each table is read once, for many figures."""

    def __init__(self, results: Results) -> None:
        self.results = results

    @cached_property
    def members(self) -> pd.DataFrame:
        return self.results.members()

    @cached_property
    def trials(self) -> pd.DataFrame:
        return self.results.trials()

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return self.results.epochs()

    @cached_property
    def robustness(self) -> pd.DataFrame:
        """The rows of evaluations that did not fail."""
        rows = self.results.robustness()
        return rows[rows["error"].isna()].reset_index(drop=True)

    @cached_property
    def _replicates(self) -> pd.DataFrame:
        return replicates(self.results)

    @cached_property
    def sweeps(self) -> list[str]:
        """The sweeps with completed students, sorted."""
        rows = self._replicates
        return sorted(rows.loc[rows["counts"], "sweep"].unique())

    def students(self, sweep: str) -> pd.DataFrame:
        """The completed students of ``sweep``, a row each, in its order: ``sweep``, ``point``,
        ``case``, ``swept`` (JSON), every column of ``trials``, and every swept path (where a case
        does not sweep it: the trial's own value).

        :class:`InputError` if there are none, or if they were trained on several data sets.
        """
        found = self.trained(sweep, "student")
        if found.empty:
            raise InputError(
                f"no trained students of the sweep {sweep} in {self.results.store.place}: "
                "kdray run it first"
            )
        names = sorted(test_set_names(found).unique())
        if len(names) > 1:
            raise InputError(
                f"{sweep}: students of several data sets ({', '.join(names)}) do not go into one "
                "figure"
            )
        return found

    def all_students(self) -> pd.DataFrame:
        """The completed students of all sweeps, of whatever data set; a trial that several sweeps
        share has a row in each."""
        found = [self.trained(sweep, "student") for sweep in self.sweeps]
        return pd.concat(found, ignore_index=True) if found else self.trained("", "student")

    def teachers(self, sweep: str) -> pd.DataFrame:
        """The completed teachers of ``sweep``, with the same columns; empty if there are none.

        Their ``point`` counts the experiments, seeds apart, that teachers of the sweep were trained
        in: theirs are no points of the sweep.
        """
        return self.trained(sweep, "teacher")

    def measured(
        self,
        trials: pd.DataFrame,
        *,
        evaluation: str | None = None,
        metric: str = "accuracy",
        split: str = "test",
    ) -> pd.DataFrame:
        """Return a row for every number that evaluations (of this kind) gave for ``trials`` after
        the training: the trial's columns, then the number (``value``) and what the evaluation was
        (``epsilon``, ``steps``, …; ``label``).

        Columns that both have keep the trial's value under ``trial.`` and their name. Empty if
        nothing was measured.
        """
        rows = self.robustness
        asked = rows["metric"].eq(metric) & rows["split"].eq(split) & rows["epoch"].isna()
        if evaluation is not None:
            asked &= rows["evaluation"].eq(evaluation)
        numbers = rows.loc[asked, NUMBER_COLUMNS]
        both = {
            name: f"trial.{name}"
            for name in trials.columns
            if name in NUMBER_COLUMNS and name != "trial_id"
        }
        return trials.rename(columns=both).merge(numbers, on="trial_id")

    def trained(self, sweep: str, role: str) -> pd.DataFrame:
        """The trained students or teachers of ``sweep``, here or elsewhere, of whatever data sets:
        the columns of :meth:`students`."""
        if role == "student":
            members = self._replicates
            members = members[members["sweep"].eq(sweep) & members["counts"]]
        else:
            members = self.members
            members = members[
                members["sweep"].eq(sweep)
                & members["role"].eq(role)
                # One of which an evaluation failed is trained all the same.
                & ~members["outcome"].isin([PRUNED, NOT_NEEDED])
            ].sort_values("order")
            # One that students of several cases have is trained once.
            members = members.drop_duplicates("trial_id")
        members = members.reset_index(drop=True)
        swept = pd.DataFrame(
            [_cells(text) if isinstance(text, str) else {} for text in members["swept"]]
        )
        described = members[["sweep", "point", "case", "swept", "trial_id"]]
        found = described.merge(
            self.trials[self.trials["status"].isin(TRAINED_STATUS)], on="trial_id"
        )
        if role == "teacher":
            found["point"] = _experiments_without_seeds(found)
        swept.insert(0, "trial_id", members["trial_id"])
        swept = swept[swept["trial_id"].isin(found["trial_id"])].reset_index(drop=True)
        for path in swept.columns.drop("trial_id"):
            # What a case sets rather than sweeps stands in the trial's own column.
            found[path] = (
                swept[path].where(swept[path].notna(), found[path])
                if path in found
                else swept[path]
            )
        return found


def _experiments_without_seeds(trials: pd.DataFrame) -> pd.Series[float]:
    """The number of the experiment of each trial, from 0 in their order; the same for those that
    differ in seeds only, and missing where the experiment is."""
    identities = trials["experiment"].map(point_id_of, na_action="ignore")
    numbers = pd.Series(pd.factorize(identities)[0], trials.index, float)
    return numbers.where(identities.notna())


def _cells(text: str) -> dict[str, object]:
    """Values by path, lists and mappings as their JSON text, as the columns of ``trials`` have
    them."""
    values = json.loads(text)
    return {
        path: json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value
        for path, value in values.items()
    }


def only(frame: pd.DataFrame, reason: str) -> pd.DataFrame:
    """``frame``, or :class:`InputError` with ``reason`` if it has no rows."""
    if frame.empty:
        raise InputError(reason)
    return frame
