"""Optuna's samplers, made of what a sweep file says.

One is made anew for every point, seeded by the number of the point, so that a continued search
draws what the uninterrupted one would have drawn from the same history.
"""

from __future__ import annotations

import warnings
from typing import assert_never

import optuna
from optuna.samplers import BaseSampler

from kdray.core import seeds
from kdray.sweep.definition.samplers import CMAES, GP, NSGAII, QMC, TPE, AnyProposer, Random


def sampler_of(search: AnyProposer, number: int) -> BaseSampler:
    """Makes the sampler that chooses the point with ``number``."""
    seed = seeds.stream_seed(search.seed, "search", number) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search:
            case Random():
                return optuna.samplers.RandomSampler(seed)
            case QMC():
                # One sequence for all points (and in each stratum); how far it has come stands in
                # the study. What only some points have, a branch's own, is no part of it and drawn
                # for itself.
                once = seeds.stream_seed(search.seed, "search", 0) % 2**32
                independent = optuna.samplers.RandomSampler(seed)
                return optuna.samplers.QMCSampler(
                    scramble=True, seed=once, independent_sampler=independent
                )
            case TPE():
                return optuna.samplers.TPESampler(
                    seed=seed,
                    n_startup_trials=search.startup,
                    multivariate=search.multivariate,
                    group=search.group,
                    constant_liar=search.constant_liar,
                )
            case GP():
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.startup)
            case CMAES():
                from kdray.sweep.search.cmaes import CmaEs  # takes half a second to import

                return CmaEs(seed, startup=search.startup, population=search.population)
            case NSGAII():
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=search.population)
            case _:
                assert_never(search)
