"""Values that differ by rounding only are one value."""

from __future__ import annotations

import math

import pytest

from kdray.core import InputError
from kdray.sweep.definition.distributions import read_leaves, without_rounding


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1 + 0.2, 0.3),
        (0.1 * 3, 0.3),
        (1 - 0.9, 0.1),
        (-(0.1 + 0.2), -0.3),
        (0.3, 0.3),
        (8 / 255, 8 / 255),
        (1 / 3, 1 / 3),
        (0.5 / 255, 0.5 / 255),
        (0.123456789012345, 0.123456789012345),
        (math.pi, math.pi),
        (1e-300, 1e-300),
        (5e-324, 5e-324),
        (0.0, 0.0),
    ],
)
def test_a_decimal_missed_by_rounding_is_that_decimal(value: float, expected: float) -> None:
    found = without_rounding(value)
    assert found == expected
    assert math.copysign(1, found) == math.copysign(1, value)


def test_the_leaves_of_a_file_are_read_so_wherever_they_stand() -> None:
    read = read_leaves({"a": 0.1 + 0.2, "b": [0.1 + 0.2], "c": {"grid": [0.1 + 0.2, [0.7 + 0.1]]}})
    assert (read["a"], read["b"], read["c"].arguments) == (0.3, [0.3], (0.3, [0.8]))


def test_a_value_and_the_same_with_rounding_are_there_twice() -> None:
    with pytest.raises(InputError, match=r"grid\[1\]: 0.3 is there twice"):
        read_leaves({"a": {"grid": [0.3, 0.1 + 0.2]}})
