"""Residual networks for small images (He, Zhang, Ren, Sun 2016, arXiv:1512.03385, section 4.2).

ResNet-d has d = 6·n + 2 layers: a 3x3 convolution, three stages of n blocks with 16, 32 and 64
channels, global average pooling and a linear layer. Shortcuts have no weights, the paper's option
A: where the shape changes, every second pixel, and zeros for the new channels. ResNet-20 has
269,722 parameters for three channels and ten classes.

The literature on distillation (Tian et al. 2020, arXiv:1910.10699) has option B instead, a 1x1
convolution with batch norm, and calls the network of four times the channels behind a stem of 32
ResNet-8x4 or 32x4: ``width: 4, shortcut: convolution``, with 1,233,540 and 7,433,860 parameters for
a hundred classes.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs
from kdray.models.noisy_layers import with_weight_noise
from kdray.perturbations.weight_noise import AnyWeightNoise

WIDTHS = (16, 32, 64)
MAX_STEM = 32
"""Channels behind the first convolution, which are as many as those of the first stage below."""
Shortcut = Literal["padding", "convolution"]


class CifarResNet(Model):
    """ResNet-``depth`` for small images."""

    paper: ClassVar[str] = (
        "smoothed_models section 1.2 (Nemcovsky et al. 2020; He et al. 2016, section 4.2)"
    )
    small: ClassVar[dict[str, Json]] = {"depth": 8}

    name: Literal["cifar_resnet"] = "cifar_resnet"
    depth: Annotated[int, Field(ge=8, le=2000)] = 20
    """Layers: 6·n + 2 (8, 14, 20, 26, 32, …)."""
    width: Annotated[int, Field(ge=1, le=1000)] = 1
    """Multiplies the channels of every stage; the stem has 16, and 32 of more than 1."""
    shortcut: Shortcut = "padding"
    """Where the shape changes: every second pixel and empty channels (option A), or a 1x1
    convolution with batch norm (option B, in the literature on distillation)."""
    weight_noise: AnyWeightNoise | None = None
    """Learned noise on the weights, in training and in inference; none: no noise."""

    @model_validator(mode="after")
    def _whole_blocks(self) -> CifarResNet:
        if (self.depth - 2) % 6:
            raise ValueError(f"depth {self.depth} is not 6·n + 2 (allowed: 8, 14, 20, 26, 32, …)")
        return self

    def build(self, shape: Shape, classes: int) -> Network:
        network = CifarResNetNetwork(
            shape[0], (self.depth - 2) // 6, self.width, classes, self.shortcut
        )
        return with_weight_noise(network, self.weight_noise)


class Block(nn.Module):
    """conv-BN-ReLU-conv-BN, added to its input, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, shortcut: Shortcut = "padding"
    ) -> None:
        super().__init__()
        self.stride, self.new_channels = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
            if shortcut == "convolution" and (stride > 1 or self.new_channels)
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(self._skipped(x) + y)

    def _skipped(self, x: Tensor) -> Tensor:
        if self.shortcut is not None:
            projected: Tensor = self.shortcut(x)
            return projected
        return functional.pad(
            x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels)
        )


class CifarResNetNetwork(Network):
    def __init__(
        self, channels: int, blocks: int, width: int, classes: int, shortcut: Shortcut
    ) -> None:
        super().__init__()
        widths = tuple(width * each for each in WIDTHS)
        stem = min(widths[0], MAX_STEM)
        self.conv = nn.Conv2d(channels, stem, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(a if i == 0 else b, b, stride if i == 0 else 1, shortcut)
                    for i in range(blocks)
                )
            )
            for a, b, stride in zip((stem, *widths), widths, (1, 2, 2), strict=False)
        )
        self.head = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = functional.relu(self.norm(self.conv(images))), []
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        embedding = x.mean((2, 3))
        return Outputs(self.head(embedding), tuple(stages), embedding)
