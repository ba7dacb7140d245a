"""The figures of a sweep, in reading order."""

from __future__ import annotations

from collections.abc import Iterator

from kdray.report.figures.figure import Figure
from kdray.report.page.group import Group
from kdray.report.page.learning_figure import learning_figure
from kdray.report.page.overfitting_figure import overfitting_figure
from kdray.report.page.point_figures import effect_figures, pair_figure, trade_off_figure
from kdray.report.page.robustness_figures import corruption_figure, strength_figures


def figures(group: Group, prefix: str) -> Iterator[Figure]:
    """Yield the figures that fit the sweep's data; ``prefix`` makes their names the sweep's own."""
    if group.points.empty:
        return
    yield from effect_figures(group, prefix)
    yield from pair_figure(group, prefix)
    yield from trade_off_figure(group, prefix)
    yield from strength_figures(group, prefix)
    yield from corruption_figure(group, prefix)
    yield from learning_figure(group, prefix)
    yield from overfitting_figure(group, prefix)
