"""Trials and evaluations that failed, and checks that cast doubt on a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from kdray.core.wording import is_missing
from kdray.report.page.group import Group
from kdray.results.schema import TRAINED_STATUS


class Failure(NamedTuple):
    """A trial that gave no numbers, or an evaluation of it that gave none."""

    trial_id: str | None
    """None if it has no row of its own."""
    what: str
    """failed, diverged, pruned or missing; evaluation LABEL failed."""
    point: int | None
    """None for a teacher."""
    values: str
    """What distinguishes the point, in words."""
    seed: int | None
    reason: str


class Doubt(NamedTuple):
    """A reason to distrust some numbers of one evaluation."""

    label: str
    reason: str
    numbers: int
    trials: int
    points: tuple[int, ...]


def failures(group: Group) -> list[Failure]:
    """List trials that failed, diverged or were given up, in the sweep's order, then evaluations
    that failed."""
    rows = group.trials
    return [
        *(_failed_trial(group, row) for row in rows if not _is_completed(row)),
        *_failed_evaluations(group, {row["trial_id"]: row for row in rows}),
    ]


def _is_completed(row: dict[str, Any]) -> bool:
    return bool(row["status"] in TRAINED_STATUS and row["outcome"] == "completed")


def _failed_trial(group: Group, row: dict[str, Any]) -> Failure:
    what = row["status"] if row["status"] in ("failed", "diverged") else row["outcome"]
    has_no_row = what == "completed" or is_missing(what)
    unknown = "no row of its training is there" if has_no_row else "no reason was stored"
    errors = [row[name] for name in ("error", "member_error") if not is_missing(row[name])]
    trial_id = None if is_missing(row["status"]) else row["trial_id"]
    what = "missing" if has_no_row else what
    return _failure(group, trial_id, what, row, errors[0] if errors else unknown)


def _failed_evaluations(group: Group, trials: dict[str, dict[str, Any]]) -> list[Failure]:
    numbers = group.robustness
    errors = numbers[numbers["error"].notna()].drop_duplicates(["trial_id", "evaluation_id"])
    return [
        _failure(group, trial_id, f"evaluation {label} failed", trials[trial_id], error)
        for trial_id, label, error in zip(
            errors["trial_id"], errors["label"], errors["error"], strict=True
        )
        if trial_id in trials
    ]


def _failure(
    group: Group, trial_id: str | None, what: str, row: dict[str, Any], reason: str
) -> Failure:
    point, seed = (None if is_missing(row[name]) else int(row[name]) for name in ("point", "seed"))
    values = "teacher" if point is None else group.about(point)
    return Failure(trial_id, what, point, values, seed, reason)


def doubts(group: Group) -> list[Doubt]:
    """List what the ``checks`` of this group's evaluations say, texts that differ only in their
    numbers together, the one about most numbers first."""
    numbers = group.robustness
    numbers = numbers[numbers["checks"].notna()].reset_index(names="number")
    points = pd.concat([each[["trial_id", "point"]] for each in (group.students, group.teachers)])
    joined = numbers.merge(points.drop_duplicates(), on="trial_id")  # a trial may be of several
    joined["alike"] = joined["checks"].str.replace(r"\d[\d.,]*(?:e[-+]?\d+)?", "…", regex=True)
    found = []
    for (label, alike), rows in joined.groupby(["label", "alike"], sort=False):
        texts = rows["checks"].unique()
        reason = str(texts[0]) if len(texts) == 1 else str(alike)
        where = tuple(sorted({int(point) for point in rows["point"].dropna()}))
        numbers_of, trials = rows["number"].nunique(), rows["trial_id"].nunique()
        found.append(Doubt(str(label), reason, numbers_of, trials, where))
    return sorted(found, key=lambda doubt: -doubt.numbers)
