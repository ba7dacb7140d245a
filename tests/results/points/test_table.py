"""A point of a sweep is the mean and the spread of its seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdray.results import Results, Store, write_rows
from kdray.results.points.objective import Objective, Objectives
from kdray.results.points.table import points
from kdray.results.record import write_objectives

ORDER = {"a": 0, "b": 1, "c": 2, "d": 3}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    store = Store(tmp_path / "results")
    store.create()
    return Results(tmp_path / "results")


def member(
    results: Results, trial_id: str, point: int, parameters: str = "{}", **fields: Any
) -> None:
    row = {
        "sweep": "s",
        "trial_id": trial_id,
        "role": "student",
        "point": point,
        "swept": parameters,
        "order": ORDER[trial_id],
        "outcome": "completed",
        **fields,
    }
    write_rows(
        results.store, "members", f"{fields.get('sweep', 's')}-{trial_id}-{point}", [row], {}
    )


def trial(
    results: Results, trial_id: str, val_accuracy: float | None, status: str = "completed"
) -> None:
    row = {"trial_id": trial_id, "status": status, "val_accuracy": val_accuracy}
    write_rows(results.store, "trials", trial_id, [row], {})


def test_mean_and_sample_deviation_over_the_seeds_and_no_deviation_of_one(results: Results) -> None:
    for trial_id, point, value in (("a", 0, 0.5), ("b", 0, 0.7), ("c", 1, 0.9)):
        member(results, trial_id, point, f'{{"method.alpha": {point / 2}}}')
        trial(results, trial_id, value)
    table = points(results, "s")
    assert table["method.alpha"].tolist() == [0.0, 0.5]
    assert table["n"].tolist() == [2, 1]
    assert table["val_accuracy", "mean"].tolist() == pytest.approx([0.6, 0.9])
    assert table["val_accuracy", "std"][0] == pytest.approx(0.02**0.5)
    assert pd.isna(table["val_accuracy", "std"][1])


def test_teachers_failures_and_other_sweeps_do_not_count(results: Results) -> None:
    for trial_id in ORDER:
        trial(results, trial_id, 0.5, status="failed" if trial_id == "d" else "completed")
    member(results, "a", 0)
    member(results, "b", 0, role="teacher")
    member(results, "c", 0, sweep="another")
    member(results, "d", 0)
    assert points(results, "s")["n"].tolist() == [1]


def test_an_accuracy_of_an_evaluation_is_a_metric_and_other_numbers_are_not(
    results: Results,
) -> None:
    member(results, "a", 0)
    trial(results, "a", 0.5)
    number = {"trial_id": "a", "evaluation_id": "e", "label": "noise", "metric": "accuracy"}
    rows = [number | {"value": 1 - sigma, "sigma": sigma} for sigma in (0.1, 0.2)]
    write_rows(
        results.store,
        "robustness",
        "e",
        [*rows, number | {"metric": "loss", "value": 2.0, "sigma": 0.1}],
        {},
    )
    metrics = {name for name, statistic in points(results, "s").columns if statistic}
    assert metrics == {"val_accuracy", "noise.accuracy[sigma=0.1]", "noise.accuracy[sigma=0.2]"}


def test_a_radius_is_a_metric_and_a_number_taken_during_training_is_none(results: Results) -> None:
    member(results, "a", 0)
    trial(results, "a", 0.5)
    number = {"trial_id": "a", "label": "bound", "value": 0.25}
    write_rows(
        results.store,
        "robustness",
        "bound",
        [
            number | {"evaluation_id": "bound", "metric": "radius"},
            number | {"evaluation_id": "bound", "metric": "ahead"},
        ],
        {},
    )
    looked = [
        number | {"evaluation_id": "look", "label": "pgd", "metric": "accuracy", "epoch": epoch}
        for epoch in (1, 2)
    ]
    write_rows(results.store, "robustness", "training", looked, {})
    metrics = {name for name, statistic in points(results, "s").columns if statistic}
    assert metrics == {"val_accuracy", "bound.radius"}


def test_accuracies_on_seen_and_on_omitted_classes_are_metrics(results: Results) -> None:
    member(results, "a", 0)
    trial(results, "a", 0.5)
    number = {"trial_id": "a", "evaluation_id": "e", "label": "clean"}
    values = {"accuracy": 0.5, "seen_accuracy": 0.75, "omitted_accuracy": 0.25, "loss": 2.0}
    rows = [number | {"metric": metric, "value": value} for metric, value in values.items()]
    write_rows(results.store, "robustness", "e", rows, {})
    table = points(results, "s")
    found = {
        name: table[name, "mean"][0] for name, statistic in table.columns if statistic == "mean"
    }
    del values["loss"]
    assert found == {
        "val_accuracy": 0.5,
        **{f"clean.{metric}": value for metric, value in values.items()},
    }


def test_one_trial_may_stand_for_several_points(results: Results) -> None:
    for point in (0, 1):
        member(results, "a", point, case=f"case {point}")
    trial(results, "a", 0.5)
    assert points(results, "s")["point"].tolist() == [0, 1]


def test_a_point_that_the_grid_now_counts_otherwise_is_still_one_point(results: Results) -> None:
    member(results, "a", 0)
    member(results, "a", 1)
    trial(results, "a", 0.5)
    assert points(results, "s")["point"].tolist() == [1]


def test_what_the_sweep_no_longer_asks_for_is_no_point(results: Results) -> None:
    member(results, "a", 0)
    member(results, "b", 1, '{"method.alpha": 1}', outcome="not needed")
    for trial_id in "ab":
        trial(results, trial_id, 0.5)
    assert points(results, "s")["point"].tolist() == [0]


def test_a_sweep_without_a_completed_student_has_no_points(results: Results) -> None:
    assert points(results, "s").empty
    member(results, "a", 0)
    assert points(results, "s").empty


def test_a_metric_has_the_count_of_the_seeds_that_have_it(results: Results) -> None:
    for trial_id, value in (("a", 0.5), ("b", 0.7), ("c", None)):
        member(results, trial_id, 0)
        trial(results, trial_id, value)
    table = points(results, "s")
    assert table["n"].tolist() == [3]
    assert table["val_accuracy", "n"].tolist() == [2]


def test_what_the_points_are_compared_by_is_in_the_table(results: Results) -> None:
    aims = (Objective(metric="clean_val.loss", mode="min"), Objective(metric="weights", mode="min"))
    write_objectives(results.store, "s", Objectives(objectives=aims))
    for trial_id, point, loss in (("a", 0, 0.5), ("b", 1, 0.25)):
        member(results, trial_id, point, f'{{"a": {point}}}')
        row = {"trial_id": trial_id, "status": "completed", "val_accuracy": 0.5, "weights": 7}
        write_rows(results.store, "trials", trial_id, [row], {})
        number = {"trial_id": trial_id, "evaluation_id": "e", "label": "clean_val"}
        number |= {"metric": "loss", "value": loss, "split": "val"}
        write_rows(results.store, "robustness", f"{trial_id}-e", [number], {})
    table = points(results, "s")
    assert table["clean_val.loss", "mean"].tolist() == [0.5, 0.25]
    assert table["weights", "mean"].tolist() == [7, 7]
    assert table["val_accuracy", "mean"].tolist() == [0.5, 0.5]
