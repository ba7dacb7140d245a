"""Whatever a results folder lacks, what can be shown is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from kdray.cli.commands.report import baseline
from kdray.core import InputError
from kdray.report.page.html import render
from kdray.results import Results, Store, open_results, write_rows
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import objectives_file
from tests.report.outline import outline
from tests.report.page.small import SIGMA, Small
from tests.report.synthetic import Made, write_made

FEW = {"points": 2, "seeds": 2, "epochs": 2, "robustness": False, "teacher": False}


def test_no_results_yet(tmp_path: Path) -> None:
    Store(tmp_path).create()
    page = outline(render(Results(tmp_path)))
    assert page.all("h1")[0].text == "No results yet"
    assert "kdray run" in page.text


def test_one_trial_has_no_interval_and_nothing_to_compare(tmp_path: Path) -> None:
    page = outline(render(write_made(tmp_path, Made(**{**FEW, "points": 1, "seeds": 1}))))
    summary = page.all("div", class_="summary")[0].text
    assert "1 point" in summary
    assert "1 seed each: 1 student in all" in summary
    assert "no interval" in summary
    assert "so there is no deviation and no interval" in page.text
    assert "Statistics" not in page.text.partition("How to read")[0].replace("Statistics of", "")
    assert "±" not in page.all("table", class_="points")[0].text


def test_one_seed_says_that_no_difference_can_be_told(tmp_path: Path) -> None:
    page = outline(render(write_made(tmp_path, Made(**{**FEW, "seeds": 1}))))
    assert "With so few seeds no difference between points can be told from chance." in page.text
    assert "too few seeds to say" in page.text


def test_without_robustness_the_page_has_no_robust_figure(tmp_path: Path) -> None:
    page = outline(render(write_made(tmp_path, Made(**FEW))))
    titles = [each.text for each in page.all("p", class_="figure-title")]
    assert titles == ["val_accuracy against noise.input.sigma", "Learning curves"]
    assert "no check casts doubt on a number" in page.text


def test_only_failed_trials(tmp_path: Path) -> None:
    page = outline(
        render(write_made(tmp_path, Made(**{**FEW, "points": 1, "seeds": 1, "failed": 1})))
    )
    assert "No student has completed" in page.text
    assert "CUDA out of memory" in page.text
    assert not page.all("figure")


@pytest.mark.parametrize("trained", [True, False])
def test_a_point_that_cannot_be_built_is_listed_with_its_reason(
    trained: bool, tmp_path: Path
) -> None:
    made = Small(tmp_path)
    if trained:
        made.point(0, [0.9, 0.8], {SIGMA: 0.1})
    made.unbuilt(1, "depth 16 is not 6·n + 2", {SIGMA: 0.2})
    made.unbuilt(2, "depth 17 is not 6·n + 2", {SIGMA: 0.3})
    page = outline(render(made.written()))
    assert "depth 16 is not 6·n + 2" in page.text
    assert "depth 17 is not 6·n + 2" in page.text
    assert ("No student has completed" in page.text) is not trained


def test_a_student_whose_teacher_failed_has_no_trial_but_a_reason(tmp_path: Path) -> None:
    results = write_made(tmp_path, Made(**FEW))
    row = {
        "sweep": "made-up",
        "trial_id": "none-3",
        "role": "student",
        "point": 3,
        "order": 9,
        "outcome": "failed",
        "swept": '{"noise.input.sigma": 0.9}',
        "error": "its teacher failed",
    }
    write_rows(results.store, "members", "late", [row], {})
    page = outline(render(results))
    assert "its teacher failed" in page.text
    assert "none-3" not in [each.attributes["href"] for each in page.all("a")]


def test_a_sweep_of_which_only_teachers_are_trained_says_so(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**FEW), Made(sweep="begun", **{**FEW, "seeds": 1, "teacher": True}))
    for table in ("members", "trials", "epochs"):
        part = tmp_path / table / "part-1.parquet"
        frame = pd.read_parquet(part)
        ids = (
            pd.read_parquet(tmp_path / "members" / "part-1.parquet")
            .query("role == 'teacher'")["trial_id"]
            .tolist()
        )
        frame[frame["trial_id"].isin(ids)].to_parquet(part)
    page = outline(render(Results(tmp_path)))
    (begun,) = [
        each for each in page.all("section", class_="sweep") if "Of the sweep “begun”" in each.text
    ]
    assert "only teachers have been trained so far (1 of the 1 begun, on digits" in begun.text
    assert "very trial completed" not in begun.text
    assert len(page.all("table", class_="points")[0].all("tr")) == 3


def test_students_without_a_result_are_counted(tmp_path: Path) -> None:
    results = write_made(tmp_path, Made(**{**FEW, "points": 3}))
    part = tmp_path / "trials" / "part-0.parquet"
    pd.read_parquet(part).iloc[:4].to_parquet(part)
    results.store.write(
        objectives_file("made-up"),
        Objectives(objectives=(Objective(),), seeds=4).model_dump_json().encode(),
    )
    page = outline(render(Results(tmp_path)))
    assert (
        "8 of 12 students are missing (not trained yet, given up, or failed): 2 missing "
        "(see Failures)" in page.text
    )
    assert "no row of its training is there" in page.text
    assert "very trial completed" not in page.text


def test_a_point_with_fewer_seeds_than_the_sweep_lacks_some_even_if_nothing_failed(
    tmp_path: Path,
) -> None:
    results = write_made(tmp_path, Made(**FEW))
    results.store.write(
        objectives_file("made-up"),
        Objectives(objectives=(Objective(),), seeds=3).model_dump_json().encode(),
    )
    page = outline(render(Results(tmp_path)))
    assert "2 of 6 students are missing" in page.text
    assert "2 students of those that the points need have no result yet" in page.text
    assert "very trial completed" not in page.text


def test_of_points_that_share_the_best_place_the_first_is_marked(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**{**FEW, "points": 3}))
    part = tmp_path / "trials" / "part-0.parquet"
    pd.read_parquet(part).assign(val_accuracy=[0.95, 0.93, 0.93, 0.95, 0.8, 0.8]).to_parquet(part)
    page = outline(render(Results(tmp_path)))
    assert "Point 1 has the same; the first in the sweep's order is called the best." in page.text
    marks = [
        row.all("td")[0].text
        for row in page.all("table", class_="points")[0].all("tbody")[0].all("tr")
    ]
    assert marks == ["best", "", ""]
    assert (
        "Against point 0 (noise.input.sigma = 0), the first of those that share the best place"
        in page.text
    )


def test_seeds_that_gave_the_same_have_no_interval(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**FEW))
    part = tmp_path / "trials" / "part-0.parquet"
    pd.read_parquet(part).assign(val_accuracy=[0.9, 0.9, 0.8, 0.8]).to_parquet(part)
    summary = outline(render(Results(tmp_path))).all("div", class_="summary")[0].text
    assert "(both seeds gave the same, so there is no interval)" in summary


def test_an_interval_of_an_accuracy_stays_within_what_one_can_be(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**FEW))
    part = tmp_path / "trials" / "part-0.parquet"
    pd.read_parquet(part).assign(val_accuracy=[0.99, 0.95, 0.5, 0.1]).to_parquet(part)
    page = outline(render(Results(tmp_path)))
    assert "to 1.000)" in page.all("div", class_="summary")[0].text
    assert "-1.000 to +1.000" in page.all("details", class_="comparison")[0].text


def test_each_data_set_of_a_sweep_has_a_part_of_its_own(tmp_path: Path) -> None:
    page = outline(render(write_made(tmp_path, Made(**FEW), Made(**{**FEW, "data": "mnist"}))))
    titles = [each.text for each in page.all("h2")]
    assert set(titles[1:3]) == {"made-up on digits (8 × 8, scikit-learn)", "made-up on MNIST"}
    assert len(page.all("table", class_="points")) == 2


def test_a_damaged_part_is_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**FEW))
    (tmp_path / "epochs" / "part-0.parquet").write_bytes(b"PAR1, once")
    page = outline(render(Results(tmp_path)))
    (notice,) = [each for each in page.all("section") if each.attributes.get("class") == "notice"]
    assert "epochs/part-0.parquet: damaged" in notice.text
    assert len(page.all("table", class_="points")[0].all("tr")) == 3


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    write_made(tmp_path, Made(**FEW))
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({**json.loads(schema.read_text()), "kdray_schema": 99}))
    with pytest.raises(InputError, match="99"):
        open_results(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("3", 3),
        ("no_teacher", "no_teacher"),
        ("method.alpha=0.5", {"method.alpha": 0.5}),
        ("noise.input.name=off,seed=1e-4", {"noise.input.name": "off", "seed": 1e-4}),
    ],
)
def test_how_a_baseline_is_written(text: str | None, value: object) -> None:
    assert baseline(text) == value


def test_a_baseline_without_a_value_is_refused() -> None:
    with pytest.raises(InputError, match="needs a point's number"):
        baseline("method.alpha=")
