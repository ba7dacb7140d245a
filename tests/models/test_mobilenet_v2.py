from __future__ import annotations

import pytest
import torch
from torch import nn

from kdray.models import Classifier, MobileNetV2, size, stage_shapes
from kdray.models.mobilenet_v2 import Block

DISTILLED = MobileNetV2(width=0.5, stem_stride=2, shortcut="identity")


@pytest.mark.parametrize(
    ("model", "classes", "parameters"),
    [(MobileNetV2(), 10, 2_296_922), (DISTILLED, 100, 812_836)],
    ids=["robust", "plain"],
)
def test_the_networks_are_those_of_the_literature(
    model: MobileNetV2, classes: int, parameters: int
) -> None:
    """Counted from kuangliu/pytorch-cifar 49b7aa9 and HobbitLong/RepDistiller b84f547."""
    network = model.build((3, 32, 32), classes)
    assert size(Classifier(network, nn.Identity()), (3, 32, 32)).parameters == parameters


def test_a_stem_of_stride_2_halves_all_stages() -> None:
    shapes = [stage_shapes(m, (3, 32, 32), 10) for m in (MobileNetV2(), DISTILLED)]
    assert [[stage[1] for stage in stages] for stages in shapes] == [[32, 16, 8, 4], [16, 8, 4, 2]]


@pytest.mark.parametrize(
    ("inputs", "outputs", "stride", "shortcut", "adds"),
    [
        (4, 4, 1, "identity", True),
        (4, 6, 1, "identity", False),
        (4, 6, 1, "convolution", True),
        (4, 4, 2, "convolution", False),
    ],
)
def test_what_a_block_is_added_to(
    inputs: int, outputs: int, stride: int, shortcut: str, adds: bool
) -> None:
    block = Block(inputs, outputs, 2, stride, shortcut).eval()  # type: ignore[arg-type]
    nn.init.zeros_(block.norm3.weight)
    assert bool(block(torch.randn(1, inputs, 4, 4)).any()) == adds
