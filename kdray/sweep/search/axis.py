"""A numeric leaf as an interval, for samplers that choose in a cube."""

from __future__ import annotations

import math
from typing import NamedTuple

from optuna.distributions import FloatDistribution, IntDistribution


class Axis(NamedTuple):
    """A numeric leaf as the interval [0, 1], even in the value or, where that is so sampled, in its
    logarithm.

    Every value of a leaf with a step has a part of the interval to itself, which reaches half a
    step to either side: all parts are equally wide, but for the logarithmic ones.
    """

    leaf: FloatDistribution | IntDistribution

    def unit(self, value: float) -> float:
        low, high = self._edges()
        return (self._scaled(value) - low) / (high - low)

    def value(self, unit: float) -> float:
        low, high = self._edges()
        scaled = low + unit * (high - low)
        value = math.exp(scaled) if self.leaf.log else scaled
        if self.leaf.step is not None:
            value = self.leaf.low + round((value - self.leaf.low) / self.leaf.step) * self.leaf.step
        return min(max(value, self.leaf.low), self.leaf.high)

    def _edges(self) -> tuple[float, float]:
        half = (self.leaf.step or 0) / 2
        return self._scaled(self.leaf.low - half), self._scaled(self.leaf.high + half)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.leaf.log else value
