"""Every point against a baseline: differences, intervals and tests over the seeds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from kdray.core import InputError
from kdray.report.page.choice import clean, robust
from kdray.report.page.group import DATA, Group, records
from kdray.report.page.words import NONE, described, is_missing
from kdray.results.schema import SIZES

LEVEL = 0.05
"""Of what is called different."""
MANY = 100
"""Points, of more than which only the objectives are compared."""
UNKNOWN = "too few seeds to say"

Baseline = int | str | dict[str, Any]
"""A point, a case, or values by path."""


class Compared(NamedTuple):
    """One point against the baseline in one metric."""

    point: int
    values: str
    seeds: str
    difference: float | None
    interval: str
    t_p: str
    wilcoxon_p: str
    effect: str
    verdict: str


class Comparison(NamedTuple):
    """All points against the baseline in one metric, or why that cannot be said."""

    metric: str
    rows: tuple[Compared, ...]
    problem: str
    different: int
    """Rows whose difference is larger than chance explains, by the corrected t test."""


def comparisons(group: Group, baseline: Baseline | None) -> tuple[str, list[Comparison]]:
    """What the points are compared with, in words, and a table for each metric that matters most."""
    if len(group.points) < 2 or (baseline is None and not group.best):
        return "", []
    chosen = group.best[0] if baseline is None else baseline
    return _named(group, chosen, baseline is None), [_comparison(group, chosen, metric) for metric in _metrics(group)]


def _metrics(group: Group) -> list[str]:
    wanted = [*group.aims.metrics, *([clean(group), robust(group)] if len(group.points) <= MANY else [])]
    return [name for name in dict.fromkeys(wanted) if name is not None and name in group.metrics and name not in SIZES]


def _named(group: Group, chosen: Baseline, best: bool) -> str:
    if isinstance(chosen, dict):
        return f"the points with {described(chosen)}, each compared with those that share its other values"
    if isinstance(chosen, str):
        return f"the case {chosen}"
    known = group.points["point"].eq(chosen).any()
    about = f" ({group.about(chosen)})" if known else ""
    return f"point {chosen}{about}" + (", the best by the objective" if best else "")


def _comparison(group: Group, chosen: Baseline, metric: str) -> Comparison:
    where = None if group.alone else [(DATA, "==", group.data)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few or equal seeds: the table says so with gaps
            frame = group.results.compare(chosen, metric, sweep=group.sweep, where=where)
    except InputError as error:
        return Comparison(metric, (), str(error), 0)
    rows = tuple(_rows(group, frame))
    return Comparison(metric, rows, "", sum(row.verdict in ("higher", "lower") for row in rows))


def _rows(group: Group, frame: pd.DataFrame) -> Iterator[Compared]:
    for row in records(frame):
        point = int(row["point"])
        paired = "paired" if row["paired"] else "not paired"
        yield Compared(
            point=point, values=described(group.values(point), row.get("case")),
            seeds=f"{row['n']} and {row['n_baseline']}, {paired}",
            difference=None if is_missing(row["difference"]) else float(row["difference"]),
            interval=NONE if is_missing(row["low"]) else f"{row['low']:+.3f} to {row['high']:+.3f}",
            t_p=_p(row["t_p_holm"]), wilcoxon_p=_p(row["wilcoxon_p_holm"]),
            effect=NONE if is_missing(row["effect_size"]) else f"{row['effect_size']:+.2f}",
            verdict=_verdict(row),
        )  # fmt: skip


def _p(p: float) -> str:
    return NONE if is_missing(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(row: dict[str, Any]) -> str:
    if is_missing(row["t_p_holm"]):
        return UNKNOWN
    if row["t_p_holm"] >= LEVEL:
        return "not told apart"
    return "higher" if row["difference"] > 0 else "lower"
