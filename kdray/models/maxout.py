"""Maxout networks (Goodfellow et al. 2013, arXiv:1302.4389) in the sizes of robust_student, tables
VII and VIII.

Every hidden unit is the larger of two linear pieces. A network is three stages of convolutions that
end in max pooling (rounded up at the border), a fully connected maxout layer where there is one,
and a linear layer. The teachers are Maxout's own, the MNIST student is FitNets' (Romero et al.
2015), student 3 has 64 channels throughout its first stage: the counts that robust_student gives
belong to these and not to what its table VIII prints (readings.md, "Sizes").
"""

from __future__ import annotations

from math import pi, prod, sqrt
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from kdray.core import InputError, Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs, Probability


class Conv(NamedTuple):
    """Of stride 1, with zero padding on all sides."""

    units: int
    kernel: int = 3
    padding: int = 1


class Stage(NamedTuple):
    convs: tuple[Conv, ...]
    pool: int
    stride: int


class Architecture(NamedTuple):
    stages: tuple[Stage, ...]
    hidden: int | None
    """Units of the fully connected maxout layer."""


def _student(*units: tuple[int, ...]) -> Architecture:
    """3x3 convolutions of so many units in each stage, pooled 2x2, 2x2 and 8x8, and 500 units."""
    stages = (
        Stage(tuple(map(Conv, each)), pool, pool)
        for each, pool in zip(units, (2, 2, 8), strict=True)
    )
    return Architecture(tuple(stages), hidden=500)


ARCHITECTURES = {
    "teacher_cifar": Architecture(
        (
            Stage((Conv(96, 8, 4),), 4, 2),
            Stage((Conv(192, 8, 3),), 4, 2),
            Stage((Conv(192, 5, 3),), 2, 2),
        ),
        hidden=500,
    ),
    "teacher_mnist": Architecture(
        (
            Stage((Conv(48, 8, 0),), 4, 2),
            Stage((Conv(48, 8, 3),), 4, 2),
            Stage((Conv(24, 5, 3),), 2, 2),
        ),
        hidden=None,
    ),
    "student_mnist": Architecture(
        (
            Stage((Conv(16, 5, 0), Conv(16, 3, 0)), 4, 2),
            Stage((Conv(16, 5, 3), Conv(16, 3, 0)), 4, 2),
            Stage((Conv(12, 3, 3), Conv(12, 3, 0)), 2, 2),
        ),
        hidden=None,
    ),
    "student_1": _student((16, 16, 16), (32, 32, 32), (48, 48, 64)),
    "student_2": _student((16, 32, 32), (48, 64, 80), (96, 96, 128)),
    "student_3": _student((64, 64, 64, 64), (80, 80, 80, 80), (128, 128, 128)),
    "student_4": _student(
        (32, 32, 32, 48, 48), (80, 80, 80, 80, 80, 80), (128, 128, 128, 128, 128, 128)
    ),
}
"""Students 1, 2 and 4: table VIII. Units are those after the maximum: a layer has twice as many
pieces."""


class Maxout(Model):
    """One of the networks of robust_student."""

    paper: ClassVar[str] = (
        "robust_student section V.A and tables VII, VIII (Goodfellow et al. 2013, Romero "
        "et al. 2015)"
    )
    small: ClassVar[dict[str, Json]] = {"scale": 0.125}

    name: Literal["maxout"] = "maxout"
    network: Literal[
        "teacher_cifar",
        "teacher_mnist",
        "student_mnist",
        "student_1",
        "student_2",
        "student_3",
        "student_4",
    ]
    """mnist: for images of 28 x 28 pixels; the others: 32 x 32."""
    scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Multiplies the units of every hidden layer; 1: the published sizes."""
    dropout: Probability = 0.0
    """Of the inputs of fully connected layers; the paper names none. 0: no dropout."""

    def build(self, shape: Shape, classes: int) -> Network:
        return MaxoutNetwork(
            shape, scaled(ARCHITECTURES[self.network], self.scale), classes, self.dropout
        )


def scaled(architecture: Architecture, scale: float) -> Architecture:
    """``architecture`` with ``scale`` times its units, rounded, at least one."""

    def some(units: int) -> int:
        return max(1, round(units * scale))

    stages = (
        stage._replace(convs=tuple(conv._replace(units=some(conv.units)) for conv in stage.convs))
        for stage in architecture.stages
    )
    return Architecture(tuple(stages), architecture.hidden and some(architecture.hidden))


class LargerPiece(nn.Module):
    """max(z, z'), where the second half of the channels are the second pieces."""

    def forward(self, pieces: Tensor) -> Tensor:
        return torch.maximum(*pieces.chunk(2, dim=1))


class MaxoutNetwork(Network):
    def __init__(
        self, shape: Shape, architecture: Architecture, classes: int, dropout: float
    ) -> None:
        super().__init__()
        channels, *sides = shape
        self.stages = nn.ModuleList()
        for stage in architecture.stages:
            layers: list[nn.Module] = []
            for conv in stage.convs:
                layers += [
                    nn.Conv2d(channels, 2 * conv.units, conv.kernel, padding=conv.padding),
                    LargerPiece(),
                ]
                channels = conv.units
            self.stages.append(
                nn.Sequential(*layers, nn.MaxPool2d(stage.pool, stage.stride, ceil_mode=True))
            )
            sides = [_side(side, stage) for side in sides]
        if min(sides) < 1:
            raise InputError(
                f"network: images of {shape[1]} x {shape[2]} pixels are too small for it "
                "(those of mnist are made for "
                "28 x 28, the others for 32 x 32)"
            )
        inputs, units = channels * prod(sides), architecture.hidden
        self.hidden = nn.Sequential(nn.Dropout(dropout))
        if units is not None:
            self.hidden.extend([nn.Linear(inputs, 2 * units), LargerPiece(), nn.Dropout(dropout)])
        self.head = nn.Linear(units or inputs, classes)
        _initialise(self)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = images, []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        embedding = self.hidden(x.flatten(1))
        return Outputs(self.head(embedding), tuple(stages), embedding)


def _side(side: int, stage: Stage) -> int:
    """The side of the map that ``stage`` makes of one of ``side`` pixels; 0: it cannot."""
    for conv in stage.convs:
        side = max(0, side + 2 * conv.padding - conv.kernel + 1) if side else 0
    return max(0, -((stage.pool - side) // stage.stride) + 1) if side else 0


def _initialise(network: MaxoutNetwork) -> None:
    """Weights from N(0, 1 / fan in) and biases -1/√π, a fifth of both in the last two layers, and
    no bias in the last.

    E max(z, z')² = E z² for independent pieces of mean zero, so that gradients keep their size
    through all layers. E max(z, z') = 1/√π at variance 1 would be most of what later layers see:
    with biases of 0, SGD hardly moves student 4. At full size in the last layers, the paper's rate
    of 0.17 lets the teachers diverge in the first steps.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for i, layer in enumerate(reversed(layers)):
        size = 0.2 if i < 2 else 1.0
        nn.init.normal_(layer.weight, std=size / sqrt(layer.weight[0].numel()))
        nn.init.constant_(layer.bias, 0.0 if i == 0 else -size / sqrt(pi))  # type: ignore[arg-type]
