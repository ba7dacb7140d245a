"""One copy on a node: the same bits, made once, never stale, never believed when damaged, and done
without where it must be."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from kdray.core import InputError
from kdray.machine.node_cache import NotShared, one_copy, tensors

TENSORS = {
    "images": torch.arange(2 * 3 * 5 * 7, dtype=torch.uint8).view(2, 3, 5, 7),
    "labels": torch.tensor([3, -1]),
    "half": torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False, True]),
    "scalar": torch.tensor(0.1, dtype=torch.float64),
    "nan": torch.tensor([float("nan"), -0.0]),
    "hollow": torch.zeros(2, 0, 3),
    "turned": torch.arange(6.0).view(2, 3).t(),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files are."""
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"kdray-{os.geteuid()}"


def never() -> dict[str, Tensor]:
    raise AssertionError("it is there already")


def bits(tensors: dict[str, Tensor]) -> dict[str, object]:
    return {
        name: (t.dtype, t.shape, t.contiguous().view(-1).view(torch.uint8).tolist())
        for name, t in tensors.items()
    }


def test_what_is_made_once_is_read_bit_by_bit() -> None:
    first = one_copy("a", lambda: TENSORS)
    second = one_copy("a", never)
    assert list(first) == list(second) == list(TENSORS)
    assert bits(first) == bits(second) == bits(TENSORS)


def test_tensors_are_aligned_as_torch_aligns_them() -> None:
    assert {tensor.data_ptr() % 64 for tensor in one_copy("a", lambda: TENSORS).values()} == {0}


def test_nothing_is_nothing() -> None:
    assert one_copy("a", dict) == {}
    assert one_copy("a", never) == {}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="told by Linux only")
def test_tensors_are_the_pages_of_the_file_even_of_the_process_that_wrote_it(folder: Path) -> None:
    held = one_copy("a", lambda: TENSORS)
    places = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if str(folder / "a.tensors") in line:
            places.append([int(part, 16) for part in line.split()[0].split("-")])
    assert places
    for name in TENSORS.keys() - {"hollow"}:
        assert any(start <= held[name].data_ptr() < end for start, end in places), name


def test_what_one_writes_into_a_tensor_nobody_else_sees(folder: Path) -> None:
    before = one_copy("a", lambda: TENSORS)
    content = (folder / "a.tensors").read_bytes()
    before["images"].zero_()
    assert int(before["images"].sum()) == 0
    assert bits(one_copy("a", never)) == bits(TENSORS)
    assert (folder / "a.tensors").read_bytes() == content


def test_other_keys_are_other_tensors() -> None:
    one_copy("a", lambda: {"x": torch.zeros(3)})
    assert one_copy("b", lambda: {"x": torch.ones(3)})["x"].tolist() == [1, 1, 1]


def test_one_makes_it_and_the_others_wait() -> None:
    made, held = [], []

    def make() -> dict[str, Tensor]:
        made.append(1)
        time.sleep(0.05)
        return TENSORS

    threads = [threading.Thread(target=lambda: held.append(one_copy("a", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert [bits(tensors) for tensors in held] == [bits(TENSORS)] * 8


def test_the_next_makes_it_where_the_one_that_did_was_killed(folder: Path) -> None:
    one_copy("other", lambda: TENSORS)  # makes the folder
    (folder / "half.tmp").write_bytes(b"half of it")
    script = (
        f"import fcntl, time; file = open({str(folder / 'a.lock')!r}, 'ab'); "
        "fcntl.flock(file, fcntl.LOCK_EX); "
        f"print(flush=True); time.sleep(60)"
    )
    held: list[dict[str, Tensor]] = []
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        thread = threading.Thread(target=lambda: held.append(one_copy("a", lambda: TENSORS)))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        assert not (folder / "a.tensors").exists()
        holder.kill()
        thread.join()
    assert bits(held[0]) == bits(TENSORS)


def test_what_making_it_raises_is_raised_and_the_next_can_try() -> None:
    def fails() -> dict[str, Tensor]:
        raise InputError("wrong")

    with pytest.raises(InputError, match="wrong"):
        one_copy("a", fails)
    assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)


def test_an_error_of_the_disk_that_is_read_is_no_reason_to_read_again() -> None:
    tried = []

    def fails() -> dict[str, Tensor]:
        tried.append(1)
        raise OSError("of the source")

    with pytest.raises(OSError, match="of the source"):
        one_copy("a", fails)
    assert len(tried) == 1


def test_only_the_finished_files_stay(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    one_copy("b", lambda: TENSORS, valid=lambda: False)
    assert [path.name for path in folder.iterdir()] == ["a.tensors"]


def test_any_altered_byte_is_noticed_and_the_file_made_anew(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    path = folder / "a.tensors"
    content = path.read_bytes()
    places = random.Random(0).sample(range(len(content)), 30)
    for place in (0, 31, 32, 63, 64, len(content) - 1, *places):
        altered = bytearray(content)
        altered[place] ^= 0x10
        path.write_bytes(altered)
        assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)
        assert path.read_bytes() == content


@pytest.mark.parametrize("length", [0, 1, 31, 32, 64, 100, -1])
def test_a_file_cut_short_is_noticed_and_made_anew(folder: Path, length: int) -> None:
    one_copy("a", lambda: TENSORS)
    path = folder / "a.tensors"
    content = path.read_bytes()
    path.write_bytes(content[:length])
    assert bits(one_copy("a", lambda: TENSORS)) == bits(TENSORS)
    assert path.read_bytes() == content


class Usage(NamedTuple):
    free: int


def test_on_a_full_disk_a_process_has_its_own_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=100))
    with pytest.warns(
        NotShared, match=r"No space left on device: every process holds its own copy .*KDRAY_CACHE"
    ):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert list(folder.iterdir()) == []


def test_a_file_that_cannot_be_written_to_its_end_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(_: object) -> Iterator[bytes]:
        yield b"the beginning"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "_parts", parts)
    with pytest.warns(NotShared, match="No space left"):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert list(folder.iterdir()) == []


def _a_file(folder: Path) -> None:
    folder.write_text("")


def _a_link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def _open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("prepare", [_a_file, _a_link, _open_to_all])
def test_a_folder_that_others_could_write_to_is_not_used(folder: Path, prepare: Any) -> None:
    folder.parent.mkdir()
    prepare(folder)
    with pytest.warns(
        NotShared, match=rf"{folder}: is no folder that you alone can write to: every process"
    ):
        assert one_copy("a", lambda: TENSORS) is TENSORS
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    (folder.parent / f"kdray-{me + 1}").mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.warns(NotShared, match="you alone"):
        assert one_copy("a", lambda: TENSORS) is TENSORS


def test_a_cache_that_cannot_be_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDRAY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(NotShared, match="Not a directory"):
        assert one_copy("a", lambda: TENSORS) is TENSORS


def test_the_folder_is_nobody_elses_business(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    assert folder.stat().st_mode & 0o777 == 0o700


def kept(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.tensors")}


def used(folder: Path, key: str, when: float) -> None:
    os.utime(folder / f"{key}.tensors", (when, when))


def test_the_least_recently_used_goes_when_there_is_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abc":
        one_copy(key, lambda: {"x": torch.zeros(1000)})
    for when, key in enumerate("abc"):
        used(folder, key, 1000.0 + when)
    one_copy("a", never)  # now the latest
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", str(14_000 / 2**30))
    one_copy("d", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"a", "c", "d"}


def test_what_is_in_use_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = one_copy("a", lambda: {"x": torch.zeros(1000)})["x"][:10]
    one_copy("b", lambda: {"x": torch.zeros(1000)})
    used(folder, "a", 1000.0)
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", str(5000 / 2**30))
    one_copy("c", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"a", "c"}
    del held
    one_copy("d", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"d"}


def test_more_than_the_limit_is_shared_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_copy("a", lambda: TENSORS)
    monkeypatch.setenv("KDRAY_CACHE_LIMIT", str(100 / 2**30))
    one_copy("b", lambda: {"x": torch.zeros(1000)})
    assert kept(folder) == {"b"}
    one_copy("b", never)


def test_what_a_killed_process_left_is_swept_up(folder: Path) -> None:
    one_copy("a", lambda: TENSORS)
    for name in ("old.tmp", "old.lock", "new.tmp", "new.lock"):
        (folder / name).write_bytes(b"half")
    for name in ("old.tmp", "old.lock"):
        os.utime(folder / name, (1000.0, 1000.0))
    one_copy("b", lambda: TENSORS)
    assert {path.name for path in folder.iterdir()} == {
        "a.tensors",
        "b.tensors",
        "new.tmp",
        "new.lock",
    }
