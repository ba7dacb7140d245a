"""Optuna's samplers, made of what a sweep file says.

One is made anew for every point, seeded by the number of the point, and none keeps anything in the
study, so that a continued search draws what the uninterrupted one would have drawn from the same
history.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import assert_never

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from kdray.core import seeds
from kdray.sweep.definition.samplers import (
    CMAES,
    GP,
    NSGAII,
    QMC,
    TPE,
    AnyProposer,
    Proposer,
    Random,
)
from kdray.sweep.search.nsga2 import Nsga2
from kdray.sweep.search.sobol import Sobol


def sampler_of(
    search: Proposer, position: int, seed: int, leaves: Mapping[str, BaseDistribution]
) -> BaseSampler:
    """Makes the sampler that chooses the point at ``position`` of a search, from a seed that only
    this point has; ``leaves`` are the parameters that every point has."""
    if not isinstance(search, AnyProposer):
        own: BaseSampler = search.optuna_sampler(seed)
        return own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search:
            case Random():
                return optuna.samplers.RandomSampler(seed)
            case QMC():
                return Sobol(leaves, position, scramble=seed_of(search, 0), seed=seed)
            case TPE():
                return optuna.samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=search.startup,
                    # Of several objectives Optuna warns where groups ask for what it leaves out.
                    multivariate=search.group or search.multivariate,
                    group=search.group,
                    constant_liar=search.constant_liar,
                )
            case GP():
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.startup)
            case CMAES():
                from kdray.sweep.search.cmaes import CmaEs  # takes half a second to import

                return CmaEs(seed, startup=search.startup, population=search.population)
            case NSGAII():
                return Nsga2(seed=seed, population_size=search.population)
            case _:
                assert_never(search)


def seed_of(search: Proposer, *counters: int) -> int:
    """The seed of the point, and of the attempt at it, that ``counters`` tell from the others."""
    return seeds.stream_seed(search.seed, "search", *counters) % 2**32
