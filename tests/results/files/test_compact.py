"""``kdray compact``: few files instead of many, and not a row more or less, whatever happens
meanwhile."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from kdray.cli import main
from kdray.core import InputError
from kdray.results import (
    SCHEMA_VERSION,
    TABLES,
    ConflictingRows,
    DamagedFile,
    Results,
    Store,
    has_completed,
    write_rows,
)
from kdray.results.files.compact import compact, merge_small
from kdray.results.files.forget import forget
from kdray.sweep.evaluate import load_suite
from kdray.sweep.scheduling.lock import only_driver
from tests.sweep.fakes import go, instead_of_ray
from tests.sweep.test_evaluate import measure, suite_file

SIGMA = "experiment.noise.input.sigma"


def read(results: Results) -> dict[str, pd.DataFrame]:
    return {table: getattr(results, table)() for table in TABLES} | {"frame": results.frame()}


def assert_same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == other.keys()
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], check_exact=True)


def parts(results: Results) -> dict[str, int]:
    return {table: len(results.store.names(table, ".parquet")) for table in TABLES}


def contents(results: Results) -> dict[str, bytes]:
    return {
        name: results.store.read(name)
        for table in TABLES
        for name in results.store.names(table, ".parquet")
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny sweep, done; not to be changed."""
    folder = tmp_path_factory.mktemp("made") / "results"
    with instead_of_ray():
        assert go(folder).exit_status == 0
    return folder


@pytest.fixture
def done(made: Path, tmp_path: Path) -> Results:
    shutil.copytree(made, tmp_path / "results")
    return Results(tmp_path / "results")


@pytest.fixture
def odd(empty: Results) -> Results:
    """Awkward rows: missing, not finite, replaced, failed, in a file of two names, of an older
    kdray, of wider types."""
    store = empty.store
    trial = {"status": "completed", "val_accuracy": 0.5}
    write_rows(
        store, "trials", "a", [{"trial_id": "a", **trial, "model.width": 2}], {"model.width": int}
    )
    write_rows(
        store,
        "trials",
        "b",
        [{"trial_id": "b", **trial, "model.width": 2.5}],
        {"model.width": float},
    )
    write_rows(store, "trials", "c", [{"trial_id": "c", **trial, "host": "old"}], {})
    write_rows(store, "trials", "c again", [{"trial_id": "c", **trial, "host": "new"}], {})
    write_rows(
        store, "trials", "c failed", [{"trial_id": "c", "status": "failed", "error": "late"}], {}
    )
    losses = [math.nan, math.inf, -0.0, None, 1.5]
    rows = [
        {"trial_id": "a", "stage": "main", "epoch": epoch, "loss": loss}
        for epoch, loss in enumerate(losses)
    ]
    write_rows(store, "epochs", "a", rows, {})
    store.write("epochs/other-a.parquet", store.read("epochs/a.parquet"))
    number = {"trial_id": "a", "evaluation_id": "e", "label": "noise", "metric": "accuracy"}
    write_rows(
        store, "robustness", "a", [number | {"value": s, "sigma": s} for s in (0.2, 0.1)], {}
    )
    write_rows(
        store, "robustness", "b", [number | {"trial_id": "b", "value": 0.5, "sigma": 0.1}], {}
    )
    part = pq.read_table(empty_folder(empty) / "robustness" / "b.parquet")
    older = part.drop_columns(["snr", "class"]).replace_schema_metadata(None)
    pq.write_table(older, empty_folder(empty) / "robustness" / "b.parquet")
    for point in (0, 1):
        write_rows(
            store,
            "members",
            f"{point}",
            [{"sweep": "s", "trial_id": "a", "role": "student", "point": point}],
            {},
        )
    return empty


def empty_folder(results: Results) -> Path:
    assert results.store.folder is not None
    return results.store.folder


def test_every_table_is_one_file_and_reads_as_before(done: Results) -> None:
    before, many = read(done), parts(done)
    found = compact(done.store)
    assert {table: (files.before, files.after) for table, files in found.items()} == {
        t: (many[t], 1) for t in TABLES
    }
    assert parts(done) == dict.fromkeys(TABLES, 1)
    assert_same(read(done), before)


def test_awkward_rows_read_as_before(odd: Results) -> None:
    before, stored = (
        read(odd),
        {table: odd.table(table).num_rows for table in ("trials", "epochs", "robustness")},
    )
    compact(odd.store)
    assert parts(odd) == dict.fromkeys(TABLES, 1)
    assert_same(read(odd), before)
    rows = {table: odd.table(table).num_rows for table in stored}
    assert rows == {**stored, "epochs": 5}, (
        "copies go; what is replaced stays, so that a conflict is still seen"
    )
    schema = pq.read_schema(empty_folder(odd) / odd.store.names("trials", ".parquet")[0])
    assert schema.field("val_accuracy").metadata[b"unit"] == b"fraction"


def test_compacting_again_changes_nothing_and_takes_in_what_came_later(odd: Results) -> None:
    compact(odd.store)
    before = contents(odd)
    compact(odd.store)
    assert contents(odd) == before
    write_rows(odd.store, "trials", "d", [{"trial_id": "d", "status": "completed"}], {})
    expected = read(odd)
    assert compact(odd.store)["trials"][:2] == (2, 1)
    assert_same(read(odd), expected)


class Killed(BaseException):
    """What nothing catches."""


def all_small(store: Store) -> None:
    for table in TABLES:
        merge_small(store, table, 1)


@pytest.mark.parametrize("act", [compact, all_small])
def test_killed_before_any_of_its_acts_nothing_is_lost_or_counts_twice(
    odd: Results, monkeypatch: pytest.MonkeyPatch, act: Callable[[Store], object]
) -> None:
    before, whole, acts = read(odd), contents(odd), 0

    def until(last: int, original: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            nonlocal acts
            acts += 1
            if acts == last:
                raise Killed
            original(*arguments)

        return counted

    for last in range(1, 60):
        for name in contents(odd):
            odd.store.delete(name)
        for name, data in whole.items():
            odd.store.write(name, data)
        acts = 0
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", until(last, Store.write))
            patch.setattr(Store, "delete", until(last, Store.delete))
            with suppress(Killed):
                act(odd.store)
        assert_same(read(odd), before)
        if acts < last:
            break
        act(odd.store)
        assert_same(read(odd), before)
        assert parts(odd) == dict.fromkeys(TABLES, 1)
    assert 10 < acts < last, "it was killed before each of many, and not at all in the end"


def test_what_reads_back_otherwise_is_taken_away_and_the_old_files_stay(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = contents(odd), Store.write
    for spoiled in (
        lambda data: data[:-40],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                Store,
                "write",
                lambda store, name, data, spoiled=spoiled: write(store, name, spoiled(data)),
            )
            with pytest.raises(
                OSError,
                match=r"members/compacted-.*: reads back otherwise than it was written; the old",
            ):
                compact(odd.store)
        assert contents(odd) == before


def test_another_file_that_is_whole_but_of_other_rows_is_noticed(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write, other = contents(odd), Store.write, odd.store.read("members/1.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", lambda store, name, data: write(store, name, other))
        with pytest.raises(OSError, match="reads back otherwise"):
            compact(odd.store)
    assert contents(odd) == before


def test_a_damaged_file_is_named_and_left_where_it_is(odd: Results) -> None:
    odd.store.write("trials/broken.parquet", b"PAR1 half a file")
    with pytest.warns(DamagedFile, match=r"trials/broken\.parquet: damaged"):
        found = compact(odd.store)
    assert found["trials"].after == 2
    assert "trials/broken.parquet: damaged" in found["trials"].damaged[0]
    assert odd.store.read("trials/broken.parquet") == b"PAR1 half a file"


def test_a_file_that_is_written_anew_meanwhile_stays(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write

    def meddling(store: Store, name: str, data: bytes) -> None:
        write(store, name, data)
        if name.startswith("trials/compacted-"):
            monkeypatch.undo()
            write_rows(
                store,
                "trials",
                "a",
                [{"trial_id": "a", "status": "completed", "val_accuracy": 0.9}],
                {},
            )

    monkeypatch.setattr(Store, "write", meddling)
    compact(odd.store)
    assert len(odd.store.names("trials", ".parquet")) == 2
    with pytest.warns(ConflictingRows):
        assert odd.trials(["val_accuracy"], [("trial_id", "==", "a")])["val_accuracy"].tolist() == [
            0.9
        ]


def test_files_that_go_away_while_a_table_is_read_are_found_in_the_new_one(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, names = read(odd), Store.names

    def too_early(store: Store, folder: str, suffix: str) -> list[str]:
        found = names(store, folder, suffix)
        if folder == "robustness":
            monkeypatch.undo()
            compact(store)
        return found

    monkeypatch.setattr(Store, "names", too_early)
    pd.testing.assert_frame_equal(odd.robustness(), before["robustness"])


def test_a_listing_that_a_merge_overtakes_misses_nothing(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that changes need not be listed whole: here neither the new file nor those that it
    replaced."""
    before, names = read(odd), Store.names

    def overtaken(store: Store, folder: str, suffix: str) -> list[str]:
        found = names(store, folder, suffix)
        if folder == "trials":
            monkeypatch.undo()
            compact(store)
            return found[:1]
        return found

    monkeypatch.setattr(Store, "names", overtaken)
    pd.testing.assert_frame_equal(odd.trials(), before["trials"])


def test_a_completed_trial_is_found_while_its_file_is_merged(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Store.names

    def too_early(store: Store, folder: str, suffix: str) -> list[str]:
        found = names(store, folder, suffix)
        monkeypatch.undo()
        compact(store)
        return found

    monkeypatch.setattr(Store, "names", too_early)
    assert has_completed(odd.store, "c")


def test_small_files_are_merged_beside_those_that_come_and_go(
    odd: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process merges the new file on before it is read back: no error, and nothing is
    lost."""
    before, write = read(odd), Store.write

    def merged_on(store: Store, name: str, data: bytes) -> None:
        write(store, name, data)
        if name.startswith("trials/compacted-"):
            monkeypatch.undo()
            merge_small(store, "trials", 1)

    monkeypatch.setattr(Store, "write", merged_on)
    merge_small(odd.store, "trials", 1)
    assert_same(read(odd), before)
    merge_small(odd.store, "trials", 1)
    assert len(odd.store.names("trials", ".parquet")) == 1
    assert_same(read(odd), before)


def test_results_of_a_newer_schema_are_refused(odd: Results) -> None:
    path = empty_folder(odd) / "trials" / "a.parquet"
    newer = pq.read_table(path).replace_schema_metadata({"kdray_schema": str(SCHEMA_VERSION + 1)})
    pq.write_table(newer, path)
    before = contents(odd)["trials/a.parquet"]
    with pytest.raises(InputError, match=f"of schema {SCHEMA_VERSION + 1}"):
        compact(odd.store)
    assert contents(odd)["trials/a.parquet"] == before


# With everything else that reads or changes results


def test_a_completed_trial_is_found_in_the_one_file(odd: Results) -> None:
    write_rows(odd.store, "trials", "f", [{"trial_id": "f", "status": "failed"}], {})
    compact(odd.store)
    assert [has_completed(odd.store, trial_id) for trial_id in ("a", "c", "f", "nobody")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_same_command_has_nothing_to_do_and_a_larger_one_does_the_rest(done: Results) -> None:
    compact(done.store)
    folder = empty_folder(done)
    with instead_of_ray():
        assert go(folder).ran == set()
        assert parts(done) == dict.fromkeys(TABLES, 1)
        assert len(go(folder, {SIGMA: {"grid": [0, 0.2, 0.4]}}).ran) == 2
    compact(done.store)
    with instead_of_ray():
        assert go(folder, {SIGMA: {"grid": [0, 0.2, 0.4]}}).ran == set()


def test_new_evaluations_are_measured_once(done: Results, tmp_path: Path) -> None:
    compact(done.store)
    suite = load_suite(suite_file(tmp_path, [{"name": "clean", "split": "test", "label": "after"}]))
    with instead_of_ray():
        measure(empty_folder(done), suite)
        compact(done.store)
        before = contents(done)
        measure(empty_folder(done), suite)
    assert contents(done) == before
    assert done.frame()["after.accuracy"].notna().all()


def test_a_trial_is_forgotten_out_of_the_one_file_and_trained_again(done: Results) -> None:
    before = read(done)
    compact(done.store)
    student = done.trials(["trial_id"], [("role", "==", "student")])["trial_id"][0]
    gone = forget(done.store, [student])
    assert min(gone[table] for table in TABLES) > 0
    for table in TABLES:
        expected = before[table][before[table]["trial_id"] != student].reset_index(drop=True)
        pd.testing.assert_frame_equal(getattr(done, table)(), expected)
    with instead_of_ray():
        assert go(empty_folder(done)).ran == {student}
    pd.testing.assert_series_equal(done.trials()["val_accuracy"], before["trials"]["val_accuracy"])


@pytest.mark.parametrize("which", ["the first", "the second", "both"])
def test_folders_merge_by_copying_compacted_or_not(made: Path, tmp_path: Path, which: str) -> None:
    for name in ("first", "second"):
        shutil.copytree(made, tmp_path / name)
        if which in (f"the {name}", "both"):
            compact(Store(tmp_path / name))
    shutil.copytree(tmp_path / "second", tmp_path / "first", dirs_exist_ok=True)
    assert_same(read(Results(tmp_path / "first")), read(Results(made)))
    compact(Store(tmp_path / "first"))
    assert_same(read(Results(tmp_path / "first")), read(Results(made)))


# The command


@pytest.mark.filterwarnings("default")
def test_the_command_says_what_became_of_the_files(
    odd: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    before = parts(odd)
    odd.store.write("trials/broken.parquet", b"PAR1")
    assert main(["compact", os.fspath(empty_folder(odd))]) == 0
    told = capsys.readouterr()
    assert (
        f"trials: {before['trials'] + 1} files are 2 now, 1 of them damaged and left as they are\n"
        in told.out
    )
    assert f"epochs: {before['epochs']} files are 1 now\n" in told.out
    assert "kdray: warning: " in told.err
    assert "trials/broken.parquet: damaged" in told.err


def test_the_command_is_refused_while_a_sweep_runs(
    odd: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(odd)
    (empty_folder(odd) / "locks").mkdir()
    with only_driver(odd.store, "tiny"):
        assert main(["compact", os.fspath(empty_folder(odd))]) == 2
    told = capsys.readouterr().err
    assert f"sweep 'tiny' is running, by process {os.getpid()} on " in told
    assert told.rstrip().endswith("; stop it first")
    assert contents(odd) == before


def test_the_command_is_refused_where_there_are_no_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compact", os.fspath(tmp_path)]) == 2
    assert "no results here (no schema.json)" in capsys.readouterr().err
