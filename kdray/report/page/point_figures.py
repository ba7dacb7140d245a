"""Figures of the points' metrics against what was swept, and against each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdray.core.wording import is_missing, value_text
from kdray.report.figures.caption import caption
from kdray.report.figures.charts import bars, cells, heat_map, scatter
from kdray.report.figures.drawing import labelled, legend, lines, panels
from kdray.report.figures.figure import Figure
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share, machines_text, robust, trade_off
from kdray.report.page.labels import (
    is_numeric,
    last_part,
    metric_label,
    plain,
    tick_values,
    turn_long_ticks,
)

MAX_LINES = 6
"""Combinations of the other swept values that have a line each."""
MAX_CELLS = 30
"""Values of a path that a heat map has room for."""


def effect_figures(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield the metrics against each swept path."""
    paths, metrics = _varying_paths(group), _figure_metrics(group)
    if not metrics:
        return
    for number, path in enumerate(paths):
        others = [each for each in paths if each != path]
        yield _effect_figure(group, f"{prefix}-effect-{number}", path, others, metrics)


def _effect_figure(
    group: Group, name: str, path: str, others: list[str], metrics: list[str]
) -> Figure:
    frame = group.completed.copy()
    frame["line"] = [_line_name(group, row, others) for row in frame.to_dict("records")]
    apart = [*others, *(["what is not swept"] if group.alike else [])]
    by = "line" if apart and frame["line"].nunique() <= MAX_LINES else None
    numeric = is_numeric(frame[path])
    figure, panel = panels(len(metrics), columns=len(metrics))
    for axes, metric in zip(panel, metrics, strict=True):
        if numeric:
            lines(axes, frame, path, metric, by=by, percent=is_share(metric))
            tick_values(axes, frame[path])
        else:
            texts = frame.dropna(subset=[path]).assign(
                text=lambda rows: rows[path].map(value_text).map(plain)
            )
            bars(axes, texts, "text", metric, by=by, percent=is_share(metric))
            turn_long_ticks(axes)
        labelled(axes, plain(path), metric_label(metric))
    legend(figure)
    shape = "A line that rises to the right" if numeric else "A higher bar"
    what = (
        f"How {' and '.join(metrics)} change with {path}. {shape} means more of what the "
        "upright axis counts"
    )
    what += machines_text(group, metrics)
    if apart and by is None:
        what += (
            f". Each mark is an average over {', '.join(apart)} too, its bar ± one standard "
            "deviation"
        )
        text = caption(what, frame, [path], band="")
    else:
        text = caption(what, frame, [path, "line"] if by else [path])
    return Figure(name, f"{' and '.join(metrics)} against {path}", text, figure)


def _line_name(group: Group, row: dict[Any, Any], paths: list[str]) -> str:
    parts = [
        f"{last_part(path)} {plain(value_text(row[path]))}"
        for path in paths
        if not is_missing(row[path])
    ]
    number = [f"point {int(row['point'])}"] if int(row["point"]) in group.alike else []
    return ", ".join([*parts, *number])


def pair_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield a heat map for each metric, where two paths take several values."""
    paths, metrics = _varying_paths(group), _figure_metrics(group)
    # Points that share both values have no cell of their own.
    if len(paths) != 2 or not metrics or group.alike:
        return
    if max(group.completed[path].map(value_text).nunique() for path in paths) > MAX_CELLS:
        return
    down, across = paths
    frame = group.completed.dropna(subset=paths)
    if frame.empty:
        return
    rows = frame[down].map(value_text).nunique()
    figure, panel = panels(len(metrics), columns=len(metrics), height=min(6.0, 1.1 + 0.24 * rows))
    for axes, metric in zip(panel, metrics, strict=True):
        table = cells(frame, down, across, metric)
        table.index = table.index.map(value_text).map(plain)
        table.columns = table.columns.map(value_text).map(plain)
        heat_map(axes, table, label=metric_label(metric), percent=is_share(metric), bar=False)
        labelled(axes, plain(across), plain(down), metric_label(metric))
        turn_long_ticks(axes)
    what = (
        f"{' and '.join(metrics)} at every pair of {down} and {across}, mean over the seeds: "
        "the lighter a cell, the higher"
    )
    what += machines_text(group, metrics)
    text = caption(what, frame, paths, band="")
    yield Figure(f"{prefix}-pairs", f"{down} and {across} together", text, figure)


def trade_off_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield robust against clean accuracy, where both are known."""
    pair = trade_off(group)
    if pair is None:
        return
    figure, (axes,) = panels(width=4.6, height=3.2)
    scatter(axes, group.points, *pair, ranked=group.whole(pair))
    labelled(axes, metric_label(pair[0]), metric_label(pair[1]))
    legend(figure)
    what = (
        f"{pair[1]} against {pair[0]}, a mark for each point. Up and to the right is "
        "better; from a mark on the stepped line, "
        "the Pareto front, neither can be improved without losing some of the other; only points "
        "all of whose seeds have both, and that keep to the constraints, can be on it"
    )
    text = caption(what, group.completed, ["point"])
    yield Figure(f"{prefix}-trade-off", "What robustness costs in clean accuracy", text, figure)


def _figure_metrics(group: Group) -> list[str]:
    """Return the metrics that figures are about: the objective, and one robust accuracy."""
    wanted = [group.objective.metric, robust(group)]
    return [name for name in dict.fromkeys(wanted) if name is not None and name in group.metrics]


def _varying_paths(group: Group) -> list[str]:
    """Return what takes several values: the case, and swept paths."""
    return [
        path
        for path in ("case", *group.swept)
        if group.completed[path].dropna().map(value_text).nunique() > 1
    ]
