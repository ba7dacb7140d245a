"""What stands in a figure, read back from it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer

from kdray.report.figures.figure import Figure

Line = tuple[list[float], list[float], list[float]]


def panels_of(figure: Figure) -> list[Axes]:
    """The panels, without the scale of colours."""
    return [axes for axes in figure.figure.axes if axes.get_label() != "<colorbar>"]


def title_of(axes: Axes) -> str:
    """The title of a panel, on one line."""
    return axes.get_title(loc="left").replace("\n", " ")


def lines_of(axes: Axes) -> dict[str, Line]:
    """x, y and deviation of each line with error bars, by its label, rounded."""
    found: dict[str, Line] = {}
    for container in axes.containers:
        if not isinstance(container, ErrorbarContainer) or container.lines[0] is None:
            continue
        x, y = container.lines[0].get_data()
        segments = [part for bar in container.lines[2] for part in bar.get_segments()]
        bars = [float(np.ptp(part[:, 1])) / 2 if len(part) else 0.0 for part in segments]
        label = str(container.get_label())
        found[label] = (_rounded(x), _rounded(y), _rounded(bars))
    return found


def bars_of(axes: Axes) -> dict[str, float]:
    """The height of each bar by the label below it; for a single group."""
    names = [label.get_text() for label in axes.get_xticklabels()]
    (bars,) = (each for each in axes.containers if isinstance(each, BarContainer))
    return dict(zip(names, _rounded(bar.get_height() for bar in bars), strict=True))


def cells_of(axes: Axes) -> list[list[str]]:
    """The texts of a heat map's cells, row by row."""
    down, across = axes.images[0].get_array().shape  # type: ignore[union-attr]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    return [[texts[column, row] for column in range(across)] for row in range(down)]


def _rounded(values: object) -> list[float]:
    return [round(float(value), 6) for value in values]  # type: ignore[attr-defined]
