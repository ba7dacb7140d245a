"""Tensors and facts in one checked file: safetensors, with a digest of the tensors and JSON in its
header.

Nothing is unpickled; a truncated or altered file is recognised before any of it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from kdray.machine.node_cache import ALIGNMENT, SMALL, one_copy


class Damaged(Exception):
    """The bytes are not what was written."""


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """``tensors`` and ``facts`` (JSON values) as the bytes of one safetensors file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(facts)
    # One key, because safetensors writes several in any order.
    packed: bytes = safetensors.torch.save(
        plain, {"kdray": json.dumps({"facts": text, "digest": _digest(plain, text)})}
    )
    return packed


def unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What :func:`pack` was given; :class:`Damaged` if a bit of it changed."""
    text, digest = _header(data)
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from None
    if _digest(tensors, text) != digest:
        raise Damaged("its checksum does not match")
    return tensors, json.loads(text)


def require_trial(data: bytes, trial_id: str) -> None:
    """:class:`Damaged` if a file under the name of a trial says that it is another one's: folders
    are merged by copying, and a copy may have got another name."""
    require_fact(data, "trial_id", trial_id, "trial")


def require_fact(data: bytes, fact: str, expected: str, what: str) -> None:
    """:class:`Damaged` if a file says otherwise of what it is of; one that says nothing is
    believed."""
    found = json.loads(_header(data)[0]).get(fact, expected)
    if found != expected:
        raise Damaged(f"it is of {what} {found}")


def _header(data: bytes) -> tuple[str, str]:
    """The text of the facts in a file, and the checksum of all of it."""
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["kdray"])
        return header["facts"], header["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from None


def unpack_shared(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As :func:`unpack`, the tensors in memory that all processes of this node share, and aligned
    as torch's own.

    ``data`` are read by each and forgotten: a results folder on an object store serves as well as a
    local one, and no process depends on a file there that another may delete.
    """
    tensors, facts = unpack(data)
    if len(data) >= SMALL:
        key = hashlib.blake2b(data, digest_size=16).hexdigest()
        tensors = one_copy(key, partial(dict, tensors))
    # Those that are shared are aligned.
    return {
        name: one if one.data_ptr() % ALIGNMENT == 0 else one.clone()
        for name, one in tensors.items()
    }, facts


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    hasher = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        hasher.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()
