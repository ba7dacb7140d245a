"""The table that compares every point with a baseline: differences, intervals and tests over the
seeds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from kdray.core import InputError
from kdray.core.wording import NONE, count_range, counted, is_missing, point_text, value_text
from kdray.report.page.group import Group, records
from kdray.report.page.headline_metrics import clean, is_share, robust
from kdray.results.metrics import SIZES
from kdray.results.points.compare import not_paired

LEVEL = 0.05
"""p value below which a difference is called one."""
MAX_COMPARED_POINTS = 100
"""With more points only the objectives are compared."""
UNKNOWN = "too few seeds to say"
HIGHER, LOWER, NOT_SIGNIFICANT = "higher", "lower", "not significant"

Baseline = int | str | dict[str, Any]
"""A point, a case, or values by path."""


class Compared(NamedTuple):
    """One point against the baseline in one metric."""

    point: int
    values: str
    """In which the point differs from its baseline."""
    seeds: str
    smallest: float
    """The p value below which Wilcoxon's test cannot come with so many seeds."""
    mean: float
    baseline: float | None
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
    seeds: str
    """``2 seeds``, ``2 to 5 seeds``."""
    not_paired: str = ""
    """Which seeds could not be paired, and why, in a sentence."""

    @property
    def different(self) -> int:
        """The number of rows whose difference is larger than chance explains, by the corrected t
        test."""
        return sum(row.verdict in (HIGHER, LOWER) for row in self.rows)

    @property
    def heading(self) -> str:
        """The result in a few words."""
        if self.problem:
            return "cannot be compared"
        points = counted(len(self.rows), "point")
        if not self.different:
            return f"no significant difference at {points} ({self.seeds})"
        return (
            f"{self.different} of {points} differ{'s' * (self.different == 1)} significantly "
            f"({self.seeds})"
        )

    @property
    def powerless(self) -> str:
        """A sentence where Wilcoxon's test cannot find anything, else nothing."""
        least = min((row.smallest for row in self.rows), default=0.0)
        if least < LEVEL:
            return ""
        return (
            f"With {self.seeds} Wilcoxon's p cannot be below {least:.3g} even before the "
            "correction: this test cannot reach "
            "significance here, whatever the difference."
        )


def comparisons(group: Group, baseline: Baseline | None) -> tuple[str, list[Comparison]]:
    """Return what the points are compared with, in words, and a table for each metric that matters
    most."""
    if len(group.points) < 2 or (baseline is None and not group.leaders):
        return "", []
    chosen = group.leaders[0] if baseline is None else baseline
    return named(group, baseline), [
        _comparison(group, chosen, metric) for metric in _metrics(group)
    ]


def _metrics(group: Group) -> list[str]:
    wanted = [
        *group.aims.metrics,
        *([clean(group), robust(group)] if len(group.points) <= MAX_COMPARED_POINTS else []),
    ]
    return [
        name
        for name in dict.fromkeys(wanted)
        if name is not None and name in group.metrics and name not in SIZES
    ]


def named(group: Group, baseline: Baseline | None) -> str:
    """Write the baseline in words; without one, the best point."""
    chosen = group.leaders[0] if baseline is None else baseline
    if isinstance(chosen, dict):
        return (
            f"the points with {point_text(chosen)}, each compared with the one that shares its "
            "other values"
        )
    if isinstance(chosen, str):
        return f"the case {chosen}"
    exists = group.points["point"].eq(chosen).any()
    about = f" ({group.about(chosen)})" if exists else ""
    shares = len(group.leaders) > len(group.best)
    first = (
        ", the first of those that share the best place"
        if shares
        else ", the best by the objective"
    )
    return f"point {chosen}{about}" + (first if baseline is None else "")


def _comparison(group: Group, chosen: Baseline, metric: str) -> Comparison:
    points = [int(point) for point in group.points["point"]]
    where = None if group.alone else [("point", "in", points)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few or equal seeds, other devices: the page says so
            frame = group.results.compare(chosen, metric, sweep=group.sweep, where=where)
    except InputError as error:
        return Comparison(metric, (), str(error), "")
    counts = pd.concat([frame["n"], frame.loc[frame["n_baseline"] > 0, "n_baseline"]])
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    largest = 1.0 if is_share(metric) else math.inf
    rows = tuple(_rows(group, frame, largest))
    return Comparison(metric, rows, "", count_range(low, high, "seed"), not_paired(frame))


def _rows(group: Group, frame: pd.DataFrame, largest: float) -> Iterator[Compared]:
    """Yield a row for each point; ``largest``: what no difference can surpass."""
    for row in records(frame):
        point = int(row["point"])
        low, high = (min(max(row[end], -largest), largest) for end in ("low", "high"))
        yield Compared(
            point=point,
            values=_differing_values(group, point, row["baseline"]),
            seeds=f"{row['n']}, paired" if row["paired"] else f"{row['n']} and {row['n_baseline']}",
            smallest=_smallest(row["n"], row["n_baseline"], row["paired"]),
            mean=float(row["mean"]),
            baseline=None if is_missing(row["mean_baseline"]) else float(row["mean_baseline"]),
            difference=None if is_missing(row["difference"]) else float(row["difference"]),
            interval=NONE if is_missing(row["low"]) else f"{low:+.3f} to {high:+.3f}",
            t_p=_p(row["t_p_holm"]),
            wilcoxon_p=_p(row["wilcoxon_p_holm"]),
            effect=NONE if is_missing(row["effect_size"]) else f"{row['effect_size']:+.2f}",
            verdict=_verdict(row),
        )


def _differing_values(group: Group, point: int, baseline: Any) -> str:
    """Write the case and values of a point that its baseline does not have."""
    if is_missing(baseline):
        return group.about(point)
    theirs = group.described[int(baseline)]
    ours = {
        path: value
        for path, value in group.described[point].items()
        if value_text(value) != value_text(theirs[path])
    }
    return (
        point_text(
            {path: value for path, value in ours.items() if path != "case"}, ours.get("case")
        )
        if ours
        else NONE
    )


def _smallest(ours: int, theirs: int, paired: bool) -> float:
    """Return the two-sided p value where all ranks speak for one side: of the signed ranks, or of
    the rank sum."""
    return 2.0 ** (1 - ours) if paired else min(1.0, 2 / math.comb(ours + theirs, ours))


def _p(p: float) -> str:
    return NONE if is_missing(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _verdict(row: dict[str, Any]) -> str:
    # Without any spread there is no t test, and ranks alone decide.
    p = row["wilcoxon_p_holm"] if is_missing(row["t_p_holm"]) else row["t_p_holm"]
    if is_missing(p):
        return UNKNOWN
    if p >= LEVEL:
        return NOT_SIGNIFICANT
    return HIGHER if row["difference"] > 0 else LOWER
