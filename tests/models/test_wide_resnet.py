from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.models import WideResNet
from kdray.models.wide_resnet import Block


def network(depth: int = 10, width: int = 1, channels: int = 3, **fields: float) -> nn.Module:
    return WideResNet(depth=depth, width=width, **fields).build((channels, 32, 32), 10)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depth", "blocks"), [(10, 1), (16, 2), (22, 3), (28, 4), (34, 5), (40, 6)]
)
def test_a_depth_of_6n_plus_4_has_n_blocks_of_two_convolutions_in_each_stage(
    depth: int, blocks: int
) -> None:
    built = network(depth)
    stages = [
        [module for module in stage.modules() if isinstance(module, Block)]
        for stage in built.stages
    ]  # type: ignore[union-attr,operator]
    assert [len(stage) for stage in stages] == [blocks] * 3
    threes = [m for m in built.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(threes) == 1 + 6 * blocks


@pytest.mark.parametrize(("width", "shortcuts"), [(1, 2), (2, 3), (4, 3)])
def test_shortcuts_are_convolved_only_where_the_channels_change(width: int, shortcuts: int) -> None:
    found = [
        m
        for m in network(width=width).modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
    ]
    assert len(found) == shortcuts


@pytest.mark.parametrize("depth", [4, 9, 11, 12, 15, 17, 18, 41])
def test_a_depth_that_is_not_6n_plus_4_is_refused(depth: int) -> None:
    with pytest.raises(InputError, match=rf"depth.*{depth}"):
        parse(WideResNet, {"name": "wide_resnet", "depth": depth})


def test_stages_have_the_papers_channels_and_halve_the_image_twice() -> None:
    outputs = network(width=2)(torch.rand(2, 3, 32, 32))
    assert [tuple(stage.shape) for stage in outputs.stages] == [
        (2, 32, 32, 32),
        (2, 64, 16, 16),
        (2, 128, 8, 8),
    ]
    assert outputs.embedding.shape == (2, 128)


def test_the_embedding_is_the_average_of_the_normalised_last_stage() -> None:
    built = network().eval()
    outputs = built(torch.rand(2, 3, 32, 32))
    activated = functional.relu(built.norm(outputs.stages[-1]))  # type: ignore[operator]
    assert torch.allclose(outputs.embedding, activated.flatten(2).mean(2), atol=1e-6)


def test_a_block_adds_two_convolutions_to_its_input() -> None:
    block, x = Block(4, 4, 1, 0.0).eval(), torch.randn(2, 4, 5, 5)
    inner = block.conv1(functional.relu(block.norm1(x)))
    assert torch.equal(block(x), x + block.conv2(functional.relu(block.norm2(inner))))


def test_a_block_that_changes_shape_starts_its_shortcut_after_the_activation() -> None:
    block, x = Block(4, 6, 2, 0.0).eval(), torch.randn(2, 4, 6, 6)
    activated = functional.relu(block.norm1(x))
    assert block.shortcut is not None
    added = block.shortcut(activated) + block.conv2(
        functional.relu(block.norm2(block.conv1(activated)))
    )
    assert torch.equal(block(x), added)
    assert added.shape == (2, 6, 3, 3)


def test_dropout_is_between_the_two_convolutions_only() -> None:
    block, x = Block(4, 4, 1, 0.5).train(), torch.randn(2, 4, 5, 5)
    assert not torch.equal(block(x), block(x))
    assert (
        block(x) - x != 0
    ).all()  # the second convolution mixes what was dropped with what was not
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)


def test_convolutions_start_with_the_variance_of_he_by_fan_out() -> None:
    built = WideResNet(depth=10, width=4).build((3, 32, 32), 10)
    for module in built.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().var()) == pytest.approx(2 / fan_out, rel=0.08)
    assert built.head.bias.abs().sum() == 0  # type: ignore[operator,union-attr]


def test_grey_images_need_a_grey_stem_only() -> None:
    grey, colour = network(channels=1), network(channels=3)
    sizes = [sum(p.numel() for p in built.parameters()) for built in (grey, colour)]
    assert sizes[1] - sizes[0] == 2 * 16 * 9
