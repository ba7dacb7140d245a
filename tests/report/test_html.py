"""The report is one file that fetches nothing, escapes everything, and says what happened to
whoever did not run it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kdray.core import InputError
from kdray.report.page.group import groups
from kdray.report.page.html import render
from kdray.report.page.statistics import comparisons
from kdray.results import Results
from tests.report.outline import Element, outline
from tests.report.synthetic import Made, write_made

HOSTILE = "<script>alert(1)</script>&amp;\"'$x$"


@pytest.fixture(scope="module")
def page(small: Path) -> Element:
    return outline(small.read_text(encoding="utf-8"))


def data(page: Element) -> dict[str, Any]:
    return dict(json.loads("".join(page.all("script", id="data")[0].texts)))


def test_nothing_is_fetched(small: Path, page: Element) -> None:
    for element in page.inside:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert element.attributes.get(name, "#").startswith(("#", "data:image/")), (
                element.tag,
                name,
            )
    text = small.read_text(encoding="utf-8")
    assert not page.all("link")
    assert not re.search(
        r"@import|url\((?!#)", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    )


def test_the_policy_allows_the_scripts_that_stand_there_and_nothing_from_outside(
    small: Path, page: Element
) -> None:
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    rules = dict(
        rule.strip().partition(" ")[::2] for rule in policy.attributes["content"].split(";")
    )
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", small.read_text(encoding="utf-8"), re.DOTALL)
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'"
        for each in scripts
    }
    assert set(rules["script-src"].split()) == hashes
    assert len(hashes) == 2
    assert "http" not in policy.attributes["content"]


def test_the_shipped_library_is_the_one_that_its_readme_names() -> None:
    static = Path(__file__).parents[2] / "kdray/report/page/static"
    digest = hashlib.sha256((static / "dataTables.min.js").read_bytes()).hexdigest()
    assert digest in (static / "README.md").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in (static / "dataTables.LICENSE.txt").read_text(
        encoding="utf-8"
    )


def test_structure_for_those_who_listen_to_it(page: Element) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1
    levels = [int(each.tag[1]) for each in page.inside if re.fullmatch("h[1-6]", each.tag)]
    assert all(below - above <= 1 for above, below in pairwise(levels))
    for table in page.all("table"):
        assert table.all("caption")[0].text
        assert all(head.attributes["scope"] in ("col", "row") for head in table.all("th"))
        assert all(row.all("th") for row in table.all("tr"))
    for picture in page.all("svg"):
        assert picture.attributes["role"] == "img"
        assert picture.attributes["aria-label"]
    assert all(each.all("figcaption")[0].text for each in page.all("figure"))
    for region in [each for each in page.inside if each.attributes.get("role") == "region"]:
        assert region.attributes.keys() & {"aria-label", "aria-labelledby"}
        assert region.attributes["tabindex"] == "0"


def test_ids_are_there_once_and_links_lead_somewhere(page: Element) -> None:
    ids = [each.attributes["id"] for each in page.inside if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    targets = {each.attributes["href"][1:] for each in page.all("a")}
    assert targets <= set(ids)


def test_the_summary_says_what_was_swept_the_best_point_and_what_went_wrong(page: Element) -> None:
    (summary,) = page.all("div", class_="summary")
    said = [each.text for each in summary.all("p")]
    assert 3 <= len(said) <= 5
    assert "6 points" in said[0]
    assert "3 seeds each: 18 students" in said[0]
    assert re.search(
        r"Point 1 \(noise.input.sigma = 0, method.temperature = 4\) has the highest "
        r"val_accuracy: 0\.97",
        said[1],
    )
    assert "95 % interval" in said[1]
    assert "1 diverged and 1 failed" in said[-1]
    assert "doubt on 8 numbers" in said[-1]


def test_what_was_run_and_on_what(page: Element) -> None:
    facts = {
        each.all("dt")[0].text: each.all("dd")[0].text
        for each in page.all("dl", class_="facts")[0].all("div")
    }
    assert "300 images of all splits" in facts["Data"]
    assert facts["Versions"] == "kdray 0.1.0, Python 3.11.7, PyTorch 2.9.0, Ray 2.58.0"
    assert facts["Source (git commit)"] == "0123456789ab"
    assert facts["Hardware"] == "A processor (CPU)"
    assert "3 min 00 s on the clock" in facts["When"]


def test_a_row_for_every_point_sorted_by_number_and_marked_in_words(page: Element) -> None:
    (table,) = page.all("table", class_="points")
    titles = [head.text for head in table.all("thead")[0].all("th")]
    assert titles[:5] == ["Point", "Best", "noise.input.sigma", "method.temperature", "seeds"]
    rows = [
        [cell for cell in row.inside if cell.tag in ("th", "td")]
        for row in table.all("tbody")[0].all("tr")
    ]
    assert len(rows) == 6
    at = titles.index("val_accuracy")
    assert re.fullmatch(r"0\.\d{3} ± 0\.\d{3}", rows[1][at].text)
    assert float(rows[1][at].attributes["data-order"]) == pytest.approx(
        float(rows[1][at].text[:5]), abs=5e-4
    )
    assert rows[1][1].text == "best, Pareto front"
    assert [row[titles.index("seeds")].text for row in rows] == ["2", "3", "3", "3", "3", "2"]


def test_failures_and_doubts_are_listed_with_their_reasons(page: Element) -> None:
    tables = {
        table.all("caption")[0].text.partition(" ")[0]: table
        for table in page.all("table", class_="plain")
    }
    failed = [
        [cell.text for cell in row.inside if cell.tag in ("th", "td")]
        for row in tables["Trials"].all("tr")[1:]
    ]
    text = page.text
    assert "loss is nan in epoch 2" in text
    assert "RuntimeError: CUDA out of memory" in text
    assert "zero or undefined gradient for 3 of 400 images" in tables["Reasons"].text
    assert failed


def test_everything_of_a_trial_is_there_for_the_script(page: Element) -> None:
    held = data(page)
    (trial,) = [
        each
        for each in held["trials"].values()
        if each["role"] == "student" and each["status"] == "failed"
    ]
    assert trial["error"] == "RuntimeError: CUDA out of memory"
    first = held["trials"][held["points"]["0-0"]["trials"][0]]
    numbers = {held["texts"][number[0]]: number[1:] for number in first["numbers"]}
    assert numbers["pgd20.accuracy"][0] == pytest.approx(0.285, abs=0.01)
    assert (
        numbers["pgd20.accuracy"][1] < numbers["pgd20.accuracy"][0] < numbers["pgd20.accuracy"][2]
    )
    assert held["texts"][numbers["pgd20.accuracy"][4]].startswith("zero or undefined gradient")
    assert len(numbers) == 1 + 3 + 15 + 3
    assert len(first["epochs"]["val_accuracy"]) == 5


def test_every_figure_names_data_and_seeds(page: Element) -> None:
    captions = [each.all("figcaption")[0].text for each in page.all("figure")]
    assert len(captions) >= 8
    for caption in captions:
        assert "digits (8 × 8, scikit-learn), 2 to 3 seeds" in caption


def test_names_and_reasons_stay_text(tmp_path: Path) -> None:
    results = write_made(
        tmp_path,
        Made(sweep=HOSTILE, points=2, seeds=2, epochs=2, failed=1, case=HOSTILE, teacher=False),
    )
    text = render(results)
    page = outline(text)
    assert page.all("h1")[0].text == HOSTILE
    assert len(page.all("script")) == 3
    assert "<script>alert" not in text
    assert HOSTILE in page.all("table", class_="points")[0].text
    assert data(page)["points"]["0-0"]["sweep"] == HOSTILE
    assert any("alert(1)" in each.text for each in page.all("svg"))  # drawn as text


def test_a_baseline_is_chosen_by_point_or_by_value(tmp_path: Path) -> None:
    (group,) = groups(write_made(tmp_path, Made(robustness=False, epochs=2)).snapshot())
    against, (first, _) = comparisons(group, None)
    assert (
        against
        == "point 1 (noise.input.sigma = 0, method.temperature = 4), the best by the objective"
    )
    assert [row.point for row in first.rows] == [0, 2, 3, 4, 5]
    assert comparisons(group, 0)[0] == "point 0 (noise.input.sigma = 0, method.temperature = 1)"
    against, (first, _) = comparisons(group, {"method.temperature": 1.0})
    assert against.endswith("each compared with the one that shares its other values")
    assert {row.point for row in first.rows} == {1, 2, 4, 5}
    assert [row.values for row in first.rows if row.point == 1] == ["method.temperature = 4"]
    with pytest.raises(InputError, match=r"^--baseline: (?!baseline)"):
        render(group.results, baseline=77)


def test_the_summary_says_how_large_the_largest_difference_is_and_how_sure(page: Element) -> None:
    said = page.all("div", class_="summary")[0].text
    assert re.search(
        r"Against point 1 \(.*?\), the best by the objective: val_accuracy is lower by up "
        r"to 0\.\d{3} \(point \d: "
        r"0\.\d{3} against 0\.\d{3}\)",
        said,
    )
    assert re.search(
        r"pgd20.accuracy is higher by up to 0\.\d{3} .* significant at 5 % after Holm's correction",
        said,
    )


def test_statistics_say_what_so_few_seeds_cannot_show(page: Element) -> None:
    first = page.all("details", class_="comparison")[0]
    assert "(2 to 3 seeds)" in first.all("summary")[0].text
    assert "With 2 to 3 seeds Wilcoxon's p cannot be below 0.25" in first.text
    assert [head.text for head in first.all("thead")[0].all("th")][:3] == [
        "Point",
        "Difference",
        "It is",
    ]


def test_every_evaluation_is_named_with_its_parameters(page: Element) -> None:
    facts = {
        each.all("dt")[0].text: each.all("dd")[0].text
        for each in page.all("dl", class_="facts")[0].all("div")
    }
    assert (
        facts["Evaluation pgd20"]
        == "pgd: norm linf, ε 0.1, steps 20, step size 0.02, on 400 images of test"
    )
    assert (
        facts["Evaluation noise"]
        == "gaussian_noise: noise σ 0.1, 0.3 and 0.5, on 400 images of test"
    )
    assert "temperature 1, 4 and 16" in facts["Method"]
    assert facts["Student model"].startswith("mlp (")
    assert "hidden [16]" in facts["Student model"]


def test_one_sweep_of_several(tmp_path: Path) -> None:
    few = {"points": 2, "seeds": 2, "epochs": 2, "robustness": False}
    write_made(tmp_path, Made(sweep="first", **few), Made(sweep="second", teacher=False, **few))
    both = outline(render(Results(tmp_path)))
    assert [each.text for each in both.all("h2")] == [
        "All sweeps",
        "first",
        "second",
        "How to read this page",
    ]
    assert outline(render(Results(tmp_path), sweep="second")).all("h1")[0].text == "second"
    with pytest.raises(InputError, match=r"no sweep 'third' \(there are: first, second\)"):
        render(Results(tmp_path), sweep="third")
