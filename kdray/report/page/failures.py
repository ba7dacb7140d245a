"""What went wrong, and what casts doubt on a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from kdray.core.wording import is_missing
from kdray.report.page.group import Group


class Failure(NamedTuple):
    """A trial, or some of them at one point, that gave no numbers."""

    trial_id: str | None
    """None if it has no row of its own."""
    what: str
    """failed, diverged, pruned or missing; evaluation failed."""
    point: int | None
    """None for a teacher."""
    values: str
    seed: int | None
    reason: str


class Doubt(NamedTuple):
    """A reason to distrust some numbers."""

    label: str
    reason: str
    numbers: int
    trials: int
    points: tuple[int, ...]


def failures(group: Group) -> list[Failure]:
    """Trials that failed, diverged or were given up, and evaluations that failed, in the sweep's
    order."""
    found = []
    for row in group.trials:
        if row["status"] == "completed" and row["outcome"] == "completed":
            continue
        what = row["status"] if row["status"] in ("failed", "diverged") else row["outcome"]
        gone = what == "completed" or is_missing(what)
        reason = next(
            (row[name] for name in ("error", "member_error") if not is_missing(row[name])),
            "no row of its training is there" if gone else "no reason was stored",
        )
        what = "missing" if gone else what
        found.append(
            _failure(
                group, row["trial_id"] if not is_missing(row["status"]) else None, what, row, reason
            )
        )
    numbers = group.results.robustness()
    errors = numbers[numbers["error"].notna()].drop_duplicates(["trial_id", "evaluation_id"])
    rows = {row["trial_id"]: row for row in group.trials}
    for trial_id, label, error in errors[["trial_id", "label", "error"]].itertuples(index=False):
        if trial_id in rows:
            found.append(
                _failure(group, trial_id, f"evaluation {label} failed", rows[trial_id], error)
            )
    return found


def _failure(
    group: Group, trial_id: str | None, what: str, row: dict[str, Any], reason: str
) -> Failure:
    point, seed = (None if is_missing(row[name]) else int(row[name]) for name in ("point", "seed"))
    return Failure(
        trial_id, what, point, "teacher" if point is None else group.about(point), seed, reason
    )


def doubts(group: Group) -> list[Doubt]:
    """The ``checks`` of the evaluations of this group, alike ones together; numbers in their text
    differ by trial."""
    numbers = group.results.robustness()
    numbers = numbers[numbers["checks"].notna()]
    points = pd.concat([each[["trial_id", "point"]] for each in (group.students, group.teachers)])
    joined = numbers.merge(points.drop_duplicates("trial_id"), on="trial_id")
    joined["alike"] = joined["checks"].str.replace(r"\d[\d.,]*(?:e[-+]?\d+)?", "…", regex=True)
    found = []
    for (label, alike), rows in joined.groupby(["label", "alike"], sort=False):
        texts = rows["checks"].unique()
        reason = str(texts[0]) if len(texts) == 1 else str(alike)
        where = tuple(sorted({int(point) for point in rows["point"].dropna()}))
        found.append(Doubt(str(label), reason, len(rows), rows["trial_id"].nunique(), where))
    return sorted(found, key=lambda doubt: -doubt.numbers)
