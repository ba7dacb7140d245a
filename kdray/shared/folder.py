"""The user's own folder ``kdray-UID`` for what processes of a node share, below ``KDRAY_CACHE`` or else the temporary folder.

All of it together takes at most ``KDRAY_CACHE_LIMIT`` GiB (8 unless set). The least recently used files go first, those that a
process has open stay.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdray.core import InputError

KEPT = (".tensors", ".table")
"""What files end with that are worth keeping; others are being written, or were when their process died."""
ABANDONED = 3600.0
"""Seconds without a change after which nobody is still writing a file."""
ALIGNMENT = 64
"""Bytes; torch's own, which products of matrices depend on in the last bit."""


class NotShared(UserWarning):
    """Every process works for itself; the numbers are the same."""


def folder() -> Path:
    """The folder, made if need be; OSError if others could write to it."""
    above = Path(os.environ.get("KDRAY_CACHE") or tempfile.gettempdir()).expanduser().absolute()
    above.mkdir(parents=True, exist_ok=True)
    place = above / f"kdray-{os.geteuid()}"
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "is no folder that you alone can write to", str(place))
    return place


def limit() -> int:
    """Bytes of all files together."""
    told = os.environ.get("KDRAY_CACHE_LIMIT") or "8"
    try:
        return int(float(told) * 2**30)
    except (ValueError, OverflowError):
        raise InputError(f"KDRAY_CACHE_LIMIT: {told!r} is no number of GiB") from None


@contextmanager
def turn(lock: Path) -> Iterator[None]:
    """Wait until no other process has its turn. The kernel ends that of a process that dies."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Who waits has it open already, who comes later makes a new one; both look for the file first.
            with suppress(OSError):
                lock.unlink()


def make_room(place: Path, needed: int) -> int:
    """Delete what died with its process and what :func:`limit` has no room for: the bytes that all files will have then.

    OSError if half the free disk is not enough.
    """
    files = []
    for path in place.iterdir():
        with suppress(FileNotFoundError):  # somebody else has deleted it
            found = path.stat()
            if path.suffix in KEPT:
                files.append((found.st_mtime, found.st_size, path))
            elif time.time() - found.st_mtime > ABANDONED:
                path.unlink()
    total = needed + sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total > limit() and _deleted(path):
            total -= size
    if shutil.disk_usage(place).free < 2 * needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    return total


def _deleted(path: Path) -> bool:
    """Delete a file unless a process has it open."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def warn(error: OSError, meanwhile: str) -> None:
    """Say why nothing is shared, and what every process does ``meanwhile``."""
    place = f"{error.filename}: " if error.filename else ""
    warnings.warn(
        f"{place}{error.strerror or error}: {meanwhile} (set KDRAY_CACHE to a folder on this machine's disk)",
        NotShared,
        stacklevel=4,
    )
