from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.models import CifarResNet, Classifier, Network, size, stage_shapes
from kdray.models.cifar_resnet import Block
from kdray.models.facts import blueprint

COLOUR = (3, 32, 32)


def network(depth: int = 8) -> Network:
    return CifarResNet(depth=depth).build(COLOUR, 10)


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (32, 464_154), (56, 853_018)])
def test_the_papers_sizes(depth: int, parameters: int) -> None:
    """0.27M, 0.46M and 0.85M in He et al.'s table 6."""
    assert size(Classifier(network(depth), nn.Identity()), COLOUR).parameters == parameters


@pytest.mark.parametrize(
    ("depth", "width", "parameters"), [(20, 1, 278_324), (8, 4, 1_233_540), (32, 4, 7_433_860)]
)
def test_the_sizes_of_the_literature_on_distillation(
    depth: int, width: int, parameters: int
) -> None:
    """Counted from the code of Tian et al. 2020 (HobbitLong/RepDistiller b84f547), 100 classes."""
    model = CifarResNet(depth=depth, width=width, shortcut="convolution")
    found = size(Classifier(model.build(COLOUR, 100), nn.Identity()), COLOUR)
    assert found.parameters == parameters


def test_a_width_of_four_has_a_stem_of_32_channels() -> None:
    assert blueprint(CifarResNet(depth=8, width=4), COLOUR, 10).conv.weight.shape[0] == 32  # type: ignore[union-attr,index]
    assert stage_shapes(CifarResNet(depth=8, width=4), COLOUR, 10) == (
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
    )


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (14, 2), (20, 3), (32, 5)])
def test_a_depth_of_6n_plus_2_has_n_blocks_of_two_convolutions_in_each_stage(
    depth: int, blocks: int
) -> None:
    built = network(depth)
    assert [len(stage) for stage in built.stages] == [blocks] * 3  # type: ignore[union-attr]
    assert len([m for m in built.modules() if isinstance(m, nn.Conv2d)]) == 1 + 6 * blocks


def test_stages_have_the_papers_channels_and_halve_the_image_twice() -> None:
    assert stage_shapes(CifarResNet(depth=8), COLOUR, 10) == (
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    )


@pytest.mark.parametrize("depth", [2, 6, 7, 9, 10, 16, 18])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth: int) -> None:
    with pytest.raises(InputError, match=rf"depth.*{depth}"):
        parse(CifarResNet, {"name": "cifar_resnet", "depth": depth})


def residual(block: Block, x: torch.Tensor) -> torch.Tensor:
    inner: torch.Tensor = block.norm2(block.conv2(functional.relu(block.norm1(block.conv1(x)))))
    return inner


def test_a_block_adds_two_convolutions_to_its_input_before_the_last_activation() -> None:
    block, x = Block(4, 4, 1).eval(), torch.randn(2, 4, 5, 5)
    assert torch.equal(block(x), functional.relu(x + residual(block, x)))


@pytest.mark.parametrize("side", [5, 6])
def test_a_shortcut_that_changes_shape_takes_every_second_pixel_and_adds_empty_channels(
    side: int,
) -> None:
    block, x = Block(4, 6, 2).eval(), torch.randn(2, 4, side, side)
    added = residual(block, x)
    added[:, :4] += x[:, :, ::2, ::2]
    assert torch.equal(block(x), functional.relu(added))
    assert not [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]


def test_the_embedding_is_the_average_of_the_last_stage() -> None:
    outputs = network().eval()(torch.rand(2, *COLOUR))
    torch.testing.assert_close(outputs.embedding, outputs.stages[-1].mean((2, 3)))


def test_convolutions_start_with_the_variance_of_he_by_fan_out() -> None:
    for module in network(20).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().var()) == pytest.approx(2 / fan_out, rel=0.08)
