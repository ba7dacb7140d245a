"""The page around the sections: what is read, chosen, embedded and allowed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.report.page import html
from kdray.report.page.html import chosen_groups, opened, render
from tests.report.outline import outline
from tests.report.page.small import SIGMA, Small, two_by_two


def test_steps_are_announced_in_order(tmp_path: Path) -> None:
    first = Small(tmp_path, "first")
    first.point(0, [0.9])
    first.written()
    second = Small(tmp_path, "second")
    second.point(0, [0.9])
    steps: list[str] = []
    render(second.written(), progress=steps.append)
    assert steps == ["reading the tables", "first (1 of 2)", "second (2 of 2)"]


def test_a_damaged_file_is_a_problem_that_the_page_shows(tmp_path: Path) -> None:
    results = two_by_two(tmp_path).written()
    (tmp_path / "trials" / "damaged.parquet").write_bytes(b"no parquet")
    steps: list[str] = []
    page = outline(render(results, progress=steps.append))
    assert steps[1].startswith("kdray: warning:")
    assert "damaged.parquet" in steps[1]
    assert "damaged.parquet" in page.all("section", class_="notice")[0].text
    snapshot, problems = opened(results)
    assert len(problems) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        snapshot.trials()  # read once


def test_an_unknown_sweep_is_named_with_the_known_ones(tmp_path: Path) -> None:
    results = two_by_two(tmp_path).written()
    assert [group.sweep for group in chosen_groups(results, None)] == ["s"]
    with pytest.raises(InputError, match=r"no sweep 'x' \(there are: s\)"):
        chosen_groups(results, "x")


def test_a_baseline_that_only_one_sweep_has_is_no_mistake(tmp_path: Path) -> None:
    two_by_two(tmp_path).written()
    other = Small(tmp_path, "other")
    other.point(0, [0.9, 0.8])
    other.point(1, [0.9, 0.7], {SIGMA: 0.5})
    results = other.written()
    assert "cannot be compared" in render(results, baseline=3)
    with pytest.raises(InputError, match=r"^--baseline: "):
        render(results, baseline=9)


def test_one_point_alone_has_no_baseline(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9])
    with pytest.raises(InputError, match="there are no two points to compare"):
        render(made.written(), baseline=0)


def test_the_title_names_the_sweeps(tmp_path: Path) -> None:
    for name in "abcd":
        made = Small(tmp_path, name)
        made.point(0, [0.9])
        results = made.written()
    page = outline(render(results))
    assert page.all("title")[0].text == "“a”, “b” and 2 more – kdray report"
    assert next(each.text for each in page.all("h2")) == "All sweeps"


def test_a_trial_that_two_sweeps_share_has_one_anchor(tmp_path: Path) -> None:
    made = two_by_two(tmp_path)
    made.written()
    shared = Small(tmp_path, "other")
    shared.members = [{**row, "sweep": "other"} for row in made.members]
    page = outline(render(shared.written()))
    anchors = [each.attributes.get("id", "") for each in page.all("tr")]
    assert sum(each.startswith("trial-") for each in anchors) == 8
    assert len(page.all("section", class_="sweep")) == 2


def test_embedded_data_cannot_end_its_element() -> None:
    text = html._embedded({"a": "</script><!--\u2028"})
    assert "<" not in text
    assert "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        html._embedded({"a": float("nan")})


def test_long_paths_may_be_broken_after_their_parts_and_are_escaped() -> None:
    assert html._breakable("noise.input_sigma[a,b]<") == (
        "noise.<wbr>input_<wbr>sigma[<wbr>a,<wbr>b]&lt;"
    )


def test_wide_figures_go_across_the_page(tmp_path: Path) -> None:
    page = outline(render(two_by_two(tmp_path).written()))
    wide = {
        each.all("p")[0].text: each.attributes.get("class") == "wide" for each in page.all("figure")
    }
    assert wide["All points side by side"]
    assert not wide["What robustness costs in clean accuracy"]
