"""Every sampler that a sweep file can name keeps to the contracts of one that proposes points, or is
the grid."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from kdray.core import InputError, tag_of
from kdray.sweep.definition.samplers import Grid, Proposer, Sampler, members_of_search
from kdray.sweep.search.samplers import sampler_of
from kdray.testing import SAMPLER_CONTRACTS, Contract, hold
from tests.contracts.members import each, instance
from tests.sweep.fakes import sweep_of

PROPOSERS = [kind for kind in members_of_search() if not kind.enumerates]
each_sampler = pytest.mark.parametrize("kind", members_of_search(), ids=tag_of)
each_proposer = pytest.mark.parametrize("kind", PROPOSERS, ids=tag_of)


@each_proposer
@each(SAMPLER_CONTRACTS)
def test_sampler(value: Proposer, contract: Contract) -> None:
    hold(contract, value)


def search_of(kind: type[Sampler], **fields: Any) -> Any:
    """The search of a sweep file that names ``kind``."""
    space = {
        "experiment.noise.input.sigma": {"uniform": [0, 1]},
        "experiment.method.alpha": {"uniform": [0.1, 1]},
    }
    return sweep_of(space, {"search": {"sampler": tag_of(kind), **fields}}).file.search


@each_sampler
def test_a_sampler_is_a_grid_or_proposes_points(kind: type[Sampler]) -> None:
    assert kind.enumerates == issubclass(kind, Grid) != issubclass(kind, Proposer)


@each_proposer
def test_optuna_has_a_sampler_for_it_that_no_other_has(kind: type[Sampler]) -> None:
    made = {k: type(sampler_of(instance(k), 0, 0, {})) for k in PROPOSERS}
    assert issubclass(made[kind], optuna.samplers.BaseSampler)
    assert list(made.values()).count(made[kind]) == 1


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
