"""A table that processes fill in together: a row is there once it is whole, and nothing that is not
whole is believed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from kdray.core import InputError
from kdray.machine.node_cache import NotShared, Table

ROWS, WIDTH = 50, 7
BEGIN = 256
"""Where the rows of such a table begin in its file: after 50 checks, at a multiple of 64."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path))
    return tmp_path / f"kdray-{os.geteuid()}"


def opened(key: str = "a", rows: int = ROWS, width: int = WIDTH) -> Table:
    table = Table.shared(key, rows, width, "answers")
    assert table is not None
    return table


def numbers(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def index(*rows: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def test_nothing_is_there_until_it_is_written() -> None:
    table = opened()
    assert not table.has(np.arange(ROWS)).any()
    assert not table.read(np.arange(ROWS))[1].any()


def test_rows_are_read_as_they_were_written_by_this_process_and_by_others() -> None:
    one, other = opened(), opened()
    values = numbers(3)
    values[1] = 0  # as an empty row looks, but for its check
    values[2, :3] = np.nan, np.inf, -0.0
    one.write(index(49, 0, 7), values)
    for table in (one, other, opened()):
        found, intact = table.read(index(7, 49, 0, 1))
        assert found[:3].tobytes() == values[[2, 0, 1]].tobytes()
        assert intact.tolist() == [True, True, True, False]
        assert table.has(index(7, 1)).tolist() == [True, False]


def test_what_is_read_is_a_copy() -> None:
    table = opened()
    table.write(index(3), numbers(1))
    found, _ = table.read(index(3))
    found[:] = 0
    assert table.read(index(3))[0].tobytes() == numbers(1).tobytes()


def test_other_keys_are_other_tables() -> None:
    opened("a").write(index(3), numbers(1))
    assert not opened("b").has(index(3)).any()


def test_a_row_in_which_one_bit_differs_is_not_there_and_the_others_are(folder: Path) -> None:
    table = opened()
    table.write(np.arange(ROWS), numbers(ROWS))
    content = bytearray((folder / "a.table").read_bytes())
    assert len(content) == BEGIN + 4 * ROWS * WIDTH
    damaged = {}
    for row in range(0, ROWS, 3):
        bit = 37 * row % (32 * WIDTH)
        damaged[row] = bit
        content[BEGIN + 4 * WIDTH * row + bit // 8] ^= 1 << bit % 8
    content[4 * 1] ^= 1  # of a check
    with (folder / "a.table").open("r+b") as file:
        file.write(content)
    _, intact = opened().read(np.arange(ROWS))
    assert set(np.flatnonzero(~intact)) == {*damaged, 1}
    assert opened().has(np.arange(ROWS)).all()  # a glance does not see it


def test_a_row_in_the_place_of_another_is_not_there(folder: Path) -> None:
    opened().write(index(3), numbers(1))
    content = bytearray((folder / "a.table").read_bytes())
    content[4 * 5 : 4 * 6] = content[4 * 3 : 4 * 4]
    row = BEGIN + 4 * WIDTH * 3
    content[row + 8 * WIDTH : row + 12 * WIDTH] = content[row : row + 4 * WIDTH]
    (folder / "a.table").write_bytes(content)
    assert opened().read(index(3, 5))[1].tolist() == [True, False]


@pytest.mark.parametrize("length", [0, 100, -1, 5000])
def test_a_file_of_another_length_is_made_anew(folder: Path, length: int) -> None:
    opened().write(index(3), numbers(1))
    content = (folder / "a.table").read_bytes()
    (folder / "a.table").unlink()  # not cut short under the map of this very process
    (folder / "a.table").write_bytes((content + bytes(5000))[:length])
    assert not opened().has(np.arange(ROWS)).any()
    assert (folder / "a.table").stat().st_size == BEGIN + 4 * ROWS * WIDTH


WRITER = """
import sys, numpy as np
from kdray.shared import Table
table = Table.shared("a", 50, 7, "answers")
values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
print("begun", flush=True)
while True:
    for row in range(50):
        table.write(np.array([row]), values[row : row + 1])
"""


def test_what_a_killed_process_left_is_there_whole_or_not_at_all(folder: Path) -> None:
    expected = numbers(ROWS)
    for delay in (0.0, 0.0003, 0.002):
        (folder / "a.table").unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        table = opened()
        found, intact = table.read(np.arange(ROWS))
        assert found[intact].tobytes() == expected[intact].tobytes()
        table.write(np.arange(ROWS), expected)
        assert opened().read(np.arange(ROWS))[1].all()


# Room


class Usage(NamedTuple):
    free: int


def test_on_a_full_disk_there_is_none_and_it_is_said_what_that_costs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=100))
    said = (
        r"No space left .*: every trial asks for its logits anew in every epoch, and gets the same"
    )
    with pytest.warns(NotShared, match=said):
        assert Table.shared("a", ROWS, WIDTH, "its logits") is None
    assert list(folder.iterdir()) == []


def test_more_than_the_limit_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", "0.5")
    with pytest.warns(
        NotShared,
        match=r"0\.7 GiB are more than KDRAY_CACHE_LIMIT \(0\.5\) leaves: every trial asks",
    ):
        assert Table.shared("a", 10_000_000, 17, "its logits") is None


def test_room_is_made_by_what_nobody_uses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", str(2 * (BEGIN + 4 * ROWS * WIDTH) / 2**30))
    held = opened("a")
    opened("b")
    os.utime(folder / "a.table", (1000, 1000))
    opened("c")
    assert {path.stem for path in folder.glob("*.table")} == {"a", "c"}
    del held
    opened("d")
    assert {path.stem for path in folder.glob("*.table")} == {"c", "d"}


def test_a_table_in_use_leaves_no_room_and_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", str(1.5 * (BEGIN + 4 * ROWS * WIDTH) / 2**30))
    held = opened("a")
    with pytest.warns(NotShared, match="KDRAY_CACHE_LIMIT"):
        assert Table.shared("b", ROWS, WIDTH, "its logits") is None
    held.write(index(0), numbers(1))
    assert {path.name for path in folder.iterdir()} == {"a.table"}


def test_what_can_never_fit_leaves_the_others_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened("a")
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", "1e-4")
    with pytest.warns(NotShared, match="KDRAY_CACHE_LIMIT"):
        assert Table.shared("b", 10_000, WIDTH, "its logits") is None
    assert {path.name for path in folder.iterdir()} == {"a.table"}


def test_on_a_disk_with_little_room_it_is_made_by_what_nobody_uses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = BEGIN + 4 * ROWS * WIDTH
    opened("a")
    held = opened("b")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=2 * size - 1))
    opened("c")
    assert {path.stem for path in folder.glob("*.table")} == {"b", "c"}
    del held


def test_a_system_that_cannot_reserve_is_written_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    opened("a", rows=500_000).write(index(499_999), numbers(1))
    assert (folder / "a.table").stat().st_size == 4 * 500_000 * (WIDTH + 1)
    assert opened("a", rows=500_000).read(index(499_999))[1].all()


def test_a_bit_in_the_upper_half_of_a_number_is_noticed_in_the_lower_half_of_the_check() -> None:
    table = opened()
    checks = {
        int(table._check(index(0), np.full((1, WIDTH), value, np.float32))[0]) & 0xFFFF
        for value in range(2, 200)
    }
    assert len(checks) > 180  # numbers of 16 bits, whose lower half is empty


def test_the_space_is_reserved(folder: Path) -> None:
    opened("a", rows=100_000)
    assert 512 * (folder / "a.table").stat().st_blocks >= 4 * 100_000 * WIDTH


@pytest.mark.parametrize("limit", ["much", "inf", "nan"])
def test_a_limit_that_is_no_number_is_told(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", limit)
    with pytest.raises(InputError, match=f"KDRAY_CACHE_LIMIT: '{limit}' is no number of GiB"):
        opened()
