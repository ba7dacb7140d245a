"""What every sampler that proposes points keeps to, on a sweep over two ranges."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache

from kdray.sweep.definition.read import sweep_from
from kdray.sweep.definition.samplers import Proposer
from kdray.sweep.definition.space import Point, matches
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.search.history import History
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import SearchSource
from kdray.testing.contracts import Contract, check
from kdray.testing.values import VALUE_CONTRACTS

POINTS = 7


def it_proposes_as_many_different_points_as_asked(sampler: Proposer) -> None:
    """Seven points are numbered from 0, all different, all in the space."""
    points = searched(sampler)
    numbers = [point.number for point in points]
    assert numbers == list(range(POINTS)), f"asked for {POINTS} points, it numbers {numbers}"
    texts = {point.text for point in points}
    assert len(texts) == POINTS, f"{POINTS} points are {len(texts)} different ones"
    for point in points:
        assert matches(point.space, point.values), f"{point.text} is not in the space"


def equal_seeds_propose_equal_points_and_others_do_not(sampler: Proposer) -> None:
    """The seed alone decides what is proposed."""
    seeds = (sampler.seed, sampler.seed, sampler.seed + 1)
    once, again, other = (searched(sampler.model_copy(update={"seed": seed})) for seed in seeds)
    assert once == again, f"of equal seeds come {_texts(once)} and {_texts(again)}"
    assert again != other, f"another seed proposes the same points {_texts(other)}"


def a_continued_search_proposes_what_the_uninterrupted_one_does(sampler: Proposer) -> None:
    """It keeps nothing to itself: a new process that is told the past goes on the same."""
    whole: list[Point] = searched(sampler)
    asked: list[Point] = []
    for points in (2, 5, POINTS):
        asked = searched(sampler, asked, points)
        assert asked == whole[:points], (
            f"continued to {points} points it proposes {_texts(asked)}, uninterrupted "
            f"{_texts(whole[:points])}"
        )


SAMPLER_CONTRACTS: tuple[Contract, ...] = (
    it_proposes_as_many_different_points_as_asked,
    equal_seeds_propose_equal_points_and_others_do_not,
    a_continued_search_proposes_what_the_uninterrupted_one_does,
)


def check_sampler(sampler: Proposer) -> None:
    """Raise AssertionError unless ``sampler``, with fields at which it has begun to learn after a
    few of seven points, keeps to every contract of a sampler."""
    __tracebackhide__ = True
    check(sampler, (*VALUE_CONTRACTS, *SAMPLER_CONTRACTS))


def searched(sampler: Proposer, asked: Sequence[Point] = (), points: int = POINTS) -> list[Point]:
    """Return the points of a search that goes on from those it has asked for, each told before the
    next."""
    sweep = _sweep()
    (stratum,) = sweep.strata
    found: list[Point] = []
    search = sampler.model_copy(update={"points": POINTS})
    source = SearchSource(sweep, search, stratum, History(asked))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while len(found) < points and (point := source.next()) is not None:
            source.tell(point, PointResult([{"val_accuracy": sum(point.values.values())}] * 2))
            found.append(point)
    return found


@cache
def _sweep() -> Sweep:
    """Return a sweep over two ranges."""
    return sweep_from(
        {
            "name": "samplers",
            "seeds": 2,
            "experiment": {
                "data": {"name": "digits"},
                "model": {"name": "mlp", "hidden": [8]},
                "teacher": {"model": {"name": "mlp", "hidden": [16]}},
                "noise": {"input": {"name": "gaussian", "sigma": {"uniform": [0, 1]}}},
                "method": {"name": "kd", "alpha": {"uniform": [0.1, 1]}},
                "training": {"epochs": 1},
            },
            "search": {"sampler": "random", "points": POINTS},
            "evaluate": {},
        }
    )


def _texts(points: Sequence[Point]) -> list[str]:
    return [point.text for point in points]
