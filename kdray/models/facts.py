"""What follows from the description of a network alone, asked before anything is trained."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdray.core import InputError, seeds, tag_of
from kdray.data import Shape
from kdray.models.base import Model, Network, Stochastic


class Described(NamedTuple):
    """What a network is built from: its model, and the data's image shape and number of classes."""

    model: Model
    shape: Shape
    classes: int


@lru_cache
def blueprint(model: Model, shape: Shape, classes: int) -> Network:
    """The network in eval mode without its numbers (on torch's device "meta"). Shared: leave it as
    it is."""
    with torch.device("meta"), _Unfilled():
        return model.build(shape, classes).eval()


class _Unfilled(TorchFunctionMode):
    """Leaves out what draws numbers: on "meta" torch's first such call loads a compiler, for
    seconds."""

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return (
            args[0]
            if function in (Tensor.normal_, Tensor.uniform_)
            else function(*args, **(kwargs or {}))
        )


def has_dropout(model: Model, shape: Shape, classes: int) -> bool:
    """Whether the network drops out anything in train mode."""
    return any(
        isinstance(each, nn.Dropout) and each.p > 0
        for each in blueprint(model, shape, classes).modules()
    )


def is_stochastic(model: Model, shape: Shape, classes: int) -> bool:
    """Whether two passes of one image differ in eval mode: noise on the model's input or on its
    weights."""
    return model.input_sigma > 0 or any(
        isinstance(each, Stochastic) for each in blueprint(model, shape, classes).modules()
    )


@lru_cache
def stage_shapes(model: Model, shape: Shape, classes: int) -> tuple[tuple[int, ...], ...]:
    """The shape of each stage for one image."""
    # On the CPU, with whatever is in its memory: on "meta" torch's first linear layer loads a
    # compiler, for seconds.
    network = _on_cpu(model, shape, classes)
    with torch.no_grad(), seeds.ambient(0, "model"):
        outputs = network(torch.zeros(1, *shape))
    if outputs.logits.shape != (1, classes):
        raise InputError(
            f"name: {tag_of(type(model))} answers an image with numbers of shape "
            f"{tuple(outputs.logits.shape[1:])}, where {classes} are needed, one for each class"
        )
    return tuple(tuple(stage.shape[1:]) for stage in outputs.stages)


def _on_cpu(model: Model, shape: Shape, classes: int) -> Network:
    """The network with arbitrary numbers; indices, which some have among their buffers, are 0."""
    network = deepcopy(blueprint(model, shape, classes)).to_empty(device="cpu")
    for buffer in network.buffers():
        if not buffer.is_floating_point():
            buffer.zero_()
    return network


@lru_cache
def smallest_batch(model: Model, shape: Shape, classes: int) -> int:
    """The fewest images that the network can be trained on at once: 2 where batch normalisation
    sees one value of a channel in each image."""
    network = _on_cpu(model, shape, classes).train()
    try:
        with torch.no_grad(), seeds.ambient(0, "model"):
            network(torch.zeros(1, *shape))
    except ValueError:  # torch's, of batch normalisation alone
        return 2
    return 1
