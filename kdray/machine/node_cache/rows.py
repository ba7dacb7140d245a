"""Rows of numbers that the processes of a node fill in together, each when it is first needed: a
file that all of them map.

The file has a check of 32 bits for every row, 0 where there is none yet, and then the rows
(float32). A row counts only if its check is right: one that was half written by a process that was
killed, torn by a power cut, or altered is not there, and whoever needs it writes it again. Two
processes that write the same row write the same numbers. The disk's space is reserved when the file
is made, so that a full disk is noticed then and not in the middle of a training.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from kdray.machine.node_cache.folder import ALIGNMENT, folder, make_room, turn, warn

Index = NDArray[np.int64]
_ODD = np.uint32(0x9E3779B1)


class Table:
    """``rows`` rows of ``width`` float32."""

    def __init__(self, pages: mmap.mmap, rows: int, width: int) -> None:
        self._checks: NDArray[np.uint32] = np.frombuffer(pages, np.uint32, rows)
        self._rows: NDArray[np.float32] = np.frombuffer(
            pages, np.float32, rows * width, _begin(rows)
        ).reshape(rows, width)
        # Odd, so that no change of one number goes unnoticed.
        self._weights = (2 * np.arange(width, dtype=np.uint32) + 1) * _ODD

    @classmethod
    def shared(cls, key: str, rows: int, width: int, what: str) -> Table | None:
        """The node's table that ``key`` (letters and digits) tells from all others; none, with a
        warning, if there can be none.

        ``what`` the rows are, for the warning.
        """
        meanwhile = f"every trial asks for {what} anew in every epoch, and gets the same numbers"
        size = _begin(rows) + 4 * rows * width
        try:
            path = folder() / f"{key}.table"
            pages = _mapped(path, size)
            if pages is None:
                with turn(path.with_suffix(".lock")):
                    pages = _mapped(path, size) or _made(path, size)
        except OSError as error:
            warn(error, meanwhile)
            return None
        return cls(pages, rows, width)

    def has(self, index: Index) -> NDArray[np.bool_]:
        """Whether somebody has written the rows; a glance, which believes a damaged one."""
        there: NDArray[np.bool_] = self._checks[index] != 0
        return there

    def read(self, index: Index) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The rows, and whether each is as it was written."""
        values = self._rows[index]
        return values, self._checks[index] == self._check(index, values)

    def write(self, index: Index, values: NDArray[np.float32]) -> None:
        """Fill in rows."""
        self._rows[index] = values
        self._checks[index] = self._check(index, values)

    def _check(self, index: Index, values: NDArray[np.float32]) -> NDArray[np.uint32]:
        """Never 0; of equal values another in another row."""
        bits = values.view(np.uint32)
        # The upper half mixed into the lower one, in which numbers of 16 bits have nothing.
        summed: NDArray[np.uint32] = ((bits ^ bits >> np.uint32(16)) * self._weights).sum(
            1, dtype=np.uint32
        )
        summed += index.astype(np.uint32) * _ODD
        return np.where(summed == 0, np.uint32(1), summed)


def _begin(rows: int) -> int:
    """Where the rows begin, in bytes."""
    return 4 * rows + -4 * rows % ALIGNMENT


def _mapped(path: Path, size: int) -> mmap.mmap | None:
    """The file's pages; none if there is no such file."""
    try:
        with path.open("r+b") as file:
            # Held as long as the map, which duplicates the descriptor: who makes room leaves the
            # file alone.
            fcntl.flock(file, fcntl.LOCK_SH)
            os.utime(file.fileno())
            if os.fstat(file.fileno()).st_size == size:
                return mmap.mmap(file.fileno(), size)
    except FileNotFoundError:
        pass
    return None


def _made(path: Path, size: int) -> mmap.mmap:
    """A new file, all of it zero and all of it reserved; OSError where there is no room for it."""
    make_room(path.parent, size, at_any_size=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            _reserve(file, size)
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)
    pages = _mapped(path, size)
    if pages is None:
        raise OSError(errno.ESTALE, "somebody has deleted what was just made", str(path))
    return pages


def _reserve(file: IO[bytes], size: int) -> None:
    """Have the disk hold ``size`` bytes of zero; OSError where it cannot."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    for start in range(0, size, 2**20):  # macOS has no such call
        file.write(bytes(min(2**20, size - start)))
    file.flush()
