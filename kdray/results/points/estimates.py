"""What a few seeds say about a mean: intervals, effect sizes, and p values that are many.

Scipy is imported where it is used: reading results must not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kdray.results.points.wilson import CONFIDENCE

Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
"""Of the bootstrap: the ends of a 95 % interval are the 50th from either end."""
ROUNDING = 1e-12
"""Share of the numbers below which a spread is not theirs but that of floating point."""


STATISTICS = ["n", "mean", "std", "sem", "low", "high", "bootstrap_low", "bootstrap_high"]
"""Columns of :func:`statistics`."""


class Interval(NamedTuple):
    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


def spread(values: Floats) -> float:
    """Sample standard deviation (ddof 1): NaN of one value, and 0 where only rounding tells the
    values apart."""
    if len(values) < 2:
        return math.nan
    found = float(np.std(values, ddof=1))
    return found if found > ROUNDING * float(np.abs(values).max()) else 0.0


def t_interval(values: Floats) -> Interval:
    """The 95 % interval of the mean of normal values with unknown variance (Student 1908).

    NaN of fewer than two, and of values that are all the same: few accuracies on few images often
    are, by chance.
    """
    from scipy.stats import t

    if len(values) < 2 or not (deviation := spread(values)):
        return UNKNOWN
    mean = float(values.mean())
    margin = (
        float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    )
    return Interval(mean - margin, mean + margin)


def bootstrap_interval(values: Floats) -> Interval:
    """The 95 % percentile interval of the mean over resampled values (Efron 1979), with the same
    draws every time.

    NaN where :func:`t_interval` is.
    """
    from scipy.stats import bootstrap

    if len(values) < 2 or not spread(values):
        return UNKNOWN
    found = bootstrap(
        (values,),
        np.mean,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def statistics(values: Floats) -> dict[str, float]:
    """What is said of a point's seeds: their number, mean, standard deviation and error, the t
    interval of the mean (``low``, ``high``) and the bootstrapped one."""
    n, deviation = len(values), spread(values)
    mean, error = (float(values.mean()), deviation / math.sqrt(n)) if n else (math.nan, math.nan)
    numbers = [n, mean, deviation, error, *t_interval(values), *bootstrap_interval(values)]
    return dict(zip(STATISTICS, numbers, strict=True))


def hedges(difference: float, deviation: float, freedom: int) -> float:
    """``difference / deviation`` less the bias of few values, with Hedges' approximate factor 1 -
    3/(4 df - 1) (1981).

    NaN for fewer than two degrees of freedom, where nothing is left of it, and for a difference
    without deviation.
    """
    if freedom < 2 or math.isnan(deviation) or (deviation == 0 and difference != 0):
        return math.nan
    return 0.0 if difference == 0 else difference / deviation * (1 - 3 / (4 * freedom - 1))


def holm(p_values: Sequence[float], count: int) -> list[float]:
    """The p values adjusted for ``count`` comparisons, step by step from the smallest (Holm 1979).

    NaN stays. Whoever is in ``count`` but has no p value counts as the largest.
    """
    known = [index for index, p in enumerate(p_values) if not math.isnan(p)]
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(sorted(known, key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
