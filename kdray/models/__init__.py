"""Models. A new family is a file with a subclass of :class:`Model` and its network, and its name in :data:`AnyModel`."""

from typing import Annotated

from pydantic import Field

from kdray.models.base import Classifier, Model, Network, Outputs, build
from kdray.models.mlp import MLP
from kdray.models.sizes import Size, images_per_second, size
from kdray.models.wide_resnet import WideResNet

AnyModel = Annotated[MLP | WideResNet, Field(discriminator="name")]

__all__ = [
    "MLP", "AnyModel", "Classifier", "Model", "Network", "Outputs", "Size", "WideResNet", "build", "images_per_second",
    "size",
]  # fmt: skip
