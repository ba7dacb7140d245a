"""What a model is: a frozen description that builds a network; its outputs are a value, its first layer normalises."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float32
from pydantic import Field
from torch import Tensor, nn

from kdray import seeds
from kdray.core import Value
from kdray.data import Dataset, ImageData, Shape

Probability = Annotated[float, Field(ge=0, lt=1)]


class Outputs(NamedTuple):
    """What a network says of a batch."""

    logits: Float32[Tensor, "B K"]
    stages: tuple[Tensor, ...]
    """The feature maps (or vectors) after each stage, input side first."""
    embedding: Float32[Tensor, "B D"]
    """The input of the last linear layer."""


class Network(nn.Module):
    """Maps normalised images (B, C, H, W) to :class:`Outputs`."""

    def forward(self, images: Tensor) -> Outputs:
        raise NotImplementedError


class Model(Value):
    """The description of a network, without the data that fix its input and output size."""

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> Network:
        """An untrained network for images of ``shape``, initialised from torch's global generator."""


class Classifier(nn.Module):
    """A network behind its normalisation: images in [0, 1] in, :class:`Outputs` out.

    Every attack and corruption works in pixel space because the normalisation is inside.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, mean: Float32[Tensor, "C"], std: Float32[Tensor, "C"]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.view(1, -1, 1, 1).clone())
        self.register_buffer("std", std.view(1, -1, 1, 1).clone())

    def forward(self, images: Tensor) -> Outputs:
        outputs: Outputs = self.network((images - self.mean) / self.std)
        return outputs

    def logits(self, images: Float32[Tensor, "B C H W"]) -> Float32[Tensor, "B K"]:
        outputs: Outputs = self(images)
        return outputs.logits


def build(model: Model, data: ImageData, dataset: Dataset | None, seed: int) -> Classifier:
    """An untrained classifier of ``model`` for ``data``, initialised from the seed's "model" stream.

    Without a ``dataset`` the normalisation is left for the weights that are about to be loaded.
    """
    channels = data.shape[0]
    mean, std = torch.zeros(channels), torch.ones(channels)
    if dataset is not None and data.normalization == "standardize":
        mean, std = dataset.mean, dataset.std
    with seeds.ambient(seed, "model"):
        return Classifier(model.build(data.shape, data.classes), mean, std)
