"""Which points no other point is better than. Tables, questions, reports and ``evaluate.best`` all
rank by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kdray.results.metrics import Mode
from kdray.results.points.objective import to_compare


def fronts(values: npt.ArrayLike, modes: Sequence[Mode]) -> npt.NDArray[np.int64]:
    """For every row of ``values`` (a point; a column for each objective) the number of its Pareto
    front, from 0.

    The points of front 0 are those than which no other is better in one objective and at least as
    good in all; those of front 1 are the same among the rest, and so on (non-dominated sorting, Deb
    et al. 2002). Numbers that differ by rounding only are equal (:func:`to_compare`). A row with a
    number that is not finite comes after all, and is never in front 0.
    """
    exact = np.asarray(values, dtype=float).reshape(-1, len(modes))
    rows = np.array([to_compare(value) for value in exact.flat]).reshape(exact.shape)
    losses = np.where([mode == "max" for mode in modes], -rows, rows)
    number = np.full(len(rows), -1)
    left = np.flatnonzero(np.isfinite(losses).all(axis=1))
    if len(modes) == 1:  # equal ones share a front
        levels, number[left] = np.unique(losses[left, 0], return_inverse=True)
        number[number < 0] = max(1, len(levels))
        return number
    front = 0
    while len(left):
        inside = left[_nondominated(losses[left])]
        number[inside] = front
        left = np.setdiff1d(left, inside, assume_unique=True)
        front += 1
    number[number < 0] = max(1, front)
    return number


def _nondominated(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """In order of the first objective only points before one can be better; equal points do not
    beat each other."""
    order = np.lexsort(losses.T[::-1])
    kept = np.zeros(len(losses), dtype=bool)
    front = np.empty((0, losses.shape[1]))
    for index in order:
        row = losses[index]
        if not ((front <= row).all(axis=1) & (front < row).any(axis=1)).any():
            kept[index] = True
            front = np.vstack([front, row])
    return kept
