"""Wide residual networks (Zagoruyko, Komodakis 2016, arXiv:1605.07146), for small images.

WRN-d-k has d = 6·n + 4 layers: a 3x3 convolution, three stages of n pre-activation blocks with
16·k, 32·k, 64·k channels, batch norm, global average pooling and a linear layer. WRN-40-2 has
2,243,546 parameters and WRN-16-2 691,674 for three channels and ten classes (noisy_collaboration,
section 3).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs, Probability
from kdray.models.noisy_layers import with_weight_noise
from kdray.perturbations.weight_noise import AnyWeightNoise


class WideResNet(Model):
    """WRN-``depth``-``width``."""

    paper: ClassVar[str] = (
        "noisy_collaboration section 3; smoothed_models section 1.2 (Zagoruyko, Komodakis 2016)"
    )
    small: ClassVar[dict[str, Json]] = {"depth": 10, "width": 1}

    name: Literal["wide_resnet"] = "wide_resnet"
    depth: Annotated[int, Field(ge=10, le=2000)] = 16
    """Layers: 6·n + 4 (10, 16, 22, 28, 34, 40, …)."""
    width: Annotated[int, Field(ge=1, le=1000)] = 2
    """Multiplies the channels of every stage."""
    dropout: Probability = 0.0
    """Between the two convolutions of every block (the paper's own place); 0: no dropout."""
    weight_noise: AnyWeightNoise | None = None
    """Learned noise on the weights, in training and in inference; none: no noise."""

    @model_validator(mode="after")
    def _whole_blocks(self) -> WideResNet:
        if (self.depth - 4) % 6:
            raise ValueError(
                f"depth {self.depth} is not 6·n + 4 (allowed: 10, 16, 22, 28, 34, 40, …)"
            )
        return self

    def build(self, shape: Shape, classes: int) -> Network:
        network = WideResNetNetwork(
            shape[0], (self.depth - 4) // 6, self.width, classes, self.dropout
        )
        return with_weight_noise(network, self.weight_noise)


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU-dropout-conv, added to its input (through a 1x1 convolution where the
    shape changes)."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = (
            None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = functional.relu(self.norm1(x))
        # Where the shape changes, the shortcut starts after the activation, as in the authors'
        # code.
        skipped = x if self.shortcut is None else self.shortcut(activated)
        y = functional.relu(self.norm2(self.conv1(activated)))
        added: Tensor = skipped + self.conv2(self.dropout(y))
        return added


class WideResNetNetwork(Network):
    def __init__(
        self, channels: int, blocks: int, width: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        widths = (16, 16 * width, 32 * width, 64 * width)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(a if i == 0 else b, b, stride if i == 0 else 1, dropout)
                    for i in range(blocks)
                )
            )
            for a, b, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        embedding = functional.relu(self.norm(x)).mean((2, 3))
        return Outputs(self.head(embedding), tuple(stages), embedding)
