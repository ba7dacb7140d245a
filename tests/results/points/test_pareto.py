from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdray.results.points.pareto import fronts

MODES = st.lists(st.sampled_from(["max", "min"]), min_size=1, max_size=3)


def better(one: list[float], other: list[float], modes: list[str]) -> bool:
    """Whether ``one`` dominates ``other``, written out."""
    signed = [
        (a, b) if mode == "max" else (-a, -b) for a, b, mode in zip(one, other, modes, strict=True)
    ]
    return all(a >= b for a, b in signed) and any(a > b for a, b in signed)


@given(st.data())
def test_each_front_is_what_nothing_left_is_better_than(data: st.DataObject) -> None:
    modes = data.draw(MODES)
    row = st.lists(st.integers(0, 4).map(float), min_size=len(modes), max_size=len(modes))
    rows = data.draw(st.lists(row, max_size=12))
    found = fronts(rows, modes)
    left, expected, number = list(range(len(rows))), {}, 0
    while left:
        front = [i for i in left if not any(better(rows[j], rows[i], modes) for j in left)]
        expected |= dict.fromkeys(front, number)
        left = [i for i in left if i not in front]
        number += 1
    assert found.tolist() == [expected[i] for i in range(len(rows))]


def test_one_objective_ranks_and_equal_points_share_a_front() -> None:
    assert fronts([[0.3], [0.5], [0.5], [0.1]], ["max"]).tolist() == [1, 0, 0, 2]
    assert fronts([[0.3], [0.5], [0.5], [0.1]], ["min"]).tolist() == [1, 2, 2, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_is_not_known_or_not_finite_comes_last(value: float, mode: str) -> None:
    assert fronts([[value, 1], [1, 0], [1, 1]], [mode, "max"]).tolist() == [2, 1, 0]  # type: ignore[list-item]
    assert fronts([[value], [1]], [mode]).tolist() == [1, 0]  # type: ignore[list-item]


@pytest.mark.parametrize("modes", [["max"], ["max", "min"]])
def test_where_nothing_is_known_nothing_is_on_the_front(modes: list[str]) -> None:
    rows = [[math.nan] * len(modes)] * 2
    assert fronts(rows, modes).tolist() == [1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_what_differs_by_rounding_only_is_equal(mode: str) -> None:
    rows = [[0.3, 1.0], [0.1 + 0.2, 1.0]]
    assert fronts(rows, [mode, "max"]).tolist() == [0, 0]  # type: ignore[list-item]
    assert fronts([[value] for value, _ in rows], [mode]).tolist() == [0, 0]  # type: ignore[list-item]


@pytest.mark.parametrize("modes", [["max"], ["max", "min"]])
def test_no_points_have_no_front(modes: list[str]) -> None:
    assert fronts(np.empty((0, len(modes))), modes).tolist() == []  # type: ignore[arg-type]
