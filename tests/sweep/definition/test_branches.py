"""Choices between whole mappings, grids with searches over the rest, and the names that both have
in a study."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest

from kdray.core import InputError
from kdray.results import Store
from kdray.sweep.definition.space import Point
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.parameters import OptunaParameters
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import source_of
from tests.sweep.fakes import Engine, go, sweep_of

METHODS = {
    "experiment.noise.input.sigma": 0.1,
    "experiment.method": {
        "choice": [
            {"name": "kd", "temperature": {"choice": [1, 4]}, "alpha": 0.5},
            {
                "name": "margin",
                "temperature": {"choice": [1, 4]},
                "margin": {"choice": [0.1, 0.2, 0.4]},
            },
            {"name": "fitnet"},
        ]
    },
}
"""2 + 6 + 1 points."""


def values(points: list[Point]) -> list[dict[str, Any]]:
    return [point.values for point in points]


def search(*changes: dict[str, Any], **chosen: Any) -> list[Point]:
    """All points of a search."""
    sweep = sweep_of(*changes, {"search": {"sampler": "random", "points": 40} | chosen})
    store = Store("memory")
    store.folder = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, found = source_of(sweep, None, Mirror(store, "tiny", sweep.file.objectives)), []
        while (point := source.next()) is not None:
            source.tell(point, PointResult([{"val_accuracy": 0.5}] * 2))
            found.append(point)
    return found


def test_a_grid_goes_through_every_branch_in_order() -> None:
    points = list(sweep_of(METHODS).grid())
    assert [point.values["method"] for point in points] == ["kd"] * 2 + ["margin"] * 6 + ["fitnet"]
    assert points[0].values == {"method": "kd", "method.temperature": 1}
    assert points[-2].values == {"method": "margin", "method.temperature": 4, "method.margin": 0.4}
    assert points[-1].tree()["method"] == {"name": "fitnet"}
    assert points[-2].tree()["method"] == {"name": "margin", "temperature": 4, "margin": 0.4}
    assert [point.number for point in points] == list(range(9))


def test_a_search_finds_every_point_of_every_branch_and_no_other() -> None:
    points = search(METHODS)
    assert sorted(map(str, values(points))) == sorted(
        map(str, values(list(sweep_of(METHODS).grid())))
    )


def test_parameters_of_a_branch_carry_its_name_and_come_back_as_the_point() -> None:
    sweep = sweep_of(METHODS)
    codec = OptunaParameters(sweep.spaces)
    assert codec.size == 9
    for point in sweep.grid():
        parameters = codec.parameters(point)
        assert parameters["method"] == point.values["method"]
        assert {name for name in parameters if "temperature" in name} <= {
            f"method.temperature ({parameters['method']})"
        }
        assert codec.point(point.number, parameters) == point
        assert codec.distributions(point.space).keys() == parameters.keys()
    assert codec.point(0, {"method": "kd", "method.temperature (margin)": 1}) is None


def test_branches_in_branches_and_beside_each_other() -> None:
    schedule = {
        "choice": [
            {"name": "cosine"},
            {"name": "multi_step", "milestones": {"choice": [[1], [1, 2]]}},
        ]
    }
    labels = {
        "choice": [None, {"name": "uniform", "rate": {"choice": [0.1, 0.2]}, "resample": "never"}]
    }
    sweep = sweep_of(
        {
            "experiment.noise.labels": labels,
            "experiment.training.schedule": schedule,
            "experiment.noise.input.sigma": 0.1,
        }
    )
    points = list(sweep.grid())
    assert [point.values["noise.labels"] for point in points] == ["none"] * 3 + ["uniform"] * 6
    codec = OptunaParameters(sweep.spaces)
    assert [codec.point(point.number, codec.parameters(point)) for point in points] == points
    optimiser = {
        "choice": [{"name": "sgd", "learning_rate": {"choice": [0.1, 0.2]}}, {"name": "adam"}]
    }
    whole = {
        "choice": [
            {"epochs": 1, "batch_size": 10, "optimizer": optimiser},
            {"epochs": 2, "batch_size": 10},
        ]
    }
    nested = sweep_of(
        {
            "experiment.training": whole,
            "experiment.teacher.training": {"epochs": 1, "batch_size": 10},
            "experiment.noise.input.sigma": 0.1,
        }
    )
    assert values(list(nested.grid())) == [
        {"training": "1", "training.optimizer": "sgd", "training.optimizer.learning_rate": 0.1},
        {"training": "1", "training.optimizer": "sgd", "training.optimizer.learning_rate": 0.2},
        {"training": "1", "training.optimizer": "adam"},
        {"training": "2"},
    ]
    codec = OptunaParameters(nested.spaces)
    names = set(codec.parameters(next(nested.grid())))
    assert names == {
        "training",
        "training.optimizer (1)",
        "training.optimizer.learning_rate (1, sgd)",
    }
    assert (
        len(
            search(
                {
                    "experiment.training": whole,
                    "experiment.noise.input.sigma": 0.1,
                    "experiment.teacher.training": {"epochs": 1, "batch_size": 10},
                }
            )
        )
        == 4
    )


def test_a_teacher_may_have_branches_and_follows_those_that_it_inherits() -> None:
    models = {
        "choice": [
            {"name": "mlp", "hidden": {"choice": [[8], [16]]}},
            {"name": "mlp", "hidden": [4]},
        ]
    }
    sweep = sweep_of({"experiment.teacher.model": models, "experiment.noise.input.sigma": 0.1})
    assert [point.values["teacher.model"] for point in sweep.grid()] == ["mlp 1", "mlp 1", "mlp 2"]
    assert len({t.trial_id for t in sweep.teachers()}) == 3 * 2
    schedule = {
        "choice": [
            {"name": "cosine"},
            {"name": "multi_step", "milestones": {"choice": [[1], [1, 2]]}},
        ]
    }
    sweep = sweep_of(
        {"experiment.training.schedule": schedule, "experiment.noise.input.sigma": 0.1}
    )
    for point in sweep.grid():
        teacher = sweep.candidates(point)[0]
        assert teacher.training == sweep.student(point, 0, teacher).training


def test_a_mistake_in_any_branch_is_found_before_anything_starts() -> None:
    wrong = {
        "choice": [
            {"name": "kd", "temperature": {"choice": [1, 4]}},
            {"name": "margin", "margin": -1},
        ]
    }
    with pytest.raises(InputError, match=r"experiment\.method\.margin: input should be greater"):
        sweep_of({"experiment.method": wrong})


def test_a_branch_of_a_range_that_a_teacher_would_need_is_refused() -> None:
    wrong = {"choice": [{"name": "mlp", "dropout": {"uniform": [0, 0.5]}}, {"name": "mlp"}]}
    with pytest.raises(
        InputError, match=r"teacher\.model\.dropout: is continuous, and teachers are trained first"
    ):
        sweep_of({"experiment.teacher.model": wrong})


def test_first_points_may_lie_in_a_branch() -> None:
    first = [{"method.margin": 0.4}, {"method": "kd", "method.temperature": 4}]
    points = search(METHODS, first=first)
    assert points[0].values["method"] == "margin"
    assert points[0].values["method.margin"] == 0.4
    assert points[1].values == {"method": "kd", "method.temperature": 4}
    for wrong, said in (
        (
            {"method": "kdd"},
            r"search\.first\[0\]\.method: \"kdd\" is not in the range searched \(kd, "
            r"margin, fitnet\)",
        ),
        (
            {"method": "kd", "method.margin": 0.1},
            r"search\.first\[0\]: no point has all of method, method\.margin",
        ),
    ):
        with pytest.raises(InputError, match=said):
            sweep_of(METHODS, {"search": {"sampler": "random", "points": 5, "first": [wrong]}})


# A grid over some leaves with a search over the others.

STRATA = {
    "experiment.noise.input.sigma": {"grid": [0, 0.2, 0.4]},
    "experiment.method.temperature": {"uniform": [1, 10]},
    "search": {"sampler": "random", "points": 4},
}


def test_every_combination_of_the_grid_has_a_search_of_its_own(tmp_path: Any) -> None:
    sweep = sweep_of(STRATA)
    assert [stratum.fixed for stratum in sweep.strata] == [
        {"noise.input.sigma": sigma} for sigma in (0, 0.2, 0.4)
    ]
    store = Store(tmp_path / "results")
    store.create()
    with Mirror(store, "tiny", sweep.file.objectives) as mirror:
        source, points = source_of(sweep, None, mirror), []
        while (point := source.next()) is not None:
            score = point.values["method.temperature"]
            source.tell(point, PointResult([{"val_accuracy": score}] * 2))
            points.append(point)
    assert [point.values["noise.input.sigma"] for point in points] == [0, 0.2, 0.4] * 4
    assert [point.number for point in points] == list(range(12)), (
        "they take turns, and so do their numbers"
    )
    assert len({point.values["method.temperature"] for point in points}) == 12
    names = {f"tiny [noise.input.sigma={sigma}]" for sigma in (0, 0.2, 0.4)}
    storage = f"sqlite:///{store.folder}/studies/tiny.db"
    assert {s.study_name for s in optuna.get_all_study_summaries(storage)} == names
    # A value that is taken away takes its study with it.
    fewer = sweep_of(STRATA, {"experiment.noise.input.sigma": {"grid": [0, 0.2]}})
    with Mirror(store, "tiny", sweep.file.objectives) as mirror:
        source_of(fewer, None, mirror)
    assert len(optuna.get_all_study_summaries(storage)) == 2


def test_cases_of_which_one_has_no_grid_are_searched_once() -> None:
    cases = [{"name": "grid"}, {"name": "plain", "set": {"noise.input.sigma": 0.3}}]
    sweep = sweep_of(STRATA, {"cases": cases})
    assert [(dict(s.fixed), [space.case for space in s.spaces]) for s in sweep.strata] == [
        ({"noise.input.sigma": 0}, ["grid"]),
        ({"noise.input.sigma": 0.2}, ["grid"]),
        ({"noise.input.sigma": 0.4}, ["grid"]),
        ({}, ["plain"]),
    ]


def test_a_branch_may_be_a_grid_too() -> None:
    methods = {"grid": METHODS["experiment.method"]["choice"]}  # type: ignore[index]
    sweep = sweep_of(
        METHODS,
        {
            "experiment.method": methods,
            "search": {"sampler": "random", "points": 3},
            "experiment.noise.input.sigma": {"uniform": [0, 1]},
        },
    )
    assert [stratum.fixed for stratum in sweep.strata] == [
        {"method": name} for name in ("kd", "margin", "fitnet")
    ]


def test_a_search_in_strata_runs_whole_and_is_done_once(engine: Engine, results: Any) -> None:
    changes = {
        "experiment.noise.input.sigma": {"grid": [0, 0.2]},
        "experiment.method.alpha": {"choice": [0.5, 0.9, 1.0]},
        "search": {"sampler": "tpe", "points": 2, "startup": 1},
        "seeds": 1,
    }
    summary = go(results, changes)
    assert len(summary.ran) == 2 + 4
    engine.ran.clear()
    assert go(results, changes).exit_status == 0
    assert engine.ran == []


def test_quasi_monte_carlo_draws_what_only_a_branch_has() -> None:
    margin = {"name": "margin", "margin": {"uniform": [0.1, 1]}}
    methods = {"choice": [{"name": "kd", "temperature": {"uniform": [1, 9]}}, margin]}
    points = search(
        {"experiment.method": methods, "experiment.noise.input.sigma": 0.1},
        sampler="qmc",
        points=12,
    )
    assert len(points) == 12
    assert len([point for point in points if point.values["method"] == "margin"]) in range(3, 10)
