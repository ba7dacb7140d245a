"""Why a Ray of this machine did not start: what helps, and where its log is."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from kdray.core import describe

SOCKET_PATH_BYTES = 107
"""The longest path of a socket on Linux."""
SOCKET_NAME_BYTES = len("/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""What Ray adds to its folder for the longest of its sockets."""
NEEDED_MIB = 128
"""Free in the temporary folder and in shared memory."""
NEEDED_FILES = 1024
"""File handles of a process."""
SHARED_MEMORY = Path("/dev/shm")


def why_not_started(error: Exception) -> str:
    """Return in one line what ``error`` says, what helps against it, and where Ray's log is."""
    variable = "RAY_TMPDIR" if os.environ.get("RAY_TMPDIR") else "TMPDIR"
    folder = Path(os.environ.get(variable) or "/tmp")  # where Ray keeps its sessions
    told = [f"Ray does not start: {describe(error)}", *_remedies(folder, variable)]
    if (log := _log(folder)) is not None:
        told.append(f"its log is in {log}")
    return "; ".join(told)


def _remedies(folder: Path, variable: str) -> Iterator[str]:
    """Yield what helps against what is wrong with the machine, as far as that can be seen.
    ``variable`` names the temporary ``folder``."""
    if len(os.fsencode(folder)) + SOCKET_NAME_BYTES > SOCKET_PATH_BYTES:
        most = SOCKET_PATH_BYTES - SOCKET_NAME_BYTES
        yield (
            f"the path of the temporary folder {folder} is too long for Ray's sockets: "
            f"set {variable} to one of at most {most} bytes, such as /tmp"
        )
    if not str(folder).isascii():
        yield f"the path of the folder {folder} is not ASCII: set {variable} to one that is"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield f"the temporary folder {folder} cannot be written: set {variable} to one that can"
    elif (free := _free_mib(folder)) < NEEDED_MIB:
        yield f"{folder} has {free} MiB free: make room, or set {variable} to a folder with more"
    if SHARED_MEMORY.is_dir() and (free := _free_mib(SHARED_MEMORY)) < NEEDED_MIB:
        yield (
            f"{SHARED_MEMORY} has {free} MiB free, Ray needs {NEEDED_MIB}: make room, or "
            "docker run --shm-size=1g"
        )
    handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= handles < NEEDED_FILES:
        yield f"a process may open {handles} files: ulimit -n 8192"


def _free_mib(folder: Path) -> int:
    return shutil.disk_usage(folder).free // 2**20


def _log(folder: Path) -> Path | None:
    """Return the logs of the session that this process began last; none if it wrote none."""
    sessions = sorted((folder / "ray").glob(f"session_*_{os.getpid()}/logs"))
    return sessions[-1] if sessions and any(sessions[-1].iterdir()) else None
