"""Residual networks of torchvision (He, Zhang, Ren, Sun 2016, arXiv:1512.03385, table 1) on small
images.

The stem is a 3x3 convolution of stride 1 without pooling, in the place of ImageNet's 7x7 of stride
2 with pooling. For three channels and ten classes ResNet-18 has 11,173,962 parameters, ResNet-34
21,282,122, ResNet-50 23,520,842. ResNet-10, one basic block a stage, is not in the paper: the
smallest of the family.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from kdray.core import Json
from kdray.data import Shape
from kdray.machine.torchvision import torchvision_part
from kdray.models.base import Model, Network, Outputs

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""Of each stage, by depth (table 1)."""


class ResNet(Model):
    """ResNet-``depth`` of torchvision, with a stem for small images."""

    paper: ClassVar[str] = "current_understanding table 3 (He et al. 2016)"
    small: ClassVar[dict[str, Json]] = {"depth": 10}

    name: Literal["resnet"] = "resnet"
    depth: Literal[10, 18, 34, 50] = 18
    """Layers; 50 has bottleneck blocks."""

    def build(self, shape: Shape, classes: int) -> Network:
        return ResNetNetwork(shape[0], self.depth, classes)


class ResNetNetwork(Network):
    def __init__(self, channels: int, depth: int, classes: int) -> None:
        super().__init__()
        resnet = torchvision_part("models.resnet")
        block = resnet.Bottleneck if depth == 50 else resnet.BasicBlock
        self.body = resnet.ResNet(block, list(BLOCKS[depth]), num_classes=classes)
        self.body.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(
            self.body.conv1.weight, mode="fan_out", nonlinearity="relu"
        )  # as all its convolutions
        self.body.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> Outputs:
        body, stages = self.body, []
        x = body.relu(body.bn1(body.conv1(images)))
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)
            stages.append(x)
        embedding = body.avgpool(x).flatten(1)
        return Outputs(body.fc(embedding), tuple(stages), embedding)
