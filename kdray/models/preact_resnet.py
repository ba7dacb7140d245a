"""Residual networks with pre-activation for small images (He, Zhang, Ren, Sun 2016,
arXiv:1603.05027): the networks of most published adversarial training on CIFAR.

A 3x3 convolution of stride 1, four stages of basic blocks with 64, 128, 256, 512 channels, batch
norm, ReLU, global average pooling and a linear layer, as in the code of Rice, Wong, Kolter 2020
(arXiv:2002.11569). PreActResNet-18 has 11,172,170 parameters for three channels and ten classes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs
from kdray.models.noisy_layers import with_weight_noise
from kdray.perturbations.weight_noise import AnyWeightNoise

WIDTHS = (64, 128, 256, 512)
BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Of each stage, by depth; 10, the smallest of the family, is in no paper."""


class PreActResNet(Model):
    """PreActResNet-``depth`` with a stem for small images."""

    paper: ClassVar[str] = "none of the four papers; He et al. 2016b, as in Rice et al. 2020"
    small: ClassVar[dict[str, Json]] = {"depth": 10}

    name: Literal["preact_resnet"] = "preact_resnet"
    depth: Literal[10, 18, 34] = 18
    """Layers."""
    weight_noise: AnyWeightNoise | None = None
    """Learned noise on the weights, in training and in inference; none: no noise."""

    def build(self, shape: Shape, classes: int) -> Network:
        network = PreActResNetNetwork(shape[0], BLOCKS[self.depth], classes)
        return with_weight_noise(network, self.weight_noise)


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU-conv, added to its input (where the shape changes, to a 1x1 convolution
    of its first activation)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = (
            nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            if stride > 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = functional.relu(self.norm1(x))
        skipped = x if self.shortcut is None else self.shortcut(activated)
        added: Tensor = skipped + self.conv2(functional.relu(self.norm2(self.conv1(activated))))
        return added


class PreActResNetNetwork(Network):
    """A stage is the sum that its last block gives."""

    def __init__(self, channels: int, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, WIDTHS[0], 3, 1, 1, bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(before, after, stride), *(Block(after, after, 1) for _ in range(count - 1))
            )
            for (before, after), stride, count in zip(
                pairwise((WIDTHS[0], *WIDTHS)), (1, 2, 2, 2), blocks, strict=True
            )
        )
        self.norm = nn.BatchNorm2d(WIDTHS[-1])
        self.head = nn.Linear(WIDTHS[-1], classes)
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
