"""A results folder on a local disk or an object store: whole files in, whole files out.

A file appears under its name complete or not at all: written to ``.tmp`` and renamed on a file
system, put as one object on an object store. Temporary files never stand among the tables, because
a stray file makes a Parquet folder unreadable.

What fails on a disk fails at once. An object store that does not answer, or asks to slow down, is
asked again for minutes.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import pyarrow as pa
from pyarrow import fs

from kdray.core import InputError
from kdray.results.files.arrow_schema import description
from kdray.results.files.location import printable, user_of
from kdray.results.schema import SCHEMA_VERSION

T = TypeVar("T")

PATIENCE = 300.0
"""Seconds for which an object store is asked again before that is an error."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts: doubled from one to the next, and each cut by a random part of up
to a half."""
TIMEOUTS: dict[str, float] = {"connect_timeout": 5.0, "request_timeout": 20.0}
"""Seconds that S3 may take to accept a connection, and may send nothing; also options of the URI,
which come first."""
REQUEST_ATTEMPTS = 3
"""How often pyarrow sends a request to S3 before that counts as a failed attempt."""
ONE_REQUEST = "allow_delayed_open"
"""pyarrow's option for S3 with which a small object is put by one request rather than by three."""
LASTING_ERRORS = re.compile(
    r"AWS Error "
    r"(ACCESS_DENIED|NO_SUCH_BUCKET|RESOURCE_NOT_FOUND|INVALID_\w+|SIGNATURE_\w+|\w+_TOKEN|UNRECOGNIZED_CLIENT"
    r"|REQUEST_TIME_TOO_SKEWED|REQUEST_EXPIRED|\w+ \(HTTP status "
    r"(3|4(?!08|29))\d\d\))|PERMISSION_DENIED|UNAUTHENTICATED"
)
"""Errors of an object store that would come again. All others are tried again: waiting costs less
than hours of training."""


class OutOfReach(UserWarning):
    """An object store does not answer; it is asked again."""


class Store:
    """The files of one results folder, by their path relative to it."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self.location = str(location)
        """Where it is, for another process: it may hold a key and its secret."""
        self.place = printable(self.location)
        """Where it is, for people."""
        if "://" in self.location:
            self.folder = None  # until it is known
            try:
                self._files, root = self._with_retries(partial(_file_system, self.location))
            except (pa.ArrowException, OSError) as error:
                problem = re.sub("://.*@", "://", str(error)).removeprefix(f"{self.place}: ")
                raise InputError(f"{self.place}: {problem}") from None
            self._root = root.rstrip("/")
            if not self._root:
                raise InputError(f"{self.place}: names no bucket and no folder")
            self.folder = Path(self._root) if isinstance(self._files, fs.LocalFileSystem) else None
        else:
            self.folder = Path(self.location).expanduser().absolute()
            self.location = self.place = str(self.folder)
            self._files, self._root = fs.LocalFileSystem(), self.location

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _with_retries(self, act: Callable[[], T], name: str = "") -> T:
        """Return what ``act`` returns; on an object store try it again while it fails.

        ConnectionError if that does not help, and another OSError for what would not change: both
        name the file.
        """
        if self.folder is not None:
            return act()
        began, pause = time.monotonic(), FIRST_PAUSE
        where = f"{self.place}/{name}" if name else self.place
        while True:
            try:
                return act()
            except (
                FileNotFoundError,
                FileExistsError,
                PermissionError,
                IsADirectoryError,
                NotADirectoryError,
            ):
                raise
            except OSError as error:
                problem = f"{where}: {' '.join(str(error).split())}"
                if LASTING_ERRORS.search(problem):
                    raise OSError(problem) from None
                if time.monotonic() - began + pause > PATIENCE:
                    raise ConnectionError(problem) from None
            if pause == FIRST_PAUSE:
                warnings.warn(
                    f"{problem}: trying again for {PATIENCE:.0f} s", OutOfReach, stacklevel=3
                )
            # A generator of its own: the global one belongs to what is being trained.
            time.sleep(pause * random.SystemRandom().uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    def create(self) -> None:
        """Make the folder and its ``schema.json``; :class:`InputError` if it cannot be written or
        is newer than this kdray."""
        try:
            version = self._stored_version()
            # S3 has none, and need not let us look at the bucket.
            if (
                not isinstance(self._files, fs.S3FileSystem)
                or "allow_bucket_creation" in self.location
            ):
                for folder in (
                    "members",
                    "trials",
                    "epochs",
                    "robustness",
                    "weights",
                    "checkpoints",
                    "logs",
                    ".tmp",
                ):
                    self._with_retries(partial(self._files.create_dir, self._path(folder)), folder)
            probe = f".tmp/{uuid.uuid4().hex}"
            self.write(probe, b"")
            self.delete(probe)
            if version is None or version < SCHEMA_VERSION:
                self.write("schema.json", description().encode())
        except OSError as error:
            if "AWS Error NO_SUCH_BUCKET" in str(error):
                raise InputError(
                    f"--results {self.place}: there is no such bucket, and kdray makes none"
                ) from None
            raise InputError(
                f"--results {self.place}: cannot be written ({error.strerror or error})"
            ) from None

    def check_version(self) -> None:
        """:class:`InputError` if the folder was written by a kdray with a newer schema, or is
        none."""
        try:
            self._stored_version()
        except OSError as error:
            raise InputError(f"{self.place}: cannot be read ({error.strerror or error})") from None

    def _stored_version(self) -> int | None:
        """The schema version of the folder, None if it has none yet; :class:`InputError` if it is
        newer than this kdray."""
        try:
            version = int(json.loads(self.read("schema.json"))["kdray_schema"] + 0)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.place}/schema.json: damaged; delete it, it is written anew"
            ) from None
        if version > SCHEMA_VERSION:
            raise InputError(
                f"{self.place}: results of schema {version}, this kdray reads up to "
                f"{SCHEMA_VERSION}; update kdray"
            )
        return version

    def read(self, name: str) -> bytes:
        return self._with_retries(partial(self._read, name), name)

    def _read(self, name: str) -> bytes:
        with self._files.open_input_file(self._path(name)) as file:
            # Of an answer from S3 that is too short but claims to be complete pyarrow says that all
            # was read, and leaves the rest of the memory as it was. Where fewer bytes are missing
            # than the mark has, the checksums in the files tell.
            data, mark = bytearray(file.size()), os.urandom(16)
            data[-len(mark) :] = mark[: len(data)]
            got = file.readinto(data)
        if got < len(data) or data.endswith(mark):
            raise OSError(f"fewer than its {len(data)} bytes were read")
        return bytes(data)

    def write(self, name: str, data: bytes) -> None:
        if self.folder is None:
            self._with_retries(partial(self._put, name, data), name)
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
        except OSError as error:
            raise OSError(
                error.errno, error.strerror, str(target)
            ) from error  # a full disk names no file
        finally:
            unfinished.unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        with self._files.open_output_stream(self._path(name)) as file:
            file.write(data)

    def exists(self, name: str) -> bool:
        info = self._with_retries(partial(self._files.get_file_info, self._path(name)), name)
        return bool(info.type == fs.FileType.File)

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens if it is not there."""
        with suppress(FileNotFoundError):  # also of a deletion whose answer was lost
            self._with_retries(partial(self._files.delete_file, self._path(name)), name)

    def names(self, folder: str, suffix: str) -> list[str]:
        """The files of ``folder`` that end in ``suffix``, sorted, relative to the store."""
        return list(self.sizes(folder, suffix))

    def sizes(self, folder: str, suffix: str) -> dict[str, int]:
        """The bytes of each of :meth:`names`."""
        selector = fs.FileSelector(self._path(folder), allow_not_found=True)
        infos = self._with_retries(partial(self._files.get_file_info, selector), folder)
        found = {info.base_name: info.size for info in infos if info.type == fs.FileType.File}
        return {
            f"{folder}/{name}": found[name]
            for name in sorted(found)
            if name.endswith(suffix) and not name.startswith(".")
        }


def _file_system(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI, and the path on it."""
    place, _, query = uri.partition("?")
    in_uri = dict(parse_qsl(query, keep_blank_values=True))
    if not uri.startswith("s3://"):
        files, root = fs.FileSystem.from_uri(uri)
        return files, str(root)
    if unquoted := set("/?#[] ").intersection(user_of(uri)):
        raise pa.ArrowInvalid(
            f"in a key or secret {' '.join(map(repr, sorted(unquoted)))} must be "
            "percent-encoded (/ as %2F)"
        )
    options = {
        name: _seconds(name, in_uri.pop(name)) if name in in_uri else default
        for name, default in TIMEOUTS.items()
    }
    files, root = fs.FileSystem.from_uri(f"{place}?{urlencode(in_uri)}" if in_uri else place)
    # pyarrow's own way to make the same file system in another process: the only one to what a URI
    # cannot say.
    rebuild, (arguments,) = files.__reduce__()
    if ONE_REQUEST in arguments:
        arguments[ONE_REQUEST] |= ONE_REQUEST not in in_uri
    retrying = fs.AwsStandardS3RetryStrategy(max_attempts=REQUEST_ATTEMPTS)
    return rebuild({**arguments, **options, "retry_strategy": retrying}), str(root)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise pa.ArrowInvalid(f"{name}={text} is not a number of seconds above 0")
    return seconds
