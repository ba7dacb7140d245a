"""What the seeds of a point gave, the best points, and those that no other beats."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from kdray.core import InputError
from kdray.results import Results, SelectedOnTest, Store, open_results, write_rows
from kdray.results.metrics import default_mode
from kdray.results.points.best import best_points
from kdray.results.points.table import points as table_of_points
from tests.results.made import add_point

SIGMA = "noise.input.sigma"


@pytest.fixture
def two(empty: Results) -> Results:
    add_point(empty, 0, [0.5, 0.7, 0.6], {SIGMA: 0.0}, train_seconds=10.0)
    add_point(empty, 1, [0.8], {SIGMA: 0.1}, train_seconds=20.0)
    return empty


def test_a_row_has_the_mean_and_its_intervals_over_the_seeds(two: Results) -> None:
    table = two.points("val_accuracy")
    assert table.columns.tolist() == [
        "sweep",
        "point",
        "case",
        SIGMA,
        "n",
        "mean",
        "std",
        "sem",
        "low",
        "high",
        "bootstrap_low",
        "bootstrap_high",
    ]
    first = table.iloc[0]
    assert first[["sweep", "point", SIGMA, "n"]].tolist() == ["s", 0, 0.0, 3]
    assert first[["mean", "std", "sem"]].tolist() == pytest.approx([0.6, 0.1, 0.1 / math.sqrt(3)])
    margin = 4.30265 * 0.1 / math.sqrt(3)  # of 2 degrees of freedom
    assert first[["low", "high"]].tolist() == pytest.approx([0.6 - margin, 0.6 + margin], abs=1e-5)
    assert first[["bootstrap_low", "bootstrap_high"]].tolist() == pytest.approx(
        [0.5, 0.7], abs=0.04
    )


def test_one_seed_has_a_mean_and_nothing_else(two: Results) -> None:
    one = two.points("val_accuracy").iloc[1]
    assert one[["n", "mean"]].tolist() == [1, 0.8]
    assert one[["std", "sem", "low", "high", "bootstrap_low", "bootstrap_high"]].isna().all()


def test_failed_seeds_do_not_count_and_a_point_of_failures_is_there_without_numbers(
    empty: Results,
) -> None:
    add_point(empty, 0, [0.5, None], {SIGMA: 0.0})
    add_point(empty, 1, [None, None], {SIGMA: 0.1})
    table = empty.points("val_accuracy")
    assert table["n"].tolist() == [1, 0]
    assert table["mean"].isna().tolist() == [False, True]
    assert empty.best("val_accuracy", count=9).empty, "neither has all its seeds"


def test_a_number_of_an_evaluation_is_a_metric(empty: Results) -> None:
    add_point(empty, 0, [0.2, 0.4], metric="pgd.accuracy")
    add_point(empty, 0, [0.9], sweep="without")
    table = empty.points("pgd.accuracy")
    assert table["sweep"].tolist() == ["s"]
    assert table["mean"].tolist() == pytest.approx([0.3])


def test_where_is_about_trials_and_points(two: Results) -> None:
    assert two.points("val_accuracy", where=[("seed", "!=", 1)])["mean"].tolist() == pytest.approx(
        [0.55, 0.8]
    )
    assert two.points("val_accuracy", where=[(SIGMA, ">", 0.05)])["point"].tolist() == [1]
    assert two.points("val_accuracy", where=[("point", "in", [0]), ("val_accuracy", ">=", 0.6)])[
        "n"
    ].tolist() == [2]


def test_sweeps_are_told_apart_and_come_in_the_order_of_their_first_row(empty: Results) -> None:
    add_point(empty, 0, [0.5], {SIGMA: 0.0}, sweep="z")
    add_point(empty, 0, [0.7], {"method.alpha": 1}, sweep="a")
    add_point(empty, 1, [0.8], {SIGMA: 0.1}, sweep="z")
    assert empty.sweeps() == ["z", "a"]
    table = empty.points("val_accuracy")
    assert table[["sweep", "point"]].to_numpy().tolist() == [["a", 0], ["z", 0], ["z", 1]]
    assert table[SIGMA].isna().tolist() == [True, False, False]
    assert table["method.alpha"].tolist()[0] == 1
    assert empty.points("val_accuracy", sweep="z")["point"].tolist() == [0, 1]


def test_values_of_a_path_keep_their_kind(empty: Results) -> None:
    for number, (whole, part, text) in enumerate([(1, 0, "a"), (2, 0.5, "b")]):
        add_point(
            empty, number, [0.5], {"whole": whole, "part": part, "text": text, "list": [number]}
        )
    add_point(empty, 2, [0.5], {"part": 1})
    table = empty.points("val_accuracy")
    assert {name: str(table[name].dtype) for name in ("whole", "part", "text", "list")} == {
        "whole": "Int64",
        "part": "float64",
        "text": "str",
        "list": "object",
    }
    assert table["list"].tolist() == [[0], [1], None]


def test_the_best_come_first(two: Results) -> None:
    assert two.best("val_accuracy")["point"].tolist() == [1]
    assert two.best("val_accuracy", mode="min", count=5)["point"].tolist() == [0, 1]
    add_point(two, 2, [0.8], {SIGMA: 0.2})
    assert two.best("val_accuracy", count=2)["point"].tolist() == [1, 2], (
        "a tie: in the sweep's order"
    )


def test_choosing_by_the_test_split_is_warned_of(empty: Results) -> None:
    add_point(empty, 0, [0.5], {SIGMA: 0.0}, metric="test_accuracy")
    add_point(empty, 1, [0.5], {SIGMA: 0.1}, metric="pgd.accuracy", train_seconds=3.0)
    for metric in ("test_accuracy", "pgd.accuracy"):
        with pytest.warns(SelectedOnTest, match=f"{metric} is of the test split") as caught:
            empty.best(metric)
        assert [each.filename for each in caught] == [__file__]
    empty.best("train_seconds", mode="min")


def test_the_front_of_two_metrics(empty: Results) -> None:
    for number, (accuracy, seconds) in enumerate(
        [(0.9, 30.0), (0.8, 10.0), (0.7, 20.0), (0.6, 40.0)]
    ):
        add_point(
            empty,
            number,
            [accuracy - 0.05, accuracy + 0.05],
            train_seconds=seconds,
            case=f"c{number}",
        )
    table = empty.pareto(["val_accuracy", "train_seconds"])
    assert table["front"].tolist() == [0, 0, 1, 2]
    assert table["val_accuracy"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert table["n"].tolist() == [2] * 4
    assert empty.pareto(["val_accuracy", "train_seconds"], ["max", "max"])["front"].tolist() == [
        0,
        1,
        1,
        0,
    ]


def test_a_front_is_of_points_that_have_all_metrics(two: Results) -> None:
    add_point(two, 2, [0.1], {SIGMA: 0.3})
    assert two.pareto(["val_accuracy", "train_seconds"])["point"].tolist() == [0, 1]


def test_best_of_different_data_is_refused_unless_one_is_chosen(two: Results) -> None:
    add_point(two, 0, [0.9], {SIGMA: 0.0}, sweep="other", data={"name": "mnist", "resize": 16})
    refused = (
        r"different data cannot be compared: mnist \(data.resize=16\) and digits; choose one of "
        r"them with sweep="
    )
    with pytest.raises(InputError, match=refused):
        two.best("val_accuracy")
    with pytest.raises(InputError, match="different data cannot be compared"):
        two.pareto(["val_accuracy"])
    assert two.best("val_accuracy", sweep="other")["mean"].tolist() == [0.9]
    assert len(two.points("val_accuracy")) == 3, "a table beside each other is no comparison"


def test_wrong_input_names_what_there_is(two: Results) -> None:
    for ask, told in {
        lambda: two.points(
            "val_acuracy"
        ): "metric: no column 'val_acuracy'; did you mean val_accuracy",
        lambda: two.points("status"): "metric: no column 'status'",
        lambda: two.points(
            "val_accuracy", sweep="t"
        ): r"no sweep 't' with students \(there are: s\)",
        lambda: two.points(
            "val_accuracy", where=[("noise.input.sgma", ">", 0)]
        ): "where: no column .*mean noise.input.sigma",
        lambda: two.best("val_accuracy", mode="best"): "mode: 'best' is neither 'max' nor 'min'",  # type: ignore[arg-type]
        lambda: two.pareto([]): "needs one for each, and a metric",
        lambda: two.pareto(["val_accuracy", "seed"], ["max"]): "2 different metrics and 1 modes",
    }.items():
        with pytest.raises(InputError, match=told):
            ask()


def test_empty_results_have_no_points(empty: Results) -> None:
    assert empty.sweeps() == []
    for table in (
        empty.points("val_accuracy"),
        empty.best("val_accuracy"),
        empty.pareto(["val_accuracy"]),
    ):
        assert table.empty
        assert {"sweep", "point", "case", "n"} <= set(table.columns)


def test_a_snapshot_reads_once_and_gives_the_same(
    two: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = two.points("val_accuracy")
    snapshot = two.snapshot()
    snapshot.frame(), snapshot.members()
    monkeypatch.setattr(Store, "names", lambda *_: pytest.fail("read again"))
    assert snapshot.points("val_accuracy").equals(expected)
    changed = snapshot.trials()
    changed["val_accuracy"] = np.nan
    assert snapshot.points("val_accuracy").equals(expected)
    assert snapshot.trials(["seed"], [("seed", ">", 1)])["seed"].tolist() == [2]


def test_one_damaged_part_leaves_the_rest(two: Results) -> None:
    two.store.write("trials/broken.parquet", b"PAR1")
    with pytest.warns(UserWarning, match=r"trials/broken\.parquet: damaged, left out"):
        assert len(open_results(two.store.location).points("val_accuracy")) == 2


def test_a_trial_whose_number_is_nan_is_no_seed(empty: Results) -> None:
    add_point(empty, 0, [0.5, math.nan])
    assert empty.points("val_accuracy")[["n", "mean"]].to_numpy().tolist() == [[1, 0.5]]


def test_a_sweep_that_trained_nobody_has_no_points(empty: Results) -> None:
    row = {
        "sweep": "s",
        "role": "student",
        "point": 0,
        "swept": "{}",
        "outcome": "failed",
        "error": "no teacher",
    }
    write_rows(empty.store, "members", "s-0", [row], {})
    assert empty.sweeps() == ["s"]
    assert empty.points("val_accuracy", sweep="s").empty


def member(results: Results, trial_id: str) -> dict[str, Any]:
    (row,) = results.members(where=[("trial_id", "==", trial_id)]).to_dict("records")
    return {str(name): value for name, value in row.items() if value == value}


def test_what_a_sweep_gave_up_stays_so_in_it_though_another_completed_it(empty: Results) -> None:
    """A point that lost a race must not look whole."""
    trial_ids = add_point(empty, 0, [0.5, 0.9], {"noise.input.sigma": 0.1})
    row = member(empty, trial_ids[1])
    write_rows(empty.store, "members", f"s-0-{trial_ids[1]}", [{**row, "outcome": "pruned"}], {})
    write_rows(empty.store, "members", f"t-0-{trial_ids[1]}", [{**row, "sweep": "t"}], {})
    table = empty.points("val_accuracy").set_index("sweep")
    assert table["n"].to_dict() == {"s": 1, "t": 1}
    assert table["mean"].to_dict() == {"s": 0.5, "t": 0.9}
    assert table_of_points(empty, "s")["n"].tolist() == [1], "and in the table that is printed"


def test_a_sweep_whose_students_are_all_no_longer_needed_is_none(empty: Results) -> None:
    (trial_id,) = add_point(empty, 0, [0.5])
    assert empty.sweeps() == ["s"]
    row = member(empty, trial_id)
    write_rows(empty.store, "members", f"s-0-{trial_id}", [{**row, "outcome": "not needed"}], {})
    assert empty.sweeps() == []


@pytest.mark.parametrize(
    "metric", ["clean.brier", "clean.loss", "train_seconds", "bound.abstained"]
)
def test_of_some_metrics_less_is_better(metric: str) -> None:
    assert default_mode(metric) == "min"
    assert default_mode("clean.accuracy") == "max"


def test_a_diverged_seed_does_not_count_though_it_has_numbers(empty: Results) -> None:
    first, second = add_point(empty, 0, [0.5, 0.9])
    (row,) = empty.trials(where=[("trial_id", "==", second)]).to_dict("records")
    kept = {str(name): value for name, value in row.items() if value == value}
    write_rows(empty.store, "trials", second, [{**kept, "status": "diverged"}], {})
    table = empty.points("val_accuracy")
    assert table[["n", "mean"]].to_numpy().tolist() == [[1, 0.5]], f"only {first}"


def test_data_sets_of_one_name_have_a_best_point_each(empty: Results) -> None:
    for number, (resize, value) in enumerate([(8, 0.6), (8, 0.7), (16, 0.9), (16, 0.8)]):
        data = {"name": "digits", "resize": resize}
        add_point(empty, number, [value], {"data.resize": resize, SIGMA: number / 10}, data=data)
    assert best_points(empty, "s") == [1, 2]
    with pytest.raises(InputError, match=r"data\.resize=8"):
        empty.best("val_accuracy")


def test_what_is_changed_for_training_only_leaves_one_best_point(empty: Results) -> None:
    for number, fields in enumerate([{}, {"normalization": "none"}, {"train_examples": 50}]):
        data = {"name": "digits", **fields}
        add_point(empty, number, [0.5 + number / 10], {SIGMA: number / 10}, data=data)
    assert best_points(empty, "s") == [2]
    assert empty.best("val_accuracy")["point"].tolist() == [2]
    assert empty.compare(0, "val_accuracy")["n"].tolist() == [1, 1]


def test_a_point_of_which_a_seed_lacks_the_metric_is_not_the_best(empty: Results) -> None:
    first, second = add_point(empty, 0, [0.5, 0.6], {SIGMA: 0.0}, metric="pgd.accuracy")
    add_point(empty, 1, [0.3, 0.4], {SIGMA: 0.1}, metric="pgd.accuracy")
    empty.store.delete(f"robustness/{second}-pgd.parquet")
    with pytest.warns(SelectedOnTest):
        assert empty.best("pgd.accuracy", count=2)["point"].tolist() == [1], f"only {first}"
