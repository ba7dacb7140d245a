"""Searching, racing and early stopping where several of their parts meet: ties, repeats, points
that are tried again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kdray.core import InputError
from kdray.results import Store
from kdray.results.points.objective import Objective, Objectives, Score
from kdray.sweep.definition.stopping import EarlyStopping, Racing
from kdray.sweep.scheduling.best import best_points
from kdray.sweep.scheduling.point_state import PointState
from kdray.sweep.search.early_stopping import Race, Stopper
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import source_of
from kdray.trials.grant import Grant
from tests.sweep.fakes import sweep_of
from tests.sweep.scheduling.test_queue import TASKS, Told, end, group
from tests.sweep.search.test_early_stopping import curve

SEARCH: dict[str, Any] = {
    "experiment.noise.input.sigma": {"uniform": [0, 1]},
    "search": {"sampler": "random", "points": 4},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "results")
    found.create()
    return found


def test_who_is_as_good_as_the_best_in_every_seed_has_not_lost() -> None:
    race = Race(Racing(p=0.1), Objective())
    race.complete([0.9, 0.8, 0.9, 0.8, 0.7], 0)
    assert race.lost([0.9, 0.8, 0.9, 0.8]) is None


def test_the_median_looks_at_nobody_before_the_grace_is_over() -> None:
    stopper = Stopper(EarlyStopping(pruner="median", startup=1, grace=0.5))
    assert curve(stopper, "good", [0.5] * 10) is None
    assert (
        curve(stopper, "bad", [0.1] * 10) == "val_accuracy 0.1 after 50% of its schedule (median)"
    )


def test_who_was_given_up_in_an_earlier_run_is_no_complete_point_of_the_median() -> None:
    stopper = Stopper(EarlyStopping(pruner="median", startup=1))
    stopper.replay("a", [(0.25, 0.5), (0.5, 0.6)], completed=False)
    assert curve(stopper, "b", [0.1] * 4) is None


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_are_ranked_by_the_objective_and_ties_go_to_the_lower_number(mode: Any) -> None:
    objectives = Objectives(objectives=(Objective(mode=mode),))
    points = list(sweep_of({"experiment.noise.input.sigma": {"grid": [0, 0.1, 0.2, 0.3]}}).grid())
    values = [0.5, 0.9, 0.9, 0.1]
    complete = [
        (PointState(p, [], None), Score(values=(v,))) for p, v in zip(points, values, strict=True)
    ][::-1]
    expected = [1, 2, 0, 3] if mode == "max" else [3, 0, 1, 2]
    assert [tried.point.number for tried in best_points(complete, objectives, 4)] == expected
    assert [tried.point.number for tried in best_points(complete, objectives, 2)] == expected[:2]
    missed = [(tried, Score(values=score.values, violations=(1.0,))) for tried, score in complete]
    assert best_points(missed, objectives, 4) == []


def test_points_of_one_front_are_ranked_by_the_first_objective() -> None:
    points = list(sweep_of({"experiment.noise.input.sigma": {"grid": [0, 0.1, 0.2, 0.3]}}).grid())
    values = [(0.5, 0.5), (0.9, 0.1), (0.7, 0.3), (0.6, 0.2)]  # the last is behind another in both
    for mode, sign, expected in (("max", 1, [1, 2, 0, 3]), ("min", -1, [1, 2, 0, 3])):
        objectives = Objectives(
            objectives=(Objective(mode=mode), Objective(metric="parameters", mode=mode))
        )  # type: ignore[arg-type]
        complete = [
            (PointState(point, [], None), Score(values=(sign * first, sign * second)))
            for point, (first, second) in zip(points, values, strict=True)
        ]
        assert [tried.point.number for tried in best_points(complete, objectives, 4)] == expected


def test_a_race_needs_seeds_that_it_could_spare() -> None:
    """A point is compared while some of its seeds are left: of n seeds the test sees n - 1 at
    most."""
    with pytest.raises(InputError, match=r"search\.racing"):
        sweep_of({"seeds": 4, "search": {"racing": {"p": 0.1}}})
    assert sweep_of({"seeds": 5, "search": {"racing": {"p": 0.1}}}).file.search.racing is not None


def test_a_point_given_up_is_told_with_what_was_seen_of_it(store: Store) -> None:
    sweep = sweep_of(SEARCH)
    with Mirror(store, sweep.name, sweep.file.objectives) as mirror:
        source = source_of(sweep, None, mirror)
        point = source.next()
        assert point is not None
        source.tell(point, PointResult([{"val_accuracy": 0.1}] * 2, None, "lost", (2, 0.1)))
    study = optuna.load_study(
        study_name="tiny", storage=f"sqlite:///{store.folder}/studies/tiny.db"
    )
    assert [(trial.state, trial.intermediate_values) for trial in study.trials] == [
        (TrialState.PRUNED, {2: 0.1})
    ]


def test_who_is_better_on_average_than_the_best_by_its_worst_seed_never_loses() -> None:
    race = Race(Racing(p=0.2), Objective(over_seeds="worst"))
    race.complete([0.9, 0.9, 0.9, 0.3], 0)
    assert race.lost([0.5, 0.5, 0.5]) is not None, (
        "means are compared, whatever the seeds of a point count as"
    )
    assert race.lost([0.8, 0.8, 0.8]) is None


def test_a_trial_that_is_asked_for_again_later_begins_its_time_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("kdray.sweep.scheduling.attempts.monotonic", lambda: now)
    told = Told(group(TASKS[0]), group(TASKS[0]), grant=Grant(gpu=1))
    first = told.next()
    told.queue.begun(first)
    told.queue.ended(first, end())
    now = 100.0
    again = told.next()
    told.queue.begun(again)
    now = 130.0
    told.queue.ended(again, end())
    assert told.gpu_seconds == [0, 30]
