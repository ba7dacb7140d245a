"""A plain small convolutional network: 3 x 3 convolutions with ReLU, each followed by 2 x 2 max
pooling, then fully connected layers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from kdray.core import InputError, Json, Several
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs, Probability

Width = Annotated[int, Field(ge=1, le=1_000_000)]


class CNN(Model):
    """Convolutions with ReLU and max pooling, and a fully connected head: LeNet's shape."""

    paper: ClassVar[str] = "none of the four papers; LeCun et al. 1998, section II.B, with ReLU"
    small: ClassVar[dict[str, Json]] = {"channels": [4], "hidden": 16}

    name: Literal["cnn"] = "cnn"
    channels: Annotated[Several[Width], Field(min_length=1)] = (32, 64)
    """Of each 3 x 3 convolution, input side first; each halves the side of the image (rounded
    down)."""
    batch_norm: bool = False
    """Batch normalisation after each convolution."""
    hidden: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    """Units of the fully connected layer before the last; 0: none."""
    dropout: Probability = 0.0
    """Probability that what enters the last layer is set to zero; 0: no dropout."""

    def build(self, shape: Shape, classes: int) -> Network:
        side = min(shape[1:]) >> len(self.channels)
        if side < 1:
            raise InputError(
                f"channels: {len(self.channels)} poolings leave nothing of {shape[1]} x {shape[2]} "
                f"pixels (allowed: at most {min(shape[1:]).bit_length() - 1})"
            )
        return CNNNetwork(self, shape, classes)


class CNNNetwork(Network):
    """A stage is what a pooling gives, and the hidden layer."""

    def __init__(self, model: CNN, shape: Shape, classes: int) -> None:
        super().__init__()
        widths = (shape[0], *model.channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1, bias=not model.batch_norm),
                *([nn.BatchNorm2d(after)] if model.batch_norm else []),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            for before, after in zip(widths, model.channels, strict=False)
        )
        height, width = (side >> len(model.channels) for side in shape[1:])
        features = model.channels[-1] * height * width
        self.hidden = (
            nn.Sequential(nn.Linear(features, model.hidden), nn.ReLU()) if model.hidden else None
        )
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(model.hidden or features, classes)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = images, []
        for block in self.blocks:
            x = block(x)
            stages.append(x)
        x = x.flatten(1)
        if self.hidden is not None:
            x = self.hidden(x)
            stages.append(x)
        x = self.dropout(x)
        return Outputs(self.head(x), tuple(stages), x)
