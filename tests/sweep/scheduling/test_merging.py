"""What a sweep leaves is merged while it runs and at its end: few files, the same tables, and in
nobody's way."""

from __future__ import annotations

import errno
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdray.results import TABLES, Results, Store
from kdray.results.files import compact as compacting_module
from kdray.results.files.compact import merge_small
from kdray.results.files.read import COMPACTED
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.scheduling import merging
from kdray.sweep.scheduling.merging import Merging
from tests.sweep.fakes import Engine, assert_same_bits, go, tables


def names(results: Path) -> dict[str, list[str]]:
    return {table: Store(results).names(table, ".parquet") for table in TABLES}


def merged(results: Path) -> list[str]:
    return [name for listed in names(results).values() for name in listed if COMPACTED in name]


def at_end(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(merging, "MAX_SMALL_FILES_AT_END", most)


def merging_of(results: Path, said: list[str] | None = None) -> Merging:
    store = Store(results)
    return Merging(store, TrialIndex(Results(results)), (said if said is not None else []).append)


def test_a_sweep_that_makes_many_files_leaves_few_and_the_same_tables(
    monkeypatch: pytest.MonkeyPatch, results: Path, finished: Path, tmp_path: Path, engine: Engine
) -> None:
    at_end(monkeypatch, 3)
    other = tmp_path / "merged"
    assert go(other).exit_status == 0
    assert {table: len(listed) for table, listed in names(other).items()} == dict.fromkeys(
        TABLES, 1
    )
    assert_same_bits(tables(other), tables(finished))
    columns = ["sweep", "trial_id", "role", "point", "order", "swept", "outcome"]
    pd.testing.assert_frame_equal(
        Results(other).members(columns), Results(results).members(columns)
    )
    ran = len(engine.ran)
    assert go(other).ran == set()
    assert len(engine.ran) == ran


def test_a_small_sweep_is_left_as_it_is(results: Path, engine: Engine) -> None:
    go(results)
    assert merged(results) == []
    assert engine.ran


def test_it_merges_while_trials_run(
    monkeypatch: pytest.MonkeyPatch, finished: Path, tmp_path: Path, engine: Engine
) -> None:
    monkeypatch.setattr(merging, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(merging, "MAX_SMALL_FILES", 2)
    engine.width = 3
    other = tmp_path / "merged"
    assert go(other).exit_status == 0
    assert merged(other)
    assert_same_bits(tables(other), tables(finished))
    assert go(other).ran == set()


def test_an_interrupted_sweep_is_not_kept_waiting_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, results: Path, finished_once: Path, engine: Engine
) -> None:
    at_end(monkeypatch, 1)
    engine.interrupt_after = 3
    with pytest.raises(KeyboardInterrupt):
        go(results)
    assert merged(results) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "kdray-merging"]
    engine.interrupt_after = None
    assert go(results).exit_status == 0
    assert merged(results)
    assert_same_bits(tables(results), tables(finished_once))


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("anything")]
)
def test_where_it_cannot_write_that_is_told_once_and_the_sweep_goes_on(
    monkeypatch: pytest.MonkeyPatch, results: Path, engine: Engine, error: Exception
) -> None:
    at_end(monkeypatch, 1)

    def full(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(compacting_module, "parquet_bytes", full)
    said = io.StringIO()
    assert go(results, said=said).exit_status == 0
    assert said.getvalue().count("cannot be merged") == 1
    assert (
        f"{results}/members: its files cannot be merged ({type(error).__name__}: "
        in said.getvalue()
    )
    assert merged(results) == []
    assert engine.ran


def test_files_of_trials_that_run_are_not_touched(finished: Path) -> None:
    busy = Results(finished).trials(["trial_id"])["trial_id"][0]
    mine = {
        table: [name for name in listed if busy in name]
        for table, listed in names(finished).items()
    }
    assert all(mine.values())
    merging_of(finished).merge(1, frozenset({busy}))
    left = names(finished)
    assert all(set(mine[table]) <= set(left[table]) for table in TABLES)
    assert [len(left[table]) for table in TABLES] == [len(mine[table]) + 1 for table in TABLES]


def test_a_trial_is_busy_from_its_task_to_its_end(
    finished: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[frozenset[str]] = []
    note = TrialIndex.note

    def noting(ledger: TrialIndex, *arguments: Any) -> None:
        seen.append(frozenset(ledger.busy))
        note(ledger, *arguments)
        assert arguments[0].experiment.trial_id not in ledger.busy

    monkeypatch.setattr(TrialIndex, "note", noting)
    go(finished, {"experiment.noise.input.sigma": {"grid": [0, 0.2, 0.4]}})
    assert len(seen) == len(engine.ran) == 2
    assert all(
        assignment.trial_id in busy for assignment, busy in zip(engine.ran, seen, strict=True)
    )


def test_a_damaged_file_stays_where_its_row_is_written_again(
    finished: Path, finished_once: Path, engine: Engine
) -> None:
    lost = Results(finished).trials(["trial_id"], [("role", "==", "student")])["trial_id"][0]
    driver, name = merging_of(finished), f"trials/{lost}.parquet"
    whole = Store(finished).read(name)
    Store(finished).write(name, whole[: len(whole) // 2])
    driver.merge(1, frozenset())
    assert len(names(finished)["trials"]) == 2
    with pytest.warns(match="damaged, left out"):
        assert go(finished).ran == {lost}
    assert engine.trained == [lost]
    assert_same_bits(tables(finished), tables(finished_once))


def test_what_cannot_be_merged_is_not_tried_again(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = merging_of(finished)
    for number in range(5):
        Store(finished).write(f"epochs/broken-{number}.parquet", b"PAR1")
    driver.merge(1, frozenset())
    before = names(finished)
    assert len(before["epochs"]) == 6
    monkeypatch.setattr(Store, "read", None)  # nothing is read
    driver.merge(1, frozenset())
    assert names(finished) == before


@pytest.fixture
def large(finished: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compacting_module, "LARGE_FILE_BYTES", 1)
        yield finished


def test_large_files_are_not_read_and_written_again_and_again(large: Path) -> None:
    before = names(large)
    merging_of(large).merge(1, frozenset())
    assert names(large) == before
    assert merge_small(Store(large), "trials", 1) == set()
