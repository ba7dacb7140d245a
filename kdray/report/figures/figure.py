"""A figure with what a reader needs to know about it, and what stands in its place where there is
nothing to draw."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib.figure
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kdray.report.figures.style import DPI, GREY, GRID, INK, PAPER, context

THEME_COLORS = {INK: "ink", GREY: "grey", GRID: "grid", PAPER: "paper"}
"""Colours that a page may set anew: ``--figure-ink`` and so on."""
SVG_STYLE = "stroke-linejoin: round; stroke-linecap: butt"
ID_OR_REFERENCE = re.compile(r'\b(id="|url\(#|href="#)')
"""What comes before an id, where it is given and where it is used."""


@dataclass(frozen=True)
class Figure:
    """A complete picture; :func:`kdray.report.figures.drawing.panels` makes its matplotlib part."""

    name: str
    """Of its files, without an ending."""
    title: str
    caption: str
    """What it shows, of which data and how many seeds, what the bars are, and where it was first
    published."""
    figure: matplotlib.figure.Figure

    def save(self, folder: Path) -> list[Path]:
        """Write ``name.pdf``, ``.svg`` and ``.png`` (200 dots per inch); the same figure gives the
        same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        made = [folder / f"{self.name}.{kind}" for kind in ("pdf", "svg", "png")]
        for path in made:
            path.write_bytes(self._rendered(path.suffix[1:]))
        return made

    def svg(self) -> str:
        """For a page: one ``<svg>`` element with ids of its own and a transparent ground, its title
        as accessible name.

        Ink, grey, grid and paper follow the page's ``--figure-ink``, ``--figure-grey``,
        ``--figure-grid`` and ``--figure-paper`` where it sets them.
        """
        text = self._rendered("svg").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
        # A style sheet inside would be the whole page's.
        text = re.sub(r"\s*<defs>\s*<style[^>]*>\*\{([^}]*)\}</style>\s*</defs>", "", text, count=1)
        text = ID_OR_REFERENCE.sub(rf"\g<1>{re.sub(r'[^a-zA-Z0-9_-]', '-', self.name)}-", text)
        for color, role in THEME_COLORS.items():
            text = text.replace(color, f"var(--figure-{role}, {color})")
        opening = f'<svg role="img" aria-label="{escape(self.title)}" style="{SVG_STYLE}"'
        return text.replace("<svg", opening, 1)

    def _rendered(self, kind: str) -> bytes:
        FigureCanvasAgg(self.figure)
        undated = {"pdf": {"CreationDate": None, "ModDate": None}, "svg": {"Date": None}}.get(
            kind, {}
        )
        ground = PAPER if kind == "png" else "none"
        buffer = io.BytesIO()
        with context(self.name):
            if self.figure.get_layout_engine() is not None:  # found once, for all kinds of file
                self.figure.draw_without_rendering()
                self.figure.set_layout_engine("none")
            self.figure.savefig(buffer, format=kind, dpi=DPI, metadata=undated, facecolor=ground)
        return buffer.getvalue()


@dataclass(frozen=True)
class Missing:
    """A figure or table that the results have nothing for."""

    name: str
    title: str
    reason: str
    """What is not there, and the command that gets it."""
