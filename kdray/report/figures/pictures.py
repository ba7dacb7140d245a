"""Images beside the scores that models gave them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure
import numpy as np
import numpy.typing as npt
import pandas as pd
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
        handles = {}
        for number, (image, (left, right)) in enumerate(zip(images, grid, strict=True)):
            left.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            left.set_axis_off()
            left.set_title(titles[number], fontsize=7.5)
            parts = groups(
                scores[scores["image"].eq(number)], by, order or list(scores[by].unique())
            )
            for position, (key, part) in enumerate(parts):
                style, thick = look(position), 0.8 / len(parts)
                mean = part.groupby("class")["score"].mean().reindex(range(len(classes)))
                at = np.arange(len(classes)) - 0.4 + thick * (position + 0.5)
                handles[str(key)] = right.bar(
                    at,
                    100 * mean,
                    0.95 * thick,
                    color=style.color,
                    hatch=style.hatch,
                    edgecolor=PAPER,
                    linewidth=0,
                )
            right.set_ylim(0, 100)
            right.set_yticks([0, 50, 100])
            right.set_ylabel("Score (%)")
            right.grid(visible=False, axis="x")
            right.set_xticks(
                range(len(classes)),
                classes if number == len(images) - 1 else [""] * len(classes),
                fontsize=7,
            )
            right.tick_params(axis="x", length=0)
            if truth is not None:
                right.axvspan(
                    truth[number] - 0.5,
                    truth[number] + 0.5,
                    color=INK,
                    alpha=0.07,
                    linewidth=0,
                    zorder=0,
                )
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 3)
        )
    return figure
