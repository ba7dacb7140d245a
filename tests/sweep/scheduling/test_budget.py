"""A budget ends a sweep between two points, with a complete table, and the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Results
from kdray.sweep.execution.resources import Node
from tests.sweep.fakes import Engine, go, sweep_of, tables

HOUR = {"budget": {"hours": 1}}
SEARCH = {
    "search": {"sampler": "random", "points": 4},
    "experiment.noise.input.sigma": {"uniform": [0, 1]},
    "experiment.teacher.seeds": 1,
}


class Clock:
    """Goes on by ``hours`` whenever somebody looks at it."""

    def __init__(self, hours: float) -> None:
        self.now, self.step = 0.0, hours * 3600

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.1)
    for module in ("attempts", "account"):
        monkeypatch.setattr(f"kdray.sweep.scheduling.{module}.monotonic", clock)


@pytest.mark.parametrize("changes", [{}, SEARCH], ids=["grid", "random"])
@pytest.mark.usefixtures("slow")
def test_no_point_is_begun_after_it_and_several_runs_do_the_whole(
    engine: Engine, tmp_path: Path, changes: dict[str, object]
) -> None:
    go(tmp_path / "whole", changes)
    runs, whole = [], tables(tmp_path / "whole")
    while not runs or runs[-1].stopped:
        runs.append(go(tmp_path / "r", changes, HOUR))
        members = Results(tmp_path / "r").members()
        assert set(members["outcome"]) == {"completed"}
        assert members.groupby("point").size().eq(2).all(), (
            "both seeds of every point that was begun"
        )
        assert len(runs) < 20
    assert len(runs) > 1
    assert {run.stopped for run in runs[:-1]} == {"1 hours are used up"}
    assert engine.ran
    assert set(tables(tmp_path / "r")["trials"]["trial_id"]) == set(whole["trials"]["trial_id"])


@pytest.mark.usefixtures("slow")
def test_gpu_hours_are_the_hours_of_each_trial_times_its_share(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("run", "execution.runner"):
        monkeypatch.setattr(
            f"kdray.sweep.{module}.this_machine", lambda *_: Node("one with a GPU", 2, 1)
        )
    # Each trial lasts for ticks of a tenth of an hour.
    budget = {"budget": {"gpu_hours": 0.05}, "resources": {"student": {"gpu": 0.5}}}
    assert go(tmp_path / "r", {"budget": {"gpu_hours": 0.05}}).stopped is None, "none uses a GPU"
    assert go(tmp_path / "s", budget).stopped == "0.05 GPU-hours are used up"
    assert Results(tmp_path / "s").members().groupby("point").size().tolist() == [2], (
        "the first point is whole"
    )


def test_what_is_no_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"budget.hours: input should be greater than 0"):
        sweep_of({"budget": {"hours": 0}})


@pytest.mark.usefixtures("slow")
def test_trials_are_measured_with_each_other_when_all_are_there(
    engine: Engine,
    tmp_path: Path,  # noqa: ARG001, RUF100
) -> None:
    transfer = {"evaluate.suite": [{"name": "transfer", "attack": {"name": "fgsm"}, "examples": 5}]}
    assert go(tmp_path / "r", HOUR, transfer).stopped
    assert Results(tmp_path / "r").robustness().empty
    while go(tmp_path / "r", HOUR, transfer).stopped:
        pass
    assert len(Results(tmp_path / "r").robustness()) == 25, "4 students and the chosen teacher"


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    "changes",
    [{"experiment.noise.input.sigma": 0.1}, {**SEARCH, "search.points": 1}],
    ids=["grid", "random"],
)
def test_a_run_that_has_done_everything_was_not_stopped(
    engine: Engine, tmp_path: Path, changes: dict[str, object]
) -> None:
    """The budget is used up by the only point there is."""
    summary = go(tmp_path / "r", changes, {"budget": {"hours": 1.2}, "seeds": 4})
    assert len([a for a in engine.ran if a.task.role == "student"]) == 4
    assert summary.stopped is None
