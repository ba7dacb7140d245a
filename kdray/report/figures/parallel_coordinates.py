"""Parallel coordinates: every point of a sweep as a line across what was swept and what came of
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize

from kdray.report.figures.drawing import panels
from kdray.report.figures.style import GREY, PAGE, PALETTE, PAPER, context

GREY_TO_BLUE = LinearSegmentedColormap.from_list("to_blue", ["#c6c9ce", PALETTE[0]])
"""For lines, on a light and a dark ground: the highest stand out."""
LABEL_BOX = {"boxstyle": "square,pad=0.1", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.75}
"""The ground of a label that lines run behind."""


def parallel_coordinates(
    points: pd.DataFrame,
    columns: Sequence[str],
    color: str,
    *,
    names: Mapping[str, str] | None = None,
) -> matplotlib.figure.Figure:
    """A figure with an upright axis for each of ``columns`` and a line for each row of ``points``,
    coloured by ``color``.

    Words are set out in the order of their first appearance; a row that lacks a value breaks its
    line there.
    """
    figure, (axes,) = panels(width=PAGE, height=2.9)
    scaled, ticks = zip(*(_scaled(points[name]) for name in columns), strict=True)
    by_color = points[color].to_numpy(float)
    finite = by_color[np.isfinite(by_color)]
    ends = Normalize(float(finite.min()), float(finite.max())) if len(finite) else Normalize(0, 1)
    order = np.argsort(by_color)  # the highest on top; NaN, which has no colour, is left out
    across, heights = np.arange(len(columns)), np.column_stack(scaled)
    paths = [np.column_stack([across, heights[row]]) for row in order if np.isfinite(by_color[row])]
    with context():
        drawn = LineCollection(paths, cmap=GREY_TO_BLUE, norm=ends, linewidths=1.0, alpha=0.85)
        drawn.set_array(np.sort(finite))
        axes.add_collection(drawn)
        for position, labels in enumerate(ticks):
            axes.axvline(position, color=GREY, linewidth=0.8)
            for height, label in labels:
                axes.annotate(
                    label,
                    (position, height),
                    (3, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7,
                    bbox=LABEL_BOX,
                )
        axes.set_xlim(-0.05, len(columns) - 0.55)
        axes.set_ylim(-0.06, 1.06)
        axes.set_xticks(range(len(columns)), [(names or {}).get(name, name) for name in columns])
        axes.tick_params(axis="x", length=0)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        scale = figure.colorbar(
            drawn, ax=axes, label=(names or {}).get(color, color), pad=0.01, fraction=0.03
        )
        scale.outline.set_visible(False)
    return figure


def _scaled(
    values: pd.Series[Any],
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[tuple[float, str]]]:
    """``values`` scaled to [0, 1] (NaN where missing), and the ticks of their axis: height and
    label."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        low, high = float(values.min()), float(values.max())
        heights = (
            (values.to_numpy(float) - low) / (high - low)
            if high > low
            else values.to_numpy(float) * 0 + 0.5
        )
        marked = sorted(values.dropna().unique())
        if len(marked) > 6:
            marked = list(np.linspace(low, high, 5))
        return heights, [
            ((value - low) / (high - low) if high > low else 0.5, f"{value:.3g}")
            for value in marked
        ]
    kinds = list(values.dropna().unique())
    place = {
        kind: number / max(1, len(kinds) - 1) if len(kinds) > 1 else 0.5
        for number, kind in enumerate(kinds)
    }
    return values.map(place).to_numpy(float), [
        (height, str(kind)) for kind, height in place.items()
    ]
