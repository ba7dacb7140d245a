"""Several objectives, constraints, what is measured of the best only, and what a search knows
before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kdray.results import Results
from kdray.results.files.warn import DamagedFile
from kdray.results.points.best import best_points
from kdray.results.points.objective import Objective, Objectives, violation
from kdray.results.record import objectives_file
from tests.sweep.fakes import ALONE, Engine, go

SIZES: dict[str, Any] = {
    **ALONE,
    "experiment.noise.input": None,
    "experiment.model.hidden": {"choice": [[2], [8], [32]]},
    "objective": [{}, {"metric": "parameters", "mode": "min"}],
}


def study(results: Path) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{results}/studies/tiny.db")


def test_a_constraint_is_missed_by_so_much() -> None:
    numbers = [{"val_accuracy": 0.8, "macs": 10.0}, {"val_accuracy": 0.9, "macs": 10.0}]
    assert violation("val_accuracy >= 0.9", numbers) == pytest.approx(0.05)
    assert violation("val_accuracy >= 0.8", numbers) == pytest.approx(-0.05)
    assert violation("macs <= 1e1", numbers) == 0
    assert violation("macs<=9", numbers) == 1
    objectives = Objectives(objectives=(Objective(),), constraints=("macs <= 9",))
    assert not objectives.worth(numbers).feasible
    assert objectives.metrics == ("val_accuracy", "macs")
    assert objectives.lacking({"val_accuracy": 1.0}) == "macs"
    assert objectives.lacking({"val_accuracy": 1.0, "macs": float("nan")}) == "macs"


@pytest.mark.parametrize(
    "search",
    [{}, *({"sampler": s, "points": 3, "startup": 1} for s in ("tpe", "gp"))],
    ids=["grid", "tpe", "gp"],
)
def test_several_objectives_are_told_and_their_front_is_optunas(
    engine: Engine, results: Path, search: dict[str, Any]
) -> None:
    assert (
        go(results, SIZES, {"search": search, "constraints": ["parameters <= 1000"]}).exit_status
        == 0
    )
    told = study(results)
    assert [direction.name for direction in told.directions] == ["MAXIMIZE", "MINIMIZE"]
    trials = Results(results).trials()
    for trial in told.get_trials(states=(TrialState.COMPLETE,)):
        hidden = trial.params["model.hidden"]
        mine = trials[trials["model.hidden"] == hidden]
        assert trial.values == pytest.approx(
            [mine["val_accuracy"].mean(), mine["parameters"].iloc[0]]
        )
        assert trial.constraints == {"parameters <= 1000": mine["parameters"].iloc[0] - 1000}
    assert {t.params["model.hidden"] for t in told.best_trials} <= {"[2]", "[8]"}, (
        "the largest misses the constraint"
    )
    assert best_points(Results(results), "tiny") == sorted(
        trial.number for trial in told.best_trials if "repeats" not in trial.user_attrs
    )


def test_of_one_objective_one_point_is_the_best_and_it_keeps_to_the_constraints(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    sizes = {
        "experiment.model.hidden": {"grid": [[2], [8], [32]]},
        "objective": {"over_seeds": "worst"},
    }
    go(results, SIZES, sizes, {"constraints": ["parameters <= 1000"]})
    trials = Results(results).trials()
    worst = trials[trials["parameters"] <= 1000].groupby("parameters")["val_accuracy"].min()
    assert best_points(Results(results), "tiny") == [[160, 610].index(worst.idxmax())]
    (results / objectives_file("tiny")).write_text("{")
    whole = trials.groupby("parameters")["val_accuracy"].mean()
    with pytest.warns(DamagedFile, match="tiny.objectives.json"):
        assert best_points(Results(results), "tiny") == [[160, 610, 2410].index(whole.idxmax())], (
            "by val_accuracy where it is lost"
        )
    (results / objectives_file("tiny")).unlink()
    assert len(best_points(Results(results), "tiny")) == 1


BEST: dict[str, Any] = {
    "seeds": 1,
    "experiment.noise.input.sigma": {"grid": [0, 0.1, 0.2, 5]},
    "evaluate": {
        "suite": [{"name": "clean", "split": "val"}],
        "best": {
            "points": 2,
            "suite": [{"label": "dear", "name": "pgd", "epsilon": 0.1, "examples": 9, "steps": 2}],
        },
    },
}


def dear(results: Path) -> set[str]:
    """Who has the dear evaluation."""
    rows = Results(results).robustness()
    return set(rows.loc[rows["label"] == "dear", "trial_id"])


def test_dear_evaluations_are_made_of_the_best_points_and_their_teacher(
    engine: Engine, results: Path
) -> None:
    assert go(results, BEST).exit_status == 0
    trials = Results(results).trials()
    students = trials[trials["role"] == "student"]
    order = students.assign(sigma=students["noise.input.sigma"]).sort_values(
        ["val_accuracy", "sigma"], ascending=[False, True]
    )
    assert dear(results) == {*order["trial_id"].iloc[:2], students["teacher_id"].iloc[0]}
    engine.ran.clear()
    assert go(results, BEST).exit_status == 0
    assert engine.ran == []
    # One more: only that is measured.
    go(results, BEST, {"evaluate.best.points": 3, "evaluate.roles": ["student"]})
    assert [a.trial_id for a in engine.ran] == [order["trial_id"].iloc[2]]
    assert not engine.ran[0].task.train


def test_only_points_that_keep_to_the_constraints_are_among_the_best(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    remarks = go(results, BEST, {"constraints": ["val_accuracy >= 2"]}).remarks
    assert dear(results) == set()
    assert remarks == [
        "no point keeps to the constraints val_accuracy >= 2 (4 complete)",
        "evaluate.best was skipped: there is no complete point that keeps to the constraints",
    ]
    assert go(results, BEST, {"constraints": ["val_accuracy >= 0"]}).remarks == []


def test_where_no_point_is_complete_the_best_are_none(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    changes = {
        "experiment.training.optimizer": {"name": "sgd", "learning_rate": 1e30},
        "experiment.teacher.training.optimizer": {"name": "sgd"},
    }
    assert go(results, BEST, changes).remarks == [
        "evaluate.best was skipped: there is no complete point"
    ]


def test_a_dear_evaluation_that_fails_is_a_failure_in_every_run(
    engine: Engine, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("cannot be measured")

    monkeypatch.setattr("kdray.robustness.pgd.PGD.measure", refuse)
    for _ in range(2):
        summary = go(results, BEST)
        assert set(map(str, summary.failures.values())) == {
            "dear: RuntimeError: cannot be measured"
        }
        assert len(summary.failures) == 3


# What is known counts.

SEARCH: dict[str, Any] = {
    "name": "search",
    "seeds": 1,
    "experiment.noise.input.sigma": {"uniform": [0, 1]},
    "experiment.method.alpha": {"choice": [0.5, 0.9]},
    "search": {"sampler": "tpe", "points": 2, "startup": 1},
}


def known(results: Path) -> list[optuna.trial.FrozenTrial]:
    found = optuna.load_study(study_name="search", storage=f"sqlite:///{results}/studies/search.db")
    return [trial for trial in found.trials if "known" in trial.user_attrs]


def test_points_of_another_sweep_are_told_before_the_search_begins(
    engine: Engine, finished: Path
) -> None:
    """The finished grid has sigma 0 and 0.2 at alpha 0.9, the default, with two seeds each."""
    go(finished, SEARCH)
    told = known(finished)
    trials = Results(finished).trials()
    assert [trial.params for trial in told] == [
        {"noise.input.sigma": s, "method.alpha": 0.9} for s in (0, 0.2)
    ] or (
        [trial.params for trial in told]
        == [{"noise.input.sigma": s, "method.alpha": 0.9} for s in (0.2, 0)]
    )
    for trial in told:
        mine = trials[
            (trials["noise.input.sigma"] == trial.params["noise.input.sigma"])
            & (trials["seed"] == 0)
        ]
        assert trial.value == mine.loc[mine["role"] == "student", "val_accuracy"].iloc[0]
    assert [trial.number for trial in told] == [0, 1]
    assert len({a.trial_id for a in engine.ran}) == 2, "they are told, and do not count as points"
    members = Results(finished).members()
    assert (members["sweep"] == "search").sum() - (members["role"] == "teacher").sum() // 2 == 2
    engine.ran.clear()
    go(finished, SEARCH)
    assert engine.ran == []
    assert len(known(finished)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 3},
        {"experiment.training.epochs": 1},
        {"experiment.noise.input.sigma": {"uniform": [0.3, 1]}},
        {
            "objective": {"metric": "other.accuracy"},
            "evaluate.suite": [{"label": "other", "name": "clean", "split": "val", "examples": 7}],
        },
    ],
    ids=["too few seeds", "another training", "outside the range", "another metric"],
)
def test_points_that_do_not_fit_are_not_told(
    engine: Engine,
    finished: Path,
    changes: dict[str, Any],  # noqa: ARG001, RUF100
) -> None:
    go(finished, SEARCH, changes)
    assert known(finished) == []


@pytest.mark.parametrize("over_seeds", ["mean", "mean_minus_sd"])
def test_a_point_that_is_half_there_is_not_the_best(
    engine: Engine, results: Path, over_seeds: str
) -> None:
    half = {**ALONE, "objective": {"over_seeds": over_seeds}}
    engine.interrupt_after = 1
    with pytest.raises(KeyboardInterrupt):
        go(results, half)
    assert best_points(Results(results), "tiny") == []
    engine.interrupt_after = None
    go(results, half)
    assert len(best_points(Results(results), "tiny")) == 1


def test_a_search_that_is_changed_back_finds_its_points_again(
    engine: Engine, results: Path
) -> None:
    longer = {"experiment.training.epochs": 3}
    search = {
        "experiment.noise.input.sigma": {"uniform": [0, 1]},
        "search": {"sampler": "random", "points": 2},
        **ALONE,
    }
    go(results, search)
    go(results, search, longer)
    assert len(engine.ran) == 8
    go(results, search)
    assert len(engine.ran) == 8
    # A leaf that becomes a grid keeps the points that lie in it.
    go(results, search, {"experiment.model.hidden": {"grid": [[8], [4]]}})
    assert len(engine.ran) == 8 + 4


def test_constraints_stay_in_their_order(engine: Engine, results: Path) -> None:
    """Optuna gives them back in alphabetical order."""
    small = {
        "experiment.model.hidden": {"choice": [[2], [8]]},
        "search": {"sampler": "random", "points": 2},
    }
    limits = ["val_accuracy >= 0", "macs <= 1"]
    for points in (1, 2):
        go(results, SIZES, small, {"constraints": limits, "search.points": points})
    for trial in study(results).trials:
        assert trial.constraints["macs <= 1"] > 100
        assert trial.constraints["val_accuracy >= 0"] <= 0
