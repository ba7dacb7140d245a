"""Images beside the scores that models gave them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kdray.report.figures.drawing import groups
from kdray.report.figures.style import COLUMN, INK, PAPER, context, look


def images_with_scores(
    images: npt.NDArray[np.floating],
    scores: pd.DataFrame,
    titles: Sequence[str],
    *,
    by: str,
    classes: Sequence[str],
    order: Sequence[str] | None = None,
    truth: Sequence[int] | None = None,
    width: float = COLUMN,
) -> matplotlib.figure.Figure:
    """A row for each of ``images`` (N, H, W, C or N, H, W; in [0, 1]): the image, and a bar per
    class for each value of ``by``.

    ``scores`` has ``image`` (0 to N - 1), ``class``, ``score`` (a probability) and ``by``; several
    rows of one bar (seeds) are averaged. The true class, ``truth``, is shaded.
    """
    with context():
        figure = matplotlib.figure.Figure(
            figsize=(width, 1.05 * len(images) + 0.75), layout="constrained"
        )
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(images), 2, squeeze=False, width_ratios=(1, 2.6))
        handles: dict[str, Any] = {}
        for number, (image, (left, right)) in enumerate(zip(images, grid, strict=True)):
            left.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            left.set_axis_off()
            left.set_title(titles[number], fontsize=7.5)
            own = scores[scores["image"].eq(number)]
            parts = groups(own, by, order or list(scores[by].unique()))
            handles |= _score_bars(right, parts, len(classes))
            _score_axis(right, classes, named=number == len(images) - 1)
            if truth is not None:
                _shade(right, truth[number])
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 3)
        )
    return figure


def _score_bars(
    axes: Axes, parts: Sequence[tuple[Any, pd.DataFrame]], classes: int
) -> dict[str, Any]:
    """Draw a bar per class for each part, side by side; the bars by the part's name."""
    handles = {}
    for position, (key, part) in enumerate(parts):
        style, thick = look(position), 0.8 / len(parts)
        mean = part.groupby("class")["score"].mean().reindex(range(classes))
        at = np.arange(classes) - 0.4 + thick * (position + 0.5)
        handles[str(key)] = axes.bar(
            at,
            100 * mean,
            0.95 * thick,
            color=style.color,
            hatch=style.hatch,
            edgecolor=PAPER,
            linewidth=0,
        )
    return handles


def _score_axis(axes: Axes, classes: Sequence[str], *, named: bool) -> None:
    """Scale the bars from 0 to 100 %, the classes ``named`` below or not."""
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.set_ylabel("Score (%)")
    axes.grid(visible=False, axis="x")
    axes.set_xticks(range(len(classes)), classes if named else [""] * len(classes), fontsize=7)
    axes.tick_params(axis="x", length=0)


def _shade(axes: Axes, label: int) -> None:
    """Shade the true class."""
    axes.axvspan(label - 0.5, label + 0.5, color=INK, alpha=0.07, linewidth=0, zorder=0)
