"""Bars, heat maps and clean-against-robust scatter plots of tidy frames."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from textwrap import fill
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from kdray.core.wording import NONE
from kdray.report.figures.drawing import groups, spread
from kdray.report.figures.style import GREY, GRID, INK, PAPER, SEQUENTIAL, context, look
from kdray.results.points.pareto import fronts

LUMA = (0.299, 0.587, 0.114)
"""How much red, green and blue add to the lightness of a colour (Rec. 601)."""
LABEL_LETTERS_PER_INCH = 8
"""How many letters of a colour bar's label fit on one line, for an inch of the figure's height:
half of it is panels, the rest their names."""
CELL_TEXT: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7}


def bars(
    axes: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: str | None = None,
    order: Sequence[Hashable] | None = None,
    along: Sequence[Hashable] | None = None,
    names: Mapping[Any, str] | None = None,
    first: int = 0,
    percent: bool = True,
) -> None:
    """Draw the mean of ``y`` at each value of ``x`` (``along``: their order), a bar beside the
    others for each value of ``by``.

    A bar that is missing is marked "–".
    """
    kinds = list(frame[x].dropna().unique() if along is None else along)
    parts = groups(frame, by, order)
    width = 0.8 / len(parts)
    for number, (key, part) in enumerate(parts):
        style = look(number + first)
        numbers = spread(part, x, y).reindex(kinds) * (100 if percent else 1)
        at = np.arange(len(kinds)) - 0.4 + width * (number + 0.5)
        label = (names or {}).get(key, str(key)) if key is not None else None
        several = numbers["std"].where(numbers["std"] > 0)
        with context():
            axes.bar(
                at,
                numbers["mean"],
                0.92 * width,
                color=style.color,
                edgecolor=PAPER,
                linewidth=0,
                hatch=style.hatch,
                label=label,
            )
            axes.errorbar(
                at,
                numbers["mean"],
                yerr=several,
                linestyle="none",
                color=INK,
                elinewidth=0.8,
                capsize=1.5,
            )
            for place in at[numbers["mean"].isna()]:
                axes.text(place, 0.01, NONE, transform=axes.get_xaxis_transform(), ha="center")
    axes.set_xticks(range(len(kinds)), [(names or {}).get(kind, str(kind)) for kind in kinds])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def cells(frame: pd.DataFrame, rows: str, columns: str, y: str) -> pd.DataFrame:
    """The mean of ``y`` for every pair, for :func:`heat_map`."""
    return frame.pivot_table(index=rows, columns=columns, values=y, aggfunc="mean", observed=True)


def heat_map(
    axes: Axes,
    values: pd.DataFrame,
    *,
    label: str = "",
    percent: bool = True,
    low: float | None = None,
    high: float | None = None,
    digits: int = 1,
    bar: bool = True,
) -> AxesImage:
    """Draw ``values`` as coloured cells with their numbers; a missing one is hatched, marked "–".

    ``low`` and ``high``, in the units shown, are the ends of the colours; a ``bar`` with ``label``
    says what they mean, unless several panels share one (:func:`color_bar`).
    """
    shown = values.to_numpy(float) * (100 if percent else 1)
    finite = shown[np.isfinite(shown)]
    ends = Normalize(
        finite.min(initial=math.inf) if low is None else low,
        finite.max(initial=-math.inf) if high is None else high,
    )
    colors = mpl.colormaps[SEQUENTIAL]
    with context():
        image = axes.imshow(
            np.ma.masked_invalid(shown),
            cmap=colors,
            norm=ends,
            aspect="auto",
            interpolation="nearest",
        )
        for (row, column), value in np.ndenumerate(shown):
            if np.isfinite(value):
                dark = np.dot(colors(ends(value))[:3], LUMA) < 0.46
                axes.text(
                    column,
                    row,
                    f"{value:.{digits}f}",
                    color="#ffffff" if dark else "#000000",
                    **CELL_TEXT,
                )
            else:
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(
                    Rectangle(
                        corner, 1, 1, facecolor="none", edgecolor=GRID, hatch="////", linewidth=0
                    )
                )
                axes.text(column, row, NONE, color=INK, **CELL_TEXT)
        axes.set_xticks(range(len(values.columns)), list(map(str, values.columns)))
        axes.set_yticks(range(len(values.index)), list(map(str, values.index)))
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    if bar:
        color_bar(image, [axes], label)
    return image


def color_bar(image: AxesImage, axes: Sequence[Axes], label: str) -> None:
    """Draw the bar of what the colours of ``image`` mean, beside the panels that share them."""
    figure = axes[0].get_figure(root=True)
    assert figure is not None
    fitting = int(figure.get_figheight() * LABEL_LETTERS_PER_INCH)
    with context():
        bar = figure.colorbar(
            image, ax=list(axes), label=fill(label, fitting), pad=0.01, fraction=0.03, aspect=30
        )
        bar.outline.set_visible(False)


def scatter(
    axes: Axes,
    points: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: str | None = None,
    order: Sequence[Hashable] | None = None,
    names: Mapping[Any, str] | None = None,
    modes: tuple[Literal["max", "min"], Literal["max", "min"]] = ("max", "max"),
    percent: tuple[bool, bool] = (True, True),
    ranked: pd.DataFrame | None = None,
) -> None:
    """Draw points (a row each: the means ``x`` and ``y``; ``x std`` and ``y std`` where there are),
    and the Pareto front of ``ranked``, some of them (None: of all): the steps beyond which nothing
    measured is better in both.
    """
    scales = [100 if each else 1 for each in percent]
    for number, (key, part) in enumerate(groups(points, by, order)):
        if part.empty:
            continue
        style = look(number)
        wide, tall = (
            part[f"{name} std"] * scale if f"{name} std" in part else None
            for name, scale in zip((x, y), scales, strict=True)
        )
        label = (names or {}).get(key, str(key)) if key is not None else None
        with context():
            axes.errorbar(
                part[x] * scales[0],
                part[y] * scales[1],
                xerr=wide,
                yerr=tall,
                linestyle="none",
                marker=style.marker,
                color=style.color,
                markeredgecolor=PAPER,
                markeredgewidth=0.5,
                elinewidth=0.6,
                capsize=0,
                label=label,
            )
    complete = (points if ranked is None else ranked).dropna(subset=[x, y])
    if complete.empty:
        return
    front = complete[fronts(complete[[x, y]].to_numpy(), modes) == 0]
    best = front.drop_duplicates([x, y]).sort_values(x)
    axes.step(
        best[x] * scales[0],
        best[y] * scales[1],
        where="pre" if modes[0] == "max" else "post",
        color=GREY,
        linewidth=1.0,
        zorder=1,
        label="Pareto front",
    )
