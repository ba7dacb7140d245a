"""The figures that say which swept values mattered: importance, and parallel coordinates."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd

from kdray.core import InputError
from kdray.core.wording import value_text
from kdray.report.figures.caption import caption
from kdray.report.figures.drawing import labelled, panels
from kdray.report.figures.figure import Figure
from kdray.report.figures.parallel_coordinates import parallel_coordinates
from kdray.report.figures.style import context, look
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share, machines_text, robust
from kdray.report.page.labels import metric_label, plain
from kdray.results import SeveralMachines, SeveralTeachers

MIN_POINTS = 4
"""Points below which an importance says nothing."""


def search_figures(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield the figures, where two or more paths (or cases) take several values."""
    varying = [
        path
        for path in ("case", *group.swept)
        if not group.points.empty and group.points[path].map(value_text).nunique() > 1
    ]
    metric = group.objective.metric
    if len(varying) < 2 or metric not in group.metrics:
        return
    if group.alone and len(group.points) >= MIN_POINTS:
        yield from _importance(group, prefix, metric)
    results = dict.fromkeys(name for name in (metric, robust(group)) if name is not None)
    yield _parallel(group, f"{prefix}-parallel", metric, [*varying, *results])


def _parallel(group: Group, name: str, metric: str, columns: list[str]) -> Figure:
    """Draw every point as a line across ``columns``."""
    frame = group.points[columns].apply(_drawable)
    names = {name: metric_label(name) for name in columns}
    what = (
        "Every point is a line from the values that were swept to what came of them, "
        f"coloured by {metric}. Where lines of one "
        "colour run together through an axis, that value goes with that result; where they "
        "cross at will, it does not matter"
    )
    what += machines_text(group, [column for column in columns if column in group.metrics])
    return Figure(
        name,
        "All points side by side",
        caption(what, group.completed, ["point"], band=""),
        parallel_coordinates(frame, columns, metric, names=names),
    )


def _drawable(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return shares in percent, other numbers as such, and everything else as text."""
    if is_share(str(values.name)):
        return values * 100
    if values.dtype != object:
        return values
    known = values.dropna().map(
        lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    )
    return values.astype(float) if known.all() else values.map(value_text).map(plain)


def _importance(group: Group, prefix: str, metric: str) -> Iterator[Figure]:
    """Yield the importance of the swept values, if there are points enough to say."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SeveralMachines)  # the caption says so
            warnings.simplefilter("ignore", SeveralTeachers)  # said when the rows were read
            shares = group.results.importance(metric, sweep=group.sweep)
    except InputError:  # too few points, or all alike
        return
    figure, (axes,) = panels(width=4.6, height=0.7 + 0.26 * len(shares))
    rising = shares.iloc[::-1]
    with context():
        axes.barh(
            [plain(str(name)) for name in rising.index],
            rising * 100,
            color=look(0).color,
            height=0.6,
        )
        axes.grid(visible=False, axis="y")
    labelled(axes, f"Importance for {metric_label(metric).removesuffix(' (%)')} (%)", "")
    what = (
        f"How much each swept value decides whether a point is among the best by {metric} "
        "(PED-ANOVA, Watanabe et al. 2023): the longer the bar, the more it matters, within the "
        "values that were tried"
    )
    what += machines_text(group, [metric])
    yield Figure(
        f"{prefix}-importance",
        "Importance of the swept values",
        caption(what, group.completed, ["point"], band=""),
        figure,
    )
