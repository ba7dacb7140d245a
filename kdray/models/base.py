"""What a model is: a frozen description that builds a network; its outputs are a value, its first
layers normalise."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from kdray.core import Json, Value, seeds
from kdray.data import ImageData, Shape

Probability = Annotated[float, Field(ge=0, lt=1)]


class Outputs(NamedTuple):
    """What a network says of a batch."""

    logits: Float[Tensor, "B K"]
    stages: tuple[Tensor, ...]
    """The feature maps (or vectors) after each stage, input side first."""
    embedding: Float[Tensor, "B D"]
    """The input of the last linear layer."""


class Network(nn.Module):
    """Maps normalised images (B, C, H, W) to :class:`Outputs`."""

    def forward(self, images: Tensor) -> Outputs:
        raise NotImplementedError


class Stochastic(nn.Module):
    """A layer that draws (from torch's global generator) in every forward pass, in eval mode as
    well."""


class Model(Value):
    """The description of a network, without the data that fix its input and output size."""

    paper: ClassVar[str]
    """Where the network is written down."""
    small: ClassVar[dict[str, Json]] = {}
    """What ``--smoke`` changes of the fields to get the smallest network of the family."""

    input_sigma: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of Gaussian noise that the model itself adds to its image (in [0, 1], not
    clipped) at every forward pass, in training and in inference (randomized smoothing's base
    classifier); 0: none."""

    @abstractmethod
    def build(self, shape: Shape, classes: int) -> Network:
        """An untrained network for images of ``shape``, initialised from torch's global
        generator."""


class InputNoise(Stochastic):
    """x + δ, δ ~ N(0, σ²), at every forward pass."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, images: Tensor) -> Tensor:
        return images + self.sigma * torch.randn_like(images)


class Classifier(nn.Module):
    """A network behind its normalisation: images in [0, 1] in, :class:`Outputs` out.

    Every attack and corruption works in pixel space because the normalisation is inside.
    """

    def __init__(
        self, network: Network, normalization: nn.Module, *, input_sigma: float = 0.0
    ) -> None:
        super().__init__()
        self.input_noise = InputNoise(input_sigma) if input_sigma > 0 else nn.Identity()
        self.normalization = normalization
        self.network = network

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def forward(self, images: Tensor) -> Outputs:
        outputs: Outputs = self.network(self.normalization(self.input_noise(images)))
        if torch.is_autocast_enabled(images.device.type):
            return outputs._replace(logits=outputs.logits.float())  # losses are computed of them
        return outputs

    def logits(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        outputs: Outputs = self(images)
        return outputs.logits


def build(model: Model, data: ImageData, normalization: nn.Module, seed: int) -> Classifier:
    """An untrained classifier of ``model`` behind ``normalization``, initialised from the seed's
    "model" stream."""
    with seeds.ambient(seed, "model"):
        return Classifier(
            model.build(data.shape, data.classes), normalization, input_sigma=model.input_sigma
        )
