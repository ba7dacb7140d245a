"""Two results folders merge by copying one into the other: what either had is there, and the same
command does the rest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdray.cli import main
from kdray.results import Results, Store
from tests.sweep.fakes import ALONE, assert_same_bits, go, instead_of_ray, tables

SIGMA = "experiment.noise.input.sigma"
FIRST, SECOND = {SIGMA: {"grid": [0]}}, {SIGMA: {"grid": [0.2]}}
"""Halves of the tiny sweep, under its name and with its teachers."""
SEARCH: dict[str, Any] = {
    **ALONE,
    SIGMA: {"uniform": [0, 1]},
    "search": {"sampler": "random", "points": 3},
}
Made = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes a results folder by runs of the tiny sweep, each with its changes; not to be changed,
    and made once."""
    known: dict[str, Path] = {}

    def make(*runs: dict[str, Any]) -> Path:
        if repr(runs) not in known:
            known[repr(runs)] = folder = tmp_path_factory.mktemp("made") / "results"
            for changes in runs:
                with instead_of_ray():
                    assert go(folder, changes).exit_status == 0
        return known[repr(runs)]

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "merged"


def copy(source: Path, into: Path) -> None:
    """As ``cp -r source/. into``."""
    shutil.copytree(source, into, dirs_exist_ok=True)


def run(results: Path, *changes: dict[str, Any]) -> list[str]:
    """The trials that the same command has run."""
    with instead_of_ray() as engine:
        summary = go(results, *changes)
    assert summary.exit_status == 0
    assert summary.ran == {assignment.trial_id for assignment in engine.ran}
    return sorted(summary.ran)


def members(results: Path, sweep: str = "tiny") -> pd.DataFrame:
    """What the sweep asks for and what became of it."""
    table = Results(results).members()
    table = table[(table["sweep"] == sweep) & (table["outcome"] != "not needed")]
    return table.sort_values(["role", "point", "trial_id"]).reset_index(drop=True)


def assert_as_undisturbed(results: Path, whole: Path) -> None:
    assert_same_bits(tables(whole), tables(results))
    pd.testing.assert_frame_equal(members(whole), members(results), check_exact=True)


def contents(results: Path) -> dict[str, bytes]:
    """Every file of the tables and the weights."""
    found = [*results.rglob("*.parquet"), *results.rglob("*.safetensors")]
    return {str(path.relative_to(results)): path.read_bytes() for path in found}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one way", "other way"])
def test_two_halves_of_a_sweep_make_the_whole(
    made: Made, folder: Path, order: tuple[int, int]
) -> None:
    halves = made(FIRST), made(SECOND)
    for half in order:
        copy(halves[half], folder)
    assert run(folder) == []
    assert_as_undisturbed(folder, made({}))
    assert run(folder) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["one way", "other way"])
def test_only_what_neither_had_is_done(made: Made, folder: Path, order: tuple[int, int]) -> None:
    more = {SIGMA: {"grid": [0, 0.2, 0.4]}}
    parts = made(FIRST), made({**SECOND, "evaluate.suite": []})
    for part in order:
        copy(parts[part], folder)
    students = Results(made(more)).trials().query("role == 'student'")
    lacking = students[students["noise.input.sigma"] != 0]["trial_id"]
    assert run(folder, more) == sorted(lacking), "those of 0.2 are measured, those of 0.4 trained"
    assert_as_undisturbed(folder, made(more))


def test_rows_that_the_driver_wrote_are_no_obstacle(made: Made, folder: Path) -> None:
    for source in (made({}, FIRST), made(SECOND, {}, SECOND, {})):
        assert list((source / "members").glob("tiny-driver-*")), "otherwise this says nothing"
        copy(source, folder)
    assert run(folder) == []
    assert_as_undisturbed(folder, made({}))


def test_copying_twice_is_copying_once(made: Made, folder: Path) -> None:
    copy(made(FIRST), folder)
    copy(made(SECOND), folder)
    assert run(folder) == []
    before = contents(folder)
    for source in (made(FIRST), made(SECOND)):
        copy(source, folder)
    assert contents(folder).keys() == before.keys()
    assert run(folder) == []
    assert_as_undisturbed(folder, made({}))


def test_the_same_trials_of_two_machines_count_once(made: Made, folder: Path) -> None:
    """Under names of their own as well, as where one of the folders was compacted."""
    copy(made({}), folder)
    for path in [*folder.rglob("*.parquet")]:
        shutil.copy(path, path.with_name(f"other {path.name}"))
    assert_as_undisturbed(folder, made({}))
    assert run(folder) == []


def test_sweeps_of_different_names_stand_beside_each_other(made: Made, folder: Path) -> None:
    other = {"name": "other", SIGMA: {"grid": [0.2, 0.5]}}
    copy(made({}), folder)
    copy(made(other), folder)
    assert run(folder) == []
    assert run(folder, other) == []
    assert sorted(path.name for path in (folder / "studies").glob("*.db")) == [
        "other.db",
        "tiny.db",
    ]
    for name, alone in (("tiny", made({})), ("other", made(other))):
        pd.testing.assert_frame_equal(members(alone, name), members(folder, name), check_exact=True)
    trials = Results(folder).trials()
    assert trials["trial_id"].is_unique
    assert set(trials["trial_id"]) == {
        *Results(made({})).trials()["trial_id"],
        *Results(made(other)).trials()["trial_id"],
    }


@pytest.mark.parametrize("points", [1, 2])
def test_the_study_of_a_shorter_search_over_that_of_a_longer_one(
    made: Made, folder: Path, points: int
) -> None:
    shorter = {**SEARCH, "search": {**SEARCH["search"], "points": points}}
    copy(made(SEARCH), folder)
    copy(made(shorter), folder)
    assert run(folder, SEARCH) == [], "every point is asked for again, and there"
    assert_as_undisturbed(folder, made(SEARCH))


def test_a_study_of_another_space_under_the_same_name(made: Made, folder: Path) -> None:
    other = {**SEARCH, SIGMA: {"uniform": [0, 0.1]}}
    copy(made(SEARCH), folder)
    copy(made(other), folder)
    assert run(folder, SEARCH) == []
    asked = members(folder)
    assert len(asked) == 6, "2 seeds of the 3 points that the file asks for, whoever had them"
    assert asked.groupby("point_id")["trial_id"].nunique().eq(2).all()
    assert Results(folder).trials()["status"].eq("completed").all()


def interrupted(folder: Path, *, checkpoints: int) -> str:
    """Results as they are when the tiny sweep is interrupted right after so many checkpoints: the
    trial of the last one."""
    written, write = [], Store.write

    def counting(store: Store, name: str, data: bytes) -> None:
        write(store, name, data)
        if name.startswith("checkpoints/"):
            written.append(Path(name).stem)
            if len(written) == checkpoints:
                raise KeyboardInterrupt

    with instead_of_ray(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write", counting)
        with pytest.raises(KeyboardInterrupt):
            go(folder)
    assert [path.stem for path in (folder / "checkpoints").iterdir()] == [written[-1]]
    return written[-1]


def with_failed_students(folder: Path) -> None:
    """The tiny sweep where the workers of all students die."""
    with instead_of_ray() as engine:
        engine.dies = lambda task: task.role == "student" and task.train
        assert len(go(folder).failures) == 4


@pytest.mark.parametrize("checkpoints", [1, 4, 5, 8])
def test_an_older_copy_over_a_newer_one_is_harmless(
    made: Made, tmp_path: Path, folder: Path, checkpoints: int
) -> None:
    interrupted(tmp_path / "old", checkpoints=checkpoints)
    copy(made({}), folder)
    copy(tmp_path / "old", folder)
    assert run(folder) == []
    assert_as_undisturbed(folder, made({}))


def test_failures_that_are_older_are_tried_again(made: Made, tmp_path: Path, folder: Path) -> None:
    """A trial has one file for its row, so a copy may bring an old failure back."""
    with_failed_students(tmp_path / "old")
    copy(made({}), folder)
    copy(tmp_path / "old", folder)
    with instead_of_ray():
        assert go(folder, retry_failed=True).exit_status == 0
    assert_as_undisturbed(folder, made({}))


def test_a_newer_copy_over_an_older_one_leaves_nothing_to_do(made: Made, tmp_path: Path) -> None:
    interrupted(old := tmp_path / "old", checkpoints=5)
    copy(made({}), old)
    assert run(old) == []
    assert_as_undisturbed(old, made({}))


@pytest.mark.parametrize("checkpoints", [3, 5])
def test_a_checkpoint_of_one_folder_is_gone_on_with_in_the_other(
    made: Made, tmp_path: Path, folder: Path, checkpoints: int
) -> None:
    """Of a teacher in the one case, of a student in the other."""
    begun = interrupted(tmp_path / "old", checkpoints=checkpoints)
    other = made({**ALONE, "name": "other"})
    copy(other, folder)
    copy(tmp_path / "old", folder)
    there = {*Results(tmp_path / "old").trials()["trial_id"], *Results(other).trials()["trial_id"]}
    ran = run(folder)
    assert begun in ran
    assert not set(ran) & there - {teacher_of(folder)}, "the teacher is measured"
    assert "training goes on after 1 of 2 epochs" in (folder / "logs" / f"{begun}.log").read_text()
    pd.testing.assert_frame_equal(members(made({})), members(folder), check_exact=True)
    assert run(folder) == []


def teacher_of(results: Path) -> str:
    (teacher,) = set(Results(results).trials()["teacher_id"].dropna())
    return str(teacher)


def test_weights_that_only_one_of_them_has_serve_both(made: Made, folder: Path) -> None:
    copy(made({}), folder)
    for path in (folder / "weights").iterdir():
        path.unlink()
    copy(made(FIRST), folder)
    assert run(
        folder, {"evaluate.suite": [{"name": "clean", "split": "test", "label": "test"}], **FIRST}
    ) == sorted(
        {teacher_of(folder), *Results(made(FIRST)).trials().query("role == 'student'")["trial_id"]}
    ), "measured with the weights that came"
    assert Results(folder).robustness()["error"].isna().all()


@pytest.mark.parametrize("names", [("FIRST", "SECOND"), ("SECOND", "FIRST")], ids="-".join)
def test_status_tells_of_both(
    made: Made, folder: Path, capsys: pytest.CaptureFixture[str], names: Sequence[str]
) -> None:
    halves = {"FIRST": FIRST, "SECOND": SECOND}
    for name in names:
        copy(made(halves[name]), folder)
    copy(made({"name": "other", **FIRST}), folder)
    assert main(["status", os.fspath(folder)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    for sweep, students in (("tiny", 4), ("other", 2)):
        assert f"{sweep}: teachers: 2 completed; students: {students} completed" in told.out


@pytest.mark.parametrize("select", ["each", "best_validation"])
def test_seeds_that_are_written_above_the_teacher_are_points_of_their_own(
    made: Made, folder: Path, select: str
) -> None:
    chain: dict[str, Any] = {
        SIGMA: 0,
        "experiment.teacher.method": {"name": "kd"},
        "experiment.teacher.teacher": {"model": {"name": "mlp", "hidden": [4]}},
        "experiment.teacher.select": select,
    }
    written = "experiment.teacher.teacher.seed"
    for seed in (0, 1):
        copy(made({**chain, written: seed}), folder)
    for results in (folder, made({**chain, written: {"grid": [0, 1]}})):
        assert Results(results).points("val_accuracy")["n"].tolist() == [2, 2]
