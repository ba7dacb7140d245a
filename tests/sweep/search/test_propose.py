"""Where points come from and what the study says of them, without a single trial."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from kdray.results import Store
from kdray.sweep.definition.space import Point, matches
from kdray.sweep.definition.trials import Stratum, Sweep
from kdray.sweep.search.history import History
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import PointSource, source_of
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


class Past:
    """What the results would say of the points of a sweep, without any."""

    def __init__(self, asked: Sequence[Point] = (), numbers: Iterable[int] = ()) -> None:
        self.asked = list(asked)
        self.numbers = {*numbers, *(point.number for point in asked)}
        self.under_way: list[Point] = []

    def of(self, stratum: Stratum) -> History:
        found = [
            point._replace(space=space)
            for point in self.asked
            for space in stratum.spaces
            if space.case == point.space.case and matches(space, point.values)
        ]
        return History(found, (), self.numbers)

    def note(self, point: Point) -> None:
        self.asked.append(point)
        self.numbers.add(point.number)
        self.under_way.append(point)

    def ended(self, point: Point) -> None:
        if point in self.under_way:
            self.under_way.remove(point)


def searched(
    store: Store,
    sweep: Sweep,
    past: Past | None = None,
    points: int | None = None,
    numbers: Callable[[Point], Numbers] | None = None,
) -> list[Point]:
    """One run of the search of a sweep, as far as (so many) points."""
    with Mirror(store, sweep.name, sweep.file.objectives) as mirror:
        return search(source_of(sweep, past or Past(), mirror), points, numbers or numbers_of)


def study_of(store: Store, sweep: Sweep) -> optuna.Study:
    """What optuna-dashboard shows of a sweep that has one study."""
    return optuna.load_study(
        study_name=sweep.name, storage=f"sqlite:///{store.folder}/studies/{sweep.name}.db"
    )


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
    points = searched(store, sweep)
    study = study_of(store, sweep)
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
    searched(store, sweep)
    assert states(study_of(store, sweep)) == ["COMPLETE"] * 4


def test_a_point_of_which_a_seed_failed_is_told_as_failed_with_the_reason_and_never_averaged(
    store: Store,
) -> None:
    for changes in ({}, RANDOM):
        sweep = sweep_of(changes)
        with Mirror(store, sweep.name, sweep.file.objectives) as mirror:
            source = source_of(sweep, Past(), mirror)
            point = source.next()
            assert point is not None
            source.tell(
                point, PointResult([{"val_accuracy": 0.9}, {}], "Diverged: the loss is nan")
            )
        (trial,) = study_of(store, sweep).trials
        assert (trial.state, trial.value) == (TrialState.FAIL, None)
        assert trial.user_attrs == {
            "case": None,
            "seeds": 2,
            "problem": "Diverged: the loss is nan",
        }
        assert trial.params == point.values


@pytest.mark.parametrize("changes", [{}, RANDOM], ids=["grid", "random"])
def test_a_failed_point_that_succeeds_later_is_shown_as_it_is_now(
    store: Store, changes: dict[str, Any]
) -> None:
    sweep, past = sweep_of(changes), Past()
    with Mirror(store, sweep.name, sweep.file.objectives) as mirror:
        source = source_of(sweep, past, mirror)
        while (point := source.next()) is not None:
            source.tell(point, PointResult([], "OSError: full"))
    failed = states(study_of(store, sweep))
    searched(store, sweep, past)
    assert set(failed) == {"FAIL"}
    assert states(study_of(store, sweep)) == ["COMPLETE"] * len(failed)


def test_a_search_of_the_same_seed_gives_the_same_points(store: Store) -> None:
    for changes in (RANDOM, TPE):
        sweep = sweep_of(changes)
        once, again = (searched(store, sweep) for _ in range(2))
        assert len(once) == sweep.file.search.count
        assert values(once) == values(again)
    other = sweep_of(RANDOM, {"search.seed": 4})
    assert values(searched(store, other)) != values(searched(store, sweep_of(RANDOM)))


def test_more_points_are_those_of_a_search_that_was_longer_from_the_start(store: Store) -> None:
    short, long, past = sweep_of(RANDOM), sweep_of(RANDOM, {"search.points": 8}), Past()
    before = searched(store, short, past)
    after = searched(store, long, past)
    assert values(after[:5]) == values(before)
    assert values(after) == values(searched(store, long))


def test_a_point_that_a_killed_run_left_under_way_is_taken_up_again(store: Store) -> None:
    sweep, past = sweep_of(RANDOM), Past()
    killed = source_of(sweep, past, Mirror(store, sweep.name, sweep.file.objectives))
    under_way = [killed.next(), killed.next()]
    assert past.under_way == under_way
    points = searched(store, sweep, past)
    assert points[:2] == under_way
    assert len(points) == 5
    assert past.under_way == []
    assert states(study_of(store, sweep)) == ["COMPLETE"] * 5


def test_a_number_that_another_point_had_is_given_to_nobody_else(store: Store) -> None:
    sweep = sweep_of(RANDOM)
    points = searched(store, sweep, Past(numbers=[0, 2, 3]))
    assert [point.number for point in points] == [1, 4, 5, 6, 7]
    assert values(points) == values(searched(store, sweep)), "numbers do not change what is drawn"
    twice = [points[0], points[1]._replace(number=points[0].number)]
    assert [point.number for point in searched(store, sweep, Past(twice))] == [1, 2, 3, 4, 5]


SMALL = {f"experiment.{SIGMA}": {"choice": [0, 0.2]}, f"experiment.{ALPHA}": {"choice": [0.5, 0.9]}}


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_a_search_of_a_small_space_stops_when_it_is_used_up_and_repeats_cost_nothing(
    store: Store, sampler: str
) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": sampler, "points": 50}})
    with pytest.warns(UserWarning, match="the search space is used up: 4 different points"):
        points = searched(store, sweep)
    assert sorted(map(str, values(points))) == sorted(
        map(str, values(list(sweep_of(SMALL).grid())))
    )
    assert states(study_of(store, sweep)) == ["COMPLETE"] * 4


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "qmc"])
def test_a_search_that_finds_the_same_again_and_again_goes_through_a_finite_space(
    store: Store, sampler: str
) -> None:
    space = {f"experiment.{SIGMA}": {"quniform": [0, 1, 0.05]}}
    sweep = sweep_of(space, {"search": {"sampler": sampler, "points": 21}})
    assert len({point.text for point in searched(store, sweep)}) == 21


def test_where_every_point_of_a_finite_space_is_there_the_search_asks_no_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": "random", "points": 50}})
    source = source_of(sweep, Past(), Mirror(store, sweep.name, sweep.file.objectives))
    assert len(search(source, 4)) == 4
    monkeypatch.setattr("kdray.sweep.search.propose.sampler_of", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert source.next() is None


def test_a_repeat_of_a_point_that_is_still_running_is_asked_for_again(store: Store) -> None:
    sweep = sweep_of(SMALL, {"search": {"sampler": "random", "points": 4}})
    with Mirror(store, sweep.name, sweep.file.objectives) as mirror:
        source = source_of(sweep, Past(), mirror)
        points = [source.next() for _ in range(4)]
        assert source.next() is None
        assert len({str(point.values) for point in points if point}) == 4
        for point in points:
            assert point is not None
            source.tell(point, PointResult(numbers_of(point)))
    assert states(study_of(store, sweep)) == ["COMPLETE"] * 4


CASES = [
    {"name": "cold", "set": {"method.temperature": 1}},
    {"name": "hot", "set": {"method.temperature": 20}},
]


def test_the_case_is_one_of_a_searchs_parameters(store: Store) -> None:
    sweep, past = sweep_of(RANDOM, {"cases": CASES, "search.points": 8}), Past()
    points, study = searched(store, sweep, past), study_of(store, sweep)
    assert {point.space.case for point in points} == {"cold", "hot"}
    assert [trial.params["case"] for trial in study.trials] == [
        point.space.case for point in points
    ]
    assert [trial.user_attrs["case"] for trial in study.trials] == [
        point.space.case for point in points
    ]
    assert searched(store, sweep, past) == points


def test_a_grid_tells_the_case_of_every_point(store: Store) -> None:
    sweep = sweep_of({"cases": CASES})
    searched(store, sweep)
    cases = [trial.user_attrs["case"] for trial in study_of(store, sweep).trials]
    assert cases == ["cold", "cold", "hot", "hot"]


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
    sweep, past = sweep_of({"cases": cases, "search": chosen, **leaves}), Past()
    points = searched(store, sweep, past)
    assert len(points) == 8
    for point, trial in zip(points, study_of(store, sweep).trials, strict=True):
        assert set(trial.params) == {f"{SIGMA} ({point.space.case})", ALPHA, "case"}
    assert values(searched(store, sweep, past)) == values(points)


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_choices_of_every_kind_of_value_come_back_as_they_are_written(
    store: Store, sampler: str
) -> None:
    choices = [{"name": "cosine"}, {"name": "multi_step", "milestones": [1, 2]}]
    described = {
        "experiment.training.schedule": {"choice": choices},
        "experiment.model.hidden": {"choice": [[8], [4, 4]]},
        "experiment.noise.labels": {"choice": [None, {"name": "uniform", "rate": 0.1}]},
        "search": {"sampler": sampler} | ({"points": 8} if sampler == "random" else {}),
    }
    sweep, past = sweep_of(described), Past()
    points = searched(store, sweep, past)
    assert len(points) == 16
    assert all(point.values["training.schedule"] in choices for point in points)
    assert values(searched(store, sweep, past)) == values(points)


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
    past = Past()
    found = values(searched(store, sweep, past))
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
    assert values(searched(store, sweep, past)) == found


def test_a_quantised_range_gives_the_values_that_it_lists(store: Store) -> None:
    sweep = sweep_of(
        {
            "search": {"sampler": "random", "points": 4},
            f"experiment.{SIGMA}": {"quniform": [0, 0.3, 0.1]},
        }
    )
    leaf = sweep.spaces[0].distributions[SIGMA]
    assert {point.values[SIGMA] for point in searched(store, sweep)} == set(leaf.finite or ())


def test_the_objective_may_be_lowered(store: Store) -> None:
    sweep = sweep_of(RANDOM, {"objective": {"metric": "clean.loss", "mode": "min"}})
    points = searched(store, sweep, numbers=lambda point: [{"clean.loss": value_of(point)}])
    assert study_of(store, sweep).best_value == min(value_of(point) for point in points)


def test_the_study_opens_with_optuna_alone(store: Store) -> None:
    sweep = sweep_of(TPE)
    points, study = searched(store, sweep), study_of(store, sweep)
    assert [trial.params for trial in study.trials] == values(points)
    assert study.best_value == pytest.approx(max(value_of(point) for point in points))
    assert study.direction.name == "MAXIMIZE"


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
    before, after, past = sweep_of(RANDOM), sweep_of(RANDOM, {"search.points": 6}, changes), Past()
    known = searched(store, before, past)
    again = searched(
        store,
        after,
        past,
        numbers=lambda p: [{"val_accuracy": value_of(p), "clean.accuracy": 0.5}] * 3,
    )
    assert values(again[:5]) == values(known)
    assert len(again) == 6
    study = study_of(store, after)
    assert states(study) == ["COMPLETE"] * 6
    assert {trial.user_attrs["seeds"] for trial in study.trials} == {3}


def test_points_of_other_sweeps_are_shown_first_and_are_no_points_of_this_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, past = sweep_of(RANDOM), Past()
    space = sweep.spaces[0]
    known = [(Point(-1, space, {SIGMA: sigma}), [{"val_accuracy": 0.5}]) for sigma in (0.1, 0.2)]
    monkeypatch.setattr(Past, "of", lambda self, _: History((), known, ()))
    points = searched(store, sweep, past)
    trials = study_of(store, sweep).trials
    assert [trial.user_attrs.get("known", False) for trial in trials] == [True] * 2 + [False] * 5
    assert [point.number for point in points] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("changes", [{}, RANDOM, TPE], ids=["grid", "random", "tpe"])
def test_the_value_of_a_point_is_the_plain_mean(store: Store, changes: dict[str, Any]) -> None:
    sweep = sweep_of(changes, ALONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        searched(store, sweep, numbers=lambda _: [{"val_accuracy": v} for v in (0.1, 0.2, 0.9)])
    study = study_of(store, sweep)
    assert {trial.value for trial in study.trials} == {statistics.fmean([0.1, 0.2, 0.9])}
    assert "RUNNING" not in states(study)


# What the seeds of a point count as.

WIDE = {f"experiment.{SIGMA}": {"uniform": [0, 1]}, f"experiment.{ALPHA}": {"uniform": [0.1, 1]}}


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_what_learns_gets_nearer_than_what_does_not(store: Store, sampler: str) -> None:
    def nearest(chosen: str) -> float:
        sweep = sweep_of(WIDE, {"search": {"sampler": chosen, "points": 25}})
        return statistics.fmean(abs(0.3 - p.values[SIGMA]) for p in searched(store, sweep)[10:])

    assert nearest(sampler) < 0.7 * nearest("random")


def test_quasi_monte_carlo_covers_the_space_evenly(store: Store) -> None:
    sweep = sweep_of(WIDE, {"search": {"sampler": "qmc", "points": 16}})
    for path, low, width in ((SIGMA, 0, 1), (ALPHA, 0.1, 0.9)):
        found = sorted(int((p.values[path] - low) / width * 16) for p in searched(store, sweep))
        assert found == list(range(16)), "a scrambled Sobol sequence puts one into each sixteenth"


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
    store: Store, objective: dict[str, Any], value: float, changes: dict[str, Any]
) -> None:
    sweep = sweep_of(changes, {"objective": objective, "seeds": 3})
    seeds = [{"val_accuracy": each} for each in SEEDS["val_accuracy"]]
    searched(store, sweep, points=1, numbers=lambda _: seeds)
    trial = study_of(store, sweep).trials[0]
    assert trial.value == pytest.approx(value)
    assert trial.user_attrs["val_accuracy"] == pytest.approx(0.7), "the mean is shown beside it"


# Points to begin with.

FIRST: dict[str, Any] = {"first": [{SIGMA: 0.25, f"experiment.{ALPHA}": 0.5}, {ALPHA: 0.75}]}
SAMPLERS = ["random", "qmc", "tpe", "gp", "nsgaii"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_given_points_come_first_once_and_what_they_leave_out_is_chosen(
    store: Store, sampler: str
) -> None:
    sweep = sweep_of(WIDE, {"search": {"sampler": sampler, **FIRST, "points": 5}})
    past = Past()
    found = searched(store, sweep, past, 3)
    assert found[0].values == {SIGMA: 0.25, ALPHA: 0.5}
    assert found[1].values[ALPHA] == 0.75
    assert 0 < found[1].values[SIGMA] < 1
    again = searched(store, sweep, past)
    assert len(again) == 5
    assert values(again[:3]) == values(found)
    assert [point.values[ALPHA] for point in again].count(0.75) == 1


def test_a_given_point_that_is_there_already_is_not_given_again(store: Store) -> None:
    first = [{SIGMA: 0.1, ALPHA: 0.5}] * 2
    sweep = sweep_of(WIDE, {"search": {"sampler": "random", "first": first, "points": 3}})
    points = searched(store, sweep)
    assert len({point.text for point in points}) == 3


def test_a_point_to_begin_with_says_its_case(store: Store) -> None:
    small, large = {"choice": [0.5, 0.6]}, {"choice": [0.8, 0.9]}
    cases = [{"name": "small", "set": {ALPHA: small}}, {"name": "large", "set": {ALPHA: large}}]
    sweep = sweep_of(RANDOM, {"cases": cases, "search.first": [{"case": "large", ALPHA: 0.9}]})
    (first,) = searched(store, sweep, points=1)
    assert (first.space.case, first.values[ALPHA]) == ("large", 0.9)


def test_a_given_number_is_the_one_of_the_list_that_it_equals(store: Store) -> None:
    space = {
        f"experiment.{SIGMA}": {"choice": [1, 2]},
        f"experiment.{ALPHA}": {"uniform": [0.1, 1]},
    }
    sweep = sweep_of(space, {"search": {"sampler": "random", "points": 2, "first": [{SIGMA: 1.0}]}})
    assert searched(store, sweep)[0].values[SIGMA] == 1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_given_points_leave_out_differs_from_point_to_point(
    store: Store, sampler: str
) -> None:
    first = [{SIGMA: 0.1}, {SIGMA: 0.2}, {SIGMA: 0.3}]
    sweep = sweep_of(WIDE, {"search": {"sampler": sampler, "points": 5, "first": first}})
    points = searched(store, sweep)
    assert [point.values[SIGMA] for point in points[:3]] == [0.1, 0.2, 0.3]
    assert len({point.values[ALPHA] for point in points}) == 5


def test_a_given_point_is_tried_once_whatever_changes(store: Store) -> None:
    first, past = {"search": {"sampler": "random", "points": 2, "first": [{SIGMA: 0.1}]}}, Past()
    for changes in ({}, {"seeds": 3}, {"search.points": 4}):
        sweep = sweep_of(WIDE, first, changes)
        points = searched(store, sweep, past, numbers=lambda p: [{"val_accuracy": value_of(p)}] * 3)
    assert [point.values[SIGMA] for point in points].count(0.1) == 1
    assert len(points) == 4


def test_how_many_points_an_earlier_run_has_begun(store: Store) -> None:
    sweep, past = sweep_of(RANDOM), Past()
    mirror = Mirror(store, sweep.name, sweep.file.objectives)
    assert list(source_of(sweep, past, mirror).begun) == []
    points = searched(store, sweep, past, 3)
    source = source_of(sweep, past, mirror)
    assert list(source.begun) == points
    assert not source.fresh
    assert [source.next() for _ in points] == points
    assert source.fresh
    for point in points:
        source.tell(point, PointResult(numbers_of(point)))
    search(source)
    assert not source.fresh, "there are no more"
