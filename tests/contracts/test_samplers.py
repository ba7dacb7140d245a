"""Every sampler that a sweep file can name proposes points, the same ones from the same seed."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
import pytest

from kdray.core import InputError, tag_of
from kdray.sweep.definition.samplers import Grid, Proposer, Sampler, members_of_search
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
    made = {k: type(sampler_of(search_of(k, points=3), 0)) for k in PROPOSERS}
    assert issubclass(made[kind], optuna.samplers.BaseSampler)
    assert list(made.values()).count(made[kind]) == 1


@each_proposer
def test_equal_seeds_draw_equal_points_and_others_do_not(kind: type[Sampler]) -> None:
    def drawn(seed: int) -> list[dict[str, float]]:
        search, study = search_of(kind, points=9, seed=seed), optuna.create_study()
        for number in range(9):
            study.sampler = sampler_of(search, number)
            trial = study.ask({name: optuna.distributions.FloatDistribution(0, 1) for name in "ab"})
            study.tell(trial, sum(trial.params.values()))
        return [trial.params for trial in study.trials]

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(0) == drawn(0) != drawn(1)


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
