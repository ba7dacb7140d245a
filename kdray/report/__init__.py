"""Figures and tables from results, in one style, with captions that say of what they are. Loads
neither torch nor ray."""

from kdray.report.figures.caption import caption, data_name, seeds
from kdray.report.figures.charts import bars, cells, color_bar, heat_map, scatter
from kdray.report.figures.drawing import (
    absent,
    from_zero,
    groups,
    labelled,
    learning_curves,
    legend,
    lines,
    marks,
    panels,
    reference,
    spread,
)
from kdray.report.figures.figure import Figure, Missing
from kdray.report.figures.parallel_coordinates import parallel_coordinates
from kdray.report.figures.pictures import images_with_scores
from kdray.report.figures.style import COLUMN, PAGE, PALETTE, PAPER, context, look
from kdray.report.figures.tables import Spread, Table
from kdray.report.papers.attacks import attack_name, attack_text, attacks, under_pgd
from kdray.report.papers.comparable import (
    a_line_for_each_point,
    by_data_set,
    of_one_evaluation,
    of_one_point,
    of_one_setting,
)
from kdray.report.papers.published import published
from kdray.report.papers.script import Draw, Drawing, run
from kdray.report.papers.snapshot import Snapshot, only

__all__ = [
    "COLUMN",
    "PAGE",
    "PALETTE",
    "PAPER",
    "Draw",
    "Drawing",
    "Figure",
    "Missing",
    "Snapshot",
    "Spread",
    "Table",
    "a_line_for_each_point",
    "absent",
    "attack_name",
    "attack_text",
    "attacks",
    "bars",
    "by_data_set",
    "caption",
    "cells",
    "color_bar",
    "context",
    "data_name",
    "from_zero",
    "groups",
    "heat_map",
    "images_with_scores",
    "labelled",
    "learning_curves",
    "legend",
    "lines",
    "look",
    "marks",
    "of_one_evaluation",
    "of_one_point",
    "of_one_setting",
    "only",
    "panels",
    "parallel_coordinates",
    "published",
    "reference",
    "run",
    "scatter",
    "seeds",
    "spread",
    "under_pgd",
]
