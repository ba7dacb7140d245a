"""Drawing tidy frames, a row per trained model, on the axes of a figure.

What has several seeds is drawn as their mean with a bar or band of ± one standard deviation (ddof
1); accuracies, which are fractions in the tables, as percentages.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from kdray.report.figures.style import COLUMN, GREY, GRID, INK, PAGE, PAPER, context, look

BAND_ALPHA = 0.16
"""Opacity of bands."""
GROUP_OFFSET = 0.01
"""How far apart groups stand at the same x, as a share of the width."""


def panels(
    count: int = 1,
    *,
    columns: int | None = None,
    width: float | None = None,
    height: float | Sequence[float] = 2.2,
    below: float = 0.0,
    share_y: bool = False,
) -> tuple[matplotlib.figure.Figure, list[Axes]]:
    """A figure of ``count`` panels in rows of ``columns``, each ``height`` inches high (or as
    listed, row by row); one panel is as wide as a column of print, several as the page. ``below``:
    inches more for what stands under all of them.
    """
    across = columns or min(count, 3)
    down = -(-count // across)
    heights = [height] * down if isinstance(height, float | int) else list(height)
    wide = width or (COLUMN if across == 1 else PAGE)
    with context():
        figure = matplotlib.figure.Figure(
            figsize=(wide, sum(heights) + below), layout="constrained"
        )
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False, sharey=share_y, height_ratios=heights)
    axes = list(grid.flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def spread(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """``mean``, ``std`` (0 for one seed) and ``n`` of ``y`` at every ``x``, rising."""
    numbers = frame.dropna(subset=[x, y]).groupby(x, observed=True)[y].agg(["mean", "std", "count"])
    return numbers.rename(columns={"count": "n"}).fillna({"std": 0.0})


def lines(
    axes: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    by: str | None = None,
    order: Sequence[Hashable] | None = None,
    names: Mapping[Any, str] | None = None,
    first: int = 0,
    percent: bool = True,
    band: bool = False,
    markers: bool = True,
) -> None:
    """Draw the mean of ``y`` against ``x``, a line for each value of ``by`` (in ``order``, called
    as in ``names``).

    The groups take the looks of the palette from number ``first`` on. ``band``: for many values of
    ``x``, as of epochs; otherwise error bars, groups a little beside each other so that all are
    seen.
    """
    parts = groups(frame, by, order)
    width = float(np.ptp(frame[x].dropna().to_numpy(float))) if frame[x].notna().any() else 0.0
    for number, (key, part) in enumerate(parts):
        numbers = spread(part, x, y)
        if numbers.empty:
            continue
        style, scale = look(first + number), 100 if percent else 1
        at, mean, std = (
            values.to_numpy(float)
            for values in (numbers.index, scale * numbers["mean"], scale * numbers["std"])
        )
        label = (names or {}).get(key, str(key)) if key is not None else None
        with context():
            if band:
                (line,) = axes.plot(
                    at, mean, color=style.color, linestyle=style.dashes, label=label
                )
                axes.fill_between(
                    at, mean - std, mean + std, color=style.color, alpha=BAND_ALPHA, linewidth=0
                )
            else:
                beside = GROUP_OFFSET * width * (number - (len(parts) - 1) / 2)
                several = np.where(std > 0, std, np.nan)
                line = axes.errorbar(
                    at + beside,
                    mean,
                    yerr=several if std.any() else None,
                    color=style.color,
                    linestyle=style.dashes,
                    elinewidth=0.9,
                    label=label,
                ).lines[0]
            if markers:
                line.set(marker=style.marker, markeredgecolor=PAPER, markeredgewidth=0.5)


def learning_curves(
    axes: Axes,
    epochs: pd.DataFrame,
    y: str = "val_accuracy",
    *,
    by: str | None = None,
    order: Sequence[Hashable] | None = None,
    names: Mapping[Any, str] | None = None,
    percent: bool = True,
) -> None:
    """Draw ``y`` against ``epoch``: a row for every epoch of every trained model, the seeds of a
    group as one line with a band."""
    lines(
        axes,
        epochs,
        "epoch",
        y,
        by=by,
        order=order,
        names=names,
        percent=percent,
        band=True,
        markers=False,
    )
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def groups(
    frame: pd.DataFrame, by: str | None, order: Sequence[Hashable] | None = None
) -> list[tuple[Any, pd.DataFrame]]:
    """The rows of each value of ``by``, in ``order`` (values without rows have an empty part) or as
    they first appear."""
    if by is None:
        return [(None, frame)]
    keys: Sequence[Any] = list(frame[by].dropna().unique()) if order is None else order
    return [(key, frame[frame[by].eq(key)]) for key in keys]


def reference(axes: Axes, frame: pd.DataFrame, y: str, label: str, *, percent: bool = True) -> None:
    """Draw a horizontal line at the mean of ``y``, with a band over its seeds: what does not depend
    on what is swept."""
    values = frame[y].dropna() * (100 if percent else 1)
    if values.empty:
        return
    mean, std = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
    axes.axhline(mean, color=GREY, linestyle=(0, (1.2, 1.2)), linewidth=1.1, label=label)
    axes.axhspan(mean - std, mean + std, color=GREY, alpha=BAND_ALPHA, linewidth=0)


def marks(
    axes: Axes,
    at: Sequence[float],
    values: Sequence[float],
    label: str,
    position: int | None = None,
) -> None:
    """Draw published numbers, as printed: hollow stars, in the colour of the group at ``position``
    that they belong to."""
    color = INK if position is None else look(position).color
    axes.plot(
        at,
        values,
        linestyle="none",
        marker="*",
        markersize=8,
        markerfacecolor=PAPER,
        markeredgecolor=color,
        markeredgewidth=1.0,
        label=label,
        zorder=4,
    )


def absent(axes: Axes, text: str) -> None:
    """Draw an empty, hatched panel that says what was not measured and how to get it."""
    with context():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.add_patch(
            Rectangle(
                (0, 0),
                1,
                1,
                transform=axes.transAxes,
                facecolor="none",
                edgecolor=GRID,
                hatch="////",
                linewidth=0,
            )
        )
        axes.text(
            0.5,
            0.5,
            text,
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=7,
            color=INK,
            bbox={"facecolor": PAPER, "edgecolor": "none"},
        )


def labelled(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Label both axes, with units, and give the panel its title."""
    with context():
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_title(title)


def from_zero(axes: Axes) -> None:
    """Let the axis of what cannot be negative begin at zero where it would begin below, with room
    for the markers there."""
    low, high = axes.get_ylim()
    if low < 0:
        axes.set_ylim(bottom=-0.03 * high)


def legend(figure: matplotlib.figure.Figure) -> None:
    """Draw one legend for all panels, below them, each name once; none for a single group. The
    figure grows by its height."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(str(name), handle)
    if len(named) < 2:
        return
    # What was measured before levels and published numbers.
    order = sorted(named, key=lambda name: isinstance(named[name], Line2D))
    columns = min(
        len(named), max(1, int(figure.get_figwidth() / (0.55 + 0.062 * max(map(len, named)))))
    )
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.17 * -(-len(named) // columns))
    with context():
        figure.legend(
            [named[name] for name in order], order, loc="outside lower center", ncols=columns
        )
