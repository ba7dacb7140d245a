"""The summary of a sweep in three to five sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kdray.core.wording import counted, is_missing, listed, mean_and_deviation, of_fewer, value_text
from kdray.report.page.difference_sentence import difference_sentence
from kdray.report.page.failures import Doubt, Failure
from kdray.report.page.group import Group, records
from kdray.report.page.headline_metrics import clean, is_share, robust
from kdray.report.page.statistics import Comparison
from kdray.results.points.wilson import CONFIDENCE_TEXT
from kdray.results.schema import TRAINED_STATUS

MAX_POINTS = 8
"""Points that are named where several share a place."""
MAX_PATHS = 4
"""Swept paths that are named."""
MAX_VALUES = 6
"""Values of a path that are named."""


def summary(
    group: Group,
    against: str,
    compared: Sequence[Comparison],
    failed: Sequence[Failure],
    doubted: Sequence[Doubt],
) -> list[str]:
    """List sentences on what was swept, the best point, how the others compare with the baseline
    that ``against`` names, and what failed or is doubtful."""
    if group.students.empty:
        return [_only_teachers(group), _problems(group, failed, doubted)]
    sentences = [
        _swept(group),
        *_best(group),
        difference_sentence(against, compared),
        _problems(group, failed, doubted),
    ]
    return [sentence for sentence in sentences if sentence]


def _only_teachers(group: Group) -> str:
    trained = int(group.teachers["status"].isin(TRAINED_STATUS).sum())
    return (
        f"Of the sweep “{group.sweep}” only teachers have been trained so far ({trained:,} of the "
        f"{len(group.teachers):,} begun, on {group.data_title}): no student has a result yet."
    )


def _swept(group: Group) -> str:
    students = group.students
    teachers = int(group.teachers["status"].eq("completed").sum())
    points = students["point"].nunique()
    seeds = int(students.groupby("point")["trial_id"].nunique().max())
    cases = students["case"].dropna().nunique()
    varied = [counted(cases, "case")] if cases else []
    varied += [_path(students[path].dropna(), path) for path in group.swept]
    taught = f", taught by {counted(teachers, 'trained teacher')}" if teachers else ""
    what = f" ({listed(varied, MAX_PATHS)})" if varied else ""
    if not seeds:
        return (
            f"The sweep “{group.sweep}” has {counted(points, 'point')} so far{what}, of which none "
            "could be trained."
        )
    return (
        f"The sweep “{group.sweep}” trained students on {group.data_title} at "
        f"{counted(points, 'point')}{what}, with {counted(seeds, 'seed')} each: "
        f"{counted(len(students), 'student')} in all{taught}."
    )


def _path(values: pd.Series[Any], path: str) -> str:
    """Write which values a path takes."""
    texts = list(dict.fromkeys(map(value_text, values)))
    if len(texts) > 4 and pd.api.types.is_numeric_dtype(values):
        return f"{path} from {values.min():g} to {values.max():g}"
    more = ", …" if len(texts) > MAX_VALUES else ""
    return f"{path}: {', '.join(texts[:MAX_VALUES])}{more}"


def _best(group: Group) -> list[str]:
    """List what is to be said of the best point and of those that share its place, or of the
    Pareto front."""
    if not group.best:
        return _no_best(group)
    if len(group.aims.objectives) > 1:
        names = listed([f"point {point}" for point in group.best], MAX_POINTS)
        metrics = listed(group.aims.metrics)
        return [f"No point is better in all of {metrics} than {names}: the Pareto front."]
    point, metric = group.best[0], group.objective.metric
    row = group.numbers(point)
    first = (
        f"Point {point} ({group.about(point)}) has the {_extreme(group)} {metric}: "
        f"{mean_and_deviation(row[metric], row[f'{metric} std'])} over "
        f"{counted(int(row['n']), 'seed')}{_interval(group, point)}."
    )
    shared = group.leaders[1:]
    if shared:
        points = listed(map(str, shared), MAX_POINTS)
        which = f"Point {points} has" if len(shared) == 1 else f"Points {points} have"
        first += f" {which} the same; the first in the sweep's order is called the best."
    others = [
        f"{name} {mean_and_deviation(row[name], row[f'{name} std'])}"
        f"{of_fewer(row[f'{name} n'], row['n'])}"
        for name in (clean(group), robust(group))
        if name not in (None, metric) and not is_missing(row[name])
    ]
    return [first, f"There it has {listed(others)}."] if others else [first]


def _no_best(group: Group) -> list[str]:
    """Say why no point is called the best; nothing if none has completed."""
    if group.completed.empty:
        return []
    metrics = listed(group.aims.metrics)
    if group.aims.constraints:
        limits = listed(group.aims.constraints)
        return [
            f"No point that has all its seeds and {metrics} keeps to {limits}, so none is called "
            "the best."
        ]
    return [f"No point has all its seeds and {metrics}, so none is called the best."]


def _extreme(group: Group) -> str:
    return "highest" if group.objective.mode == "max" else "lowest"


def _interval(group: Group, point: int) -> str:
    """Write how sure the mean of a point's objective is."""
    if group.numbers(point)["n"] < 2:
        return ", so how far another seed would be from it is not known (no interval)"
    metric = group.objective.metric
    (row,) = records(
        group.results.points(metric, sweep=group.sweep, where=[("point", "==", point)])[
            ["n", "low", "high"]
        ]
    )
    low, high = row["low"], row["high"]
    if is_missing(low) or low == high:
        seeds = "both" if row["n"] == 2 else f"all {row['n']}"
        return f" ({seeds} seeds gave the same, so there is no interval)"
    if is_share(metric):
        low, high = max(low, 0.0), min(high, 1.0)
    return f" ({CONFIDENCE_TEXT} interval of the mean {low:.3f} to {high:.3f})"


def _problems(group: Group, failed: Sequence[Failure], doubted: Sequence[Doubt]) -> str:
    """Write how many trials failed or are missing, and how many numbers are doubtful."""
    text = _failed(group, failed)
    doubts = sum(each.numbers for each in doubted)
    if not doubts:
        return f"{text[:1].upper()}{text[1:]}; no check casts doubt on a number."
    numbers = counted(doubts, "number")
    return f"{text[:1].upper()}{text[1:]}; checks cast doubt on {numbers} (see Doubtful numbers)."


def _failed(group: Group, failed: Sequence[Failure]) -> str:
    kinds = Counter(
        each.what if each.what in ("diverged", "pruned", "missing") else "failed" for each in failed
    )
    known = f"{listed(f'{count:,} {kind}' for kind, count in kinds.items())} (see Failures)"
    if group.missing:
        verb = "is" if group.missing == 1 else "are"
        missing = (
            f"{group.missing:,} of {counted(group.expected, 'student')} {verb} missing "
            "(not trained yet, given up, or failed)"
        )
        return f"{missing}: {known}" if kinds else missing
    if kinds:
        return known
    return "no trial failed" if group.students.empty else "every trial completed"
