"""A sweep in three to five sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from kdray.core.wording import counted, is_missing, listed, mean_and_deviation, value_text
from kdray.report.figures.caption import data_name
from kdray.report.page.difference_sentence import apart
from kdray.report.page.failures import Doubt, Failure
from kdray.report.page.group import Group, records
from kdray.report.page.headline_metrics import clean, is_share, robust
from kdray.report.page.statistics import Comparison


def summary(
    group: Group,
    against: str,
    compared: Sequence[Comparison],
    failed: Sequence[Failure],
    doubted: Sequence[Doubt],
) -> list[str]:
    """Of what was swept, the best point, how it and the others compare with what ``against`` names,
    and of what failed or is doubtful."""
    if group.students.empty:
        return [_only_teachers(group), _troubles(group, failed, doubted)]
    return [
        _swept(group),
        *_best(group),
        *apart(against, compared),
        _troubles(group, failed, doubted),
    ]


def _only_teachers(group: Group) -> str:
    trained = int(group.teachers["status"].eq("completed").sum())
    return (
        f"Of the sweep “{group.sweep}” only teachers have been trained so far ({trained:,} of the "
        f"{len(group.teachers):,} begun, on {data_name(group.data)}): no student has a result yet."
    )


def _swept(group: Group) -> str:
    students = group.students
    points, most = (
        students["point"].nunique(),
        students.groupby("point")["trial_id"].nunique().max(),
    )
    taught = (
        f", taught by {counted(len(group.teachers), 'trained teacher')}"
        if len(group.teachers)
        else ""
    )
    cases = students["case"].dropna().nunique()
    over = [f"{counted(cases, 'case')}"] if cases else []
    over += [_path(students[path].dropna(), path) for path in group.swept]
    what = f"{counted(points, 'point')} ({listed(over, 4)})" if over else counted(points, "point")
    return (
        f"The sweep “{group.sweep}” trained students on {data_name(group.data)} at {what}, "
        f"with {counted(int(most), 'seed')} "
        f"each: {counted(len(students), 'student')} in all{taught}."
    )


def _path(values: pd.Series[Any], path: str) -> str:
    unlike = list(dict.fromkeys(map(value_text, values)))
    if len(unlike) > 4 and pd.api.types.is_numeric_dtype(values):
        return f"{path} from {values.min():g} to {values.max():g}"
    return f"{path}: {', '.join(unlike[:6])}" + (", …" if len(unlike) > 6 else "")


def _best(group: Group) -> Iterator[str]:
    aims, best = group.aims, group.best
    high = "highest" if group.objective.mode == "max" else "lowest"
    if not best:
        if group.leaders:
            shown = mean_and_deviation(
                group.numbers(group.leaders[0])[group.objective.metric], float("nan")
            )
            shared = (
                f"{counted(len(group.leaders), 'point')} share the {high} {group.objective.metric}"
            )
            named = listed([str(point) for point in group.leaders], 8)
            yield (f"{shared}, {shown}: {named}. There is no single best.")
        elif not group.completed.empty:
            yield (
                f"No point has all its seeds and {listed(list(aims.metrics))}, so none is "
                "called the best."
            )
        return
    if len(aims.objectives) > 1:
        named = listed([f"point {point}" for point in best], 8)
        yield (
            f"No point is better in all of {listed(list(aims.metrics))} than {named}: the "
            "Pareto front."
        )
        return
    objective, row = group.objective, group.numbers(best[0])
    number = mean_and_deviation(row[objective.metric], row[f"{objective.metric} std"])
    text = f"Point {best[0]} ({group.about(best[0])}) has the {high} {objective.metric}: {number}"
    yield f"{text} over {counted(int(row['n']), 'seed')}{_interval(group, best[0])}."
    others = [
        name for name in (clean(group), robust(group)) if name not in (None, objective.metric)
    ]
    told = [
        f"{name} {mean_and_deviation(row[name], row[f'{name} std'])}"
        for name in others
        if not is_missing(row[name])
    ]
    if told:
        yield f"There it has {' and '.join(told)}."


def _interval(group: Group, point: int) -> str:
    if group.numbers(point)["n"] < 2:
        return ", so how far another seed would be from it is not known (no interval)"
    metric = group.objective.metric
    (found,) = records(
        group.results.points(metric, sweep=group.sweep, where=[("point", "==", point)])[
            ["n", "low", "high"]
        ]
    )
    low, high = found["low"], found["high"]
    if is_missing(low) or low == high:
        all_of_them = "both" if found["n"] == 2 else f"all {found['n']}"
        return f" ({all_of_them} seeds gave the same, so there is no interval)"
    if is_share(metric):
        low, high = max(low, 0.0), min(high, 1.0)
    return f" (95 % interval of the mean {low:.3f} to {high:.3f})"


def _troubles(group: Group, failed: Sequence[Failure], doubted: Sequence[Doubt]) -> str:
    kinds = Counter(
        each.what if each.what in ("diverged", "pruned", "missing") else "failed" for each in failed
    )
    parts = [f"{number:,} {kind}" for kind, number in kinds.items()]
    lost = f"{listed(parts)} (see Failures)" if parts else ""
    if group.missing:
        are = "is" if group.missing == 1 else "are"
        of_all = f"{group.missing:,} of {counted(group.expected, 'student')}"
        lacks = f"{of_all} {are} missing (not trained yet, given up, or failed)"
        lost = f"{lacks}: {lost}" if lost else lacks
    lost = lost or ("no trial failed" if group.students.empty else "every trial completed")
    doubt = sum(each.numbers for each in doubted)
    named = f"checks cast doubt on {counted(doubt, 'number')} (see Doubtful numbers)"
    return (
        f"{lost[:1].upper()}{lost[1:]}; {named if doubt else 'no check casts doubt on a number'}."
    )
