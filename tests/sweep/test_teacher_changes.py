"""A sweep whose teacher changes: at no moment are students of two teachers members of one point, and
completed students stay where the new teacher is not there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from kdray.results import Results
from kdray.results.points.table import points
from kdray.sweep.plan import plan
from kdray.trials.experiment import Experiment
from kdray.trials.task import Task
from tests.sweep.fakes import TINY, Engine, go, instead_of_ray, sweep_of

SIGMA = "experiment.noise.input.sigma"
SEARCH: dict[str, Any] = {SIGMA: {"uniform": [0, 1]}, "search": {"sampler": "random", "points": 2}}
RACE: dict[str, Any] = {
    **SEARCH,
    "search.early_stopping": {"name": "asha", "metric": "val_accuracy"},
}
KINDS = pytest.mark.parametrize("kind", [{}, SEARCH], ids=["grid", "search"])


@pytest.fixture(scope="module")
def by_accuracy(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    """Seeds of the tiny sweep's teacher, the worst first."""
    folder = tmp_path_factory.mktemp("teachers") / "results"
    with instead_of_ray():
        go(folder, {"experiment.teacher.seeds": 6, "seeds": 1, SIGMA: 0.1, "evaluate": {}})
    teachers = Results(folder).trials().query("role == 'teacher'").sort_values("val_accuracy")
    assert teachers["val_accuracy"].iloc[0] < teachers["val_accuracy"].iloc[-1]
    return [int(teachers["seed"].iloc[position]) for position in (0, -1)]


def seeds(*numbers: int) -> dict[str, Any]:
    return {"experiment.teacher.seeds": list(numbers)}


def asked_for(results: Path) -> Any:
    """The students that are members, with the seed of their teacher."""
    found = Results(results)
    members = found.members().query("role == 'student' and outcome != 'not needed'")
    table = found.trials().set_index("trial_id")
    teachers = members["trial_id"].map(table["teacher_id"])
    return members.assign(teacher=teachers.map(table["seed"]))


def teachers_of_points(results: Path) -> dict[str, set[int]]:
    rows = asked_for(results).dropna(subset=["teacher"])
    return {point: set(part["teacher"]) for point, part in rows.groupby("point_id")}


@KINDS
def test_a_better_teacher_takes_all_students_of_a_point_at_once(
    engine: Engine, results: Path, by_accuracy: list[int], kind: dict[str, Any]
) -> None:
    worst, best = by_accuracy
    go(results, kind, seeds(worst))
    assert set(map(tuple, teachers_of_points(results).values())) == {(worst,)}
    engine.interrupt_after = engine.ended + 2  # the teacher and one student
    said = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        go(results, kind, seeds(worst, best), said=said)
    assert set(asked_for(results)["teacher"].dropna()) <= {best}
    gone = "4 earlier trials of 'tiny' are no part of it any more: another teacher was chosen"
    assert said.getvalue().count(gone) == 1
    engine.interrupt_after = None
    go(results, kind, seeds(worst, best))
    assert set(map(tuple, teachers_of_points(results).values())) == {(best,)}
    assert points(Results(results), "tiny")["n"].tolist() == [2, 2]
    assert Results(results).members()["outcome"].value_counts()["not needed"] == 4


@KINDS
def test_after_a_budget_no_point_has_students_of_two_teachers(
    engine: Engine, results: Path, by_accuracy: list[int], kind: dict[str, Any]
) -> None:
    worst, best = by_accuracy
    go(results, kind, seeds(worst))
    short = {"budget": {"hours": 1e-9}}
    summary = go(results, kind, seeds(worst, best), short)
    assert all(len(teachers) == 1 for teachers in teachers_of_points(results).values())
    assert summary.stopped is None or asked_for(results).empty or kind == SEARCH


@KINDS
def test_while_the_better_teacher_trains_the_students_of_the_old_one_stay(
    engine: Engine, results: Path, by_accuracy: list[int], kind: dict[str, Any]
) -> None:
    worst, best = by_accuracy
    go(results, kind, seeds(worst))
    engine.interrupt_after = engine.ended
    with pytest.raises(KeyboardInterrupt):
        go(results, kind, seeds(worst, best))
    assert asked_for(results)["outcome"].tolist() == ["completed"] * 4
    assert set(map(tuple, teachers_of_points(results).values())) == {(worst,)}


def test_of_students_of_several_teachers_those_of_one_stay_until_one_is_chosen(
    engine: Engine, results: Path, by_accuracy: list[int]
) -> None:
    worst, best = by_accuracy
    each = {"experiment.teacher.select": "each", "seeds": by_accuracy}
    go(results, seeds(worst, best), each)
    assert all(len(teachers) == 2 for teachers in teachers_of_points(results).values())
    other = next(seed for seed in range(6) if seed not in by_accuracy)
    engine.interrupt_after = engine.ended
    with pytest.raises(KeyboardInterrupt):
        go(results, seeds(worst, best, other), {"seeds": by_accuracy})
    assert set(map(tuple, teachers_of_points(results).values())) == {(best,)}


@KINDS
def test_students_stay_where_a_teacher_that_was_added_is_to_be_tried_again(
    engine: Engine, results: Path, by_accuracy: list[int], kind: dict[str, Any]
) -> None:
    worst, best = by_accuracy
    go(results, kind, seeds(worst))

    def dies(task: Task) -> bool:
        return task.role == "teacher" and task.experiment.seed == best

    engine.dies = dies
    summary = go(results, kind, seeds(worst, best))
    assert summary.exit_status == 1
    rows = asked_for(results)
    assert rows["outcome"].value_counts().to_dict() == {"completed": 4, "failed": 2}
    failed = rows[rows["outcome"] == "failed"]
    assert failed["trial_id"].isna().all()
    assert failed["error"].str.startswith("its teacher ").all()
    assert failed["error"].str.contains("WorkerDied").all()
    table = points(Results(results), "tiny")
    assert table["n"].tolist() == [2, 2], "completed work stays counted"
    assert plan(sweep_of(kind, seeds(worst, best)), results, cpus=2).notes == []
    engine.dies = lambda task: False
    assert go(results, kind, seeds(worst, best)).exit_status == 0
    assert asked_for(results)["outcome"].tolist() == ["completed"] * 4
    assert set(map(tuple, teachers_of_points(results).values())) == {(best,)}


def test_a_point_has_no_failed_row_once_its_students_are_there(
    engine: Engine, results: Path
) -> None:
    engine.dies = lambda task: task.role == "teacher"
    go(results, SEARCH)
    assert asked_for(results)["outcome"].tolist() == ["failed"] * 2
    engine.dies = lambda task: False
    engine.interrupt_after = engine.ended + 4  # two teachers, the chosen one, a student
    with pytest.raises(KeyboardInterrupt):
        go(results, SEARCH)
    assert "failed" not in set(asked_for(results)["outcome"])


def test_students_stay_where_their_teacher_cannot_be_trained_again(
    engine: Engine, finished: Path
) -> None:
    for path in (finished / "weights").iterdir():
        path.unlink()
    engine.dies = lambda task: task.role == "teacher"
    assert go(finished).exit_status == 1
    rows = asked_for(finished)
    assert rows["outcome"].value_counts().to_dict() == {"completed": 4, "failed": 2}
    engine.dies = lambda task: False
    engine.ran.clear()
    assert go(finished).exit_status == 0
    assert asked_for(finished)["outcome"].tolist() == ["completed"] * 4
    assert {job.task.role for job in engine.ran} == {"teacher"}


def test_a_trained_teacher_needs_its_own_teacher_no_more(engine: Engine, results: Path) -> None:
    chain = {
        "experiment.teacher.teacher": {"model": {"name": "mlp", "hidden": [20]}},
        "experiment.teacher.method": {"name": "kd"},
        "experiment.teacher.seeds": 1,
        "evaluate": {},
    }
    assert TINY["experiment"]["method"] == {"name": "kd"}
    go(results, chain)
    (grand,) = {
        teacher.teacher.trial_id for teacher in sweep_of(chain).teachers() if teacher.teacher
    }
    (results / f"weights/{grand}.safetensors").unlink()
    engine.dies = lambda task: task.experiment.trial_id == grand
    summary = go(results, chain)
    assert set(summary.failures) == {grand}
    members = Results(results).members()
    assert set(members.loc[members["trial_id"] != grand, "outcome"]) == {"completed"}


def test_what_a_teacher_of_a_teacher_failed_of_is_said_to_the_end(
    engine: Engine, results: Path
) -> None:
    diverges = {
        "epochs": 2,
        "batch_size": 10,
        "optimizer": {"name": "sgd", "learning_rate": 1e36, "momentum": 0.9},
    }
    top = {"model": {"name": "mlp", "hidden": [20]}, "training": diverges}
    middle = {"model": {"name": "mlp", "hidden": [12]}, "method": {"name": "kd"}, "teacher": top}
    chain = {
        "experiment.teacher.teacher": middle,
        "experiment.teacher.method": {"name": "kd"},
        "experiment.teacher.seeds": 1,
        "evaluate": {},
    }
    summary = go(results, chain)
    assert len(engine.ran) == 1
    (teacher,) = sweep_of(chain).teachers()
    assert isinstance(teacher.teacher, Experiment)
    assert teacher.teacher.teacher is not None
    second, first = teacher.teacher, teacher.teacher.teacher
    why = f"its teacher {second.trial_id} failed: its teacher {first.trial_id} failed: Diverged: "
    assert str(summary.failures[teacher.trial_id]).startswith(why)
    said = str(summary.failures[f"every student of teacher {teacher.trial_id}"])
    assert said.startswith(f"its teacher {teacher.trial_id} failed: {why}")
    left = plan(sweep_of(chain), results, cpus=2)
    assert (left.teachers.there, left.teachers.total) == (3, 3)
    assert (left.students.there, left.students.total) == (4, 4)
    again = plan(sweep_of(chain), results, cpus=2, retry_failed=True)
    assert (again.teachers.train, again.students.pending) == (3, 4)
    engine.ran.clear()
    assert go(results, chain).failures == summary.failures
    assert engine.ran == []
