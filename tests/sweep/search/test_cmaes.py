"""CMA-ES finds what it should, and every point follows from the points that were told."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from kdray.core import seeds
from kdray.sweep.search.axis import Axis
from kdray.sweep.search.cmaes import SIGMA, CmaEs

Leaves = Mapping[str, FloatDistribution | IntDistribution]
Numbers = Mapping[str, float]

LEAVES: Leaves = {
    "alpha": FloatDistribution(-2, 3),
    "rate": FloatDistribution(1e-5, 1, log=True),
    "steps": IntDistribution(1, 200),
    "sigma": FloatDistribution(0, 1, step=0.01),
    "width": IntDistribution(1, 1024, log=True),
}
BEST: Numbers = {"alpha": 2, "rate": 3e-4, "steps": 55, "sigma": 0.65, "width": 300}
PLANE: Leaves = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def bowl(point: Mapping[str, Any], leaves: Leaves = LEAVES) -> float:
    """The squared distance to the best point in the unit cube."""
    return sum(
        (Axis(leaves[name]).unit(value) - Axis(leaves[name]).unit(BEST[name])) ** 2
        for name, value in point.items()
    )


def cmaes(seed: int, startup: int = 5, population: int | None = None) -> CmaEs:
    return CmaEs(seed, startup=startup, population=population)


def ask(
    study: optuna.Study, leaves: Mapping[str, BaseDistribution], sampler: BaseSampler
) -> optuna.Trial:
    """The next point of a study, from a sampler of its own."""
    study.sampler = sampler
    return study.ask(dict(leaves))


def search(
    study: optuna.Study,
    leaves: Leaves,
    points: int,
    *,
    seed: int = 0,
    sampler: Callable[[int], BaseSampler] = cmaes,
    value: Callable[[Mapping[str, Any]], float] = bowl,
) -> None:
    """Go on until a study has so many points."""
    for number in range(len(study.trials), points):
        trial = ask(study, leaves, sampler(seeds.stream_seed(seed, "search", number) % 2**32))
        study.tell(trial, value(trial.params))


def points(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def told(
    units: Sequence[Sequence[float]], values: Sequence[float], minutes: Sequence[int] | None = None
) -> optuna.Study:
    """A study that knows points of a plane."""
    study = optuna.create_study()
    for unit, value, minute in zip(units, values, minutes or range(len(units)), strict=True):
        add(study, unit, value, minute=minute)
    return study


def add(
    study: optuna.Study,
    unit: Sequence[float],
    value: float | None,
    *,
    minute: int,
    state: TrialState = TrialState.COMPLETE,
    user_attrs: Mapping[str, Any] | None = None,
) -> None:
    start = datetime(2024, 1, 1)
    study.add_trial(
        FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=value,
            datetime_start=start,
            datetime_complete=start + timedelta(minutes=minute),
            params=dict(zip(PLANE, unit, strict=True)),
            distributions=dict(PLANE),
            user_attrs=dict(user_attrs or {}),
            system_attrs={},
            intermediate_values={},
        )
    )


def draw(study: optuna.Study, seed: int = 0, population: int | None = None) -> list[float]:
    """What would be asked for next; that it was leaves no trace in what is asked for after it."""
    return list(ask(study, PLANE, cmaes(seed, startup=1, population=population)).params.values())


def spread(study: optuna.Study) -> tuple[np.ndarray, np.ndarray]:
    """The mean of what could be asked for next, and its standard deviation."""
    drawn = np.array([draw(study, seed) for seed in range(40)])
    return drawn.mean(0), drawn.std(0)


def somewhere(count: int, *, seed: int = 0) -> list[list[float]]:
    return np.random.default_rng(seed).random((count, 2)).tolist()


@pytest.mark.parametrize("dimensions", [2, 3, 4, 5])
def test_it_gets_much_closer_to_the_bottom_of_a_bowl_than_random_search(dimensions: int) -> None:
    leaves = dict(list(LEAVES.items())[:dimensions])

    def reached(sampler: Callable[[int], BaseSampler], seed: int) -> float:
        study = optuna.create_study()
        search(study, leaves, 90, seed=seed, sampler=sampler)
        return study.best_value**0.5

    by_cmaes, by_chance = (
        statistics.median(reached(s, seed) for seed in range(3)) for s in (cmaes, RandomSampler)
    )
    assert by_cmaes < by_chance / 2


def test_a_continued_search_draws_what_the_uninterrupted_one_does(tmp_path: Path) -> None:
    leaves = dict(list(LEAVES.items())[:3])
    whole = optuna.create_study()
    search(whole, leaves, 30)
    for reached in (13, 22, 30):
        storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
        continued = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
        search(continued, leaves, reached)
        assert points(continued) == points(whole)[:reached]
        storage.remove_session()
        storage.engine.dispose()
    assert len({str(point) for point in points(whole)}) == 30


def test_to_maximise_is_to_minimise_the_negative() -> None:
    least, most = optuna.create_study(), optuna.create_study(direction="maximize")
    search(least, LEAVES, 30)
    search(most, LEAVES, 30, value=lambda point: -bowl(point))
    assert points(most) == points(least)
    wrong = optuna.create_study(direction="maximize")
    search(wrong, LEAVES, 30)
    assert points(wrong) != points(least)


def test_nothing_is_kept_in_the_study() -> None:
    study = optuna.create_study()
    search(study, LEAVES, 30)
    assert study._storage.get_study_system_attrs(study._study_id) == {}
    assert study.user_attrs == {}
    assert all(trial.system_attrs == {} and trial.user_attrs == {} for trial in study.trials)


def test_every_point_is_of_the_space() -> None:
    corner = {
        "steps": IntDistribution(3, 12, step=3),
        "rate": FloatDistribution(1e-3, 1e-2, log=True),
        "sigma": FloatDistribution(0.1, 0.4, step=0.1),
        "width": IntDistribution(1, 3, log=True),
    }
    study = optuna.create_study()
    search(study, corner, 60, value=lambda point: -sum(point.values()))
    for trial in study.trials:
        for name, value in trial.params.items():
            assert corner[name]._contains(value)
            assert type(value) is (int if isinstance(corner[name], IntDistribution) else float)


@pytest.mark.parametrize(
    "leaf",
    [
        IntDistribution(0, 9),
        IntDistribution(-5, 10, step=5),
        FloatDistribution(0.1, 0.7, step=0.1),
        IntDistribution(1, 6, log=True),
        FloatDistribution(-1, 4),
        FloatDistribution(1e-6, 10, log=True),
    ],
)
def test_the_unit_interval_is_the_leaf(leaf: FloatDistribution | IntDistribution) -> None:
    axis, units = Axis(leaf), np.linspace(0, 1, 7001)
    values = [axis.value(unit) for unit in units]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx((leaf.low, leaf.high), rel=1e-12)
    again = [axis.value(axis.unit(value)) for value in values]
    assert again == pytest.approx(values, rel=1e-12, abs=1e-12)
    if leaf.step is not None:
        assert again == values
        assert len(set(values)) == round((leaf.high - leaf.low) / leaf.step) + 1
        if not leaf.log:
            assert {values.count(value) for value in set(values)} <= set(
                range(7001 // len(set(values)) - 1, 7001 // len(set(values)) + 3)
            )


def test_a_logarithmic_leaf_is_even_in_its_octaves() -> None:
    axis = Axis(FloatDistribution(0.01, 1, log=True))
    assert axis.value(0.5) == pytest.approx(0.1)
    assert axis.unit(0.1) == pytest.approx(0.5)


def test_the_first_generation_lies_around_the_middle_whatever_the_seed() -> None:
    mean, deviation = spread(told([(0.9, 0.9)], [0]))
    assert mean == pytest.approx([0.5, 0.5], abs=0.08)
    assert deviation == pytest.approx([SIGMA, SIGMA], rel=0.3)


def test_points_beyond_the_edge_are_drawn_anew() -> None:
    study = told(somewhere(12), [sum(unit) for unit in somewhere(12)])
    drawn = [value for seed in range(40) for value in draw(study, seed)]
    assert all(0 < value < 1 for value in drawn)
    assert min(drawn) < 0.05


def test_only_whole_generations_are_learnt_from() -> None:
    units, values = somewhere(13), list(range(13))
    draws = {count: draw(told(units[:count], values[:count])) for count in range(1, 14)}
    assert [count for count in range(2, 14) if draws[count] != draws[count - 1]] == [6, 12]
    larger = {
        count: draw(told(units[:count], values[:count]), population=10) for count in range(1, 14)
    }
    assert [count for count in range(2, 14) if larger[count] != larger[count - 1]] == [10]


def test_points_are_learnt_from_in_the_order_in_which_they_were_told() -> None:
    units, values, minutes = somewhere(12), list(range(12)), list(range(12))
    ordered = draw(told(units, values, minutes))
    assert draw(told(units[::-1], values[::-1], minutes[::-1])) == ordered
    assert draw(told(units[::-1], values[::-1], minutes)) != ordered
    assert draw(told(units, values, [0] * 12)) == ordered
    assert (
        draw(told(units, values, [*range(5, -1, -1), *range(11, 5, -1)])) == ordered
    )  # in another order within a generation
    assert draw(told(units, values, [*range(5), 6, 5, *range(7, 12)])) != ordered


@pytest.mark.parametrize(
    ("value", "state", "user_attrs"),
    [
        (0.5, TrialState.PRUNED, {}),
        (None, TrialState.FAIL, {}),
        (float("inf"), TrialState.COMPLETE, {}),
        (float("-inf"), TrialState.COMPLETE, {}),
    ],
)
def test_what_tells_nothing_new_is_left_out(
    value: float | None, state: TrialState, user_attrs: dict[str, Any]
) -> None:
    study = told(somewhere(11), list(range(11)))
    before = draw(study)
    add(study, (0.5, 0.5), value, minute=5, state=state, user_attrs=user_attrs)
    assert draw(study) == before
    add(study, (0.5, 0.5), 0.5, minute=5)
    assert draw(study) != before


def test_known_points_are_learnt_from() -> None:
    study = told(somewhere(11), list(range(11)))
    before = draw(study)
    add(study, (0.5, 0.5), 0.5, minute=5, user_attrs={"known": True})
    assert draw(study) != before


@pytest.mark.parametrize(
    "leaves",
    [
        {"x": PLANE["x"]},
        {
            "x": PLANE["x"],
            "single": FloatDistribution(2, 2),
            "kind": CategoricalDistribution(["a", "b"]),
        },
        {"kind": CategoricalDistribution(["a", "b"]), "other": CategoricalDistribution([1, 2, 3])},
    ],
)
def test_fewer_than_two_numbers_are_drawn_at_random(leaves: Mapping[str, BaseDistribution]) -> None:
    mine, chance = optuna.create_study(), optuna.create_study()
    for seed in range(20):
        for study, sampler in ((mine, cmaes(seed)), (chance, RandomSampler(seed))):
            study.tell(ask(study, leaves, sampler), seed)
    assert points(mine) == points(chance)


def test_points_are_random_until_enough_are_complete() -> None:
    mine, chance = optuna.create_study(), optuna.create_study()
    for study, sampler in ((mine, cmaes), (chance, RandomSampler)):
        study.tell(ask(study, PLANE, RandomSampler(99)), state=TrialState.FAIL)
        search(study, PLANE, 7, sampler=sampler, value=lambda point: point["x"])
    assert [a == b for a, b in zip(points(mine), points(chance), strict=True)] == [True] * 6 + [
        False
    ]


def test_a_category_beside_numbers_is_drawn_at_random_and_apart_from_them() -> None:
    study = optuna.create_study()
    leaves = {**PLANE, "kind": CategoricalDistribution(["a", "b"]), "one": IntDistribution(4, 4)}
    for seed in range(5):
        study.tell(ask(study, leaves, RandomSampler(seed)), seed)
    drawn = [ask(study, leaves, cmaes(seed)).params for seed in range(200)]
    assert {point["one"] for point in drawn} == {4}
    apart = {kind: [point["x"] for point in drawn if point["kind"] == kind] for kind in ("a", "b")}
    assert all(len(xs) > 70 for xs in apart.values())
    assert abs(statistics.fmean(apart["a"]) - statistics.fmean(apart["b"])) < SIGMA / 2


def test_what_only_some_points_have_is_drawn_at_random() -> None:
    study = optuna.create_study()
    extra = FloatDistribution(0, 1)
    for number in range(40):
        leaves = {
            **PLANE,
            **({"only": extra} if number % 2 else {}),
            "kind": CategoricalDistribution(["a", "b"]),
        }
        trial = ask(study, leaves, cmaes(number))
        study.tell(trial, sum(value**2 for name, value in trial.params.items() if name in PLANE))
    late = study.trials[24:]
    assert statistics.fmean(trial.params["x"] for trial in late) < 0.3
    assert [t.params["only"] for t in late if "only" in t.params] == [
        RandomSampler(t.number).sample_independent(study, t, "only", extra)
        for t in late
        if "only" in t.params
    ]


def test_a_search_that_has_ended_begins_again_somewhere_else() -> None:
    """Twenty generations of six alike end one (10 + 30 n / population of them)."""
    rng = np.random.default_rng(0)
    near = (0.2 + 1e-3 * rng.standard_normal((6 * 21, 2))).tolist()
    mean, deviation = spread(told(near[:-6], [1.0] * (6 * 20)))
    assert mean == pytest.approx([0.2, 0.2], abs=0.02)
    assert (deviation < 0.02).all()
    mean, deviation = spread(told(near, [1.0] * (6 * 21)))
    assert mean == pytest.approx(np.random.default_rng(1).random(2), abs=0.15)
    assert (deviation > SIGMA / 2).all()


def far_better_after_all() -> optuna.Study:
    rng = np.random.default_rng(0)
    units = [
        *(0.3 + 1e-9 * rng.standard_normal((150, 2))).tolist(),
        *(0.9 + 0.05 * rng.random((30, 2))).tolist(),
    ]
    return told(units, [*range(150), *range(-1, -31, -1)])


def always_alike() -> optuna.Study:
    """The direction in which two leaves differ is lost, exactly or nearly so as the rounding
    falls."""
    rng = np.random.default_rng(2)
    return told(np.repeat(rng.random((1000, 1)), 2, axis=1).tolist(), rng.random(1000).tolist())


def the_same_point() -> optuna.Study:
    return told([(0.3, 0.3)] * 300, [1.0] * 300)


@pytest.mark.parametrize("history", [far_better_after_all, always_alike, the_same_point])
def test_points_that_no_optimiser_would_have_asked_for_do_no_harm(
    history: Callable[[], optuna.Study],
) -> None:
    """A point of the space, and no warning, which would be an error here."""
    assert all(0 <= value <= 1 for value in draw(history(), population=4))
