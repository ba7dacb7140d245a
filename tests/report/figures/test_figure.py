"""A figure is the same file every time, and an SVG that a page can hold beside others."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image

from kdray.report import Figure, labelled, legend, lines, panels
from kdray.report.figures.style import DPI, INK


def figure(name: str = "a", title: str = "Title", label: str = "Accuracy (%)") -> Figure:
    frame = pd.DataFrame(
        {"x": [0, 0, 1, 1], "y": [0.5, 0.6, 0.7, 0.9], "g": ["one", "two", "one", "two"]}
    )
    drawn, (axes,) = panels()
    lines(axes, frame, "x", "y", by="g")
    labelled(axes, "x", label)
    legend(drawn)
    return Figure(name, title, "caption", drawn)


def test_it_is_saved_as_pdf_svg_and_png_and_the_same_figure_gives_the_same_bytes(
    tmp_path: Path,
) -> None:
    first, second = (figure().save(tmp_path / folder) for folder in ("first", "second"))
    assert [path.name for path in first] == ["a.pdf", "a.svg", "a.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert b"Date" not in first[0].read_bytes()
    assert "dc:date" not in first[1].read_text()


def test_a_png_has_200_dots_per_inch_of_a_column(tmp_path: Path) -> None:
    with Image.open(figure().save(tmp_path)[2]) as image:
        assert image.width == round(3.4 * DPI)


def test_two_svgs_on_one_page_share_no_id_and_every_reference_is_met() -> None:
    one, two = figure("one").svg(), figure("two").svg()
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one))
    assert used
    assert {name for pair in used for name in pair if name} <= ids[0]


def test_an_svg_for_a_page_follows_its_colors_and_brings_no_style_sheet_date_or_ground() -> None:
    text = figure().svg()
    ElementTree.fromstring(text)
    assert text.startswith("<svg")
    for foreign in ("<style", "<metadata", "<?xml", "<!DOCTYPE"):
        assert foreign not in text
    assert f"var(--figure-ink, {INK})" in text
    assert not re.search(rf"(?<!, ){INK}", text)
    assert re.search(r'patch_1">\s*<path[^>]*style="fill: none"', text)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a "b" & c', "a$b$c", "$\\frac$"])
def test_titles_and_labels_stay_text(name: str) -> None:
    text = figure(title=name, label=name).svg()
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == name
    assert name in [
        "".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "<script" not in text


def test_no_text_is_smaller_than_seven_points() -> None:
    sizes = re.findall(r"font(?:-size)?: (?:[\w ]* )?([\d.]+)px", figure().svg())
    assert sizes
    assert min(map(float, sizes)) >= 7
