"""Files that cannot be written, are damaged or are gone: never a traceback, never a wrong number,
and the same command goes on.

Real trials, real files; only Ray is replaced. What a worker does with them is in
``faults/test_files.py`` as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import itertools
import json
import shutil
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from sqlalchemy import event
from sqlalchemy.engine import Engine as SqlEngine

from kdray.cli import main
from kdray.core import InputError
from kdray.data import base
from kdray.results import Results, Store
from kdray.results.schema import SCHEMA_VERSION, TableName
from kdray.trials.context import DamagedCheckpoint
from tests.sweep.fakes import TINY, Engine, assert_same_bits, go, instead_of_ray, sweep_of, tables

pytestmark = pytest.mark.faults

NO_ROOM = "OSError: [Errno 28] No space left on device"
TABLES = ("members", "trials", "epochs", "robustness")
ALONE = {
    "experiment.teacher": None,
    "experiment.method": {"name": "cross_entropy"},
    "seeds": 1,
    "experiment.noise.input.sigma": 0.1,
}
"""One trial."""


@contextlib.contextmanager
def no_room(*names: str, times: int | None = None) -> Iterator[list[str]]:
    """Files whose names begin so find no room on the disk, all of them or the first few; which
    ones."""
    refused: list[str] = []
    write = Store.write

    def writing(store: Store, name: str, data: bytes) -> None:
        if name.startswith(names) and (times is None or len(refused) < times):
            refused.append(name)
            raise OSError(errno.ENOSPC, "No space left on device", f"{store.place}/{name}")
        write(store, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write", writing)
        yield refused


def kdray(results: Path, command: str = "run", *arguments: str) -> tuple[int, str]:
    """Exit status and what is said on stderr."""
    sweep = results.parent / "tiny.yaml"
    sweep.write_text(yaml.safe_dump(TINY))
    given = {"run": [sweep, "--results", results], "status": [results]}[command]
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")  # as for a user; here they are errors
        return main([command, *map(str, given), *arguments]), said.getvalue()


def finishes(results: Path, undisturbed: Path) -> str:
    """The same command comes to the tables of an undisturbed run, and then has nothing left to do;
    what it says."""
    status, said = kdray(results)
    assert status == 0, said
    assert "Traceback" not in said
    assert_same_bits(tables(undisturbed), tables(results))
    with instead_of_ray() as engine:
        assert kdray(results)[0] == 0
        assert engine.ran == []
    asked = Results(results).members().query("outcome != 'not needed'")
    assert set(asked["outcome"]) == {"completed"}
    assert set(asked["trial_id"]) == set(Results(undisturbed).members()["trial_id"])
    return said


# A full disk.


@pytest.mark.parametrize(
    ("folder", "times"),
    [
        *((folder, 1) for folder in (*TABLES, "checkpoints", "weights")),
        ("trials", None),
        ("members", None),
    ],
)
def test_the_sweep_goes_on_when_rows_or_states_find_no_room_and_says_why(
    engine: Engine, results: Path, finished_once: Path, folder: str, times: int | None
) -> None:
    with no_room(f"{folder}/", times=times) as refused:
        status, said = kdray(results)
    assert status == 1
    assert NO_ROOM in said
    assert "Traceback" not in said
    assert "--retry-failed" not in said, "a full disk is no fault of the trial"
    assert refused
    assert len(engine.trained) >= 2, "the other teacher was trained"
    if folder == "robustness":
        assert len({a.trial_id for a in engine.ran if a.task.role == "student"}) == 4
    finishes(results, finished_once)


def test_rows_that_can_be_written_say_why_a_trial_failed(engine: Engine, results: Path) -> None:
    with no_room("weights/"):
        kdray(results)
    trials = Results(results).trials()
    assert trials["status"].tolist() == ["failed"] * 2
    for row in trials.itertuples():
        assert row.error == f"{NO_ROOM}: '{results}/weights/{row.trial_id}.safetensors'"
    members = Results(results).members()
    assert set(members["outcome"]) == {"failed"}
    assert members["error"].str.contains(NO_ROOM, regex=False).all()


def test_no_room_at_all_from_some_moment_on(
    engine: Engine,
    results: Path,
    finished_once: Path,  # noqa: ARG001, RUF100
) -> None:
    kdray(results, "run", "--set", "evaluate.suite=[]", "--set", "noise.input.sigma=0")
    with no_room(
        *(f"{folder}/" for folder in (*TABLES, "checkpoints", "weights", "logs", "locks"))
    ):
        status, said = kdray(results)
    assert status == 1
    assert NO_ROOM.removeprefix("OSError: ") in said
    assert "Traceback" not in said
    finishes(results, finished_once)


@pytest.mark.parametrize("name", ["sweeps/", "members/tiny-driver"])
def test_the_drivers_own_files_find_no_room(
    engine: Engine,
    results: Path,
    finished_once: Path,
    name: str,  # noqa: ARG001, RUF100
) -> None:
    shutil.copytree(finished_once, results)
    if name == "members/tiny-driver":
        kdray(results, "run", "--set", "noise.input.sigma=0")
    with no_room(name) as refused:
        status, said = kdray(results)
    assert status == 1
    assert refused
    assert said.splitlines()[-1].startswith("kdray: [Errno 28] No space left on device: '")
    assert said.splitlines()[-1].endswith("; what is finished is kept, the same command goes on")
    assert "Traceback" not in said
    finishes(results, finished_once)


def test_a_study_that_finds_no_room_ends_no_sweep(
    engine: Engine,
    finished: Path,
    finished_once: Path,  # noqa: ARG001, RUF100
) -> None:
    more = ["--set", "noise.input.sigma={grid: [0, 0.2, 0.4]}"]

    def small(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA max_page_count=1")

    event.listen(SqlEngine, "connect", small)
    try:
        status, said = kdray(finished, "run", *more)
    finally:
        event.remove(SqlEngine, "connect", small)
    assert status == 0
    assert said.count("studies/tiny.db, for optuna-dashboard only, cannot be written: ") == 1
    assert "Traceback" not in said
    assert kdray(finished, "run", *more)[0] == 0
    assert [trial.state.name for trial in loaded(finished / "studies" / "tiny.db").trials] == [
        "COMPLETE"
    ] * 3


def test_a_log_that_finds_no_room_harms_nothing(
    engine: Engine,
    results: Path,
    finished_once: Path,  # noqa: ARG001, RUF100
) -> None:
    (results / "logs").mkdir(parents=True)
    for trial_id in Results(finished_once).trials()["trial_id"]:
        (results / "logs" / f"{trial_id}.log").symlink_to("/dev/full")
    assert kdray(results)[0] == 0
    assert_same_bits(tables(finished_once), tables(results))


# Damaged files.


def empty(data: bytes) -> bytes:
    return b""


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def something_else(data: bytes) -> bytes:
    return b'{"a": [1]}'


def length_wrong(data: bytes) -> bytes:
    """Of a header at the front (safetensors) or a footer at the end (Parquet): far more than there
    is."""
    return b"\xff" * 8 + data[8:-8] + b"\xff\xff\xff\x7f" + data[-4:]


def flipped(share: float) -> Any:
    def flip(data: bytes) -> bytes:
        place = min(len(data) - 1, int(share * len(data)))
        return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]

    flip.__name__ = f"bit at {share:.0%}"
    return flip


HARMS = [empty, half, length_wrong, *map(flipped, (0, 0.02, 0.5, 0.95))]


def harm(path: Path, how: Any) -> None:
    path.write_bytes(how(path.read_bytes()))


@pytest.mark.parametrize(
    ("table", "how"),
    [
        *itertools.product(TABLES, [half, length_wrong]),
        *(("trials", how) for how in (empty, zeros, something_else)),
    ],
)
def test_a_damaged_part_of_a_table_is_named_and_what_it_held_made_again(
    engine: Engine, finished: Path, finished_once: Path, table: str, how: Any
) -> None:
    part = sorted((finished / table).glob("*.parquet"))[-1]
    harm(part, how)
    for command in ("status", "run"):
        status, said = kdray(finished, command)
        assert status == 0
        assert f"{part}: damaged, left out (" in said or (table, command) == ("epochs", "status"), (
            "which looks at none"
        )
        assert "Traceback" not in said
    assert len(engine.ran) == (0 if table == "members" else 1)
    assert "damaged" not in finishes(finished, finished_once)


@pytest.mark.parametrize("table", TABLES)
def test_a_part_that_holds_the_rows_of_another_trial_is_named_and_what_it_held_made_again(
    engine: Engine, finished: Path, finished_once: Path, table: str
) -> None:
    first, *_, part = sorted((finished / table).glob("*.parquet"))
    part.write_bytes(first.read_bytes())
    for command in ("status", "run"):
        status, said = kdray(finished, command)
        assert status == 0
        assert f"{part}: damaged, left out (" in said or (table, command) == ("epochs", "status")
    assert len(engine.ran) == (0 if table == "members" else 1)
    assert "damaged" not in finishes(finished, finished_once)


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_in_a_table_changes_no_number(
    finished_once: Path, tmp_path: Path, table: TableName
) -> None:
    """Wherever it is: the part is left out, or the bit stands for nothing."""
    whole = sorted((finished_once / table).glob("*.parquet"))[0].read_bytes()
    part = tmp_path / table / "part.parquet"
    part.parent.mkdir()
    part.write_bytes(whole)
    wanted = Results(tmp_path).table(table)
    assert len(wanted)
    for place in [*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1]:
        part.write_bytes(
            whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = Results(tmp_path).table(table)
        assert found.equals(wanted) or (not len(found) and len(caught) == 1), (
            f"bit {place % 8} at {place}"
        )


@pytest.mark.parametrize(
    "how", [empty, length_wrong, flipped(0.02), flipped(0.95)], ids=lambda how: how.__name__
)
def test_damaged_weights_of_a_teacher_are_named_and_trained_again(
    engine: Engine, finished: Path, finished_once: Path, how: Any
) -> None:
    (teacher,) = set(Results(finished).trials()["teacher_id"].dropna())
    for path in (finished / "trials").glob(
        "*.parquet"
    ):  # a student has to be trained again, with that teacher
        if path.stem not in set(
            Results(finished_once).trials().query("role == 'teacher'")["trial_id"]
        ):
            path.unlink()
            break
    harm(finished / "weights" / f"{teacher}.safetensors", how)
    status, said = kdray(finished)
    assert status == 0
    assert f"weights/{teacher}.safetensors is damaged (" in said
    assert engine.trained[0] == teacher
    assert "Traceback" not in said
    finishes(finished, finished_once)


@pytest.mark.parametrize("how", [half, flipped(0.95)], ids=lambda how: how.__name__)
def test_damaged_weights_of_a_student_that_is_measured_are_named_and_trained_again(
    engine: Engine, finished: Path, finished_once: Path, how: Any
) -> None:
    student = str(Results(finished).trials().query("role == 'student'")["trial_id"].iloc[0])
    for path in (finished / "robustness").glob(f"{student}-*.parquet"):
        path.unlink()
    harm(finished / "weights" / f"{student}.safetensors", how)
    status, said = kdray(finished)
    assert status == 0
    assert f"weights/{student}.safetensors is damaged (" in said
    assert [a.trial_id for a in engine.ran] == [student]
    finishes(finished, finished_once)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Results of one trial of two epochs after the first one; its checkpoint; and the finished
    ones."""
    folder = tmp_path_factory.mktemp("begun")
    with instead_of_ray():
        go(folder / "finished", ALONE)
        with no_room("weights/"):
            go(folder / "begun", ALONE)
    ((checkpoint),) = (folder / "begun" / "checkpoints").iterdir()
    return folder / "begun", checkpoint.relative_to(folder / "begun"), folder / "finished"


@pytest.mark.parametrize("how", HARMS, ids=lambda how: how.__name__)
def test_a_damaged_checkpoint_is_named_and_the_trial_begins_anew(
    engine: Engine, results: Path, begun: tuple[Path, Path, Path], how: Any
) -> None:
    source, checkpoint, undisturbed = begun
    shutil.copytree(source, results)
    harm(results / checkpoint, how)
    said = io.StringIO()
    assert go(results, ALONE, said=said).exit_status == 0
    assert f"{checkpoint} is damaged (" in said.getvalue()
    assert "starting anew" in said.getvalue()
    assert_same_bits(tables(undisturbed), tables(results))


def test_a_checkpoint_that_is_sound_is_gone_on_with(
    engine: Engine,
    results: Path,
    begun: tuple[Path, Path, Path],  # noqa: ARG001, RUF100
) -> None:
    source, checkpoint, undisturbed = begun
    shutil.copytree(source, results)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedCheckpoint)
        assert go(results, ALONE).exit_status == 0
    assert (
        "training goes on after 2 of 2 epochs"
        in (results / "logs" / f"{checkpoint.stem}.log").read_text()
    )
    assert_same_bits(tables(undisturbed), tables(results))


@pytest.mark.parametrize("how", [half, something_else], ids=lambda how: how.__name__)
@pytest.mark.parametrize(
    "search", [{}, {"search": {"sampler": "random", "points": 2}}], ids=["grid", "search"]
)
def test_a_damaged_study_is_written_anew(
    engine: Engine, results: Path, how: Any, search: dict[str, Any]
) -> None:
    changes = {**ALONE, "experiment.noise.input.sigma": {"choice": [0, 0.1, 0.2, 0.3]}, **search}
    assert go(results, changes).exit_status == 0
    ran, before = len(engine.ran), tables(results)
    study = results / "studies" / "tiny.db"
    told = [(trial.params, trial.values) for trial in loaded(study).trials]
    harm(study, how)
    assert go(results, changes).exit_status == 0
    assert len(engine.ran) == ran, "nothing was trained for it"
    assert_same_bits(before, tables(results))
    assert [(trial.params, trial.values) for trial in loaded(study).trials] == told


def loaded(study: Path) -> optuna.Study:
    return optuna.load_study(study_name="tiny", storage=f"sqlite:///{study}")


@pytest.mark.parametrize("how", [half, something_else, flipped(0.5)], ids=lambda how: how.__name__)
def test_what_only_tells_may_be_damaged(
    engine: Engine, finished: Path, finished_once: Path, how: Any
) -> None:
    """The note of what the search is after, the lock's of who holds it, the line of a running
    sweep, the logs."""
    (finished / "locks" / "tiny.progress").write_text("students: 3 done, 1 running")
    for path in itertools.chain.from_iterable(
        (finished / folder).iterdir() for folder in ("sweeps", "locks", "logs")
    ):
        harm(path, how)
    trial_id = str(Results(finished).trials()["trial_id"].iloc[0])
    for status, said in (
        kdray(finished, "status"),
        kdray(finished, "status", trial_id),
        kdray(finished),
    ):
        assert (status, "Traceback" in said) == (0, False)
    assert engine.ran == []
    finishes(finished, finished_once)


@pytest.mark.parametrize("how", [empty, half, something_else], ids=lambda how: how.__name__)
def test_a_damaged_schema_is_named_with_what_helps(
    engine: Engine,
    finished: Path,
    finished_once: Path,
    how: Any,  # noqa: ARG001, RUF100
) -> None:
    harm(finished / "schema.json", how)
    for command in ("status", "run"):
        assert kdray(finished, command) == (
            2,
            f"kdray: {finished}/schema.json: damaged; delete it, it is written anew\n",
        )
    (finished / "schema.json").unlink()
    finishes(finished, finished_once)
    assert (finished / "schema.json").read_bytes() == (finished_once / "schema.json").read_bytes()


@pytest.mark.parametrize("command", ["run", "status"])
def test_results_of_a_newer_schema_are_refused_in_one_line(finished: Path, command: str) -> None:
    known = json.loads((finished / "schema.json").read_text())
    (finished / "schema.json").write_text(json.dumps({**known, "kdray_schema": SCHEMA_VERSION + 1}))
    status, said = kdray(finished, command)
    assert status == 2
    assert said.count("\n") == 1
    assert (
        f"results of schema {SCHEMA_VERSION + 1}, this kdray reads up to {SCHEMA_VERSION}; "
        "update kdray" in said
    )


# Data that go away.


OWN: dict[str, Any] = {"name": "arrays", "path": "own.npz", "classes": 3, "image_shape": [1, 8, 8]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small .npz file that nobody has loaded yet."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("test", 30)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 3
    np.savez(tmp_path / "own.npz", **arrays)
    forget_data()
    return tmp_path / "own.npz"


def forget_data() -> None:
    """As a new process."""
    base._load.cache_clear()
    base._load_test.cache_clear()


@contextlib.contextmanager
def after_the_teachers(act: Any) -> Iterator[None]:
    """Do something when both teachers are trained, and let every later trial begin in a new
    process."""
    write, trained = Store.write, set()

    def writing(store: Store, name: str, data: bytes) -> None:
        write(store, name, data)
        if name.startswith("trials/"):
            trained.add(name)
            if len(trained) == 2:
                act()
            if len(trained) >= 2:
                forget_data()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write", writing)
        yield


@pytest.mark.parametrize("gone", ["removed", "replaced", "truncated"])
def test_data_that_go_away_fail_their_trials_and_the_same_command_finishes_when_they_are_back(
    engine: Engine, results: Path, own: Path, gone: str
) -> None:
    whole = own.read_bytes()
    data = {"experiment.data": {**OWN, "sha256": hashlib.sha256(whole).hexdigest()}}
    other = io.BytesIO()
    np.savez(
        other,
        train_images=np.zeros((60, 8, 8), np.uint8),
        train_labels=np.arange(60) % 3,
        test_images=np.zeros((30, 8, 8), np.uint8),
        test_labels=np.arange(30) % 3,
    )
    acts = {
        "removed": own.unlink,
        "replaced": lambda: own.write_bytes(other.getvalue()),
        "truncated": lambda: own.write_bytes(whole[:3000]),
    }
    go_with = {"data": own.parent, "results": results, "sweep": sweep_of(data)}
    with after_the_teachers(acts[gone]):
        summary = run_with(**go_with)
    assert summary.exit_status == 1
    assert all("own.npz" in str(reason) for reason in summary.failures.values())
    rows = Results(results).trials()
    assert rows.query("role == 'teacher'")["status"].tolist() == ["completed"] * 2
    assert rows.query("role == 'student'")["error"].str.startswith("InputError: ").all()
    with pytest.raises(InputError, match=r"own\.npz"):
        run_with(**go_with)
    own.write_bytes(whole)
    forget_data()
    assert run_with(**go_with).exit_status == 0, "without --retry-failed"
    undisturbed = results.parent / "undisturbed"
    assert run_with(data=own.parent, results=undisturbed, sweep=sweep_of(data)).exit_status == 0
    assert_same_bits(tables(undisturbed), tables(results))


def run_with(*, sweep: Any, results: Path, data: Path) -> Any:
    from kdray.sweep.run import run
    from kdray.sweep.scheduling.progress import Progress

    return run(sweep, results, data=data, progress=Progress(io.StringIO()))
