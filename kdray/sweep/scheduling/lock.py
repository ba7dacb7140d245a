"""A lock lets one driver at a time run a sweep in a results folder."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from typing import Any

from kdray.core import InputError
from kdray.results import Store


@contextmanager
def only_driver(store: Store, sweep: str) -> Iterator[None]:
    """Hold the sweep's lock; raise :class:`InputError`, with the other driver's name, if one is
    alive.

    The kernel gives the lock back when its holder dies, however it dies. Folders on an object store
    are not locked.
    """
    if store.folder is None:
        yield
        return
    path = store.folder / "locks" / f"{sweep}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("ab+", buffering=0) as file:  # nothing is left to be written when it is closed
        if not _try_lock(file):
            holder = _holder(path.read_text())
            raise InputError(f"sweep {sweep!r} is being run in {store.place} already, {holder}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # a full disk: the note is only for people
            file.truncate(0)
            file.write(
                json.dumps({"pid": os.getpid(), "host": platform.node(), "since": now}).encode()
            )
        yield


def _try_lock(file: FileIO) -> bool:
    """Take the lock, and tell whether that worked. It waits for ``kdray status``, which holds the
    lock for an instant."""
    for wait in (0.0, 0.05, 0.2, 0.5):
        time.sleep(wait)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def running(store: Store, sweep: str) -> str | None:
    """Return who runs the sweep right now, or None."""
    if store.folder is None:
        return None
    path = store.folder / "locks" / f"{sweep}.lock"
    if not path.exists():
        return None
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _holder(path.read_text())
    return None


def _holder(text: str) -> str:
    try:
        stated: dict[str, Any] = json.loads(text)
        return f"by process {stated['pid']} on {stated['host']} since {stated['since']}"
    except (ValueError, KeyError, TypeError):
        return "by another process"
