"""VGG for small images, with batch norm (Simonyan, Zisserman 2015, arXiv:1409.1556, table 1), in
the form of the literature on distillation.

Five stages of 3x3 convolutions with batch norm and ReLU; 2x2 max pooling after the first three, and
after the fourth of images of 64 pixels and more; global average pooling and one linear layer in the
place of the paper's three (Tian et al. 2020, arXiv:1910.10699, whose networks these are). For three
channels and a hundred classes VGG-8 has 3,965,028 parameters, VGG-13 9,462,180 and VGG-16
14,774,436.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn

from kdray.core import Json
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each stage."""
CONVOLUTIONS = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Of each stage, by depth, which counts the paper's three linear layers; 8 is not in the paper."""
POOLED_FOUR_TIMES = 64
"""Pixels of a side from which the fourth stage is pooled as well."""


class VGG(Model):
    """VGG-``depth`` with batch norm."""

    paper: ClassVar[str] = (
        "none of the four papers; Simonyan, Zisserman 2015, as in Tian et al. 2020"
    )
    small: ClassVar[dict[str, Json]] = {"depth": 8}

    name: Literal["vgg"] = "vgg"
    depth: Literal[8, 11, 13, 16, 19] = 8
    """Layers, with the two linear ones that these networks leave out."""

    def build(self, shape: Shape, classes: int) -> Network:
        return VGGNetwork(shape, self.depth, classes)


class VGGNetwork(Network):
    """A stage is what its last ReLU gives, before it is pooled."""

    def __init__(self, shape: Shape, depth: int, classes: int) -> None:
        super().__init__()
        self.poolings = 4 if min(shape[1:]) >= POOLED_FOUR_TIMES else 3
        self.stages = nn.ModuleList(
            _stage(before, after, convolutions)
            for (before, after), convolutions in zip(
                pairwise((shape[0], *WIDTHS)), CONVOLUTIONS[depth], strict=True
            )
        )
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, 0, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = images, []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            stages.append(x)
            if number < self.poolings:
                x = self.pool(x)
        embedding = x.mean((2, 3))
        return Outputs(self.head(embedding), tuple(stages), embedding)


def _stage(before: int, after: int, convolutions: int) -> nn.Sequential:
    """Convolutions with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layers += [
            nn.Conv2d(before if number == 0 else after, after, 3, 1, 1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
