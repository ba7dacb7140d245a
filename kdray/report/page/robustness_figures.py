"""Figures of accuracy against the strength of a change of the images, and of corruptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from kdray.report.figures.caption import caption
from kdray.report.figures.charts import cells, heat_map
from kdray.report.figures.drawing import labelled, legend, lines, panels
from kdray.report.figures.figure import Figure
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
    """Yield accuracy against the strength of the change, a figure for each kind of evaluation."""
    numbers = _accuracies(group)
    numbers = numbers[numbers["source_trial_id"].isna() & numbers["corruption"].isna()]
    points = drawn_points(group, MAX_LINES)
    for column, strength in STRENGTHS.items():
        for kind, rows in numbers.dropna(subset=[column]).groupby("evaluation"):
            rows = rows[rows["split"].eq(rows["split"].mode().iloc[0])]
            if rows.groupby("trial_id")[column].nunique().max() >= MIN_STRENGTHS:
                curves = _that_differ_in(rows, column)
                yield _strength_figure(
                    group, f"{prefix}-{kind}-{column}", curves, str(kind), column, strength, points
                )


def _that_differ_in(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the rows of evaluations that agree in all but ``column``: an attack is another
    evaluation at each of its strengths."""
    settings = rows[["norm", "steps", "restarts"]].fillna({"norm": "", "steps": -1, "restarts": -1})
    of_setting = rows[column].groupby([settings[name] for name in settings])
    return rows[of_setting.transform("nunique") >= MIN_STRENGTHS]


def _strength_figure(
    group: Group,
    name: str,
    rows: pd.DataFrame,
    kind: str,
    column: str,
    strength: Strength,
    points: DrawnPoints,
) -> Figure:
    figure, (axes,) = panels(width=4.6, height=2.8)
    names = {point: point_label(group, point) for point in points.numbers}
    drawn = rows[rows["point"].isin(points.numbers)]
    lines(axes, drawn, column, "value", by="point", order=points.numbers, names=names)
    tick_values(axes, rows[column])
    labelled(axes, strength.label, "Accuracy (%)")
    legend(figure)
    what = (
        f"Accuracy under {kind}, which grows to the {strength.harder}. The flatter a line, the "
        f"more robust.{points.remark}"
    )
    title = f"Accuracy under {kind} by {column}"
    return Figure(name, title, caption(what, rows, ["point"]), figure)


def corruption_figure(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield a heat map of accuracy on corrupted images, a row for each point."""
    numbers = _accuracies(group)
    points, remark = drawn_points(group, MAX_ROWS)
    rows = numbers[numbers["corruption"].notna() & numbers["point"].isin(points)]
    if rows.empty:
        return
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
    text = caption(what, rows, ["point"], band="")
    yield Figure(f"{prefix}-corruptions", "Accuracy on corrupted images", text, figure)


def _accuracies(group: Group) -> pd.DataFrame:
    """Return the accuracies measured after the training, a row each, with the trial's point."""
    numbers = group.robustness
    numbers = numbers[
        numbers["metric"].eq("accuracy") & numbers["epoch"].isna() & numbers["value"].notna()
    ]
    trials = group.completed[["trial_id", "point", "seed", "data.name"]]
    return numbers.merge(trials, on="trial_id")
