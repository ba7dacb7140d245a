"""Numbers, values and lists as people write them."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdray.core import wording


@pytest.mark.parametrize("empty", [None, math.nan, np.float64("nan"), pd.NaT])
def test_cells_without_a_value_are_missing(empty: Any) -> None:
    assert wording.is_missing(empty)
    assert wording.number(empty) == wording.NONE
    assert wording.value_text(empty) == ""


@pytest.mark.parametrize(
    "full", [0, 0.0, "", False, math.inf, [], [math.nan], datetime(2026, 1, 1)]
)
def test_zero_and_what_is_empty_inside_are_values(full: Any) -> None:
    assert not wording.is_missing(full)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1210, "1,210"),
        (1210.0, "1,210"),
        (np.int64(1210), "1,210"),
        (-3.0, "-3"),
        (0.123456, "0.1235"),
        (1234.5678, "1235"),
        (1e-7, "1e-07"),
        (1e20, "1e+20"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_four_significant_digits_and_whole_ones_all(value: Any, text: str) -> None:
    assert wording.number(value) == text


def test_numbers_can_have_other_digits() -> None:
    assert wording.number(0.123456, 2) == "0.12"


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [
        (0.9712, 0.0042, "0.971 ± 0.004"),
        (0.9712, math.nan, "0.971"),
        (0.5, 0.0, "0.500 ± 0.000"),
        (98.27, 1.25, "98.3 ± 1.2"),
        (math.nan, math.nan, "–"),
    ],
)
def test_a_mean_comes_with_its_deviation_in_equal_digits(
    mean: float, deviation: float, text: str
) -> None:
    assert wording.mean_and_deviation(mean, deviation) == text


def test_a_number_of_fewer_seeds_says_of_how_many() -> None:
    assert wording.of_fewer(2, 3) == " (n = 2)"
    assert wording.of_fewer(3, 3) == ""
    assert wording.of_fewer(0, 3) == "", "there is no number"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (0.05, "0.05"),
        (8.0, "8"),
        (3, "3"),
        ("sgd", "sgd"),
        (True, "true"),
        (False, "false"),
        (None, ""),
        ([8, 8], "[8, 8]"),
        ((8, 8), "[8, 8]"),
        ({"name": "kd"}, '{"name": "kd"}'),
    ],
)
def test_values_are_written_as_in_a_sweep_file(given: Any, text: str) -> None:
    assert wording.value_text(given) == text


def test_a_point_is_its_case_and_its_swept_values() -> None:
    values = {"method.alpha": 0.5, "noise.sigma": None, "model.hidden": [16]}
    assert wording.point_text(values, "noisy") == "noisy, method.alpha = 0.5, model.hidden = [16]"
    assert wording.point_text(values, math.nan) == "method.alpha = 0.5, model.hidden = [16]"
    assert wording.point_text({}) == "nothing is swept"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (8 / 255, "8/255"),
        (0.03137254901960784, "8/255"),
        (float(np.float32(8 / 255)), "8/255"),
        (-2 / 255, "-2/255"),
        (254 / 255, "254/255"),
        (0.5 / 255, "0.00196078"),
        (0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (0.2, "0.2"),  # 51/255, and nobody writes that
        (0.25, "0.25"),
        (2.0, "2"),
        (math.inf, "inf"),
        (math.nan, "–"),
    ],
)
def test_pixel_values_are_whole_levels_where_they_are_meant(amount: float, text: str) -> None:
    assert wording.pixels(amount) == text


def test_shares_are_written_in_hundredths() -> None:
    assert wording.percent(0.9714) == "97.1 %"
    assert wording.percent(0.05) == "5 %"
    assert wording.percent(math.nan) == "–"


def test_counts_have_their_noun_in_singular_or_plural() -> None:
    assert [wording.counted(count, "trial") for count in (0, 1, 2, 1234)] == [
        "0 trials",
        "1 trial",
        "2 trials",
        "1,234 trials",
    ]
    assert wording.count_range(3, 3, "seed") == "3 seeds"
    assert wording.count_range(1, 1, "seed") == "1 seed"
    assert wording.count_range(2, 5, "seed") == "2 to 5 seeds"


@pytest.mark.parametrize(
    ("parts", "most", "text"),
    [
        ([], None, "–"),
        (["a"], None, "a"),
        (["a", "b"], None, "a and b"),
        (["a", "b", "c"], None, "a, b and c"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 3, "a, b and 2 more"),
    ],
)
def test_lists_end_with_and(parts: list[str], most: int | None, text: str) -> None:
    assert wording.listed(parts, most) == text
    assert wording.listed(iter(parts), most) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.43, "0.43 s"),
        (4.5, "4.5 s"),
        (42.2, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599, "59 min 59 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
        (47 * 3600, "47 h 00 min"),
        (360_000, "4.2 days"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (26_400, "26.4 kB"),
        (999_999, "1 MB"),
        (1_340_000, "1.34 MB"),
        (123_456_789, "123 MB"),
        (2.5e12, "2500 GB"),
    ],
)
def test_sizes_of_files_are_decimal(count: float, text: str) -> None:
    assert wording.file_size(count) == text


def test_memory_is_binary() -> None:
    assert wording.memory(24 * 2**30) == "24 GiB"
    assert wording.memory(23.6912 * 2**30) == "23.69 GiB"
    assert wording.memory(math.inf) == "unknown"


@pytest.mark.parametrize(
    ("paths", "ends"),
    [
        (["noise.input.sigma"], ["sigma"]),
        (["noise.input.sigma", "method.alpha"], ["sigma", "alpha"]),
        (["noise.input.sigma", "noise.weights.sigma"], ["input.sigma", "weights.sigma"]),
        (["noise.sigma", "teacher.noise.sigma"], ["noise.sigma", "teacher.noise.sigma"]),
        (["schedule.milestones.0", "schedule.milestones.1"], ["milestones[0]", "milestones[1]"]),
        (["noise.0.sigma", "noise.1.sigma"], ["noise[0].sigma", "noise[1].sigma"]),
        (["teacher.teacher.seed"], ["teacher.teacher.seed"]),
        (["seed", "data.sample_seed"], ["seed", "sample_seed"]),
        (["supervision.seed", "method.alpha"], ["supervision.seed", "alpha"]),
        ([], []),
    ],
)
def test_a_path_is_shortened_to_the_end_that_tells_it_apart(
    paths: list[str], ends: list[str]
) -> None:
    assert wording.short_paths(paths) == dict(zip(paths, ends, strict=True))
