"""A results folder on a local disk or an object store: whole files in, whole files out.

A file appears under its name complete or not at all: written to ``.tmp`` and renamed on a file system, put as one object on
an object store. Temporary files never stand among the tables, because a stray file makes a Parquet folder unreadable.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from kdray.core import InputError
from kdray.results.schema import SCHEMA_VERSION, description


class Store:
    """The files of one results folder, by their path relative to it."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = str(location)
        if "://" in self.location:
            try:
                self._files, self._root = fs.FileSystem.from_uri(self.location)
            except (pa.ArrowException, OSError) as error:
                raise InputError(f"{self.location}: {error}") from None
            self.folder = Path(self._root) if isinstance(self._files, fs.LocalFileSystem) else None
        else:
            self.folder = Path(self.location).expanduser().absolute()
            self.location = str(self.folder)
            self._files, self._root = fs.LocalFileSystem(), self.location

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def create(self) -> None:
        """Make the folder and its ``schema.json``; :class:`InputError` if it cannot be written or is newer than this kdray."""
        try:
            self._check_version()
            for folder in ("members", "trials", "epochs", "robustness", "weights", "checkpoints", ".tmp"):
                self._files.create_dir(self._path(folder))
            probe = f".tmp/{uuid.uuid4().hex}"
            self.write(probe, b"")
            self.delete(probe)
            if not self.exists("schema.json"):
                self.write("schema.json", description().encode())
        except OSError as error:
            raise InputError(f"--results {self.location}: cannot be written ({error.strerror or error})") from None

    def check_version(self) -> None:
        """:class:`InputError` if the folder was written by a kdray with a newer schema, or is none."""
        try:
            self._check_version()
        except OSError as error:
            raise InputError(f"{self.location}: cannot be read ({error.strerror or error})") from None

    def _check_version(self) -> None:
        try:
            found = json.loads(self.read("schema.json"))["kdray_schema"] + 0
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.location}/schema.json: damaged; delete it, it is written anew") from None
        if found > SCHEMA_VERSION:
            raise InputError(
                f"{self.location}: results of schema {found}, this kdray reads up to {SCHEMA_VERSION}; update kdray"
            )

    def read(self, name: str) -> bytes:
        with self._files.open_input_stream(self._path(name)) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        if self.folder is None:
            with self._files.open_output_stream(self._path(name)) as file:
                file.write(data)
            return
        target = self.folder / name
        unfinished = self.folder / ".tmp" / uuid.uuid4().hex
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as opened:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        return bool(self._files.get_file_info(self._path(name)).type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        if self.exists(name):
            self._files.delete_file(self._path(name))

    def names(self, folder: str, suffix: str) -> list[str]:
        """The files of ``folder`` that end in ``suffix``, sorted, relative to the store."""
        selector = fs.FileSelector(self._path(folder), allow_not_found=True)
        found = [info.base_name for info in self._files.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(f"{folder}/{name}" for name in found if name.endswith(suffix) and not name.startswith("."))
