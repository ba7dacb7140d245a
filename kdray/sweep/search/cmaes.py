"""The evolution strategy CMA-ES for Optuna, without any state of its own.

Hansen, "The CMA Evolution Strategy: A Tutorial" (2016, arXiv 1604.00772), by the ``cmaes`` package.
Optuna's own sampler keeps its optimiser pickled in the study, which stands in the results folder.
Here the optimiser is rebuilt for every point from the points that were told, so a continued search
draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kdray.core import seeds
from kdray.sweep.search.axis import Axis

SIGMA = 1 / 6
"""The standard deviation of the first generation in the unit cube, of which the edge is 3 of it
from the centre."""


class CmaEs(BaseSampler):
    """Chooses one point; ``seed`` is that point's, and the search itself starts alike whatever it
    is.

    The numeric leaves that all points have are searched. Everything else is drawn at random, as is
    every leaf before ``startup`` points are complete and where fewer than two would be searched.
    The points that were told are learnt from ``population`` (at least 4; by default 4 + 3 ln n of n
    leaves) at a time, in that order, whoever chose them.
    """

    def __init__(self, seed: int, *, startup: int, population: int | None) -> None:
        self._startup, self._population = startup, population
        self._random = RandomSampler(seed)
        # Normal and uniform draws of generators that are seeded alike go together.
        self._seed = seeds.stream_seed(seed, "cmaes") % 2**32

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        if len(_told(study)) < self._startup:
            return {}
        searched: dict[str, BaseDistribution] = {}
        for name, leaf in IntersectionSearchSpace().calculate(study).items():
            if isinstance(leaf, FloatDistribution | IntDistribution) and not leaf.single():
                searched[name] = leaf
        return searched if len(searched) > 1 else {}

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        axes = {
            name: Axis(leaf)
            for name, leaf in search_space.items()
            if isinstance(leaf, FloatDistribution | IntDistribution)
        }
        sign = 1 if study.direction is StudyDirection.MINIMIZE else -1
        told = [
            (np.array([axis.unit(known.params[name]) for name, axis in axes.items()]), sign * value)
            for known, value in _told(study)
        ]
        drawn = self._replayed(told, len(axes)).ask()
        return {
            name: axis.value(float(unit))
            for (name, axis), unit in zip(axes.items(), drawn, strict=True)
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _replayed(self, told: Sequence[tuple[NDArray[np.float64], float]], leaves: int) -> CMA:
        """The optimiser after every whole generation of ``told``; one that has ended is followed by
        another elsewhere."""
        optimisers = self._optimisers(leaves)
        cma = next(optimisers)
        size = cma.population_size
        # What overflows, or divides by nothing, has diverged or lost a direction, which ends it.
        with np.errstate(over="ignore", divide="ignore"):
            for start in range(0, len(told) - size + 1, size):
                cma.tell(list(told[start : start + size]))
                if cma.should_stop():
                    cma = next(optimisers)
        return cma

    def _optimisers(self, leaves: int) -> Iterator[CMA]:
        """One that begins in the middle, and those after it, each of which begins somewhere
        else."""
        mean, restarts = np.full(leaves, 0.5), 0
        bounds = np.array([[0.0, 1.0]] * leaves)
        while True:
            yield CMA(mean, SIGMA, bounds, seed=self._seed, population_size=self._population)
            restarts += 1
            mean = np.random.default_rng(restarts).random(leaves)


def _told(study: Study) -> list[tuple[FrozenTrial, float]]:
    """The complete points with what they are worth, in the order in which they ended."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    finite = [
        (trial, trial.value)
        for trial in complete
        if trial.value is not None and math.isfinite(trial.value)
    ]
    return sorted(finite, key=lambda each: (each[0].datetime_complete, each[0].number))
