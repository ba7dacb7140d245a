"""The user's own folder ``kdray-UID`` for what processes of a node share, below ``KDRAY_CACHE`` or
else the temporary folder.

All of it together takes at most ``KDRAY_CACHE_LIMIT`` GiB (8 unless set). The least recently used
files go first, those that a process has open stay.
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
from typing import NamedTuple

from kdray.core import InputError

WORTH_KEEPING = (".tensors", ".table")
"""What such files end with; others are being written, or were when their process died."""
ABANDONED = 3600.0
"""Seconds without a change after which nobody is still writing a file."""
GIB = 2**30
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
        return int(float(told) * GIB)
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
            # Who waits has it open already, who comes later makes a new one; both look for the file
            # first.
            with suppress(OSError):
                lock.unlink()


class Kept(NamedTuple):
    """A file that is there."""

    used: float
    size: int
    path: Path


def make_room(place: Path, needed: int, *, at_any_size: bool) -> None:
    """Delete what died with its process, and of what nobody has open the least recently used, until
    so many bytes fit.

    OSError, and nothing is deleted, where they never will: half the free disk would not be enough,
    or, unless they are welcome ``at_any_size``, they and what is in use are more than
    :func:`limit`.
    """
    files = []
    for path in place.iterdir():
        with suppress(FileNotFoundError):  # somebody else has deleted it
            found = path.stat()
            if path.suffix in WORTH_KEEPING:
                files.append(Kept(found.st_mtime, found.st_size, path))
            elif time.time() - found.st_mtime > ABANDONED:
                path.unlink()
    unused = [file for file in sorted(files) if not _in_use(file.path)]
    total, spare = needed + sum(file.size for file in files), sum(file.size for file in unused)
    if not at_any_size and total - spare > limit():
        allowed = (
            f"{needed / GIB:.1f} GiB are more than KDRAY_CACHE_LIMIT ({limit() / GIB:g}) leaves"
        )
        raise OSError(errno.ENOSPC, allowed, str(place))
    free = shutil.disk_usage(place).free
    if free + spare < 2 * needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))
    for file in unused:
        if (total > limit() or free < 2 * needed) and not _in_use(file.path, delete=True):
            total, free = total - file.size, free + file.size


def _in_use(path: Path, *, delete: bool = False) -> bool:
    """Whether a process has the file open, or it is gone; one that nobody has is deleted, if asked
    for."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if delete:
                path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return True
    return False


def warn(error: OSError, meanwhile: str) -> None:
    """Say why nothing is shared, and what every process does ``meanwhile``."""
    place = f"{error.filename}: " if error.filename else ""
    warnings.warn(
        f"{place}{error.strerror or error}: {meanwhile} (set KDRAY_CACHE to a folder on "
        "this machine's disk)",
        NotShared,
        stacklevel=4,
    )
