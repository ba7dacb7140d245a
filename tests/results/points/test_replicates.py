"""A row per replicate, on which everything that names points stands: status, report and questions
cannot disagree."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest

from kdray.report.page.group import groups
from kdray.report.page.summary import summary
from kdray.results import Results, SelectedOnTest, SeveralTeachers, write_rows
from kdray.results.points.best import best_points
from kdray.results.points.objective import Objective, Objectives
from kdray.results.points.replicates import replicates
from kdray.results.points.table import points
from kdray.results.record import write_labels, write_objectives
from tests.results.made import add_point

SIGMA = "noise.input.sigma"
CONFIGURATION = {"data.name": "digits", "started_at": pd.Timestamp("2026-01-01", tz="UTC")}


def named_best(results: Results, sweep: str) -> dict[str, list[int]]:
    """The best point as the table, the report and the question name it."""
    (group,) = groups(results, sweep)
    return {
        "table": best_points(results, sweep),
        "report": group.best,
        "best": results.best("val_accuracy", sweep=sweep)["point"].tolist(),
    }


def agreed(points: list[int]) -> dict[str, list[int]]:
    return {"table": points, "report": points, "best": points}


def share(
    results: Results, trial_ids: list[str], sweep: str, outcome: str = "completed", **columns: Any
) -> None:
    """Give trials the part in ``sweep`` that they have in another."""
    for row in results.members(where=[("trial_id", "in", trial_ids)]).to_dict("records"):
        stored = {str(name): value for name, value in row.items() if value == value}
        member = {**stored, "sweep": sweep, "outcome": outcome, **columns}
        write_rows(results.store, "members", f"{sweep}-{row['trial_id']}", [member], {})


def test_what_one_sweep_gave_up_and_another_completed_is_no_best_point_of_the_first(
    empty: Results,
) -> None:
    high = add_point(empty, 0, [0.9, 0.9], {SIGMA: 0.0}, sweep="a", **CONFIGURATION)
    low = add_point(empty, 1, [0.5, 0.5], {SIGMA: 0.1}, sweep="a", **CONFIGURATION)
    share(empty, high, "b", "pruned")
    share(empty, low, "b")
    assert named_best(empty, "a") == agreed([0])
    assert named_best(empty, "b") == agreed([1])
    (group,) = groups(empty, "b")
    assert any("Point 1 " in sentence for sentence in summary(group, "", [], [], []))


def test_two_points_with_one_number_stay_two(empty: Results) -> None:
    """The file changed after an interruption."""
    add_point(empty, 0, [0.5, 0.6], {SIGMA: 0.1}, **CONFIGURATION)
    add_point(empty, 0, [0.9, 0.8], {SIGMA: 0.2}, **CONFIGURATION)
    table = points(empty, "s")
    assert table["n"].tolist() == [2, 2]
    (group,) = groups(empty)
    assert group.points["n"].tolist() == [2, 2]
    assert group.points["val_accuracy"].tolist() == table["val_accuracy", "mean"].tolist()
    assert group.points["point"].tolist() == table["point"].tolist() == [0, 1]
    assert table[SIGMA].tolist() == [0.2, 0.1], "the later one keeps the number"
    assert named_best(empty, "s") == agreed([0])


def test_a_point_that_lacks_a_seed_is_nowhere_the_best(empty: Results) -> None:
    add_point(empty, 0, [0.9, None], {SIGMA: 0.0}, **CONFIGURATION)
    add_point(empty, 1, [0.5, 0.5], {SIGMA: 0.1}, **CONFIGURATION)
    assert named_best(empty, "s") == agreed([1])
    add_point(empty, 2, [0.8], {SIGMA: 0.2}, **CONFIGURATION)
    assert named_best(empty, "s") == agreed([2])
    write_objectives(empty.store, "s", Objectives(objectives=(Objective(),), seeds=2))
    assert named_best(empty, "s") == agreed([1])


def test_a_point_that_breaks_a_constraint_is_nowhere_the_best(empty: Results) -> None:
    add_point(empty, 0, [0.9, 0.9], {SIGMA: 0.0}, **CONFIGURATION)
    add_point(empty, 1, [0.5, 0.5], {SIGMA: 0.1}, **CONFIGURATION)
    limit = Objectives(objectives=(Objective(),), constraints=("val_accuracy <= 0.8",))
    write_objectives(empty.store, "s", limit)
    assert named_best(empty, "s") == agreed([1])


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_point_with_a_number_that_is_not_finite_is_nowhere_the_best(
    empty: Results, mode: Any, value: float
) -> None:
    add_point(empty, 0, [0.6, value], {SIGMA: 0.0}, **CONFIGURATION)
    add_point(empty, 1, [0.5, 0.5], {SIGMA: 0.1}, **CONFIGURATION)
    objectives = Objectives(objectives=(Objective(mode=mode),))
    write_objectives(empty.store, "s", objectives)
    assert best_points(empty, "s") == [1]
    assert empty.best("val_accuracy", mode=mode, count=2)["point"].tolist() == [1]
    assert empty.pareto(["val_accuracy"], [mode])["point"].tolist() == [1]


@pytest.mark.parametrize("relation", ["<=", ">="])
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_a_point_whose_constrained_number_is_not_finite_is_nowhere_the_best(
    empty: Results, relation: str, value: float
) -> None:
    add_point(empty, 0, [0.9], {SIGMA: 0.0}, train_seconds=value, **CONFIGURATION)
    add_point(empty, 1, [0.5], {SIGMA: 0.1}, train_seconds=3.0, **CONFIGURATION)
    limit = Objectives(objectives=(Objective(),), constraints=(f"train_seconds {relation} 3",))
    write_objectives(empty.store, "s", limit)
    assert named_best(empty, "s") == agreed([1])


@pytest.mark.parametrize("mode", ["max", "min"])
def test_points_that_differ_by_rounding_only_are_everywhere_alike(
    empty: Results, mode: Any
) -> None:
    """The mean of the same numbers depends a little on their order."""
    columns = {**CONFIGURATION, "train_seconds": 1.0}
    for number, values in enumerate(([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.1, 0.3, 0.2])):
        add_point(empty, number, values, {SIGMA: number / 10}, **columns)
    two = ["val_accuracy", "train_seconds"]
    objectives = [Objective(metric=name, mode=mode) for name in two]
    write_objectives(empty.store, "s", Objectives(objectives=(objectives[0],)))
    assert best_points(empty, "s") == [0]
    assert empty.best("val_accuracy", mode=mode)["point"].tolist() == [0]
    write_objectives(empty.store, "s", Objectives(objectives=tuple(objectives)))
    assert best_points(empty, "s") == [0, 1, 2]
    assert empty.pareto(two, [mode, mode])["front"].tolist() == [0, 0, 0]


def test_a_trial_that_two_sweeps_share_has_the_labels_of_each(empty: Results) -> None:
    metric = "strong.accuracy"
    shared = add_point(empty, 0, [0.3, 0.4], {SIGMA: 0.0}, sweep="a", metric=metric)
    share(empty, shared, "b")
    own = add_point(empty, 1, [0.7, 0.8], {SIGMA: 0.1}, sweep="b", metric="pgd.accuracy")
    rows = empty.robustness().drop(columns=["low", "high"]).to_dict("records")
    for row in rows:  # one evaluation, which the second sweep calls otherwise
        stored = {str(name): value for name, value in row.items() if value == value}
        measured = {**stored, "evaluation_id": "e1"}
        write_rows(empty.store, "robustness", f"{row['trial_id']}-e1", [measured], {})
        empty.store.delete(f"robustness/{row['trial_id']}-{row['label']}.parquet")
    write_labels(empty.store, "a", {"e1": "strong"})
    write_labels(empty.store, "b", {"e1": "pgd"})
    assert empty.points("pgd.accuracy", sweep="b")["mean"].tolist() == pytest.approx([0.35, 0.75])
    assert empty.points(metric, sweep="a")["mean"].tolist() == pytest.approx([0.35])
    assert points(empty, "b")["pgd.accuracy", "mean"].tolist() == pytest.approx([0.35, 0.75])
    assert metric not in points(empty, "b").columns.get_level_values(0)
    frame = empty.frame().set_index("trial_id")
    assert frame.loc[shared, [metric, "pgd.accuracy"]].notna().all(axis=None)
    assert frame.loc[own, metric].isna().all()
    objective = Objectives(objectives=(Objective(metric="pgd.accuracy"),))
    write_objectives(empty.store, "b", objective)
    assert best_points(empty, "b") == [1]
    with pytest.warns(SelectedOnTest):
        assert empty.best("pgd.accuracy", sweep="b")["point"].tolist() == [1]


def test_a_label_without_a_record_is_that_of_its_row(empty: Results) -> None:
    add_point(empty, 0, [0.3], metric="strong.accuracy")
    write_labels(empty.store, "s", {"another": "weak"})
    assert empty.points("strong.accuracy")["n"].tolist() == [1]


def test_a_new_label_replaces_what_the_sweep_called_the_evaluation(empty: Results) -> None:
    add_point(empty, 0, [0.3], metric="strong.accuracy")
    for label in ("first", "second"):
        write_labels(empty.store, "s", {"strong": label})
    assert "second.accuracy" in empty.frame()
    assert "first.accuracy" not in empty.frame()


def test_a_case_that_chooses_its_teacher_otherwise_is_a_point_of_its_own(empty: Results) -> None:
    for number, case in enumerate(("best", "each")):
        add_point(empty, number, [0.5, 0.6], {SIGMA: 0.1}, case=case)
    assert points(empty, "s")["n"].tolist() == [2, 2]


def test_one_row_per_replicate_says_what_became_of_it(empty: Results) -> None:
    add_point(empty, 0, [0.5, None], {SIGMA: 0.1})
    add_point(empty, 1, [0.7, 0.8], {SIGMA: 0.2})
    rows = replicates(empty)
    assert rows["point"].tolist() == [0, 0, 1, 1]
    assert rows["seed"].tolist() == [0, 1, 0, 1]
    assert rows["counts"].tolist() == [True, False, True, True]
    assert rows["complete"].tolist() == [False, False, True, True]
    assert [json.loads(text) for text in rows["swept"]] == [{SIGMA: 0.1}] * 2 + [{SIGMA: 0.2}] * 2


def taught(results: Results, seeds: int, teacher: int, select: str, accuracy: float) -> None:
    """The seeds of one point, taught by one teacher, or each by its own."""
    teachers = [{"seed": seed if select == "each" else teacher} for seed in range(seeds)]
    values = [accuracy] * seeds
    ids = add_point(results, 0, values, {SIGMA: 0.1}, teachers=teachers, **CONFIGURATION)
    share(results, ids, "s", teacher_selection=select)


def test_a_seed_that_is_in_a_point_twice_is_never_averaged(empty: Results) -> None:
    """Two folders were merged in which different teachers had been chosen."""
    taught(empty, 2, 0, "best_validation", 0.5)
    taught(empty, 2, 1, "best_validation", 0.7)
    with pytest.warns(SeveralTeachers, match="'s': some points have students of several teachers"):
        table = points(empty, "s")
    assert table["n"].tolist() == [2, 2]
    assert table["val_accuracy", "mean"].tolist() == pytest.approx([0.7, 0.5]), (
        "what was written last keeps the point"
    )
    assert table["point"].tolist() == [0, 1]


def test_students_of_two_teachers_are_two_points_also_of_different_seeds(empty: Results) -> None:
    taught(empty, 1, 0, "best_validation", 0.5)
    taught(empty, 2, 1, "best_validation", 0.7)
    with pytest.warns(SeveralTeachers):
        assert points(empty, "s")["n"].tolist() == [2, 1]


def test_where_each_seed_has_its_own_teacher_they_are_one_point(empty: Results) -> None:
    taught(empty, 3, 0, "each", 0.5)
    assert points(empty, "s")["n"].tolist() == [3]
    taught(empty, 3, 1, "best_validation", 0.7)
    with pytest.warns(SeveralTeachers):
        assert points(empty, "s")["n"].tolist() == [3, 3]
