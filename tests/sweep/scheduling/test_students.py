"""A point of a search whose values do not fit together fails with its reason, and the search goes
on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdray.core import InputError
from kdray.results import Results
from kdray.sweep.definition.plugins import load_plugin, unload_plugin
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.definition.space import Point
from kdray.sweep.plan import plan
from tests.sweep.fakes import ALONE, TINY, Engine, changed, go, sweep_of

DEPTHS = {
    "seeds": 1,
    "search": {"sampler": "random", "points": 4, "seed": 1, "first": [{"model.depth": 11}]},
    "experiment.data.examples": 100,
    "experiment.model": {"name": "cifar_resnet", "depth": {"randint": [8, 21]}},
    "experiment.noise": {},
    "experiment.training": {"epochs": 1, "batch_size": 50},
    "evaluate": {},
    **ALONE,
}
"""Of the depths 8, 14 and 20 there is a network."""


def fits(depth: int) -> bool:
    return (depth - 2) % 6 == 0


def test_a_point_that_cannot_be_built_fails_and_the_search_goes_on(
    engine: Engine, results: Path
) -> None:
    summary = go(results, DEPTHS)
    members = Results(results).members().sort_values("point")
    swept = [json.loads(text)["model.depth"] for text in members["swept"]]
    assert len(swept) == 4
    assert not fits(swept[0])
    assert [outcome == "completed" for outcome in members["outcome"]] == [*map(fits, swept)]
    failed = members[members["outcome"] == "failed"]
    assert failed["trial_id"].isna().all()
    assert failed["error"].iloc[0].startswith("experiment.model")
    assert failed["error"].iloc[0].endswith("(at model.depth = 11)")
    assert set(summary.failures) == {f"point {point}" for point in failed["point"]}
    assert len(engine.ran) == sum(map(fits, swept))


def test_it_is_told_again_and_nothing_is_tried_in_its_place(engine: Engine, results: Path) -> None:
    first = go(results, DEPTHS)
    before = Results(results).members()
    engine.ran.clear()
    again = go(results, DEPTHS)
    assert again.failures == first.failures
    assert engine.ran == []
    after = Results(results).members()
    assert sorted(after["swept"]) == sorted(before["swept"])
    assert sorted(after["point_id"]) == sorted(before["point_id"])


def test_what_was_built_keeps_the_point_of_its_experiment() -> None:
    sweep = sweep_of(DEPTHS)
    point = Point(0, sweep.spaces[0], {"model.depth": 14})
    assert sweep.point_id(point) == sweep.student(point, 0, None).point_id


TEACHER_DEPTHS: dict[str, Any] = {
    "seeds": 1,
    "experiment.data.examples": 100,
    "experiment.noise": {},
    "experiment.training": {"epochs": 1, "batch_size": 50},
    "experiment.teacher.seeds": 1,
    "experiment.teacher.model": {"name": "wide_resnet", "depth": {"randint": [10, 17]}, "width": 1},
    "evaluate": {"suite": [{"name": "clean"}]},
}
"""Of the depths 10 and 16 there is a teacher."""


@pytest.fixture
def few_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check before the start sees one combination, as it sees a sample of very many."""
    monkeypatch.setattr("kdray.sweep.definition.check.MAX_CHECKED", 1)


@pytest.mark.parametrize("sampler", ["grid", "random"])
@pytest.mark.usefixtures("few_checked")
def test_a_teacher_that_cannot_be_built_is_a_failed_point_and_the_sweep_goes_on(
    engine: Engine, results: Path, sampler: str
) -> None:
    search: dict[str, Any] = {} if sampler == "grid" else {"points": 7, "seed": 1}
    changes = {**TEACHER_DEPTHS, "search": {"sampler": sampler, **search}}
    before = plan(sweep_of(changes), results, cpus=2).students
    assert before.total == 7
    summary = go(results, changes)
    members = Results(results).members().query("role == 'student'")
    depths = [json.loads(text)["teacher.model.depth"] for text in members["swept"]]
    assert sorted(depths) == [*range(10, 17)]
    assert [outcome == "completed" for outcome in members["outcome"]] == [
        depth in (10, 16) for depth in depths
    ]
    failed = members[members["outcome"] == "failed"]
    assert set(summary.failures) == {f"point {point:.0f}" for point in failed["point"]}
    for text, error in zip(failed["swept"], failed["error"], strict=True):
        depth = json.loads(text)["teacher.model.depth"]
        assert error.startswith("experiment.teacher.model")
        assert error.endswith(f"(at teacher.model.depth = {depth})")
    engine.ran.clear()
    assert go(results, changes).failures == summary.failures
    assert engine.ran == []
    if sampler == "grid":
        assert plan(sweep_of(changes), results, cpus=2).students.there == 7


@pytest.mark.usefixtures("few_checked")
def test_a_failed_point_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(changed(TINY, TEACHER_DEPTHS)))
    sweep = load_sweep(path)
    problem = sweep.problem(list(sweep.grid())[1])
    assert problem is not None
    assert problem.startswith(f"{path}: experiment.teacher.model")


PICKY = """
from typing import Literal

from kdray.methods import CrossEntropy


class Picky(CrossEntropy):
    \"\"\"Cross-entropy that one number makes fail.\"\"\"

    name: Literal["picky"] = "picky"
    version = 1
    number: int = 0

    def check_fits(self, student, teacher):
        1 / (self.number - 3)
"""


@pytest.fixture
def picky(tmp_path: Path) -> Iterator[None]:
    path = tmp_path / "picky.py"
    path.write_text(PICKY)
    plugin = load_plugin(str(path))
    yield
    unload_plugin(plugin)


@pytest.mark.usefixtures("picky")
def test_a_check_of_a_plugin_that_fails_itself_is_a_failed_point(
    engine: Engine, results: Path
) -> None:
    method = {"name": "picky", "number": {"randint": [0, 6]}}
    search = {"search": {"sampler": "random", "points": 6}, "seeds": 1}
    summary = go(results, ALONE, {"experiment.method": method, **search}, {"experiment.noise": {}})
    (reason,) = map(str, summary.failures.values())
    assert reason == "experiment: ZeroDivisionError: division by zero (at method.number = 3)"
    assert len(engine.ran) == 5


@pytest.mark.usefixtures("picky")
def test_such_a_check_is_said_in_one_line_before_anything_starts() -> None:
    with pytest.raises(InputError, match="ZeroDivisionError") as raised:
        sweep_of(ALONE, {"experiment.method": {"name": "picky", "number": 3}})
    assert "\n" not in str(raised.value)
