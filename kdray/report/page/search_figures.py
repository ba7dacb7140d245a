"""What mattered among the swept values: importance, and all points side by side."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from kdray.core import InputError
from kdray.core.wording import value_text
from kdray.report.figures.caption import caption
from kdray.report.figures.drawing import labelled, panels
from kdray.report.figures.figure import Figure
from kdray.report.figures.parallel_coordinates import parallel_coordinates
from kdray.report.figures.style import context, look
from kdray.report.page.figures import metric_label, plain
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share, robust

FEWEST = 4
"""Points, for an importance to say anything."""


def figures(group: Group, prefix: str) -> Iterator[Figure]:
    """Where two or more paths (or cases) take several values."""
    varying = [
        path
        for path in ("case", *group.swept)
        if not group.points.empty and group.points[path].map(value_text).nunique() > 1
    ]
    metric = group.objective.metric
    if len(varying) < 2 or metric not in group.metrics:
        return
    if group.alone and len(group.points) >= FEWEST:
        yield from _importance(group, prefix, metric)
    columns = [
        *varying,
        *dict.fromkeys(name for name in (metric, robust(group)) if name is not None),
    ]
    shown = group.points[columns].copy()
    for name in columns:
        if is_share(name):
            shown[name] *= 100
        elif shown[name].dtype == object:
            numbers = shown[name].map(
                lambda value: isinstance(value, int | float) and not isinstance(value, bool)
            )
            shown[name] = (
                shown[name].astype(float)
                if numbers[shown[name].notna()].all()
                else shown[name].map(value_text).map(plain)
            )
    names = {name: plain(name) + (" (%)" if is_share(name) else "") for name in columns}
    figure = parallel_coordinates(shown, columns, metric, names=names)
    what = (
        "Every point is a line from the values that were swept to what came of them, "
        f"coloured by {metric}. Where lines of one "
        "colour run together through an axis, that value goes with that result; where they "
        "cross at will, it does not matter"
    )
    told = caption(what, group.completed, ["point"], band="")
    yield Figure(f"{prefix}-parallel", "All points side by side", told, figure)


def _importance(group: Group, prefix: str, metric: str) -> Iterator[Figure]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = group.results.importance(metric, sweep=group.sweep)
    except InputError:  # too few points, or all alike: then there is no share to tell
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
    labelled(axes, f"Share of the variance of {metric_label(metric).removesuffix(' (%)')} (%)", "")
    what = (
        f"How much of the differences in {metric} between points goes with each swept value "
        "(functional ANOVA over a random "
        "forest, Hutter et al. 2014): the longer the bar, the more it matters, within the "
        "values that were tried"
    )
    yield Figure(
        f"{prefix}-importance",
        "What mattered",
        caption(what, group.completed, ["point"], band=""),
        figure,
    )
