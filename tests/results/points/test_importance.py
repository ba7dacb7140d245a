"""What explains a metric comes first."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Results, Store
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
    assert shares.index[0] == "sigma"
    assert set(shares.index) == {"sigma", "alpha", "name"}
    assert shares["sigma"] > 0.8
    assert shares.sum() == pytest.approx(1)
    assert shares.equals(empty.importance("val_accuracy", sweep="s")), "nothing is drawn"


def test_a_logarithmic_range_counts_as_a_linear_one(empty: Results, tmp_path: Path) -> None:
    store = Store(tmp_path / "other")
    store.create()
    other = Results(store.location)
    for number, (rate, alpha) in enumerate(product(range(5), repeat=2)):
        value = [0.5 + 0.05 * rate + 0.01 * alpha]
        add_point(empty, number, value, {"rate": rate, "alpha": alpha})
        add_point(other, number, value, {"rate": 10.0 ** -(5 - rate), "alpha": alpha})
    linear, log = (each.importance("val_accuracy", sweep="s") for each in (empty, other))
    assert log.to_dict() == linear.to_dict()


def test_of_a_metric_that_is_to_be_small_the_small_ones_are_the_best(empty: Results) -> None:
    """The best point by loss depends on alpha, the worst on sigma."""
    for number, (sigma, alpha) in enumerate(product(range(5), repeat=2)):
        value = (1.0 if sigma == 4 else 0.2 if alpha == 0 else 0.5) + number / 1000
        parameters = {"sigma": sigma, "alpha": alpha}
        add_point(empty, number, [value], parameters, metric="clean.loss", val_accuracy=value)
    assert empty.importance("val_accuracy", sweep="s").idxmax() == "sigma"
    assert empty.importance("clean.loss", sweep="s").idxmax() == "alpha"


def test_a_parameter_that_only_some_points_have_counts_among_those(empty: Results) -> None:
    for number in range(12):
        if number % 2:
            add_point(empty, number, [0.5], {"method": "kd"})
        else:
            add_point(
                empty, number, [0.4 + 0.05 * number], {"method": "trades", "method.beta": number}
            )
    shares = empty.importance("val_accuracy", sweep="s")
    assert set(shares.index) == {"method", "method.beta"}
    assert (shares > 0).all()


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
