"""MobileNetV2 for small images (Sandler et al. 2018, arXiv:1801.04381, table 2), in the two forms
in which it is a student in the literature.

The paper's second stage of stride 2 has stride 1 in both. As it stands, the stem has stride 1, and
a block of stride 1 that changes the channels has a 1x1 convolution with batch norm as its shortcut:
the student of robust distillation (kuangliu/pytorch-cifar; Goldblum et al. 2020, arXiv:1905.09747),
with 2,296,922 parameters for three channels and ten classes. With ``width: 0.5, stem_stride: 2,
shortcut: identity`` it is the student of plain distillation (Tian et al. 2020, arXiv:1910.10699):
812,836 for a hundred classes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs

STEM, LAST = 32, 1280
"""Channels behind the first convolution, and before the linear layer."""


class Blocks(NamedTuple):
    """A row of the paper's table 2."""

    expansion: int
    channels: int
    repeats: int
    stride: int


TABLE = (
    Blocks(1, 16, 1, 1),
    Blocks(6, 24, 2, 1),  # the paper: 2, of images of 224 pixels
    Blocks(6, 32, 3, 2),
    Blocks(6, 64, 4, 2),
    Blocks(6, 96, 3, 1),
    Blocks(6, 160, 3, 2),
    Blocks(6, 320, 1, 1),
)
STAGES = (1, 2, 4, 6)
"""The rows after which a hidden stage is told: the last of each size of the feature maps."""
Shortcut = Literal["convolution", "identity"]


class MobileNetV2(Model):
    """MobileNetV2 with a stem for small images."""

    paper: ClassVar[str] = (
        "none of the four papers; Sandler et al. 2018, as in Goldblum et al. 2020, Tian et al. 2020"
    )
    small: ClassVar[dict[str, Json]] = {"width": 0.25}

    name: Literal["mobilenet_v2"] = "mobilenet_v2"
    width: Annotated[float, Field(ge=0.1, le=100)] = 1.0
    """Multiplies the channels of every layer, rounded down; of the last convolution's 1,280 only
    above 1."""
    stem_stride: Literal[1, 2] = 1
    """Of the first convolution."""
    shortcut: Shortcut = "convolution"
    """What a block of stride 1 that changes the channels is added to: a 1x1 convolution with batch
    norm of its input, or (identity) nothing, as in the paper."""

    def build(self, shape: Shape, classes: int) -> Network:
        return MobileNetV2Network(self, shape[0], classes)


class Block(nn.Module):
    """1x1 convolution to more channels, 3x3 in each channel, 1x1 to fewer: each with batch norm,
    and ReLU but after the last."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv1 = nn.Conv2d(inputs, wide, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.norm2 = nn.BatchNorm2d(wide)
        self.conv3 = nn.Conv2d(wide, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.adds = stride == 1 and (inputs == outputs or shortcut == "convolution")
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
            if self.adds and inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.adds:
            y = y + self.shortcut(x)
        return y


class MobileNetV2Network(Network):
    def __init__(self, model: MobileNetV2, channels: int, classes: int) -> None:
        super().__init__()
        inputs = int(STEM * model.width)
        self.stem = nn.Conv2d(channels, inputs, 3, model.stem_stride, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(inputs)
        self.rows = nn.ModuleList()
        for expansion, width, count, stride in TABLE:
            outputs = int(width * model.width)
            self.rows.append(
                nn.Sequential(
                    Block(inputs, outputs, expansion, stride, model.shortcut),
                    *(
                        Block(outputs, outputs, expansion, 1, model.shortcut)
                        for _ in range(count - 1)
                    ),
                )
            )
            inputs = outputs
        last = int(LAST * max(1.0, model.width))
        self.last = nn.Conv2d(inputs, last, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(last)
        self.head = nn.Linear(last, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.weight, 0, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = functional.relu(self.stem_norm(self.stem(images))), []
        for number, row in enumerate(self.rows):
            x = row(x)
            if number in STAGES:
                stages.append(x)
        embedding = functional.relu(self.last_norm(self.last(x))).mean((2, 3))
        return Outputs(self.head(embedding), tuple(stages), embedding)
