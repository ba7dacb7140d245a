"""Where points come from and what the study says of them, without a single trial."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kdray.results import Store
from kdray.sweep.definition.read import Stratum, Sweep
from kdray.sweep.definition.samplers import Grid
from kdray.sweep.definition.space import Point
from kdray.sweep.search.propose import (
    GridSource,
    PointResult,
    PointSource,
    SearchSource,
    open_studies,
)
from tests.sweep.fakes import ALONE, sweep_of

SIGMA, ALPHA = "noise.input.sigma", "method.alpha"
RANDOM = {
    "search": {"sampler": "random", "points": 5, "seed": 3},
    f"experiment.{SIGMA}": {"uniform": [0, 1]},
}
TPE = {**RANDOM, "search": {"sampler": "tpe", "points": 12, "startup": 3}}
Numbers = list[Mapping[str, float]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    store.create()
    return store


@pytest.fixture
def nowhere(store: Store) -> Store:
    """As on an object store: the study is in memory."""
    store.folder = None
    return store


def open_study(store: Store, sweep: Sweep) -> optuna.Study:
    """The study of a sweep that has one."""
    (study,) = open_studies(store, sweep, [Stratum({}, sweep.spaces)], lambda _: ())
    return study


def source_of(sweep: Sweep, study: optuna.Study) -> PointSource:
    """The source that fills the study."""
    search = sweep.file.search
    if isinstance(search, Grid):
        return GridSource(sweep, study)
    return SearchSource(sweep, search, sweep.spaces, study)


def value_of(point: Point) -> float:
    """Anything that depends on the point."""
    return 1 - abs(0.3 - float(point.values[SIGMA]))


def numbers_of(point: Point) -> Numbers:
    """Two seeds around the point's value."""
    return [{"val_accuracy": value_of(point) + off, "pgd1.accuracy": off} for off in (-0.1, 0.1)]


def search(
    source: PointSource, points: int | None = None, numbers: Callable[[Point], Numbers] = numbers_of
) -> list[Point]:
    """Let ``source`` give (so many) points, one after the other, each told before the next."""
    found: list[Point] = []
    while (points is None or len(found) < points) and (point := source.next()) is not None:
        source.tell(point, PointResult(numbers(point)))
        found.append(point)
    return found


def values(points: list[Point]) -> list[dict[str, Any]]:
    return [point.values for point in points]


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_a_grid_gives_every_point_in_order_and_tells_each_once_with_the_mean_over_its_seeds(
    store: Store,
) -> None:
    sweep = sweep_of({f"experiment.{ALPHA}": {"grid": [0.5, 0.9]}})
    study = open_study(store, sweep)
    points = search(source_of(sweep, study))
    assert values(points) == [point.values for point in sweep.grid()]
    assert [trial.params for trial in study.trials] == values(points)
    assert [trial.value for trial in study.trials] == pytest.approx(
        [value_of(point) for point in points]
    )
    attributes = study.trials[0].user_attrs
    assert attributes == {
        "case": None,
        "seeds": 2,
        "val_accuracy": pytest.approx(0.7),
        "pgd1.accuracy": pytest.approx(0),
    }
    # The next run tells nothing twice.
    search(source_of(sweep, study := open_study(store, sweep)))
    assert states(study) == ["COMPLETE"] * 4


def test_a_point_of_which_a_seed_failed_is_told_as_failed_with_the_reason_and_never_averaged(
    nowhere: Store,
) -> None:
    for changes in ({}, RANDOM):
        sweep = sweep_of(changes)
        study = open_study(nowhere, sweep)
        source = source_of(sweep, study)
        point = source.next()
        assert point is not None
        source.tell(point, PointResult([{"val_accuracy": 0.9}, {}], "Diverged: the loss is nan"))
        (trial,) = study.trials
        assert (trial.state, trial.value) == (TrialState.FAIL, None)
        assert trial.user_attrs == {
            "case": None,
            "seeds": 2,
            "problem": "Diverged: the loss is nan",
        }
        assert trial.params == point.values


def test_a_failed_point_of_a_grid_that_succeeds_later_is_told_then(store: Store) -> None:
    sweep = sweep_of()
    source = source_of(sweep, study := open_study(store, sweep))
    while (point := source.next()) is not None:
        source.tell(point, PointResult([], "OSError: full"))
    search(source_of(sweep, open_study(store, sweep)))
    assert states(study) == ["FAIL"] * 2 + ["COMPLETE"] * 2


def test_a_search_of_the_same_seed_gives_the_same_points(nowhere: Store) -> None:
    for changes in (RANDOM, TPE):
        once, again = (
            search(source_of(sweep := sweep_of(changes), open_study(nowhere, sweep)))
            for _ in range(2)
        )
        assert len(once) == sweep_of(changes).file.search.count
        assert values(once) == values(again)
    other = sweep_of(RANDOM, {"search.seed": 4})
    assert values(search(source_of(other, open_study(nowhere, other)))) != values(
        search(source_of(sweep_of(RANDOM), open_study(nowhere, sweep_of(RANDOM))))
    )


@pytest.mark.parametrize("changes", [RANDOM, TPE], ids=["random", "tpe"])
def test_a_search_that_is_continued_gives_the_points_of_one_that_was_not_interrupted(
    store: Store, changes: dict[str, Any]
) -> None:
    sweep = sweep_of(changes)
    undisturbed = search(source_of(sweep, open_study(store, sweep)))
    other = sweep_of(changes, {"name": "other"})
    first = search(source_of(other, open_study(store, other)), 4)
    second = search(source_of(other, open_study(store, other)))
    assert values(second) == values(undisturbed), "those that are known come first"
    assert values(first) == values(undisturbed[:4])
    told = [trial.value for trial in open_study(store, other).trials]
    assert told == pytest.approx([value_of(point) for point in undisturbed])


def test_more_points_are_those_of_a_search_that_was_longer_from_the_start(store: Store) -> None:
    short, long = sweep_of(RANDOM), sweep_of(RANDOM, {"search.points": 8})
    before = search(source_of(short, open_study(store, short)))
    after = search(source_of(long, open_study(store, long)))
    assert values(after[:5]) == values(before)
    alone = sweep_of(RANDOM, {"search.points": 8, "name": "alone"})
    assert values(after) == values(search(source_of(alone, open_study(store, alone))))


def test_a_point_that_a_killed_run_left_under_way_is_taken_up_again(store: Store) -> None:
    sweep = sweep_of(RANDOM)
    killed = source_of(sweep, open_study(store, sweep))
    under_way = [killed.next(), killed.next()]
    study = open_study(store, sweep)
    assert states(study) == ["RUNNING"] * 2
    points = search(source_of(sweep, study))
    assert points[:2] == under_way
    assert len(points) == 5
    assert states(open_study(store, sweep)) == ["COMPLETE"] * 5


def test_a_point_under_way_that_is_not_of_the_space_is_told_as_failed(nowhere: Store) -> None:
    sweep = sweep_of(RANDOM)
    study = open_study(nowhere, sweep)
    study.ask().suggest_float("something.else", 0, 1)
    study.ask().suggest_float(SIGMA, 7, 8)
    points = search(source_of(sweep, study))
    assert [point.number for point in points] == [2, 3, 4, 5, 6]
    assert states(study) == ["FAIL"] * 2 + ["COMPLETE"] * 5


SMALL = {f"experiment.{SIGMA}": {"choice": [0, 0.2]}, f"experiment.{ALPHA}": {"choice": [0.5, 0.9]}}


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_a_search_of_a_small_space_stops_when_it_is_used_up_and_repeats_cost_nothing(
    nowhere: Store, sampler: str
) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": sampler, "points": 50}})
    study = open_study(nowhere, sweep)
    with pytest.warns(UserWarning, match="the search space is used up: 4 different points"):
        points = search(source_of(sweep, study))
    assert sorted(map(str, values(points))) == sorted(
        map(str, values(list(sweep_of(SMALL).grid())))
    )
    known = {
        str(trial.params): trial.value
        for trial in study.trials
        if "repeats" not in trial.user_attrs
    }
    repeats = [trial for trial in study.trials if "repeats" in trial.user_attrs]
    assert len(known) == 4
    assert repeats
    assert all(trial.value == known[str(trial.params)] for trial in repeats)
    assert set(states(study)) == {"COMPLETE"}


def test_where_every_point_of_a_finite_space_is_there_the_search_asks_no_more(
    nowhere: Store,
) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": "random", "points": 50}})
    study = open_study(nowhere, sweep)
    source = source_of(sweep, study)
    assert len(search(source, 4)) == 4
    asked = len(study.trials)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert source.next() is None
    assert len(study.trials) == asked


def test_a_repeat_of_a_point_that_is_still_running_is_asked_for_again(nowhere: Store) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": "random", "points": 4}})
    study = open_study(nowhere, sweep)
    source = source_of(sweep, study)
    points = [source.next() for _ in range(4)]
    assert source.next() is None
    assert len({str(point.values) for point in points if point}) == 4
    for point in points:
        assert point is not None
        source.tell(point, PointResult(numbers_of(point)))
    assert "RUNNING" not in states(study)


CASES = [
    {"name": "cold", "set": {"method.temperature": 1}},
    {"name": "hot", "set": {"method.temperature": 20}},
]


def test_the_case_is_one_of_a_searchs_parameters(store: Store) -> None:
    sweep = sweep_of(RANDOM, {"cases": CASES, "search.points": 8})
    points = search(source_of(sweep, study := open_study(store, sweep)))
    assert {point.space.case for point in points} == {"cold", "hot"}
    assert [trial.params["case"] for trial in study.trials] == [
        point.space.case for point in points
    ]
    assert [trial.user_attrs["case"] for trial in study.trials] == [
        point.space.case for point in points
    ]
    assert search(source_of(sweep, open_study(store, sweep))) == points


def test_a_grid_tells_the_case_of_every_point(nowhere: Store) -> None:
    sweep = sweep_of({"cases": CASES})
    search(source_of(sweep, study := open_study(nowhere, sweep)))
    assert [trial.user_attrs["case"] for trial in study.trials] == ["cold", "cold", "hot", "hot"]


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_leaf_that_differs_between_cases_carries_the_cases_name(
    store: Store, sampler: str
) -> None:
    cases = [{"name": "a"}, {"name": "b", "set": {SIGMA: {"choice": [0.3, 0.4]}}}]
    chosen = {"sampler": sampler} | ({"points": 8} if sampler == "random" else {})
    leaves = {
        f"experiment.{SIGMA}": {"choice": [0, 0.2]},
        f"experiment.{ALPHA}": {"choice": [0.5, 0.9]},
    }
    sweep = sweep_of({"cases": cases, "search": chosen, **leaves})
    points = search(source_of(sweep, study := open_study(store, sweep)))
    assert len(points) == 8
    told = [trial for trial in study.trials if "repeats" not in trial.user_attrs]
    for point, trial in zip(points, told, strict=True):
        assert set(trial.params) == {f"{SIGMA} ({point.space.case})", ALPHA, "case"}
    assert values(search(source_of(sweep, open_study(store, sweep)))) == values(points)


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_choices_of_every_kind_of_value_come_back_as_they_are_written(
    store: Store, sampler: str
) -> None:
    choices = [{"name": "cosine"}, {"name": "multi_step", "milestones": [1, 2]}]
    described = {
        "experiment.training.schedule": {"choice": choices},
        "experiment.model.hidden": {"choice": [[8], [4, 4]]},
        "experiment.noise.labels": {"choice": [None, {"name": "uniform", "rate": 0.1}]},
        "search": {"sampler": sampler} | ({"points": 16} if sampler == "random" else {}),
    }
    sweep = sweep_of(described)
    points = search(source_of(sweep, open_study(store, sweep)))
    assert len(points) == 16
    assert all(point.values["training.schedule"] in choices for point in points)
    assert values(search(source_of(sweep, open_study(store, sweep)))) == values(points)


def test_every_kind_of_distribution_stays_in_its_range(store: Store) -> None:
    sweep = sweep_of(
        {
            "search": {"sampler": "random", "points": 30},
            f"experiment.{SIGMA}": {"quniform": [0, 1, 0.25]},
            f"experiment.{ALPHA}": {"uniform": [0.2, 0.4]},
            "experiment.method.temperature": {"loguniform": [1, 100]},
            "experiment.training.batch_size": {"lograndint": [8, 64]},
            "experiment.training.epochs": {"randint": [1, 4]},
        }
    )
    found = values(search(source_of(sweep, open_study(store, sweep))))
    assert {value[SIGMA] for value in found} <= {0, 0.25, 0.5, 0.75, 1}
    assert all(0.2 <= value[ALPHA] <= 0.4 for value in found)
    assert sum(value["method.temperature"] < 10 for value in found) in range(5, 26), (
        "half of them below the middle"
    )
    assert {value["training.epochs"] for value in found} == {1, 2, 3}
    assert all(
        8 <= value["training.batch_size"] < 64 and isinstance(value["training.batch_size"], int)
        for value in found
    )
    assert values(search(source_of(sweep, open_study(store, sweep)))) == found


def test_a_quantised_range_gives_the_values_that_it_lists() -> None:
    sweep = sweep_of(
        {
            "search": {"sampler": "random", "points": 4},
            f"experiment.{SIGMA}": {"quniform": [0, 0.3, 0.1]},
        }
    )
    leaf = sweep.spaces[0].distributions[SIGMA]
    source = source_of(sweep, optuna.create_study())
    assert {point.values[SIGMA] for point in search(source)} == set(leaf.finite or ())


def test_the_objective_may_be_lowered(nowhere: Store) -> None:
    sweep = sweep_of(RANDOM, {"objective": {"metric": "clean.loss", "mode": "min"}})
    study = open_study(nowhere, sweep)
    points = search(
        source_of(sweep, study), numbers=lambda point: [{"clean.loss": value_of(point)}]
    )
    assert study.best_value == min(value_of(point) for point in points)


def test_the_study_opens_with_optuna_alone(store: Store) -> None:
    sweep = sweep_of(TPE)
    points = search(source_of(sweep, open_study(store, sweep)))
    study = optuna.load_study(
        study_name="tiny", storage=f"sqlite:///{store.folder}/studies/tiny.db"
    )
    assert [trial.params for trial in study.trials] == values(points)
    assert study.best_value == pytest.approx(max(value_of(point) for point in points))
    assert study.direction.name == "MAXIMIZE"


def test_a_damaged_study_is_put_aside_and_begun_anew(store: Store) -> None:
    sweep = sweep_of()
    search(source_of(sweep, open_study(store, sweep)))
    assert store.folder is not None
    path = store.folder / "studies" / "tiny.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.warns(UserWarning, match=r"tiny\.db is damaged \(.*\): put aside, begun anew"):
        study = open_study(store, sweep)
    assert path.with_suffix(".damaged").read_bytes().startswith(b"not a database")
    search(source_of(sweep, study))
    assert states(study) == ["COMPLETE"] * 2


def test_a_study_of_another_description_is_begun_anew(store: Store) -> None:
    before = sweep_of(RANDOM)
    search(source_of(before, open_study(store, before)))
    after = sweep_of(RANDOM, {"experiment.training.epochs": 3})
    assert open_study(store, after).trials == []


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": 3},
        {"objective": {"metric": "clean.accuracy"}},
        {f"experiment.{SIGMA}": {"uniform": [0, 2]}},
    ],
    ids=["seeds", "objective", "space"],
)
def test_where_only_seeds_objective_or_space_changed_the_points_that_are_known_come_first(
    store: Store, changes: dict[str, Any]
) -> None:
    before, after = sweep_of(RANDOM), sweep_of(RANDOM, {"search.points": 6}, changes)
    known = search(source_of(before, open_study(store, before)))
    study = open_study(store, after)
    again = search(
        source_of(after, study),
        numbers=lambda p: [{"val_accuracy": value_of(p), "clean.accuracy": 0.5}] * 3,
    )
    assert values(again[:5]) == values(known)
    assert len(again) == 6
    assert states(study) == ["COMPLETE"] * 6
    assert {trial.user_attrs["seeds"] for trial in study.trials} == {3}


def retried(store: Store, sweep: Sweep) -> optuna.Study:
    """The study of a search whose second point failed and succeeded in the next run."""
    source = source_of(sweep, open_study(store, sweep))
    while (point := source.next()) is not None:
        source.tell(
            point,
            PointResult([], "OSError: full")
            if point.number == 1
            else PointResult(numbers_of(point)),
        )
    search(source_of(sweep, study := open_study(store, sweep)))
    return study


def test_a_failed_point_of_a_search_that_succeeds_later_is_told_then(store: Store) -> None:
    study = retried(store, sweep_of(RANDOM))
    assert sorted(states(study)) == ["COMPLETE"] * 5 + ["FAIL"]
    failed = next(trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert study.trials[-1].params == failed.params


def test_a_point_that_succeeded_after_all_is_told_once(store: Store) -> None:
    study = retried(store, sweep := sweep_of(RANDOM))
    search(source_of(sweep, open_study(store, sweep)))
    assert sorted(states(study)) == ["COMPLETE"] * 5 + ["FAIL"]


def test_a_point_that_succeeded_after_all_keeps_its_case(store: Store) -> None:
    study = retried(store, sweep := sweep_of(RANDOM, {"cases": CASES, "search.seed": 0}))
    failed = next(trial for trial in study.trials if trial.state == TrialState.FAIL)
    assert study.trials[-1].params == failed.params
    assert len(search(source_of(sweep, open_study(store, sweep)))) == 5


@pytest.mark.parametrize("changes", [{}, RANDOM, TPE], ids=["grid", "random", "tpe"])
def test_the_value_of_a_point_is_the_plain_mean(nowhere: Store, changes: dict[str, Any]) -> None:
    sweep = sweep_of(changes, ALONE)
    study = open_study(nowhere, sweep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search(
            source_of(sweep, study),
            numbers=lambda _: [{"val_accuracy": v} for v in (0.1, 0.2, 0.9)],
        )
    assert {trial.value for trial in study.trials} == {statistics.fmean([0.1, 0.2, 0.9])}
    assert "RUNNING" not in states(study)


# Samplers, and what the seeds of a point count as.

WIDE = {f"experiment.{SIGMA}": {"uniform": [0, 1]}, f"experiment.{ALPHA}": {"uniform": [0.1, 1]}}
SAMPLERS = {
    "qmc": {"sampler": "qmc"},
    "tpe-together": {"sampler": "tpe", "startup": 3, "multivariate": True, "group": True},
    "gp": {"sampler": "gp", "startup": 3},
    "nsgaii": {"sampler": "nsgaii", "population": 4},
}
each_sampler = pytest.mark.parametrize("chosen", SAMPLERS.values(), ids=list(SAMPLERS))


@each_sampler
def test_a_search_gives_different_points_and_continued_those_of_one_that_was_not_interrupted(
    store: Store, tmp_path: Path, chosen: dict[str, Any]
) -> None:
    sweep = sweep_of(WIDE, {"search": {**chosen, "points": 8}})
    whole = search(source_of(sweep, open_study(store, sweep)))
    assert len({str(point.values) for point in whole}) == 8
    other = Store(tmp_path / "other")
    other.create()
    first = search(source_of(sweep, open_study(other, sweep)), points=5)
    # What is known comes first, then new points.
    rest = search(source_of(sweep, open_study(other, sweep)))
    assert values(first) == values(whole[:5]) == values(rest[:5])
    assert values(rest) == values(whole)


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_what_learns_gets_nearer_than_what_does_not(nowhere: Store, sampler: str) -> None:
    def nearest(chosen: str) -> float:
        nowhere.folder = None
        sweep = sweep_of(WIDE, {"search": {"sampler": chosen, "points": 25}})
        return statistics.fmean(
            abs(0.3 - p.values[SIGMA])
            for p in search(source_of(sweep, open_study(nowhere, sweep)))[10:]
        )

    assert nearest(sampler) < 0.7 * nearest("random")


def test_quasi_monte_carlo_covers_the_space_evenly(nowhere: Store) -> None:
    sweep = sweep_of(WIDE, {"search": {"sampler": "qmc", "points": 16}})
    points = search(source_of(sweep, open_study(nowhere, sweep)))
    sigmas = sorted(int(point.values[SIGMA] * 16) for point in points)
    # The first point is drawn before the space is known; a scrambled Sobol sequence then puts one
    # into each sixteenth.
    assert len(set(sigmas)) >= 15


SEEDS = {"val_accuracy": [0.5, 0.9, 0.7]}


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        ({}, 0.7),
        ({"over_seeds": "worst"}, 0.5),
        ({"over_seeds": "worst", "mode": "min"}, 0.9),
        ({"over_seeds": "mean_minus_sd"}, 0.5),
        ({"over_seeds": "mean_minus_sd", "deviations": 0.5}, 0.6),
        ({"over_seeds": "mean_minus_sd", "mode": "min"}, 0.9),
    ],
)
@pytest.mark.parametrize("changes", [{}, RANDOM], ids=["grid", "random"])
def test_the_study_is_told_what_the_seeds_count_as(
    nowhere: Store, objective: dict[str, Any], value: float, changes: dict[str, Any]
) -> None:
    sweep = sweep_of(changes, {"objective": objective, "seeds": 3})
    study = open_study(nowhere, sweep)
    search(
        source_of(sweep, study),
        1,
        lambda _: [{"val_accuracy": each} for each in SEEDS["val_accuracy"]],
    )
    assert study.trials[0].value == pytest.approx(value)
    assert study.trials[0].user_attrs["val_accuracy"] == pytest.approx(0.7), (
        "the mean is shown beside it"
    )


# Points to begin with.

FIRST: dict[str, Any] = {"first": [{SIGMA: 0.25, f"experiment.{ALPHA}": 0.5}, {ALPHA: 0.75}]}


@pytest.mark.parametrize(
    "chosen", [{"sampler": "random"}, *SAMPLERS.values()], ids=["random", *SAMPLERS]
)
def test_given_points_come_first_once_and_what_they_leave_out_is_chosen(
    store: Store, chosen: dict[str, Any]
) -> None:
    sweep = sweep_of(WIDE, {"search": {**chosen, **FIRST, "points": 5}})
    found = search(source_of(sweep, open_study(store, sweep)), 3)
    assert found[0].values == {SIGMA: 0.25, ALPHA: 0.5}
    assert found[1].values[ALPHA] == 0.75
    assert 0 < found[1].values[SIGMA] < 1
    again = search(source_of(sweep, open_study(store, sweep)))
    assert len(again) == 5
    assert values(again[:3]) == values(found)
    assert [point.values[ALPHA] for point in again].count(0.75) == 1


def test_a_point_to_begin_with_says_its_case(nowhere: Store) -> None:
    small, large = {"choice": [0.5, 0.6]}, {"choice": [0.8, 0.9]}
    cases = [{"name": "small", "set": {ALPHA: small}}, {"name": "large", "set": {ALPHA: large}}]
    sweep = sweep_of(RANDOM, {"cases": cases, "search.first": [{"case": "large", ALPHA: 0.9}]})
    (first,) = search(source_of(sweep, open_study(nowhere, sweep)), 1)
    assert (first.space.case, first.values[ALPHA]) == ("large", 0.9)


def test_a_given_number_is_the_one_of_the_list_that_it_equals(nowhere: Store) -> None:
    space = {
        f"experiment.{SIGMA}": {"choice": [1, 2]},
        f"experiment.{ALPHA}": {"uniform": [0.1, 1]},
    }
    sweep = sweep_of(space, {"search": {"sampler": "random", "points": 2, "first": [{SIGMA: 1.0}]}})
    assert search(source_of(sweep, open_study(nowhere, sweep)))[0].values[SIGMA] == 1


@pytest.mark.parametrize(
    "chosen", [{"sampler": "random"}, {"sampler": "tpe"}], ids=["random", "tpe"]
)
def test_what_given_points_leave_out_differs_from_point_to_point(
    nowhere: Store, chosen: dict[str, Any]
) -> None:
    first = [{SIGMA: 0.1}, {SIGMA: 0.2}, {SIGMA: 0.3}]
    sweep = sweep_of(WIDE, {"search": {**chosen, "points": 5, "first": first}})
    points = search(source_of(sweep, open_study(nowhere, sweep)))
    assert [point.values[SIGMA] for point in points[:3]] == [0.1, 0.2, 0.3]
    assert len({point.values[ALPHA] for point in points}) == 5


def test_a_given_point_is_tried_once_whatever_changes(store: Store) -> None:
    first = {"search": {"sampler": "random", "points": 2, "first": [{SIGMA: 0.1}]}}
    for changes in ({}, {"seeds": 3}, {"search.points": 4}):
        sweep = sweep_of(WIDE, first, changes)
        points = search(
            source_of(sweep, open_study(store, sweep)),
            numbers=lambda p: [{"val_accuracy": value_of(p)}] * 3,
        )
    assert [point.values[SIGMA] for point in points].count(0.1) == 1
    assert len(points) == 4


def test_what_a_case_or_a_branch_adds_leaves_the_points_that_were_asked_for(store: Store) -> None:
    methods = [
        {"name": "kd", "temperature": {"uniform": [1, 9]}},
        {"name": "margin", "margin": {"uniform": [0.1, 1]}},
    ]
    before = sweep_of(RANDOM, {"experiment.method": {"choice": methods}})
    known = search(source_of(before, open_study(store, before)))
    method = {"experiment.method": {"choice": [*methods, {"name": "fitnet"}]}}
    after = sweep_of(RANDOM, method, {"search.points": 7})
    assert values(search(source_of(after, open_study(store, after))))[:5] == values(known)
    other = sweep_of(RANDOM, method, {"search.points": 7, "experiment.training.epochs": 3})
    assert open_study(store, other).trials == [], "another experiment"


def test_a_study_whose_objective_is_measured_otherwise_is_begun_anew(store: Store) -> None:
    suite = {
        "evaluate": {"suite": [{"name": "clean", "split": "val"}]},
        "objective": {"metric": "clean.accuracy"},
    }
    clean = lambda point: [{"clean.accuracy": value_of(point), "val_accuracy": 0.5}] * 2  # noqa: E731
    before, after = (
        sweep_of(RANDOM, suite),
        sweep_of(
            RANDOM, suite, {"evaluate.suite": [{"name": "clean", "split": "val", "examples": 9}]}
        ),
    )
    search(source_of(before, open_study(store, before)), numbers=clean)
    assert states(open_study(store, before)) == ["COMPLETE"] * 5
    assert states(open_study(store, after)) == ["WAITING"] * 5, "the points it asked for come first"


def test_how_many_points_an_earlier_run_has_begun(store: Store) -> None:
    sweep = sweep_of(RANDOM)
    assert source_of(sweep, open_study(store, sweep)).begun == ()
    points = search(source_of(sweep, open_study(store, sweep)), 3)
    source = source_of(sweep, open_study(store, sweep))
    assert list(source.begun) == points
    assert not source.fresh
    assert [source.next() for _ in points] == points
    assert source.fresh
    search(source)
    assert not source.fresh, "there are no more"
