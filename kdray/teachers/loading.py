"""Trained classifiers from their stored weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdray.data import ImageData
from kdray.machine.checked_file import Damaged, unpack, unpack_shared
from kdray.models import Classifier, Model, build


def load_classifier(
    model: Model, data: ImageData, normalization: nn.Module, packed: bytes, device: torch.device
) -> Classifier:
    """The trained classifier whose stored weights are ``packed``, in eval mode and without
    parameter gradients.

    Raises :class:`kdray.machine.checked_file.Damaged` if the bytes are not intact or belong to
    another model.
    """
    return _loaded(
        build(model, data, normalization, seed=0), unpack(packed)[0], device, assign=False
    )


def load_teacher(
    model: Model, data: ImageData, normalization: nn.Module, packed: bytes, device: torch.device
) -> Classifier:
    """As :func:`load_classifier`; processes on one node that ask the same teacher on its CPUs hold
    its weights once."""
    if device.type != "cpu":
        return load_classifier(model, data, normalization, packed, device)
    return _loaded(
        build(model, data, normalization, seed=0), unpack_shared(packed)[0], device, assign=True
    )


def _loaded(
    classifier: Classifier, tensors: Mapping[str, Tensor], device: torch.device, *, assign: bool
) -> Classifier:
    """``classifier`` with the values of ``tensors``, or, to ``assign``, with the tensors
    themselves."""
    try:
        classifier.load_state_dict(tensors, assign=assign)
    except RuntimeError as error:
        raise Damaged(str(error).splitlines()[0]) from None
    return frozen(classifier.to(device))


def frozen(classifier: Classifier) -> Classifier:
    """``classifier`` in eval mode, with gradients for its input only."""
    return classifier.eval().requires_grad_(False)
