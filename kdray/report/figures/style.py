"""How every figure looks: sizes, type and colours for print, one palette that also reads in grey
and to the colour-blind.

The colours are those of Okabe and Ito (2008, "Color Universal Design") without their yellow, too
faint for a line on white, and with the ink of the text for their black. Each goes with a marker and
a line style of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import matplotlib as mpl

INK, GREY, GRID, PAPER = "#1b1b1c", "#6e6e70", "#dcdcde", "#fefefe"
"""Of text and axes, of what stands behind, of grids, of the page: colours that :meth:`Figure.svg`
can tell from data's."""

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", INK, "#8a6d3b")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (3, 1)),
    (0, (7, 1.5)),
    (0, (1.2, 2.2)),
    (0, (5, 1, 1, 1, 1, 1)),
)
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "----", "++++", "oooo")
SEQUENTIAL = "cividis"
"""Colour map of what grows: uniform in lightness, the same to all eyes, dark to light in grey."""

COLUMN, PAGE = 3.4, 7.0
"""Widths of figures in inches: one column of a page with two, and both."""
DPI = 200


class Look(NamedTuple):
    """How one group is drawn wherever it appears."""

    color: str
    marker: str
    dashes: str | tuple[int, tuple[float, ...]]
    hatch: str


def look(position: int) -> Look:
    """The look of the group at ``position``; from the ninth on colours come back with another
    marker and line style."""
    turn = position // len(PALETTE)
    at, shifted = position % len(PALETTE), (position + 3 * turn) % len(PALETTE)
    return Look(PALETTE[at], MARKERS[shifted], DASHES[shifted], HATCHES[shifted])


SETTINGS = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "figure.titlesize": 9,
    "text.parse_math": False,  # a name with $ in it is a name
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.facecolor": "none",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "errorbar.capsize": 2,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "legend.columnspacing": 1.4,
    "figure.dpi": DPI,  # the layout is found at the size at which it is shown
    "figure.constrained_layout.h_pad": 0.05,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text: searchable, read aloud
    "pdf.fonttype": 42,
}


@contextmanager
def context(salt: str = "kdray") -> Iterator[None]:
    """Matplotlib's settings while a figure is made or saved; ``salt`` makes the ids in an SVG the
    figure's own."""
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": salt}):
        yield
