"""NSGA-II for Optuna, without any state of its own.

Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II"
(2002). Optuna's own sampler notes in the study to which generation a point belongs; here it follows
from the order of the points, so that a search which is rebuilt from the results goes on as it was.
"""

from __future__ import annotations

from optuna import Study
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState


class Nsga2(NSGAIISampler):
    """Every ``population_size`` complete points are a generation, in their order, whoever chose
    them."""

    def get_trial_generation(self, study: Study, trial: FrozenTrial) -> int:  # noqa: ARG002
        return len(_complete(study)) // self._size

    def get_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return _complete(study)[generation * self._size :][: self._size]

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        return self.select_parent(study, generation) if generation > 0 else []

    @property
    def _size(self) -> int:
        assert self.population_size is not None  # it has a default
        return self.population_size


def _complete(study: Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
