"""What a data set's tensors come from, beside its description and the code: files of the user's,
which may change.

Told from outside, without reading what may be gigabytes: a copy of the tensors is good for as long
as this stays as it is.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple


class Origin(NamedTuple):
    """A file or folder as it looks from outside."""

    digest: str
    """Of names, sizes and times."""
    size: int
    """Bytes of all files."""


def origin(place: Path) -> Origin | None:
    """None if something there is missing or cannot be opened, which whoever reads it will tell."""
    hasher, size, ahead = hashlib.sha256(), 0, [str(place)]
    seen: set[tuple[int, int]] = set()  # links can lead round in circles
    try:
        while ahead:
            path = ahead.pop()
            found = os.stat(path)  # noqa: PTH116
            # What keeps the time of the last write of a file that it overwrites (cp -p) cannot keep
            # st_ctime.
            told = (path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            hasher.update(repr(told).encode())
            if not stat.S_ISDIR(found.st_mode):
                size += found.st_size
            elif (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                ahead += sorted(entry.path for entry in os.scandir(path))
    except OSError:
        return None
    return Origin(hasher.hexdigest(), size)
