"""Weights that somebody else trained, read from a file without running any code in it, and fitted
to the names of one of kdray's networks.

Read are safetensors and state dicts that ``torch.save`` wrote, also one that lies below one of
:data:`NESTED` in a checkpoint, and names that begin with some of :data:`PREFIXES`. What then has
another name or shape than the network is refused, with the nearest names.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError  # runs nothing
from typing import NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from kdray.core import InputError

NESTED = ("state_dict", "model", "model_state_dict", "net")
"""Where checkpoints keep the state dict."""
PREFIXES = ("module.", "model.", "network.")
"""What wrappers put before every name: DataParallel, Lightning, kdray."""
COUNTER = "num_batches_tracked"
"""What batch norm counts, and old files lack."""
SHOWN = 3
"""Names that a message quotes."""
DIGEST = "sha256:"


class Fitted(NamedTuple):
    """What of a file goes into a network."""

    tensors: dict[str, Tensor]
    """By the network's names, in its types; those that the file lacks are missing."""
    lacking: tuple[str, ...]
    """Names of the network that the file has no tensor of the same shape for."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by the names that it gives them; :class:`InputError` if there are none
    that can be read without running code."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if head.lstrip()[:1] == b"<":
        raise InputError(f"{path}: is a web page, not weights; download the file itself")
    try:
        if path.suffix == ".safetensors":
            tensors: dict[str, Tensor] = safetensors.torch.load(path.read_bytes())
            return tensors
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it is then refused for
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise InputError(f"{path}: is no safetensors file, or is damaged ({error})") from None
    except UnpicklingError as error:
        name = str(error).partition("GLOBAL ")[2].split(" ")[0]
        what = f"holds Python objects ({name})" if name else "is no file of torch.save"
        raise InputError(
            f"{path}: {what}, and is not loaded, because that could run code; save "
            "model.state_dict() alone, or safetensors"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: is no file of torch.save, or is damaged ({said})") from None
    return _state_dict(stored, path)


def _state_dict(stored: object, path: Path) -> dict[str, Tensor]:
    """The mapping from names to tensors in what a checkpoint holds."""
    for key in ("", *NESTED):
        found = stored.get(key) if key and isinstance(stored, Mapping) else stored
        if isinstance(found, Mapping) and any(isinstance(one, Tensor) for one in found.values()):
            return {str(name): one for name, one in found.items() if isinstance(one, Tensor)}
    keys = ", ".join(map(str, list(stored)[:8])) if isinstance(stored, Mapping) else ""
    what = f"a mapping with {keys}" if keys else f"a {type(stored).__name__}"
    raise InputError(
        f"{path}: holds no state dict, but {what} (looked at the top and below {', '.join(NESTED)})"
    )


def fit(tensors: Mapping[str, Tensor], network: nn.Module, path: Path) -> Fitted:
    """``tensors`` under the names of ``network``, where name and shape fit; all that the network
    has no place for is left out."""
    wanted = network.state_dict()
    renamed = _renamed(tensors, wanted)
    fitting = {
        name: renamed[name].to(like.dtype).contiguous()
        for name, like in wanted.items()
        if name in renamed and renamed[name].shape == like.shape
    }
    for name, one in fitting.items():
        if one.is_floating_point() and not one.isfinite().all():
            raise InputError(f"{path}: {name} holds numbers that are not finite")
    for name, like in wanted.items():
        if name.endswith(COUNTER) and name not in renamed:
            fitting[name] = torch.zeros(like.shape, dtype=like.dtype)
    return Fitted(fitting, tuple(name for name in wanted if name not in fitting))


def fit_all(tensors: Mapping[str, Tensor], network: nn.Module, path: Path, what: str) -> Fitted:
    """As :func:`fit`; :class:`InputError` unless every tensor has its place and every place its
    tensor. ``what`` the network is called in the message."""
    wanted = network.state_dict()
    fitted, renamed = fit(tensors, network, path), _renamed(tensors, network.state_dict())
    problems = [
        f"{name} is {_shape(renamed[name])} in the file, {_shape(wanted[name])} in the network"
        for name in fitted.lacking
        if name in renamed
    ]
    surplus = [name for name in renamed if name not in wanted]
    missing = [name for name in fitted.lacking if name not in renamed]
    problems += [f"the file has {_named(name, missing or list(wanted))}" for name in surplus]
    problems += [f"the file lacks {_named(name, surplus or list(renamed))}" for name in missing]
    if problems:
        more = len(problems) - SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise InputError(
            f"{path}: does not fit {what} ({len(tensors)} tensors for {len(wanted)}): "
            f"{'; '.join(problems[:SHOWN])}{rest}"
        )
    return fitted


def _renamed(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` without the prefixes that all their names share, and with those that all names of
    the network share, whichever fits most names."""
    best = dict(tensors)
    stripped = dict(tensors)
    shared = [
        prefix for prefix in PREFIXES if wanted and all(name.startswith(prefix) for name in wanted)
    ]
    while True:
        for candidate in (
            stripped,
            *({f"{prefix}{name}": one for name, one in stripped.items()} for prefix in shared),
        ):
            if len(candidate.keys() & wanted.keys()) > len(best.keys() & wanted.keys()):
                best = candidate
        prefix = next(
            (each for each in PREFIXES if all(name.startswith(each) for name in stripped)), None
        )
        if prefix is None or not stripped:
            return best
        stripped = {name.removeprefix(prefix): one for name, one in stripped.items()}


def _named(name: str, others: list[str]) -> str:
    near = get_close_matches(name, others, n=1, cutoff=0.4)
    return f"{name} (near: {near[0]})" if near else name


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bits of ``tensors``, whatever their order."""
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        plain = tensors[name].detach().cpu().contiguous()
        hasher.update(f"{name}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode())
        hasher.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return f"{DIGEST}{hasher.hexdigest()}"
