"""A sweep in three to five sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from kdray.report.caption import data_name
from kdray.report.page.choice import clean, robust
from kdray.report.page.group import Group
from kdray.report.page.statistics import UNKNOWN, Comparison
from kdray.report.page.trouble import Doubt, Failure
from kdray.report.page.words import cell, counted, is_missing, listed, spread


def summary(group: Group, compared: Sequence[Comparison], failed: Sequence[Failure], doubted: Sequence[Doubt]) -> list[str]:
    """Of what was swept, the best point and how sure that is, and of what failed or is doubtful."""
    return [_swept(group), *_best(group), *_apart(group, compared), _troubles(failed, doubted)]


def _swept(group: Group) -> str:
    students = group.students
    points, most = students["point"].nunique(), students.groupby("point")["trial_id"].nunique().max()
    taught = f", taught by {counted(len(group.teachers), 'trained teacher')}" if len(group.teachers) else ""
    cases = students["case"].dropna().nunique()
    over = [f"{counted(cases, 'case')}"] if cases else []
    over += [_path(students[path].dropna(), path) for path in group.swept]
    what = f"{counted(points, 'point')} ({listed(over, 4)})" if over else counted(points, "point")
    return (
        f"The sweep “{group.sweep}” trained students on {data_name(group.data)} at {what}, with {counted(int(most), 'seed')} "
        f"each: {counted(len(students), 'student')} in all{taught}."
    )


def _path(values: pd.Series[Any], path: str) -> str:
    unlike = list(dict.fromkeys(map(cell, values)))
    if len(unlike) > 4 and pd.api.types.is_numeric_dtype(values):
        return f"{path} from {values.min():g} to {values.max():g}"
    return f"{path}: {', '.join(unlike[:6])}" + (", …" if len(unlike) > 6 else "")


def _best(group: Group) -> Iterator[str]:
    aims, best = group.aims, group.best
    if not best:
        if not group.completed.empty:
            yield f"No point has all its seeds and {listed(list(aims.metrics))}, so none is called the best."
        return
    if len(aims.objectives) > 1:
        named = listed([f"point {point}" for point in best], 8)
        yield f"No point is better in all of {listed(list(aims.metrics))} than {named}: the Pareto front."
        return
    objective, row = group.objective, group.numbers(best[0])
    high = "highest" if objective.mode == "max" else "lowest"
    number = spread(row[objective.metric], row[f"{objective.metric} std"])
    text = f"The {high} {objective.metric} has point {best[0]} ({group.about(best[0])}): {number}"
    yield f"{text} over {counted(int(row['n']), 'seed')}{_interval(group, best[0])}."
    others = [name for name in (clean(group), robust(group)) if name not in (None, objective.metric)]
    told = [f"{name} {spread(row[name], row[f'{name} std'])}" for name in others if not is_missing(row[name])]
    if told:
        yield f"There it has {' and '.join(told)}."


def _interval(group: Group, point: int) -> str:
    if group.numbers(point)["n"] < 2:
        return ", so how far another seed would be from it is not known (no interval)"
    found = group.results.points(group.objective.metric, sweep=group.sweep, where=[("point", "==", point)])
    return f" (95 % interval of the mean {found['low'].iloc[0]:.3f} to {found['high'].iloc[0]:.3f})"


def _apart(group: Group, compared: Sequence[Comparison]) -> Iterator[str]:
    of_objective = next((each for each in compared if each.metric == group.objective.metric and each.rows), None)
    if of_objective is None:
        return
    rest, apart = len(of_objective.rows), of_objective.different
    if all(row.verdict == UNKNOWN for row in of_objective.rows):
        yield "With so few seeds no difference between points can be told from chance."
    elif apart == 0:
        others = "the other point" if rest == 1 else f"any of the other {rest} points"
        yield f"These seeds do not tell {others} apart from the baseline."
    else:
        alike = f"; {rest - apart} may as well be equal" if rest > apart else ""
        yield f"Of the {counted(rest, 'point')} compared with the baseline, {apart} differ by more than chance explains{alike}."


def _troubles(failed: Sequence[Failure], doubted: Sequence[Doubt]) -> str:
    kinds = Counter(each.what if each.what in ("diverged", "pruned") else "failed" for each in failed)
    parts = [f"{number:,} {kind}" for kind, number in kinds.items()]
    lost = f"{listed(parts)} (see Failures)" if parts else "every trial completed"
    doubt = sum(each.numbers for each in doubted)
    named = f"checks cast doubt on {counted(doubt, 'number')} (see Doubtful numbers)"
    return f"{lost[:1].upper()}{lost[1:]}; {named if doubt else 'no check casts doubt on a number'}."
