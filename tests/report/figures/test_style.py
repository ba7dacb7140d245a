"""Groups are told apart without colours, and by everybody with them."""

from __future__ import annotations

import itertools
import re

import matplotlib as mpl
import pytest
from matplotlib.colors import to_rgb

from kdray.report.figures.style import GREY, INK, PALETTE, PAPER, context, look


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_no_two_of_twenty_groups_share_color_and_marker_and_no_two_of_eight_marker_or_dashes() -> (
    None
):
    assert len({(style.color, style.marker) for style in map(look, range(20))}) == 20
    for field in ("color", "marker", "dashes", "hatch"):
        assert len({getattr(look(position), field) for position in range(8)}) == 8, field


def test_text_is_readable_on_the_page_and_lines_are_seen() -> None:
    assert contrast(INK, PAPER) > 7
    assert contrast(GREY, PAPER) > 4.5
    assert min(contrast(color, PAPER) for color in PALETTE) > 2


@pytest.mark.parametrize("lacking", ["red", "green"])
def test_colors_differ_for_who_does_not_see_red_or_green(lacking: str) -> None:
    # Viénot, Brettel, Mollon (1999): what a dichromat sees, in linear RGB.
    seen_as = {
        "red": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
        "green": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
    }[lacking]
    seen = [
        [sum(w * c for w, c in zip(row, to_rgb(color), strict=True)) for row in seen_as]
        for color in PALETTE[:7]
    ]
    nearest = min(
        max(abs(a - b) for a, b in zip(one, two, strict=True))
        for one, two in itertools.combinations(seen, 2)
    )
    assert nearest > 0.07


def test_settings_end_with_the_context() -> None:
    before = dict(mpl.rcParams)
    with context("salt"):
        assert mpl.rcParams["svg.hashsalt"] == "salt"
        assert mpl.rcParams["pdf.fonttype"] == 42
    assert dict(mpl.rcParams) == before
    assert re.fullmatch("#[0-9a-f]{6}", INK)
