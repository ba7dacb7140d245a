"""A student that starts from weights that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from torch import Tensor

from kdray.core import InputError, Value
from kdray.models import Described, blueprint
from kdray.teachers.weights_file import fit, fit_all, read_tensors


class Init(Value):
    """Weights that a training starts from, in the place of random ones."""

    weights: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """In a sweep file the path of the file, below that of the sweep, as of a teacher that was
    trained elsewhere; it is known by the digest of the tensors that are taken."""
    partial: bool = False
    """Take those whose names and shapes fit, and leave the others random (the last layer, of other
    classes); else all must fit."""


def initial_tensors(path: Path, network: Described, *, partial: bool) -> dict[str, Tensor]:
    """The tensors of a file that a student of ``network`` starts from; :class:`InputError` if none
    fits, or, but in part, not all."""
    empty = blueprint(*network)
    if not partial:
        return fit_all(read_tensors(path), empty, path, network.model.name).tensors  # type: ignore[attr-defined]
    tensors = fit(read_tensors(path), empty, path).tensors
    learned = {name for name, _ in empty.named_parameters()}
    if learned.isdisjoint(tensors):
        raise InputError(f"{path}: no tensor has the name and shape of one of the network's")
    return tensors
