"""The difference of two means over seeds, with the tests of whether it is one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kdray.results.points.estimates import ROUNDING, UNKNOWN, Floats, hedges, spread, t_interval
from kdray.results.points.wilson import CONFIDENCE

FEW = 14
"""Numbers that can be dealt into two samples in less than 9,999 ways, which is what scipy goes
through."""


class Difference(NamedTuple):
    """One sample less the other."""

    mean: float
    mean_baseline: float
    difference: float
    low: float
    high: float
    t_p: float
    wilcoxon_p: float
    effect_size: float


def of_pairs(ours: Floats, theirs: Floats) -> Difference:
    """Of two or more pairs: t test of their differences (Student 1908), signed ranks (Wilcoxon
    1945), d_z.

    Of ranks without ties the p value is exact; equal pairs do not count there.
    """
    from scipy.stats import ttest_rel, wilcoxon

    means = _mean(ours), _mean(theirs)
    apart = _unrounded(ours - theirs, ours, theirs)
    difference, deviation = float(apart.mean()), spread(apart)
    if not apart.any():
        return Difference(*means, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
    low, high = t_interval(apart)
    t_p = float(ttest_rel(apart, np.zeros_like(apart)).pvalue) if deviation else math.nan
    wilcoxon_p = float(wilcoxon(apart[apart != 0]).pvalue)
    return Difference(
        *means,
        difference,
        low,
        high,
        t_p,
        wilcoxon_p,
        hedges(difference, deviation, len(apart) - 1),
    )


def of_independent(ours: Floats, theirs: Floats) -> Difference:
    """Of two samples: Welch's t test (1947), rank sum (Wilcoxon 1945, Mann and Whitney 1947), d
    with the pooled deviation.

    NaN for an empty sample, and all but the difference for one with a single number.
    """
    from scipy.stats import PermutationMethod, mannwhitneyu, t

    means = _mean(ours), _mean(theirs)
    difference = means[0] - means[1]
    deviations = spread(ours), spread(theirs)
    if min(len(ours), len(theirs)) < 2:
        return Difference(*means, difference, *UNKNOWN, math.nan, math.nan, math.nan)
    both = np.concatenate([ours, theirs])
    if spread(both) == 0:
        return Difference(*means, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0)
    freedom = len(both) - 2
    pooled = math.sqrt(
        sum((len(v) - 1) * d**2 for v, d in zip((ours, theirs), deviations, strict=True)) / freedom
    )
    tied = len(np.unique(both)) < len(both)
    method = (
        PermutationMethod() if tied and len(both) <= FEW else "auto"
    )  # exact, as "auto" is without ties
    wilcoxon_p = float(mannwhitneyu(ours, theirs, method=method).pvalue)
    if pooled == 0:
        return Difference(*means, difference, *UNKNOWN, math.nan, wilcoxon_p, math.nan)
    # By hand: of a sample whose values are all the same scipy warns that its variance is not exact.
    errors = [d**2 / len(v) for v, d in zip((ours, theirs), deviations, strict=True)]
    error = math.sqrt(sum(errors))
    welch = sum(errors) ** 2 / sum(
        e**2 / (len(v) - 1) for v, e in zip((ours, theirs), errors, strict=True)
    )
    margin = float(t.ppf((1 + CONFIDENCE) / 2, welch)) * error
    t_p = float(2 * t.sf(abs(difference) / error, welch))
    effect = hedges(difference, pooled, freedom)
    return Difference(
        *means, difference, difference - margin, difference + margin, t_p, wilcoxon_p, effect
    )


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _unrounded(apart: Floats, *of: Floats) -> Floats:
    """Differences, of which 0 are those that only rounding makes, and equal those that only
    rounding tells apart."""
    scale = max(float(np.abs(values).max()) for values in of)
    if scale == 0:
        return apart
    step = ROUNDING * scale
    rounded: Floats = np.round(apart / step) * step
    return rounded
