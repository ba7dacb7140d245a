"""A disk that is full, or cannot be written: the old file stays, no rest of the new one does, and
nothing is tried again."""

from __future__ import annotations

import errno
import os
import resource
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Store, open_results, write_rows

BIG = bytes(64 * 1024)


@pytest.fixture(params=["path", "file URI"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    folder = tmp_path / "results"
    store = Store(folder if request.param == "path" else folder.as_uri())
    store.create()
    store.write("trials/old.parquet", b"old")
    return store


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def slept(_: float) -> None:
        raise AssertionError("a disk is not asked again")

    monkeypatch.setattr(time, "sleep", slept)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Within the block the kernel refuses to make a file larger than ``size`` bytes. Python ignores
    the signal for that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def folder_of(store: Store) -> Path:
    assert store.folder is not None
    return store.folder


def files(store: Store) -> dict[str, bytes]:
    """Everything there is, by its name, but what the store itself makes."""
    folder = folder_of(store)
    found = {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    return {name: path.read_bytes() for name, path in found.items() if name != "schema.json"}


@pytest.mark.parametrize("name", ["trials/old.parquet", "trials/new.parquet", "new/folder/a"])
def test_a_disk_that_fills_up_while_writing(store: Store, name: str) -> None:
    with room_for(len(BIG) // 2), pytest.raises(OSError) as caught:
        store.write(name, BIG)
    assert caught.value.errno == errno.EFBIG
    assert str(folder_of(store) / name) in str(caught.value)
    assert files(store) == {"trials/old.parquet": b"old"}
    store.write(name, BIG)
    assert store.read(name) == BIG


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    (folder_of(store) / ".tmp" / uuid.UUID(int=7).hex).symlink_to("/dev/full")
    with pytest.raises(
        OSError, match=r"No space left on device: '.*/trials/old\.parquet'$"
    ) as caught:
        store.write("trials/old.parquet", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert files(store) == {"trials/old.parquet": b"old"}


def test_rows_for_which_there_is_no_room_replace_none(store: Store) -> None:
    def rows(count: int) -> list[dict[str, object]]:
        return [
            {"trial_id": uuid.uuid4().hex, "stage": "main", "epoch": epoch}
            for epoch in range(count)
        ]

    write_rows(store, "epochs", "a", rows(3), {})
    with room_for(16 * 1024), pytest.raises(OSError, match=r"epochs/a\.parquet"):
        write_rows(store, "epochs", "a", rows(2000), {})
    assert open_results(store.location).epochs()["epoch"].nunique() == 3
    assert set(files(store)) == {"trials/old.parquet", "epochs/a.parquet"}


@pytest.mark.parametrize("component", ["trials", ".tmp"])
def test_a_file_in_the_place_of_a_folder(store: Store, component: str) -> None:
    place = folder_of(store) / component
    place.rename(folder_of(store) / "aside")
    place.write_bytes(b"no folder")
    before = files(store)
    with pytest.raises(OSError, match=f"'{place}"):
        store.write("trials/old.parquet", b"new")
    assert files(store) == before


def test_a_folder_in_the_place_of_the_file(store: Store) -> None:
    (folder_of(store) / "trials" / "new.parquet").mkdir()
    with pytest.raises(IsADirectoryError, match=r"trials/new\.parquet'$"):
        store.write("trials/new.parquet", b"new")
    assert files(store) == {"trials/old.parquet": b"old"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("component", ["trials", ".tmp"])
def test_a_folder_that_may_only_be_read(store: Store, component: str) -> None:
    place = folder_of(store) / component
    place.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"trials/old\.parquet'$"):
            store.write("trials/old.parquet", b"new")
        assert files(store) == {"trials/old.parquet": b"old"}
    finally:
        place.chmod(0o755)


def test_a_disk_that_is_full_from_the_start_is_an_input_error(tmp_path: Path) -> None:
    with room_for(0), pytest.raises(InputError, match="cannot be written"):
        Store(tmp_path / "results").create()


@pytest.mark.parametrize("act", ["read", "names"])
def test_what_fails_on_a_disk_fails_at_once(store: Store, act: str) -> None:
    loop = folder_of(store) / "loop"
    loop.symlink_to(loop)
    acts = {"read": lambda: store.read("loop"), "names": lambda: store.names("loop", "")}
    with pytest.raises(OSError, match="loop") as caught:
        acts[act]()
    assert caught.value.errno == errno.ELOOP
