"""Figures of accuracy against the strength of a change of the images, and of corruptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from kdray.report.figures.caption import caption
from kdray.report.figures.charts import cells, heat_map
from kdray.report.figures.drawing import labelled, legend, lines, panels
from kdray.report.figures.figure import Figure
from kdray.report.figures.style import PAGE
from kdray.report.page.evaluation_settings import Measured, curves, evaluations_apart, panel_title
from kdray.report.page.group import Group
from kdray.report.page.labels import (
    DrawnPoints,
    drawn_points,
    point_label,
    slant_ticks,
    tick_values,
)

MAX_LINES = 6
MAX_ROWS = 12
"""Of a heat map of points."""
MIN_STRENGTHS = 3
"""Strengths that make a curve."""
MAX_SETTINGS = 6
"""Of one kind of evaluation."""


class Strength(NamedTuple):
    """A column of robustness against which an evaluation is a curve."""

    label: str
    harder: str
    """The end of the axis at which the images are changed more."""


STRENGTHS = {
    "sigma": Strength("σ of the noise (pixel units)", "right"),
    "epsilon": Strength("ε of the attack (pixel units)", "right"),
    "snr": Strength("Signal-to-noise ratio", "left"),
    "peak": Strength("Photons at white", "left"),
    "side": Strength("Side of the occluded square (pixels)", "right"),
}


def strength_figures(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield accuracy against the strength of the change, a figure for each kind of evaluation with
    a panel for each setting in which it was measured."""
    numbers = _accuracies(group)
    numbers = numbers[numbers["source_trial_id"].isna() & numbers["corruption"].isna()]
    points = drawn_points(group, MAX_LINES)
    for column in STRENGTHS:
        for kind, rows in numbers.dropna(subset=[column]).groupby("evaluation"):
            measured = curves(rows, column, MIN_STRENGTHS)
            if measured:
                yield _strength_figure(
                    group, f"{prefix}-{kind}-{column}", measured, str(kind), column, points
                )


def _strength_figure(
    group: Group, name: str, measured: list[Measured], kind: str, column: str, points: DrawnPoints
) -> Figure:
    shown, strength = measured[:MAX_SETTINGS], STRENGTHS[column]
    names = {point: point_label(group, point) for point in points.numbers}
    if len(shown) == 1:
        figure, panel = panels(width=4.6, height=2.8)
    else:
        figure, panel = panels(len(shown), columns=2, height=2.4, share_y=True)
    for axes, (what, rows) in zip(panel, shown, strict=True):
        drawn = rows[rows["point"].isin(points.numbers)]
        lines(axes, drawn, column, "value", by="point", order=points.numbers, names=names)
        tick_values(axes, rows[column])
        labelled(axes, strength.label, "Accuracy (%)", panel_title(what, PAGE / 2))
    legend(figure)
    told = (
        f"Accuracy under {kind}, which grows to the {strength.harder}. The flatter a line, the "
        f"more robust.{_settings_remark(len(shown), len(measured))}{points.remark}"
    )
    rows = pd.concat([rows.assign(setting=number) for number, (_, rows) in enumerate(shown)])
    title = f"Accuracy under {kind} by {column}"
    return Figure(name, title, caption(told, rows, ["point", "setting"]), figure)


def _settings_remark(shown: int, total: int) -> str:
    """Write what the panels are, if there are several."""
    if total == 1:
        return ""
    some = "" if shown == total else f" Of {total} settings the first {shown} are shown."
    return f" A panel for each setting in which it was measured, with what tells it apart.{some}"


def corruption_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield a heat map of accuracy on corrupted images, a row for each point, for each evaluation
    that measured it."""
    numbers = _accuracies(group)
    points, remark = drawn_points(group, MAX_ROWS)
    rows = numbers[numbers["corruption"].notna() & numbers["point"].isin(points)]
    for number, (what, its) in enumerate(evaluations_apart(rows)[:MAX_SETTINGS]):
        name = f"{prefix}-corruptions" + (f"-{number}" if number else "")
        title = "Accuracy on corrupted images" + (f": {what}" if what else "")
        yield _corruption_map(group, name, title, its, points, remark)


def _corruption_map(
    group: Group, name: str, title: str, rows: pd.DataFrame, points: list[int], remark: str
) -> Figure:
    table = cells(
        rows.assign(name=rows["corruption"].str.replace("_", " ")), "point", "name", "value"
    )
    table = table.reindex([point for point in points if point in table.index])
    table.index = pd.Index([point_label(group, int(point)) for point in table.index])
    figure, (axes,) = panels(width=7.0, height=min(6.0, 1.6 + 0.24 * len(table)))
    heat_map(axes, table, label="Accuracy (%)", digits=0 if len(table.columns) > 10 else 1)
    slant_ticks(axes, 45)
    severities = ", ".join(
        f"{severity:g}" for severity in sorted(rows["severity"].dropna().unique())
    )
    what = (
        f"Accuracy on corrupted images, mean over severities {severities} and seeds: a row "
        "for each point, a column for each corruption. The lighter a cell, the less the "
        f"corruption harms.{remark}"
    )
    return Figure(name, title, caption(what, rows, ["point"], band=""), figure)


def _accuracies(group: Group) -> pd.DataFrame:
    """Return the accuracies measured after the training, a row each, with the trial's point."""
    numbers = group.robustness
    numbers = numbers[
        numbers["metric"].eq("accuracy") & numbers["epoch"].isna() & numbers["value"].notna()
    ]
    trials = group.completed[["trial_id", "point", "seed", "data.name"]]
    return numbers.merge(trials, on="trial_id")
