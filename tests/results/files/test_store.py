"""A file of a store is there whole or not at all, on a path as under a URI."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import SCHEMA_VERSION, Store, open_results
from tests.results.s3 import S3


@pytest.fixture(params=["path", "file URI", "other file system", "S3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store may be; pyarrow's mock file system stands for others than S3."""
    folder = tmp_path / "results"
    with S3() if request.param == "S3" else nullcontext() as server:
        yield (
            server.uri()
            if server is not None
            else {
                "path": str(folder),
                "file URI": folder.as_uri(),
                "other file system": "mock:///results",
            }[request.param]
        )


@pytest.fixture
def store(location: str) -> Store:
    store = Store(location)
    store.create()
    return store


@pytest.fixture
def local(tmp_path: Path) -> Store:
    store = Store(tmp_path / "results")
    store.create()
    return store


def test_reads_what_was_written_last(store: Store) -> None:
    for data in (b"long enough to leave a rest", b"", b"\0short\n"):
        store.write("weights/a.safetensors", data)
        assert store.read("weights/a.safetensors") == data


def test_exists_and_delete_speak_of_files(store: Store) -> None:
    assert not store.exists("trials/a.parquet")
    assert not store.exists("trials"), "a folder is no file"
    store.write("trials/a.parquet", b"a")
    assert store.exists("trials/a.parquet")
    store.delete("trials/a.parquet")
    store.delete("trials/a.parquet")
    assert not store.exists("trials/a.parquet")


def test_reading_a_file_that_is_not_there_raises_file_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("weights/none.safetensors")


def test_names_are_the_visible_files_with_the_suffix_sorted(store: Store) -> None:
    for name in ("b.parquet", "a.parquet", "c.txt", ".hidden.parquet"):
        store.write(f"trials/{name}", b"")
    assert store.names("trials", ".parquet") == ["trials/a.parquet", "trials/b.parquet"]
    assert store.names("no such folder", ".parquet") == []


def test_create_may_be_repeated_and_leaves_what_is_there(store: Store) -> None:
    store.write("trials/a.parquet", b"a")
    store.create()
    assert store.read("trials/a.parquet") == b"a"
    assert json.loads(store.read("schema.json"))["kdray_schema"] == SCHEMA_VERSION


@pytest.mark.parametrize("uri", [False, True], ids=["path", "file URI"])
@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_write_that_fails_leaves_neither_the_file_nor_a_rest_of_it(
    monkeypatch: pytest.MonkeyPatch, local: Store, fails: str, uri: bool
) -> None:
    assert local.folder is not None
    store = Store(local.folder.as_uri()) if uri else local
    store.write("trials/old.parquet", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[fails], full)
    for name in ("old", "new"):
        with pytest.raises(OSError, match="No space left"):
            store.write(f"trials/{name}.parquet", b"new")
    monkeypatch.undo()
    assert {path.name for path in local.folder.rglob("*") if path.is_file()} == {
        "schema.json",
        "old.parquet",
    }
    assert store.read("trials/old.parquet") == b"old"


def test_nothing_unfinished_is_ever_among_the_tables(
    monkeypatch: pytest.MonkeyPatch, local: Store
) -> None:
    assert local.folder is not None
    folder, replace, seen = local.folder, Path.replace, []

    def look(self: Path, target: Path) -> Path:
        seen.append(
            [path.relative_to(folder).parts[0] for path in folder.rglob("*.*") if path.is_file()]
        )
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", look)
    local.write("trials/a.parquet", b"a")
    assert seen == [["schema.json"]], "the file under way is in .tmp, which has no suffix"
    assert local.names("trials", ".parquet") == ["trials/a.parquet"]


@pytest.mark.parametrize("below", ["", "/results"])
@pytest.mark.parametrize("uri", [False, True], ids=["path", "file URI"])
def test_a_place_that_cannot_be_written_is_an_input_error(
    tmp_path: Path, below: str, uri: bool
) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    place = (file.as_uri() if uri else str(file)) + below
    with pytest.raises(InputError, match=f"--results {place}: cannot be written"):
        Store(place).create()
    with pytest.raises(InputError, match="no results here"):
        open_results(place)


@pytest.mark.parametrize("uri", ["nosuch://place/results", "file://not/absolute"])
def test_a_uri_that_is_none_is_an_input_error(uri: str) -> None:
    with pytest.raises(InputError, match=f"^{uri}: "):
        Store(uri)


def test_a_folder_without_results_is_an_input_error_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no results here \(no schema.json\)"):
        open_results(tmp_path)
    assert not list(tmp_path.iterdir())


def test_results_of_a_newer_schema_are_refused(store: Store) -> None:
    store.write("schema.json", json.dumps({"kdray_schema": SCHEMA_VERSION + 1}).encode())
    with pytest.raises(
        InputError, match=rf"results of schema {SCHEMA_VERSION + 1}, this kdray reads up to"
    ):
        store.create()
    with pytest.raises(InputError, match="update kdray"):
        store.check_version()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"{}", b'{"kdray_schema": null}', b"\xff\xfe"]
)
def test_a_damaged_schema_file_is_an_input_error_that_says_what_to_do(
    local: Store, text: bytes
) -> None:
    local.write("schema.json", text)
    with pytest.raises(InputError, match=r"schema\.json: damaged; delete it"):
        open_results(local.location)


def test_a_home_folder_may_be_written_with_a_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/results").location == str(tmp_path / "results")
