"""A sweep does what its results lack and nothing else. Real trials on digits; only Ray is
replaced."""

from __future__ import annotations

import ast
import gc
import inspect
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import kdray.sweep
from kdray.core import InputError
from kdray.core.garbage import OBJECTS
from kdray.machine.gpus import UNSET_BY_RAY, Gpu
from kdray.machine.hardware import CONTEXT
from kdray.results import Results, Store, write_rows
from kdray.results.points.table import points
from kdray.robustness import label_of
from kdray.sweep.definition.file import Request
from kdray.sweep.execution.probe import MeasuredShare
from kdray.sweep.execution.resources import Node
from kdray.sweep.plan import plan
from kdray.sweep.run import check_data
from kdray.sweep.scheduling.lock import only_driver
from kdray.sweep.scheduling.queue import DIED, MAX_DEATHS
from kdray.trials.experiment import configuration_columns
from kdray.trials.task import Task
from tests.sweep.fakes import ALONE, TINY, Engine, assert_same_bits, go, sweep_of, tables

SIGMA = "experiment.noise.input.sigma"
MORE_SIGMA = {SIGMA: {"grid": [0, 0.2, 0.4]}}
MORE_EVALUATIONS = {
    "evaluate.suite": [
        *TINY["evaluate"]["suite"],
        {"label": "noise", "name": "gaussian_noise", "sigmas": [0.1], "examples": 20},
    ]
}
DIVERGES = {"epochs": 1, "batch_size": 50, "optimizer": {"name": "sgd", "learning_rate": 1e30}}
RANDOM = {SIGMA: {"uniform": [0, 1]}, "search": {"sampler": "random", "points": 3}}
TPE = {SIGMA: {"uniform": [0, 1]}, "search": {"sampler": "tpe", "points": 3, "startup": 2}}


def members(results: Path, sweep: str = "tiny") -> pd.DataFrame:
    table = Results(results).members()
    return (
        table[table["sweep"] == sweep]
        .sort_values(["role", "order"], ascending=[False, True])
        .reset_index(drop=True)
    )


def trials(results: Path, role: str) -> pd.DataFrame:
    table = Results(results).trials()
    return table[table["role"] == role]


def study(results: Path, sweep: str = "tiny") -> optuna.Study:
    return optuna.load_study(study_name=sweep, storage=f"sqlite:///{results}/studies/{sweep}.db")


def files(results: Path) -> dict[Path, bytes]:
    """Every table's files, as they are."""
    return {path: path.read_bytes() for path in results.rglob("*.parquet")}


def test_a_method_that_needs_more_examples_than_there_are_is_refused_before_the_start() -> None:
    crd = {"experiment.method": {"name": "crd", "negatives": {"grid": [5, 1000]}}}
    said = (
        r"^experiment.method.negatives: 1000 are more than the \d+ training examples that there "
        r"are of other classes$"
    )
    with pytest.raises(InputError, match=said):
        check_data(sweep_of(crd), Path("/nowhere"))
    check_data(sweep_of(crd, {"experiment.method.negatives": 5}), Path("/nowhere"))


def test_an_attack_that_leaves_images_as_they_are_is_warned_of_once_and_with_its_place() -> None:
    none = {"name": "trades", "attack": {"epsilon": {"grid": [0, 0.1]}, "steps": 1}}
    method = {"experiment.teacher.method": none, "experiment.method": {"name": "kd"}}
    text = "method.attack.epsilon: 0 leaves images as they are, so that nothing is attacked"
    assert list(sweep_of(method).cautions()) == [f"experiment.teacher.{text}"]
    unused = {"name": "adversarial", "mix": 0, "clean": {"name": "kd"}, "attack": {"epsilon": 0}}
    assert list(sweep_of({"experiment.method": unused}).cautions()) == []


ATTACK = {"epsilon": 0.1, "steps": 1}
ADVERSARIAL = {"name": "adversarial", "attack": ATTACK, "perturbed": {"name": "kd"}}


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (
            {**ADVERSARIAL, "weight_perturbation": {"warmup": 3}},
            "method.weight_perturbation.warmup: 3 of 3 epochs are without it, so that no weight is "
            "perturbed",
        ),
        (
            {"name": "iad", "attack": ATTACK, "warmup": 4},
            "method.warmup: in 4 of 3 epochs the teacher is always trusted, so that this is ARD",
        ),
        (
            {**ADVERSARIAL, "indirect_gradient": {"ramp": 4}},
            "method.indirect_gradient.ramp: 4 epochs are more than the 3 of the training, so that "
            "the weight never is whole",
        ),
    ],
)
def test_what_would_begin_after_the_last_epoch_is_warned_of(
    method: dict[str, Any], text: str
) -> None:
    changes = {"experiment.method": method, "experiment.training.epochs": 3}
    assert list(sweep_of(changes).cautions()) == [f"experiment.{text}"]
    in_time = {**changes, "experiment.training.epochs": 5}
    assert list(sweep_of(in_time).cautions()) == []


def is_teacher(task: Task) -> bool:
    return task.role == "teacher"


@pytest.mark.parametrize(
    ("name", "module"), [("run_trials", "tune_searcher.py"), ("cluster", "cluster.py")]
)
def test_the_fake_engine_is_called_as_the_real_one_is(name: str, module: str) -> None:
    source = Path(kdray.sweep.__file__).parent / "execution" / module
    real = next(
        f
        for f in ast.parse(source.read_text()).body
        if isinstance(f, ast.FunctionDef) and f.name == name
    )
    fake = inspect.signature(getattr(Engine, name)).parameters.values()
    assert [a.arg for a in real.args.args] == [
        p.name for p in fake if p.kind == p.POSITIONAL_OR_KEYWORD
    ][1:]
    assert [a.arg for a in real.args.kwonlyargs] == [
        p.name for p in fake if p.kind == p.KEYWORD_ONLY
    ]


# What a finished sweep leaves behind.


@pytest.mark.usefixtures("engine")
def test_a_run_looks_for_garbage_seldom_whoever_calls_it(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = gc.get_threshold(), []

    def sources(*_: object) -> Iterator[None]:
        during.append(gc.get_threshold())
        yield from ()

    monkeypatch.setattr("kdray.sweep.run._sources", sources)
    go(results)
    assert during == [(OBJECTS, *before[1:])]
    assert gc.get_threshold() == before


def test_every_trial_has_its_row_and_every_epoch_too(finished: Path) -> None:
    found = Results(finished)
    assert found.trials()["status"].tolist() == ["completed"] * 6
    assert sorted(found.trials()["role"]) == ["student"] * 4 + ["teacher"] * 2
    assert found.epochs().groupby("trial_id").size().tolist() == [2] * 6


def test_the_chosen_teacher_is_measured_and_the_other_candidate_is_not(finished: Path) -> None:
    teachers, students = trials(finished, "teacher"), trials(finished, "student")
    best = teachers.sort_values(["val_accuracy", "seed"], ascending=[False, True])["trial_id"].iloc[
        0
    ]
    assert set(students["teacher_id"]) == {best}
    numbers = Results(finished).robustness()
    assert set(numbers["trial_id"]) == {best, *students["trial_id"]}
    assert set(numbers.loc[numbers["trial_id"] == best, "label"]) == {"clean", "pgd1"}


def test_members_say_who_took_which_part(finished: Path) -> None:
    table = members(finished)
    assert table["role"].tolist() == ["teacher"] * 2 + ["student"] * 4
    assert set(table["outcome"]) == {"completed"}
    students = table[table["role"] == "student"]
    assert students["order"].tolist() == [0, 1, 2, 3]
    assert students["point"].tolist() == [0, 0, 1, 1]
    assert [json.loads(text) for text in students["swept"]] == [
        {"noise.input.sigma": s} for s in (0, 0, 0.2, 0.2)
    ]
    assert set(students["teacher_selection"]) == {"best_validation"}
    teachers = trials(finished, "teacher").sort_values("seed")
    expected = [
        {"trial_id": row.trial_id, "seed": row.seed, "val_accuracy": row.val_accuracy}
        for row in teachers.itertuples()
    ]
    assert [json.loads(text) for text in students["teacher_candidates"]] == [expected] * 4


def test_teachers_are_in_order(finished: Path) -> None:
    assert members(finished)["order"].tolist()[:2] == [0, 1]


def test_the_study_and_the_points_table_say_the_same(finished: Path) -> None:
    table = points(Results(finished), "tiny")
    told = study(finished).trials
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 2
    assert [trial.params["noise.input.sigma"] for trial in told] == table[
        "noise.input.sigma"
    ].tolist()
    assert [trial.value for trial in told] == table["val_accuracy", "mean"].tolist()
    for name in ("pgd1.accuracy", "clean.accuracy"):
        assert [trial.user_attrs[name] for trial in told] == pytest.approx(
            table[name, "mean"].tolist()
        )
    assert table["n"].tolist() == [2, 2]


# What is there is not done again.


def test_a_second_run_does_nothing(engine: Engine, finished: Path) -> None:
    before = files(finished)
    summary = go(finished)
    assert engine.grants == [], "the engine was not even started"
    assert (summary.ran, len(summary.there), summary.failures, summary.exit_status) == (
        set(),
        6,
        {},
        0,
    )
    assert files(finished) == before
    assert len(study(finished).trials) == 2


def test_an_added_value_trains_its_point_only(engine: Engine, finished: Path) -> None:
    summary = go(finished, MORE_SIGMA)
    assert (len(summary.ran), len(summary.there)) == (2, 6)
    assert {
        a.task.experiment.noise.input.sigma for a in engine.ran if a.task.experiment.noise.input
    } == {0.4}
    assert points(Results(finished), "tiny")["noise.input.sigma"].tolist() == [0, 0.2, 0.4]


def test_an_added_seed_trains_its_trials_only(engine: Engine, finished: Path) -> None:
    go(finished, {"seeds": 3})
    assert [a.task.experiment.seed for a in engine.ran] == [2, 2]
    table = points(Results(finished), "tiny")
    assert table["n"].tolist() == [3, 3]
    assert [trial.value for trial in study(finished).trials] == pytest.approx(
        table["val_accuracy", "mean"].tolist()
    )


def test_an_added_evaluation_trains_nothing(engine: Engine, finished: Path) -> None:
    before = tables(finished)
    summary = go(finished, MORE_EVALUATIONS)
    assert engine.trained == []
    assert [labels for _, labels in engine.measured] == [["noise"]] * 5, (
        "four students and the chosen teacher"
    )
    assert (len(summary.ran), summary.exit_status) == (5, 0)
    after = tables(finished)
    pd.testing.assert_frame_equal(before["trials"], after["trials"])
    old = after["robustness"][after["robustness"]["label"] != "noise"].reset_index(drop=True)
    pd.testing.assert_frame_equal(before["robustness"], old, check_dtype=False)


def test_a_value_that_is_taken_away_leaves_its_trials_and_no_point(
    engine: Engine, finished: Path
) -> None:
    go(finished, {SIGMA: {"grid": [0.2]}})
    assert engine.ran == []
    assert members(finished)["outcome"].value_counts().to_dict() == {
        "completed": 4,
        "not needed": 2,
    }
    assert points(Results(finished), "tiny")["noise.input.sigma"].tolist() == [0.2]
    assert len(Results(finished).trials()) == 6
    go(finished)
    assert engine.ran == []
    assert set(members(finished)["outcome"]) == {"completed"}


def asked_for(results: Path) -> pd.DataFrame:
    """The students that the tiny sweep asks for now, as members."""
    return members(results).query("role == 'student' and outcome != 'not needed'")


def teacher_of(results: Path) -> str:
    """The teacher of those students."""
    students = trials(results, "student").set_index("trial_id")
    (chosen,) = set(students.loc[asked_for(results)["trial_id"], "teacher_id"])
    return str(chosen)


def test_more_candidates_are_trained_and_the_best_of_all_teaches(
    engine: Engine, finished: Path
) -> None:
    go(finished, {"experiment.teacher.seeds": 5})
    teachers = trials(finished, "teacher").sort_values(
        ["val_accuracy", "seed"], ascending=[False, True]
    )
    assert teacher_of(finished) == teachers["trial_id"].iloc[0]
    assert sorted(teachers["seed"]) == [0, 1, 2, 3, 4]
    assert [
        a.task.experiment.seed for a in engine.ran if a.task.role == "teacher" and a.task.train
    ] == [2, 3, 4]


def test_more_candidates_are_recorded_also_where_the_choice_stays(
    engine: Engine,
    finished: Path,  # noqa: ARG001, RUF100
) -> None:
    for seeds in range(3, 8):
        before = teacher_of(finished)
        go(finished, {"experiment.teacher.seeds": seeds})
        if teacher_of(finished) == before:
            break
    else:
        pytest.skip("here every teacher is better than the ones before")
    for text in asked_for(finished)["teacher_candidates"]:
        assert len(json.loads(text)) == seeds


def test_trials_that_were_deleted_come_back_with_the_same_bits(
    engine: Engine, finished: Path
) -> None:
    engine.width = 3
    before = tables(finished)
    gone = [
        trials(finished, "teacher")["trial_id"].iloc[0],
        *trials(finished, "student")["trial_id"].iloc[::2],
    ]
    for trial_id in gone:
        for path in finished.rglob(f"*{trial_id}*"):
            path.unlink()
    go(finished)
    assert sorted(engine.trained) == sorted(gone)
    assert_same_bits(before, tables(finished))


def test_what_runs_at_once_makes_no_difference(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    engine.width = 4
    other = tmp_path / "other"
    go(other)
    assert_same_bits(tables(finished), tables(other))
    pd.testing.assert_frame_equal(
        members(finished).drop(columns="order"), members(other).drop(columns="order")
    )


@pytest.mark.parametrize(("after", "width"), [(1, 2), (5, 1), (5, 2)])
def test_an_interrupted_sweep_goes_on_where_it_was(
    engine: Engine, finished: Path, tmp_path: Path, after: int, width: int
) -> None:
    other = tmp_path / "other"
    engine.width, engine.interrupt_after = width, after
    with pytest.raises(KeyboardInterrupt):
        go(other)
    engine.interrupt_after, done = None, len(Results(other).trials())
    engine.ran.clear()
    assert go(other).exit_status == 0
    assert len(engine.trained) == 6 - done
    assert_same_bits(tables(finished), tables(other))
    assert set(members(other)["outcome"]) == {"completed"}


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_lost_weights_of_teachers_are_trained_again_because_students_may_need_them(
    engine: Engine, finished: Path, how: str
) -> None:
    teachers = trials(finished, "teacher").sort_values("seed")["trial_id"].tolist()
    for trial_id in teachers:
        path = finished / "weights" / f"{trial_id}.safetensors"
        path.unlink() if how == "gone" else path.write_bytes(path.read_bytes()[:-1])
    before, said = tables(finished), io.StringIO()
    assert go(finished, said=said).exit_status == 0
    assert engine.trained == teachers
    assert said.getvalue().count("is damaged") == (0 if how == "gone" else 2)
    assert_same_bits(before, tables(finished))


# Sweeps share trials.


def test_a_trial_of_two_sweeps_is_trained_once_and_a_member_of_both(
    engine: Engine, finished: Path
) -> None:
    summary = go(finished, {"name": "other", SIGMA: {"grid": [0.2, 0.3]}})
    assert len(summary.ran) == 2, "0.3 is new"
    table = members(finished, "other")
    assert table["outcome"].tolist() == ["completed"] * 6
    shared = table[table["role"] == "student"].query("point == 0")
    assert [json.loads(text) for text in shared["swept"]] == [{"noise.input.sigma": 0.2}] * 2
    assert set(shared["trial_id"]) == set(
        members(finished).query("role == 'student' and point == 1")["trial_id"]
    )
    assert len(members(finished)) == 6
    assert len(engine.ran) == 2


def test_a_teacher_of_one_sweep_may_be_the_student_of_another(
    engine: Engine, finished: Path
) -> None:
    summary = go(
        finished, ALONE, {"name": "alone", "experiment.model.hidden": [16], "experiment.noise": {}}
    )
    assert engine.trained == []
    assert summary.ran == {*trials(finished, "teacher")["trial_id"]} - set(
        trials(finished, "student")["teacher_id"]
    ), "the candidate that was not chosen is measured now"
    assert members(finished, "alone")["role"].tolist() == ["student"] * 2


def test_a_sweep_whose_other_run_is_alive_is_refused(engine: Engine, finished: Path) -> None:
    with only_driver(Store(finished), "tiny"), pytest.raises(InputError, match="is being run in"):
        go(finished)
    assert engine.ran == []


# Teachers.


def test_teachers_of_teachers_are_trained_first(engine: Engine, results: Path) -> None:
    engine.width = 4
    grand = {"model": {"name": "mlp", "hidden": [32]}}
    summary = go(
        results,
        {
            "experiment.teacher.teacher": grand,
            "experiment.teacher.method": {"name": "kd"},
            "seeds": 1,
        },
    )
    assert summary.exit_status == 0
    depths = [
        0 if t.teacher is None else 1 if t.teacher.teacher is None else 2
        for t in (a.task.experiment for a in engine.ran)
    ]
    assert depths == sorted(depths)
    trained = Results(results).trials()
    assert len(trained) == 1 + 2 + 2
    assert set(trained["status"]) == {"completed"}


def test_a_teacher_that_also_teaches_another_teacher_is_trained_before_it(
    engine: Engine, results: Path
) -> None:
    grand = {"model": {"name": "mlp", "hidden": [32]}}
    cases = [
        {"name": "three", "set": {"teacher.teacher": grand, "teacher.method": {"name": "kd"}}},
        {"name": "two", "set": {"teacher.model": grand["model"]}},
    ]
    assert go(results, {"cases": cases, "seeds": 1, "experiment.teacher.seeds": 1}).failures == {}
    assert len(engine.trained) == 2 + 4


def test_select_each_gives_every_student_the_teacher_of_its_seed(
    engine: Engine, results: Path
) -> None:
    go(results, {"experiment.teacher.select": "each"})
    table = Results(results).trials().set_index("trial_id")
    students = table[table["role"] == "student"]
    assert students["seed"].tolist() == table.loc[students["teacher_id"], "seed"].tolist()
    assert len([a for a in engine.ran if is_teacher(a.task)]) == 2, "measured in the same go"
    assert set(Results(results).robustness()["trial_id"]) == set(table.index), (
        "both teach, so both are measured"
    )
    assert set(members(results)["teacher_selection"].dropna()) == {"each"}


def test_select_best_test_gives_every_student_the_best_teacher_on_the_test_split_and_says_so(
    engine: Engine, results: Path
) -> None:
    by_test = {
        f"experiment.teacher.{key}": value
        for key, value in (("select", "best_test"), ("seeds", 4), ("model.hidden", [8]))
    }
    assert go(results, by_test).exit_status == 0
    teachers = trials(results, "teacher").sort_values("seed")
    best, by_validation = (
        teachers.loc[teachers[f"{split}_accuracy"].idxmax()] for split in ("test", "val")
    )
    assert best["trial_id"] != by_validation["trial_id"], (
        "choose teachers of which the two splits prefer another"
    )
    assert set(trials(results, "student")["teacher_id"]) == {best["trial_id"]}
    students = members(results).query("role == 'student'")
    assert set(students["teacher_selection"]) == {"best_test"}
    expected = [
        {"trial_id": row.trial_id, "seed": row.seed, "test_accuracy": row.test_accuracy}
        for row in teachers.itertuples()
    ]
    assert [json.loads(text) for text in students["teacher_candidates"]] == [expected] * 4
    measured = Results(results).robustness()["trial_id"]
    assert set(measured) == {best["trial_id"], *students["trial_id"]}, (
        "the chosen teacher is measured, and no other"
    )
    engine.ran.clear()
    assert go(results, by_test).exit_status == 0
    assert engine.ran == []


def test_a_comparison_with_the_teacher_is_made_of_students_and_not_of_teachers(
    engine: Engine, results: Path
) -> None:
    bound = {"evaluate.suite": [{"name": "prediction_bound", "points": 1, "examples": 20}]}
    assert go(results, bound).exit_status == 0
    assert set(Results(results).robustness()["trial_id"]) == set(
        trials(results, "student")["trial_id"]
    )
    engine.ran.clear()
    assert go(results, bound).exit_status == 0
    assert engine.ran == []


CASES = {"cases": [{"name": "bad", "set": {"teacher.training": DIVERGES}}, {"name": "good"}]}


def test_where_a_teacher_failed_its_students_fail_with_the_reason_and_the_rest_goes_on(
    engine: Engine, results: Path
) -> None:
    summary = go(results, CASES)
    assert summary.exit_status == 1
    bad = sweep_of(CASES).candidates(next(sweep_of(CASES).grid()))
    once = f"every student of teacher {bad[0].trial_id}, whichever its seed"
    assert list(summary.failures) == [*(teacher.trial_id for teacher in bad), once]
    reason = str(summary.failures[once])
    assert reason.startswith(f"its teachers failed, all 2; {bad[0].trial_id}: Diverged: ")
    assert points(Results(results), "tiny")["case"].tolist() == ["good", "good"]
    told = study(results).trials
    assert [trial.state.name for trial in told] == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert told[0].user_attrs["problem"] == reason
    # The next run says the same and tries nothing again; unless it is asked to.
    engine.ran.clear()
    assert go(results, CASES).failures == summary.failures
    assert engine.ran == []
    assert go(results, CASES, retry_failed=True).failures == summary.failures
    assert sorted(engine.trained) == sorted(teacher.trial_id for teacher in bad)


SOME_DIVERGE = {
    "experiment.data.examples": 400,
    "experiment.teacher": {
        "seeds": 4,
        "model": {"name": "mlp", "hidden": []},
        "training": {
            "epochs": 2,
            "batch_size": 16,
            "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 1e36},
        },
    },
}
"""Some seeds of the teacher diverge, as those of an unstable training do."""


def test_students_learn_from_the_best_teacher_that_completed(engine: Engine, results: Path) -> None:
    said = io.StringIO()
    summary = go(results, SOME_DIVERGE, said=said)
    teachers = trials(results, "teacher").sort_values("seed")
    completed = teachers[teachers["status"] == "completed"]
    assert 0 < len(completed) < 4
    assert set(summary.failures) == set(teachers["trial_id"]) - set(completed["trial_id"])
    students = trials(results, "student")
    assert set(students["status"]) == {"completed"}
    best = completed.sort_values("val_accuracy", ascending=False, kind="stable").iloc[0]
    assert set(students["teacher_id"]) == {best["trial_id"]}
    chosen = f"teachers: {best['trial_id']} (seed {best['seed']}) was chosen among the "
    assert f"{chosen}{len(completed)} of 4 candidates that completed\n" in said.getvalue()
    for text in members(results).query("role == 'student'")["teacher_candidates"]:
        known = {each["seed"]: each["val_accuracy"] for each in json.loads(text)}
        assert {seed for seed, accuracy in known.items() if accuracy is not None} == set(
            completed["seed"]
        )
    engine.ran.clear()
    assert go(results, SOME_DIVERGE).failures == summary.failures
    assert engine.ran == []
    left = plan(sweep_of(SOME_DIVERGE), results, cpus=2).students
    assert (left.there, left.total) == (4, 4)


def test_students_wait_while_a_teacher_is_to_be_tried_again(engine: Engine, results: Path) -> None:
    engine.dies = lambda task: is_teacher(task) and task.experiment.seed == 1
    summary = go(results)
    assert trials(results, "student").empty
    assert [str(r) for n, r in summary.failures.items() if n.startswith("every student")] == [
        f"its teacher {next(sweep_of().teachers()).model_copy(update={'seed': 1}).trial_id} "
        f"failed: {DIED}"
    ]
    assert plan(sweep_of(), results, cpus=2).students.pending == 4
    engine.dies = lambda task: False
    assert go(results).failures == {}


def test_of_teachers_that_all_failed_no_student_is_pending(engine: Engine, results: Path) -> None:
    go(results, CASES)
    left = plan(sweep_of(CASES), results, cpus=2).students
    assert (left.pending, left.there) == (0, 8)
    assert plan(sweep_of(CASES), results, cpus=2, retry_failed=True).students.pending == 4
    assert engine.trained


def test_a_failed_point_is_told_once(engine: Engine, results: Path) -> None:
    diverging = {
        "experiment.training": DIVERGES,
        "experiment.teacher.training": {**DIVERGES, "optimizer": {"name": "sgd"}},
    }
    for _ in range(2):
        go(results, diverging)
    assert [trial.state.name for trial in study(results).trials] == ["FAIL"] * 2


def failing_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("cannot be measured")

    monkeypatch.setattr("kdray.robustness.pgd.PGD.measure", refuse)


def test_an_evaluation_that_fails_is_a_failure_in_every_run_until_it_is_retried(
    engine: Engine, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {
        "evaluate.roles": ["student"],
        "evaluate.suite": [*TINY["evaluate"]["suite"], {"name": "pgd", "steps": 2}],
    }
    with monkeypatch.context() as patch:
        failing_evaluation(patch)
        summary = go(finished, more)
    students = set(trials(finished, "student")["trial_id"])
    assert set(summary.failures) == set(students)
    assert set(map(str, summary.failures.values())) == {"pgd: RuntimeError: cannot be measured"}
    assert set(members(finished).query("role == 'student'")["outcome"]) == {"failed"}
    assert [trial.state.name for trial in study(finished).trials] == ["FAIL"] * 2
    engine.ran.clear()
    assert go(finished, more).failures == summary.failures
    assert engine.ran == []
    assert go(finished, more, retry_failed=True).exit_status == 0
    assert set(members(finished).query("role == 'student'")["outcome"]) == {"completed"}


def test_a_teacher_that_could_not_be_measured_is_a_failure_in_every_run(
    engine: Engine, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"evaluate.roles": ["teacher"], "evaluate.suite": [{"name": "pgd", "steps": 2}]}
    with monkeypatch.context() as patch:
        failing_evaluation(patch)
        failures = go(finished, more).failures
    assert len(failures) == 1
    assert go(finished, more).failures == failures
    assert len(engine.ran) == 1


def test_a_teacher_that_could_not_be_measured_stays_a_failed_member(
    engine: Engine, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"evaluate.roles": ["teacher"], "evaluate.suite": [{"name": "pgd", "steps": 2}]}
    failing_evaluation(monkeypatch)
    for _ in range(3):
        go(finished, more)
        assert sorted(members(finished).query("role == 'teacher'")["outcome"]) == [
            "completed",
            "failed",
        ]


# Workers that die.


def test_a_worker_that_died_is_a_failure_with_a_row_and_the_same_command_tries_again(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    engine.dies = lambda task: task.role == "student" and task.experiment.seed == 1
    summary = go(other)
    assert list(summary.failures.values()) == [DIED] * 2
    rows = trials(other, "student")
    assert sorted(rows["status"]) == ["completed"] * 2 + ["failed"] * 2
    assert set(rows.loc[rows["status"] == "failed", "error"]) == {DIED.text}
    assert set(rows.loc[rows["status"] == "failed", "seed"]) == {1}
    assert members(other)["outcome"].tolist().count("failed") == 2
    assert [trial.user_attrs["problem"] for trial in study(other).trials] == [DIED.text] * 2
    engine.dies = lambda _: False
    assert go(other).exit_status == 0
    assert_same_bits(tables(finished), tables(other))
    assert set(members(other)["outcome"]) == {"completed"}
    assert [trial.state.name for trial in study(other).trials] == ["COMPLETE"] * 2


def test_a_worker_that_died_while_measuring_leaves_the_trained_trials_row(
    engine: Engine, finished: Path
) -> None:
    engine.dies = lambda task: task.role == "student" and task.experiment.seed == 0
    before = tables(finished)["trials"]
    summary = go(finished, MORE_EVALUATIONS)
    assert list(summary.failures.values()) == [DIED] * 2
    pd.testing.assert_frame_equal(before, tables(finished)["trials"])
    engine.dies = lambda _: False
    engine.ran.clear()
    assert go(finished, MORE_EVALUATIONS).exit_status == 0
    assert [labels for _, labels in engine.measured] == [["noise"]] * 2


def test_what_was_measured_before_a_worker_died_is_neither_measured_again_nor_lost(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    other, calls = tmp_path / "other", Counter[str]()

    def in_the_second_evaluation(task: Task) -> bool:
        """After two epochs, the training's end and the first evaluation; then at once."""
        trial_id = task.experiment.trial_id
        calls[trial_id] += 1
        return task.role == "student" and task.experiment.seed == 0 and calls[trial_id] > 4

    engine.dies = in_the_second_evaluation
    summary = go(other)
    assert list(summary.failures.values()) == [DIED] * 2
    again = [
        [label_of(one) for one in job.task.evaluations]
        for job in engine.ran
        if job.trial_id in summary.failures
    ]
    assert again == [["pgd1", "clean"], ["clean"], ["clean"]] * 2
    rows = Results(other).robustness()
    assert set(rows.loc[rows["error"].notna(), "label"]) == {"clean"}
    assert set(rows.loc[rows["error"].notna(), "error"]) == {DIED.text}
    assert set(trials(other, "student")["status"]) == {"completed"}
    engine.dies = lambda _: False
    engine.ran.clear()
    assert go(other).exit_status == 0
    assert [labels for _, labels in engine.measured] == [["clean"]] * 2
    assert engine.trained == []
    assert_same_bits(tables(finished), tables(other))


def test_a_teacher_whose_worker_died_while_measuring_still_teaches(
    engine: Engine, finished: Path
) -> None:
    engine.dies = is_teacher
    summary = go(finished, MORE_EVALUATIONS, MORE_SIGMA)
    assert list(summary.failures.values()) == [DIED]
    assert len(points(Results(finished), "tiny")) == 3


# Searches.


@pytest.mark.parametrize("search", [RANDOM, TPE], ids=["random", "tpe"])
def test_a_search_reaches_its_number_of_points_and_then_nothing_is_left(
    engine: Engine, results: Path, search: dict[str, Any]
) -> None:
    engine.width = 2
    assert go(results, search).exit_status == 0
    assert len(engine.trained) == 2 + 3 * 2
    told = study(results).trials
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 3
    table = points(Results(results), "tiny").set_index("point")
    for trial in told:
        assert (
            trial.params["noise.input.sigma"] == table.loc[trial.number, ("noise.input.sigma", "")]
        )
        assert trial.value == pytest.approx(table.loc[trial.number, ("val_accuracy", "mean")])
    before = files(results)
    engine.grants.clear()
    assert (len(go(results, search).there), engine.grants) == (8, [])
    assert files(results) == before


def test_a_search_goes_on_with_more_points_seeds_and_evaluations(
    engine: Engine, results: Path
) -> None:
    go(results, RANDOM)
    first = points(Results(results), "tiny")["noise.input.sigma"].tolist()
    engine.ran.clear()
    go(results, RANDOM, {"search.points": 4})
    assert len(engine.trained) == 2
    assert points(Results(results), "tiny")["noise.input.sigma"].tolist()[:3] == first
    engine.ran.clear()
    go(results, RANDOM, {"search.points": 4, "seeds": 3})
    assert [a.task.experiment.seed for a in engine.ran] == [2] * 4
    engine.ran.clear()
    go(results, RANDOM, {"search.points": 4, "seeds": 3}, MORE_EVALUATIONS)
    assert engine.trained == []
    assert len(engine.measured) == 1 + 4 * 3
    table = points(Results(results), "tiny")
    assert table["n"].tolist() == [3] * 4
    told = {trial.params["noise.input.sigma"]: trial.value for trial in study(results).trials}
    assert told == pytest.approx(
        dict(zip(table["noise.input.sigma"], table["val_accuracy", "mean"], strict=True))
    )


def test_a_search_that_was_killed_takes_up_the_points_that_were_under_way(
    engine: Engine, results: Path
) -> None:
    go(results.with_name("undisturbed"), RANDOM)
    engine.width, engine.interrupt_after = 2, engine.ended + 6
    with pytest.raises(KeyboardInterrupt):
        go(results, RANDOM)
    engine.interrupt_after = None
    assert go(results, RANDOM).exit_status == 0
    assert_same_bits(tables(results.with_name("undisturbed")), tables(results))
    assert [trial.state.name for trial in study(results).trials] == ["COMPLETE"] * 3


def test_a_point_of_a_search_whose_worker_died_is_tried_again_by_the_same_command(
    engine: Engine, results: Path
) -> None:
    engine.dies = lambda task: task.role == "student" and task.experiment.seed == 1
    assert len(go(results, RANDOM).failures) == 3
    engine.dies = lambda _: False
    assert go(results, RANDOM).exit_status == 0
    assert len(points(Results(results), "tiny")) == 3
    assert points(Results(results), "tiny")["n"].tolist() == [2] * 3


def test_a_search_says_again_which_of_its_points_diverged_and_tries_none_again(
    engine: Engine, results: Path
) -> None:
    search = {
        **RANDOM,
        "experiment.training.optimizer": {"name": "sgd", "learning_rate": {"choice": [0.1, 1e30]}},
    }
    steady = {
        "experiment.teacher.training.optimizer": {"name": "sgd"},
        "search.points": 4,
        "seeds": 1,
    }
    failures = go(results, search, steady).failures
    assert 0 < len(failures) < 4
    engine.ran.clear()
    assert go(results, search, steady).failures == failures
    assert engine.ran == []


def test_a_lost_study_is_made_again_from_what_the_tables_hold(
    engine: Engine, results: Path
) -> None:
    go(results, RANDOM)
    before = [(trial.params, trial.value) for trial in study(results).trials]
    (results / "studies" / "tiny.db").unlink()
    engine.ran.clear()
    go(results, RANDOM)
    assert engine.ran == []
    assert [(trial.params, trial.value) for trial in study(results).trials] == before


# Points that are the same trials.


def test_equal_points_are_one_trial(engine: Engine, finished: Path) -> None:
    summary = go(finished, {"cases": [{"name": "a"}, {"name": "b"}]})
    assert engine.ran == []
    assert len(summary.there) == 2 + 4
    table = points(Results(finished), "tiny")
    assert table["case"].tolist() == ["a", "a", "b", "b"]
    assert table["val_accuracy", "mean"].tolist()[:2] == table["val_accuracy", "mean"].tolist()[2:]


@pytest.mark.parametrize("dies", [False, True])
def test_equal_points_that_come_at_once_are_one_trial_too(
    engine: Engine, results: Path, dies: bool
) -> None:
    engine.width, engine.dies = 4, lambda _: dies
    summary = go(results, ALONE, {"cases": [{"name": "a"}, {"name": "b"}], SIGMA: 0.1})
    assert len(engine.trained) == 2 * (1 + (MAX_DEATHS if dies else 0))
    assert len(set(engine.trained)) == 2
    assert len(summary.failures) == (2 if dies else 0)
    table = members(results)
    assert table["case"].tolist() == ["a", "a", "b", "b"]
    assert table["outcome"].tolist() == ["failed" if dies else "completed"] * 4
    assert [trial.state.name for trial in study(results).trials] == [
        "FAIL" if dies else "COMPLETE"
    ] * 2


# What it asks for and says.


def test_each_role_gets_its_own_resources(engine: Engine, results: Path) -> None:
    go(results, {"resources": {"teacher": {"cpu": 2}, "student": {"cpu": 0.5}}, "seeds": 1}, cpus=2)
    assert [grant.cpu for grant in engine.grants] == [2] * 3 + [0.5] * 2, (
        "the chosen teacher is measured as a teacher"
    )
    assert engine.widths == [1, 4]
    assert engine.calls == 1, "the same workers go on from phase to phase"


@pytest.fixture
def _one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("run", "execution.runner", "plan"):
        monkeypatch.setattr(
            f"kdray.sweep.{module}.this_machine", lambda *_: Node("one with a GPU", 8, 1)
        )


@pytest.mark.usefixtures("_one_gpu")
def test_a_share_of_a_gpu_is_measured_once_a_role_and_given_to_every_trial(
    engine: Engine, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, set[str]]] = []

    def measured(request: Request, role: str, candidates: list[Task], _: Path) -> MeasuredShare:
        assert request.gpu == "auto"
        asked.append((role, {task.role for task in candidates}))
        return MeasuredShare(0.25, 700 * 2**20, 0.3, f"{role} takes a quarter")

    monkeypatch.setattr("kdray.sweep.execution.probe.measured", measured)
    said = io.StringIO()
    best = {"points": 1, "suite": [{"label": "dear", "name": "clean", "examples": 9}]}
    go(results, {"resources": {"student": {"gpu": "auto"}}, "evaluate.best": best}, said=said)
    assert asked == [("student", {"student"})]
    assert {a.task.role: a.grant.gpu for a in engine.ran if "dear" not in str(a.task)} == {
        "teacher": 0,
        "student": 0.25,
    }
    contexts = {a.task.role: a.grant.context for a in engine.ran if "dear" not in str(a.task)}
    assert contexts == {"teacher": CONTEXT, "student": 700 * 2**20}
    assert {a.grant.busy for a in engine.ran if a.task.role == "student"} == {0.3}
    assert engine.widths == [8, 4]
    assert engine.calls == 2, "all workers are gone while a GPU is measured"
    assert "student takes a quarter\nstudents: 4 at once, limited by GPU" in said.getvalue()


@pytest.mark.parametrize(
    ("busy", "of_auto", "of_a_whole_one"),
    [
        (
            None,
            "6 at once, limited by GPU (gpu: auto by the GPU's memory)",
            "(gpu 0.167 would do, by the memory that trials here have taken)",
        ),
        (
            0.4,
            "3 at once, limited by GPU (gpu: auto by the GPU's time)",
            "(gpu 0.333 would do, by the time that one keeps the GPU busy)",
        ),
    ],
    ids=["memory", "time"],
)
@pytest.mark.usefixtures("_one_gpu")
def test_a_plan_says_what_is_measured_later_and_where_less_would_do(
    finished: Path, busy: float | None, of_auto: str, of_a_whole_one: str
) -> None:
    auto = sweep_of({"resources": {"student": {"gpu": "auto"}}})
    assert (
        plan(auto, finished).room["student"]
        == "1 at once, limited by GPU until the hungriest trial is measured (gpu: auto)"
    )
    rows = Results(finished).table("trials").to_pandas()
    for _, row in rows.iterrows():
        kept = {
            name: value
            for name, value in row.items()
            if name != "written_at" and not pd.isna(value)
        }
        on_gpu = {**kept, "device_memory": 80 * 2**30, "peak_memory": 10 * 2**30}
        on_gpu["gpu_busy"] = busy
        write_rows(Store(finished), "trials", row["trial_id"], [on_gpu], configuration_columns())
    assert plan(auto, finished).room["student"] == of_auto, "as those that were measured"
    whole = sweep_of({"resources": {"student": {"gpu": 1}}})
    assert plan(whole, finished).room["student"].endswith(of_a_whole_one)


@pytest.mark.usefixtures("_one_gpu")
def test_a_plan_says_what_is_wrong_with_the_gpus_and_that_they_are_of_another_kind(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [Gpu("0", "GPU-1", "NVIDIA H200", 2**37, "Default", mig=False)]
    monkeypatch.setattr("kdray.sweep.plan.visible_gpus", lambda: seen)
    monkeypatch.setenv(UNSET_BY_RAY, "1")
    found = plan(sweep_of({"resources": {"student": {"gpu": 1}}}), finished)
    assert any(text.startswith(f"{UNSET_BY_RAY} is set") for text in found.cautions)
    assert (
        "trials that are there ran on cpu, others would on NVIDIA H200: equal seeds are paired on "
        "one kind of device only"
    ) in found.notes
    without = plan(sweep_of({}), finished)
    assert not any(UNSET_BY_RAY in text for text in without.cautions)
    assert not any("equal seeds" in text for text in without.notes)


def test_progress_says_what_was_done_and_which_point_is_best(
    engine: Engine, finished: Path
) -> None:
    engine.width = 2
    said = io.StringIO()
    go(finished, MORE_SIGMA, said=said)
    begun, line = said.getvalue().splitlines()
    assert begun.startswith("students: ")
    assert "at once, limited by CPU" in begun
    assert line.startswith("students: 2 done, ")
    assert "| best val_accuracy 0." in line


def test_the_students_that_are_there_are_counted_once(engine: Engine, finished: Path) -> None:
    said = io.StringIO()
    go(finished, {SIGMA: {"grid": [0.4, 0, 0.2]}}, said=said)
    assert said.getvalue().splitlines()[1].startswith("students: 2 done, 4 there already")


def test_the_best_point_may_be_one_that_was_there(engine: Engine, finished: Path) -> None:
    said = io.StringIO()
    go(finished, {SIGMA: {"grid": [0, 0.2, 3]}}, said=said)
    assert "sigma=3)" not in said.getvalue()


def test_an_objective_that_is_lowered_has_the_lowest_point_as_its_best(
    engine: Engine,
    results: Path,  # noqa: ARG001, RUF100
) -> None:
    said = io.StringIO()
    go(results, {"objective": {"metric": "clean.loss", "mode": "min"}}, said=said)
    best = study(results).best_trial
    assert best.value == min(trial.value for trial in study(results).trials if trial.value)
    sigma = best.params["noise.input.sigma"]
    assert f"best clean.loss {best.value:.4f} (sigma={sigma:g})" in said.getvalue()


def test_damaged_weights_are_trained_again_with_a_warning(engine: Engine, finished: Path) -> None:
    before = tables(finished)
    student = trials(finished, "student")["trial_id"].iloc[0]
    (finished / "weights" / f"{student}.safetensors").write_bytes(b"not weights")
    for path in (finished / "robustness").glob(f"{student}*"):
        path.unlink()
    said = io.StringIO()
    assert go(finished, said=said).exit_status == 0
    assert f"warning: {finished}/weights/{student}.safetensors is damaged" in said.getvalue()
    assert engine.trained == []
    assert_same_bits(before, tables(finished))


def test_a_teacher_whose_own_teacher_failed_is_not_tried(engine: Engine, results: Path) -> None:
    above = {
        "model": {"name": "mlp", "hidden": [32]},
        "training": {
            "epochs": 2,
            "batch_size": 10,
            "optimizer": {"name": "sgd", "learning_rate": 1e30},
        },
    }
    chain = {"experiment.teacher.teacher": above, "experiment.teacher.method": {"name": "kd"}}
    summary = go(results, chain)
    assert engine.trained == [next(iter(engine.ran)).trial_id]
    assert sum("its teacher" in str(reason) for reason in summary.failures.values()) >= 2
    rows = members(results)
    assert set(rows["outcome"]) == {"failed"}
    assert rows["error"].str.contains("its teacher|Diverged").all()
    engine.ran.clear()
    assert go(results, chain).failures == summary.failures
    assert engine.ran == []
    assert set(members(results)["outcome"]) == {"failed"}, "a second run takes nothing back"


def test_a_lost_study_asks_for_the_same_points_again(engine: Engine, results: Path) -> None:
    search = {
        "search": {"sampler": "tpe", "points": 4, "startup": 2},
        "experiment.noise.input.sigma": {"uniform": [0, 0.5]},
    }
    assert go(results, search).exit_status == 0
    (results / "studies" / "tiny.db").unlink()
    engine.ran.clear()
    assert go(results, search).exit_status == 0
    assert engine.ran == []
