"""What explains a metric comes first."""

from __future__ import annotations

from itertools import product

import pytest

from kdray.core import InputError
from kdray.results import Results
from tests.results.made import add_point


def grid(results: Results, effect: float = 0.1) -> None:
    for number, (sigma, alpha) in enumerate(product((0.0, 0.1, 0.2, 0.3), repeat=2)):
        value = 0.5 + sigma + effect * alpha
        add_point(
            results,
            number,
            [value, value],
            {"sigma": sigma, "alpha": alpha, "name": f"n{number % 2}", "same": 1},
        )


def test_shares_sum_to_one_and_fall_from_the_parameter_that_matters(empty: Results) -> None:
    grid(empty)
    shares = empty.importance("val_accuracy", sweep="s")
    assert shares.index.tolist()[:2] == ["sigma", "alpha"]
    assert set(shares.index) == {"sigma", "alpha", "name"}
    assert shares["sigma"] == pytest.approx(1 / 1.01, abs=0.05), (
        "variances add: 0.1² of the effect is 0.01 of it"
    )
    assert shares.sum() == pytest.approx(1)
    assert shares.equals(empty.importance("val_accuracy", sweep="s")), "the draws are fixed"


def test_a_case_counts_as_a_parameter(empty: Results) -> None:
    for number in range(6):
        add_point(
            empty,
            number,
            [0.2 if number % 2 else 0.8],
            {"alpha": number // 2},
            case=f"c{number % 2}",
        )
    assert empty.importance("val_accuracy", sweep="s").idxmax() == "case"


def test_few_points_or_nothing_swept_explain_nothing(empty: Results) -> None:
    for number in range(3):
        add_point(empty, number, [0.1 * number], {"alpha": number})
    for number in range(4):
        add_point(empty, number, [0.1 * number], sweep="random", case=None)
    assert empty.importance("val_accuracy", sweep="s").empty
    assert empty.importance("val_accuracy", sweep="random").empty


def test_a_metric_that_never_varies_is_explained_by_nothing(empty: Results) -> None:
    for number in range(4):
        add_point(empty, number, [0.5], {"alpha": number})
    assert empty.importance("val_accuracy", sweep="s").tolist() == [0]


def test_wrong_input_is_refused(empty: Results) -> None:
    grid(empty)
    with pytest.raises(InputError, match="no sweep 't'"):
        empty.importance("val_accuracy", sweep="t")
    with pytest.raises(InputError, match="no column 'accuracy'"):
        empty.importance("accuracy", sweep="s")
