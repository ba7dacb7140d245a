"""Quasi-Monte Carlo for Optuna, without any state of its own.

Owen, "Scrambled Sobol and Faure sequences" (1998), by SciPy. Optuna's own sampler counts in the
study how far it has come; here the point with number n is the n-th of the sequence, so a continued
search draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from kdray.sweep.search.axis import Axis


class Sobol(BaseSampler):
    """Chooses the point with ``number`` of the sequence that ``scramble`` seeds.

    ``leaves`` are those that every point has; what only some have, a branch's own, is no part of
    the sequence and drawn for itself, by ``seed``.
    """

    def __init__(
        self, leaves: Mapping[str, BaseDistribution], number: int, *, scramble: int, seed: int
    ) -> None:
        self._leaves = {name: leaves[name] for name in sorted(leaves) if not leaves[name].single()}
        self._number, self._scramble = number, scramble
        self._random = RandomSampler(seed)

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._leaves

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        from scipy.stats import qmc  # takes half a second to import

        sequence = qmc.Sobol(len(search_space), scramble=True, seed=self._scramble)
        if self._number:
            sequence.fast_forward(self._number)
        (units,) = sequence.random(1)
        return {
            name: _value(leaf, float(unit))
            for (name, leaf), unit in zip(search_space.items(), units, strict=True)
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def _value(leaf: BaseDistribution, unit: float) -> Any:
    """The value of ``leaf`` at ``unit`` of [0, 1): all choices have equally wide parts of it."""
    if isinstance(leaf, CategoricalDistribution):
        return leaf.choices[int(unit * len(leaf.choices))]
    assert isinstance(leaf, FloatDistribution | IntDistribution)
    return Axis(leaf).value(unit)
