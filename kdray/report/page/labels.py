"""Labels of points, metrics and axes in the page's figures, and which of many points are drawn."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pandas as pd

from kdray.core.wording import is_missing, value_text
from kdray.report.page.group import Group
from kdray.report.page.headline_metrics import is_share

MAX_TICKS = 8
"""Values of an axis that each have a tick."""
MIN_TICK_DISTANCE = 0.09
"""Share of an axis; within it the labels of two ticks would touch."""
MAX_UPRIGHT_LETTERS = 28
"""Letters of all labels of an axis together that fit without being turned."""
MAX_LABEL_LETTERS = 60
"""Of a point in a legend."""


class DrawnPoints(NamedTuple):
    """The points that a figure shows."""

    numbers: list[int]
    remark: str
    """A sentence for the caption where they are not all."""


def drawn_points(group: Group, most: int) -> DrawnPoints:
    """Return at most so many points: those with the highest and the lowest mean of the objective,
    and some between."""
    objective = group.objective
    ranked = group.points
    if objective.metric in ranked:
        ranked = ranked.sort_values(objective.metric, ascending=objective.mode == "min")
    points = [int(point) for point in ranked["point"]]
    if len(points) <= most:
        return DrawnPoints(sorted(points), "")
    spaced = [points[round(step * (len(points) - 1) / (most - 1))] for step in range(most)]
    return DrawnPoints(
        spaced,
        f" Of {len(points)} points {most} are shown: those with the highest and the lowest mean "
        f"{objective.metric}, and some between.",
    )


def point_label(group: Group, point: int) -> str:
    """Return the name of a point in a legend: its case and its swept values, and its number where
    another may have the same."""
    case, values = group.case(point), group.values(point)
    parts = [] if is_missing(case) else [str(case)]
    parts += [
        f"{last_part(path)} {value_text(value)}"
        for path, value in values.items()
        if not is_missing(value)
    ]
    text, number = ", ".join(parts), f"point {point}"
    if text and (point in group.alike or len(text) > MAX_LABEL_LETTERS):
        return plain(f"{text[: MAX_LABEL_LETTERS - len(number) - 2]}, {number}")
    return plain(text or number)


def metric_label(metric: str) -> str:
    """Return the label of an axis that shows ``metric``."""
    return plain(metric) + (" (%)" if is_share(metric) else "")


def plain(text: str) -> str:
    """Return ``text`` without what matplotlib takes for mathematics."""
    return text.replace("$", r"\$")


def last_part(path: str) -> str:
    """Return ``sigma`` of ``noise.input.sigma``."""
    return path.rpartition(".")[2]


def is_numeric(values: pd.Series[Any]) -> bool:
    """Tell whether an axis can hold the values as numbers."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def tick_values(axes: Any, values: pd.Series[Any]) -> None:
    """Put a tick at every value, where they are few and not too close for their labels."""
    at = sorted(float(value) for value in values.dropna().unique())
    if not 2 <= len(at) <= MAX_TICKS:
        return
    nearest = min(after - before for before, after in pairwise(at))
    if nearest >= MIN_TICK_DISTANCE * (at[-1] - at[0]):
        axes.set_xticks(at, [value_text(value) for value in at])


def turn_long_ticks(axes: Any) -> None:
    """Slant the labels below an axis where they would touch."""
    texts = [label.get_text() for label in axes.get_xticklabels()]
    if sum(map(len, texts)) > MAX_UPRIGHT_LETTERS:
        slant_ticks(axes, 40)


def slant_ticks(axes: Any, degrees: float) -> None:
    """Turn the labels below an axis around their ends."""
    axes.tick_params(axis="x", labelrotation=degrees)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")
