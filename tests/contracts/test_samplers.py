"""Every sampler that a sweep file can name proposes points, the same ones from the same seed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import optuna
import pytest

from kdray.core import InputError, tag_of
from kdray.sweep.definition.samplers import Grid, Proposer, Sampler, members_of_search
from kdray.sweep.definition.space import Point, matches
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.search.history import History
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import SearchSource
from kdray.sweep.search.samplers import sampler_of
from tests.sweep.fakes import sweep_of

SPACE = {
    "experiment.noise.input.sigma": {"uniform": [0, 1]},
    "experiment.method.alpha": {"uniform": [0.1, 1]},
}
PROPOSERS = [kind for kind in members_of_search() if not kind.enumerates]
each_sampler = pytest.mark.parametrize("kind", members_of_search(), ids=tag_of)
each_proposer = pytest.mark.parametrize("kind", PROPOSERS, ids=tag_of)


def search_of(kind: type[Sampler], **fields: Any) -> Any:
    """The search of a sweep file that names ``kind``."""
    return sweep_of(SPACE, {"search": {"sampler": tag_of(kind), **fields}}).file.search


@each_sampler
def test_a_sampler_is_a_grid_or_proposes_points(kind: type[Sampler]) -> None:
    assert kind.enumerates == issubclass(kind, Grid) != issubclass(kind, Proposer)


@each_proposer
def test_optuna_has_a_sampler_for_it_that_no_other_has(kind: type[Sampler]) -> None:
    made = {k: type(sampler_of(search_of(k, points=3), 0, 0, {})) for k in PROPOSERS}
    assert issubclass(made[kind], optuna.samplers.BaseSampler)
    assert list(made.values()).count(made[kind]) == 1


def searched(sweep: Sweep, asked: Sequence[Point] = (), points: int = 7) -> list[Point]:
    """The points of a search that goes on from those it has asked for, each told before the
    next."""
    (stratum,), found = sweep.strata, []
    assert isinstance(sweep.file.search, Proposer)
    source = SearchSource(sweep, sweep.file.search, stratum, History(asked))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while len(found) < points and (point := source.next()) is not None:
            source.tell(point, PointResult([{"val_accuracy": sum(point.values.values())}] * 2))
            found.append(point)
    return found


def sweep_with(kind: type[Sampler], **fields: Any) -> Sweep:
    """A sweep of seven points; the sampler has learnt from the first when it ends."""
    learning = {name: 3 for name in ("startup",) if name in kind.model_fields}
    learning |= {name: 4 for name in ("population",) if name in kind.model_fields}
    return sweep_of(SPACE, {"search": {"sampler": tag_of(kind), "points": 7, **learning, **fields}})


@each_proposer
def test_it_proposes_as_many_different_points_as_asked(kind: type[Sampler]) -> None:
    points = searched(sweep_with(kind))
    assert [point.number for point in points] == list(range(7))
    assert len({point.text for point in points}) == 7
    assert all(matches(point.space, point.values) for point in points)


@each_proposer
def test_equal_seeds_propose_equal_points_and_others_do_not(kind: type[Sampler]) -> None:
    once, again, other = (searched(sweep_with(kind, seed=seed)) for seed in (0, 0, 1))
    assert once == again != other


@each_proposer
def test_a_continued_search_proposes_what_the_uninterrupted_one_does(kind: type[Sampler]) -> None:
    sweep = sweep_with(kind)
    whole, asked = searched(sweep), []
    for points in (2, 5, 7):
        asked = searched(sweep, asked, points)
        assert asked == whole[:points]


@each_proposer
def test_it_needs_to_know_how_many_points(kind: type[Sampler]) -> None:
    with pytest.raises(InputError, match=rf"search: points: sampler {tag_of(kind)} needs to know"):
        search_of(kind)


@each_sampler
def test_a_field_of_another_sampler_is_refused_with_those_that_have_it(kind: type[Sampler]) -> None:
    fields = {name for other in members_of_search() for name in other.model_fields}
    for field in fields - set(kind.model_fields):
        with pytest.raises(InputError, match=rf"search: {field}: "):
            search_of(kind, **({} if kind.enumerates else {"points": 3}), **{field: 1})
