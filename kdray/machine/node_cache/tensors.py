"""One copy on a node of tensors that many processes read: a file on its local disk that every one
of them maps.

Where the folder cannot be had or the disk is full, every process holds a copy of its own, with the
same bits, and a warning says why. A map is copy-on-write: who writes into such a tensor changes it
for nobody else.

A file is the SHA-256 of all that follows, where the header begins (32 bytes), the tensors, and the
header (JSON: type, shape and place of each). Tensors begin at multiples of 64 bytes, as torch's own
do: products of matrices depend on it in the last bit.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdray.machine.node_cache.folder import ALIGNMENT, folder, make_room, turn, warn

SMALL = 2**18
"""Bytes; what is smaller is not worth a file."""
OWN = "every process holds its own copy of data and teachers"
DIGEST = hashlib.sha256().digest_size
TYPES = {
    str(kind): kind
    for kind in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}


def one_copy(
    key: str, make: Callable[[], dict[str, Tensor]], *, valid: Callable[[], bool] = lambda: True
) -> dict[str, Tensor]:
    """What ``make`` returns, which ``key`` (letters and digits) tells from all else: one process
    makes it, the others map it.

    The others wait meanwhile; where the one dies, the next makes it. What is not ``valid`` after it
    was made is not kept.
    """
    with ExitStack() as waiting:
        try:
            path = folder() / f"{key}.tensors"
            held = _mapped(path)
            if held is None:
                waiting.enter_context(turn(path.with_suffix(".lock")))
                held = _mapped(path)
        except OSError as error:
            warn(error, OWN)
            return make()
        if held is not None:
            return held
        made = make()
        try:
            if valid():
                _write(path, made)
                made = _mapped(path) or made
        except OSError as error:
            warn(error, OWN)
        return made


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
    make_room(path.parent, sum(tensor.nbytes for tensor in tensors.values()), at_any_size=True)
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
