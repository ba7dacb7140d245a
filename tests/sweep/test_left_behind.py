"""What a sweep's file no longer asks for is no part of the sweep from the first moment on."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kdray.results import Results
from kdray.results.points.best import best_points
from kdray.results.points.table import points
from kdray.sweep.plan import plan
from tests.sweep.fakes import ALONE, Engine, go, sweep_of

SIGMA = "experiment.noise.input.sigma"
SEARCH: dict[str, Any] = {
    **ALONE,
    "experiment.model.hidden": [4],
    SIGMA: {"uniform": [0, 1]},
    "search": {"sampler": "random", "points": 2},
}
OTHER_MODEL = {"experiment.model.hidden": [16]}
OTHER_MODEL_SHORT = {**OTHER_MODEL, "budget": {"hours": 1e-9}}


def outcomes(results: Path) -> dict[str, int]:
    counts: dict[str, int] = Results(results).members()["outcome"].value_counts().to_dict()
    return counts


def line(count: int) -> str:
    return (
        f"{count} earlier trials of 'tiny' are no part of it any more: its file has changed (or "
        "another file has this name)"
    )


def test_an_edited_search_forgets_its_earlier_points_before_its_first_trial(
    engine: Engine, results: Path
) -> None:
    go(results, SEARCH)
    said = io.StringIO()
    engine.interrupt_after = engine.ended
    with pytest.raises(KeyboardInterrupt):
        go(results, SEARCH, OTHER_MODEL, said=said)
    assert outcomes(results) == {"not needed": 4}
    assert said.getvalue().count(line(4)) == 1
    engine.interrupt_after = None
    go(results, SEARCH, OTHER_MODEL)
    assert outcomes(results) == {"not needed": 4, "completed": 4}
    assert points(Results(results), "tiny")["n"].tolist() == [2, 2]
    engine.ran.clear()
    go(results, SEARCH)  # the file as it was takes its points back
    assert engine.ran == []
    assert outcomes(results) == {"not needed": 4, "completed": 4}


def test_a_budget_that_is_used_up_leaves_nothing_of_the_old_file(
    engine: Engine, results: Path
) -> None:
    go(results, SEARCH)
    engine.ran.clear()
    summary = go(results, SEARCH, OTHER_MODEL_SHORT)
    assert summary.stopped is not None
    assert engine.ran == []
    assert outcomes(results) == {"not needed": 4}


def test_a_narrower_space_keeps_the_points_that_are_in_it(engine: Engine, results: Path) -> None:
    go(results, SEARCH)
    swept = Results(results).members()["swept"].drop_duplicates()
    low, high = sorted(json.loads(text)["noise.input.sigma"] for text in swept)
    go(results, SEARCH, {SIGMA: {"uniform": [0, (low + high) / 2]}, "search.points": 1})
    assert outcomes(results) == {"completed": 2, "not needed": 2}
    assert len(engine.ran) == 4


def test_fewer_points_keep_those_that_were_asked_for_first(engine: Engine, results: Path) -> None:
    go(results, SEARCH)
    fewer = {"search.points": 1}
    assert plan(sweep_of(SEARCH, fewer), results, cpus=2).notes == [line(2)]
    said = io.StringIO()
    go(results, SEARCH, fewer, said=said)
    assert said.getvalue().count(line(2)) == 1
    rows = Results(results).members()
    assert set(rows.loc[rows["outcome"] == "completed", "point"]) == {0}
    assert set(rows.loc[rows["outcome"] == "not needed", "point"]) == {1}
    engine.ran.clear()
    go(results, SEARCH)
    assert engine.ran == []
    assert outcomes(results) == {"completed": 4}, "as many as before takes them back"


def test_fewer_seeds_and_another_teacher_leave_trials_behind(
    engine: Engine, finished: Path
) -> None:
    engine.interrupt_after = 0
    go(finished, {"seeds": 1})
    members = Results(finished).members()
    assert members.query("outcome == 'not needed'")["role"].tolist() == ["student"] * 2
    with pytest.raises(KeyboardInterrupt):
        go(finished, {"experiment.teacher.model.hidden": [12]})
    assert outcomes(finished) == {"not needed": 6}


@pytest.mark.parametrize("changes", [OTHER_MODEL, {"experiment.method.temperature": 2}])
def test_an_edited_grid_says_what_it_leaves_behind(
    engine: Engine, finished: Path, changes: dict[str, Any]
) -> None:
    assert plan(sweep_of(), finished, cpus=2).notes == []
    assert plan(sweep_of(changes), finished, cpus=2).notes == [line(4)]
    assert outcomes(finished) == {"completed": 6}, "a plan changes nothing"
    said = io.StringIO()
    go(finished, changes, said=said)
    assert said.getvalue().count(line(4)) == 1
    assert engine.ran


def test_merged_folders_of_one_name_are_told_apart(
    engine: Engine, results: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    go(results, SEARCH)
    go(other, SEARCH, OTHER_MODEL)
    for path in other.rglob("*"):
        if path.is_file() and path.parent.name in ("members", "trials", "epochs", "robustness"):
            shutil.copy(path, results / path.relative_to(other))
    merged = Results(results)
    assert len(engine.ran) == 8
    table = points(merged, "tiny")
    assert table["n"].tolist() == [2] * 4
    assert len(set(table["point", ""])) == 4
    statistics = merged.points("val_accuracy")
    assert statistics["n"].tolist() == [2] * 4
    best = statistics.loc[statistics["mean"].idxmax()]
    assert merged.best("val_accuracy")["point"].tolist() == [best["point"]]
    assert best_points(merged, "tiny") == [best["point"]]
