"""``kdray plan``: what a run would do, from what is there; it trains and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdray.results import Results
from kdray.sweep.definition.teacher_order import ancestors, chain
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.students import Counts, students
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.plan import Plan, plan
from tests.sweep.fakes import ALONE, TINY, Engine, go, sweep_of

SIGMA = "experiment.noise.input.sigma"
NEW_EVALUATION = {"evaluate.suite": [*TINY["evaluate"]["suite"], {"name": "gaussian_noise"}]}


def planned(results: Path, *changes: dict[str, Any], **options: Any) -> Plan:
    """The plan of the tiny sweep, which must leave the folder as it was."""
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*")}
    found = plan(sweep_of(*changes), results, cpus=2, **options)
    assert {path: path.stat().st_mtime_ns for path in results.rglob("*")} == before
    return found


def test_of_a_fresh_sweep_teachers_are_to_be_trained_and_students_are_pending(
    results: Path,
) -> None:
    found = planned(results)
    assert (found.teachers, found.students) == (Counts(train=2), Counts(pending=4))
    assert (found.sweep, found.searched, found.seconds) == ("tiny", False, None)
    assert found.at_once == {"teacher": 2, "student": 2}
    assert not results.exists()


def test_students_without_a_teacher_are_not_pending(results: Path) -> None:
    found = planned(results, ALONE)
    assert (found.teachers, found.students) == (Counts(), Counts(train=4))
    assert list(found.at_once) == ["student"]


def test_of_a_finished_sweep_everything_is_there(finished: Path) -> None:
    found = planned(finished)
    assert (found.teachers, found.students) == (Counts(there=2), Counts(there=4))
    assert found.seconds == 0


def test_an_added_value_is_to_be_trained_and_an_added_evaluation_to_be_measured(
    finished: Path,
) -> None:
    assert planned(finished, {SIGMA: {"grid": [0, 0.2, 0.4]}}).students == Counts(train=2, there=4)
    assert planned(finished, NEW_EVALUATION).students == Counts(measure=4)
    assert planned(finished, {"seeds": 3}, NEW_EVALUATION).students == Counts(train=2, measure=4)


def test_half_of_a_sweep_done_is_half_of_it_left(engine: Engine, results: Path) -> None:
    engine.interrupt_after = 5  # two teachers, one of them measured, two students
    with pytest.raises(KeyboardInterrupt):
        go(results)
    found = planned(results)
    assert (found.teachers, found.students) == (Counts(there=2), Counts(train=2, there=2))


def test_a_teacher_that_is_missing_makes_its_students_pending(finished: Path) -> None:
    found = planned(finished, {"experiment.teacher.seeds": 3})
    assert (found.teachers, found.students) == (Counts(train=1, there=2), Counts(pending=4))
    for path in (finished / "weights").iterdir():
        path.unlink()
    assert planned(finished).teachers == Counts(train=2), "students need their weights"


def test_select_each_leaves_only_students_of_missing_teachers_pending(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    each = {"experiment.teacher.select": "each"}
    go(results, each)
    found = planned(results, each, {"seeds": 3, "experiment.teacher.seeds": 3})
    assert (found.teachers, found.students) == (
        Counts(train=1, there=2),
        Counts(pending=2, there=4),
    )


def test_a_failure_is_there_unless_it_is_to_be_retried(engine: Engine, results: Path) -> None:
    diverging = {"experiment.training.optimizer": {"name": "sgd", "learning_rate": 1e30}}
    go(results, ALONE, diverging)
    assert planned(results, ALONE, diverging).students == Counts(there=4)
    assert planned(results, ALONE, diverging, retry_failed=True).students == Counts(train=4)


def test_points_of_a_search_show_only_when_it_asks_for_them(finished: Path) -> None:
    found = planned(
        finished, {SIGMA: {"uniform": [0, 1]}, "search": {"sampler": "tpe", "points": 5}}
    )
    assert (found.searched, found.students, found.seconds) == (True, Counts(pending=10), None)


def test_time_is_estimated_from_trials_that_are_like_those_to_come(finished: Path) -> None:
    more = {SIGMA: {"grid": [0, 0.2, 0.4]}}
    done = Results(finished).trials()
    per_epoch = (done.loc[done["role"] == "student", "train_seconds"] / 2).mean()
    assert planned(finished, more).seconds == pytest.approx(2 * 2 * per_epoch / 2), (
        "two trials of two epochs, two at once"
    )
    assert planned(finished, more, max_concurrent=1).seconds == pytest.approx(2 * 2 * per_epoch)
    longer = {"experiment.training.epochs": 10, "experiment.teacher.training": {"epochs": 2}}
    assert planned(finished, longer).seconds == pytest.approx(4 * 10 * per_epoch / 2)


def test_time_is_unknown_where_no_like_trial_has_run_or_none_can(finished: Path) -> None:
    assert planned(finished, {"experiment.model.hidden": [9]}).seconds is None
    larger = planned(
        finished, {SIGMA: {"grid": [0, 0.2, 0.4]}, "resources": {"student": {"cpu": 8}}}
    )
    assert larger.seconds is None
    assert "the largest node (this machine) has 2" in larger.room["student"]


def test_the_price_of_asking_a_teacher_for_views_that_nobody_sees_again_is_told(
    results: Path,
) -> None:
    changed = {
        "experiment.training.transforms": [{"name": "random_erasing"}],
        "experiment.teacher.training.transforms": [],
        "experiment.training.epochs": 7,
    }
    assert [note for note in planned(results, changed).notes if "asks its" in note] == [
        "a student asks its mlp teacher 7 times for every training image, because "
        "training.transforms draw a new view each time; without them once for every view of it "
        "(at most 1), for all students"
    ]
    assert not any("asks its" in note for note in planned(results).notes)
    assert not any("asks its" in note for note in planned(results, changed, ALONE).notes)


def test_a_limit_limits_what_runs_at_once(results: Path) -> None:
    assert planned(results, max_concurrent=1).at_once == {"teacher": 1, "student": 1}
    assert planned(results, {"resources": {"student": {"cpu": 0.5}}}).at_once == {
        "teacher": 2,
        "student": 4,
    }


def test_whoever_teaches_comes_before_whom_it_teaches() -> None:
    grand = {"model": {"name": "mlp", "hidden": [32]}}
    sweep = sweep_of(
        {"experiment.teacher.teacher": grand, "experiment.teacher.method": {"name": "kd"}}
    )
    teachers = chain(sweep)
    assert [len(list(ancestors(teacher))) for teacher in teachers] == [1, 2, 2]
    assert {t.trial_id for t in teachers[:1]} == {
        t.teacher.trial_id for t in teachers[1:] if t.teacher
    }
    assert sweep.roles == ["teacher", "student"]
    assert sweep_of(ALONE).roles == ["student"]


def test_a_chosen_teacher_that_is_not_measured_yet_is_planned(finished: Path) -> None:
    more = {"evaluate.suite": [{"name": "gaussian_noise", "sigmas": [0.1]}]}
    found = planned(finished, more)
    assert (found.teachers.measure, found.teachers.there, found.students.measure) == (1, 1, 4)


@pytest.mark.parametrize("select", ["best_validation", "each"])
def test_the_seeds_of_a_point_are_as_if_each_were_read_from_the_file(
    finished: Path, select: str
) -> None:
    sweep = sweep_of({"experiment.teacher.select": select})
    ledger = TrialIndex(Results(finished))
    for point in sweep.grid():
        found = list(students(sweep, ledger, point))
        teachers = [
            ledger.choose(sweep.candidates(point), sweep.choice(point), seed) for seed in (0, 1)
        ]
        read = [sweep.student(point, seed, teacher) for seed, teacher in enumerate(teachers)]
        assert found == list(enumerate(read))
        assert [s and (s.trial_id, s.model_dump_json()) for _, s in found] == [
            (s.trial_id, s.model_dump_json()) for s in read
        ]
        assert len({s and s.trial_id for _, s in found}) == 2


def test_a_plan_reads_and_checks_each_point_once(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    student = Sweep.student
    monkeypatch.setattr(
        Sweep, "student", lambda *given: asked.append(given[1].number) or student(*given)
    )
    assert planned(finished, {"seeds": 7}).students == Counts(train=10, there=4)
    assert [number for number in asked if number >= 0] == [0, 1]
