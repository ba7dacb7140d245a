"""One copy on a node of tensors that many processes read: a file on its local disk that every one of them maps.

The files are in the user's own folder ``kdray-UID``, below ``KDRAY_CACHE`` or else the system's folder for temporary files.
Where that cannot be had or the disk is full, every process holds a copy of its own, with the same bits, and a warning says
why. A map is copy-on-write: who writes into such a tensor changes it for nobody else.

A file is the SHA-256 of all that follows, where the header begins (32 bytes), the tensors, and the header (JSON: type, shape
and place of each). Tensors begin at multiples of 64 bytes, as torch's own do: products of matrices depend on it in the last
bit.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
import stat
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SMALL = 2**18
"""Bytes; what is smaller is not worth a file."""
MOST = 4 * 2**30
"""Bytes of all files together. The least recently used go first, those in use stay, the newest is kept however large it is."""
ABANDONED = 3600.0
"""Seconds without a change after which nobody is still writing a file."""
ALIGNMENT = 64
DIGEST = hashlib.sha256().digest_size
TYPES = {
    str(kind): kind
    for kind in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.bfloat16, torch.float32, torch.float64,
    )
}  # fmt: skip


class NotShared(UserWarning):
    """Every process holds a copy of its own; the numbers are the same."""


def one_copy(
    key: str, make: Callable[[], dict[str, Tensor]], *, valid: Callable[[], bool] = lambda: True
) -> dict[str, Tensor]:
    """What ``make`` returns, which ``key`` (letters and digits) tells from all else: one process makes it, the others map it.

    The others wait meanwhile; where the one dies, the next makes it. What is not ``valid`` after it was made is not kept.
    """
    with ExitStack() as turn:
        try:
            path = _folder() / f"{key}.tensors"
            held = _mapped(path)
            if held is None:
                turn.enter_context(_turn(path.with_suffix(".lock")))
                held = _mapped(path)
        except OSError as error:
            _warn(error)
            return make()
        if held is not None:
            return held
        made = make()
        try:
            if valid():
                _write(path, made)
                made = _mapped(path) or made
        except OSError as error:
            _warn(error)
        return made


def _folder() -> Path:
    """The folder of the files, made if need be; OSError if others could write to it."""
    above = Path(os.environ.get("KDRAY_CACHE") or tempfile.gettempdir()).expanduser().absolute()
    above.mkdir(parents=True, exist_ok=True)
    folder = above / f"kdray-{os.geteuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "is no folder that you alone can write to", str(folder))
    return folder


def _warn(error: OSError) -> None:
    place = f"{error.filename}: " if error.filename else ""
    warnings.warn(
        f"{place}{error.strerror or error}: every process holds its own copy of data and teachers "
        f"(set KDRAY_CACHE to a folder on this machine's disk)",
        NotShared,
        stacklevel=3,
    )


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """Wait until no other process has its turn. The kernel ends that of a process that dies."""
    with lock.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Who waits has it open already, who comes later makes a new one; both look for the file first.
            with suppress(OSError):
                lock.unlink()


def _mapped(path: Path) -> dict[str, Tensor] | None:
    """The tensors in a file; none if it is missing or not as it was written."""
    try:
        with path.open("rb") as file:
            # Held as long as there are tensors on the map, which duplicates the descriptor.
            fcntl.flock(file, fcntl.LOCK_SH)
            os.utime(file.fileno())
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (FileNotFoundError, ValueError):  # ValueError: it is empty
        return None
    content = memoryview(pages)
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return None
    header = json.loads(bytes(content[int.from_bytes(content[DIGEST:ALIGNMENT], "little") :]))
    return {name: _tensor(pages, *place) for name, place in header.items()}


def _tensor(pages: mmap.mmap, kind: str, shape: list[int], offset: int) -> Tensor:
    count = torch.Size(shape).numel()
    if count == 0:
        return torch.empty(shape, dtype=TYPES[kind])
    return torch.frombuffer(pages, dtype=TYPES[kind], count=count, offset=offset).view(shape)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the file, which appears whole under its name."""
    _make_room(path.parent, sum(tensor.nbytes for tensor in tensors.values()))
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            hasher = hashlib.sha256()
            file.write(bytes(DIGEST))
            for part in _parts(tensors):
                file.write(part)
                hasher.update(part)
            file.seek(0)
            file.write(hasher.digest())
            file.flush()
            Path(file.name).replace(path)
        finally:
            Path(file.name).unlink(missing_ok=True)


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """The bytes of the file after its digest."""
    header: dict[str, Any] = {}
    end = ALIGNMENT
    for name, tensor in tensors.items():
        header[name] = (str(tensor.dtype), list(tensor.shape), end)
        end += tensor.nbytes + -tensor.nbytes % ALIGNMENT
    yield end.to_bytes(ALIGNMENT - DIGEST, "little")
    for tensor in tensors.values():
        yield tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data
        yield bytes(-tensor.nbytes % ALIGNMENT)
    yield json.dumps(header).encode()


def _make_room(folder: Path, needed: int) -> None:
    """Delete what died with its process and what :data:`MOST` has no room for; OSError if half the free disk is not enough."""
    files = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # somebody else has deleted it
            found = path.stat()
            if path.suffix == ".tensors":
                files.append((found.st_mtime, found.st_size, path))
            elif time.time() - found.st_mtime > ABANDONED:
                path.unlink()
    total = needed + sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total > MOST and _deleted(path):
            total -= size
    if shutil.disk_usage(folder).free < 2 * needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _deleted(path: Path) -> bool:
    """Delete a file unless a process has it mapped."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    return True
