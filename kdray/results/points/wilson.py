"""How far a share of examples may be from the probability behind it: Wilson's score interval
(Wilson 1927).

The p for which (k/n - p)² = z² p (1 - p)/n lie between its two ends, the roots of

    (n + z²) p² - (2k + z²) p + k²/n = 0

which unlike k/n ± z √(k/n (1 - k/n)/n) are in [0, 1] and apart where k is 0 or n.
"""

from __future__ import annotations

from statistics import NormalDist

import pandas as pd

CONFIDENCE = 0.95
"""Of every interval that is computed here, over images and over seeds alike."""
CONFIDENCE_TEXT = f"{100 * CONFIDENCE:g} %"
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def wilson(
    correct: pd.Series[float], examples: pd.Series[float]
) -> tuple[pd.Series[float], pd.Series[float]]:
    """The lower and the upper end of the 95 % interval of each ``correct / examples``; NaN where
    either is missing."""
    return _low(correct, examples), 1 - _low(examples - correct, examples)


def _low(k: pd.Series[float], n: pd.Series[float]) -> pd.Series[float]:
    """The smaller root, from the product of both: no difference of nearly equal numbers, and 0 at k
    = 0."""
    return 2 * k**2 / n / (2 * k + _Z**2 + _Z * (_Z**2 + 4 * k * (n - k) / n) ** 0.5)


def with_intervals(robustness: pd.DataFrame) -> pd.DataFrame:
    """``robustness`` with ``low`` and ``high`` after ``examples``: the interval of every row that
    counts correct ones."""
    low, high = wilson(robustness["correct"].astype(float), robustness["examples"].astype(float))
    out, after = robustness.copy(deep=False), robustness.columns.get_loc("examples")
    assert isinstance(after, int)
    out.insert(after + 1, "low", low)
    out.insert(after + 2, "high", high)
    return out
