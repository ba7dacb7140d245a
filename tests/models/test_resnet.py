from __future__ import annotations

import pytest
import torch
from torch import nn

from kdray.core import InputError, parse
from kdray.models import Classifier, Network, ResNet, Size, size, stage_shapes
from kdray.models.facts import blueprint


def network(depth: int = 18, channels: int = 3, side: int = 8) -> Network:
    return ResNet(depth=depth).build((channels, side, side), 10)  # type: ignore[arg-type]


def sized(depth: int) -> Size:
    return size(
        Classifier(blueprint(ResNet(depth=depth), (3, 32, 32), 10), nn.Identity()), (3, 32, 32)
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842)]
)
def test_the_networks_are_torchvisions_with_a_small_stem(depth: int, parameters: int) -> None:
    found = sized(depth)
    assert found.parameters == parameters
    by_layers = sum(
        m.weight.numel() for m in network(depth).modules() if isinstance(m, nn.Conv2d | nn.Linear)
    )
    assert found.weights == by_layers


@pytest.mark.parametrize(("depth", "expansion"), [(10, 1), (18, 1), (34, 1), (50, 4)])
def test_four_stages_the_first_of_the_images_size(depth: int, expansion: int) -> None:
    expected = tuple(
        (width * expansion, 32 // shrunk, 32 // shrunk)
        for width, shrunk in ((64, 1), (128, 2), (256, 4), (512, 8))
    )
    assert stage_shapes(ResNet(depth=depth), (3, 32, 32), 10) == expected  # type: ignore[arg-type]


def test_the_embedding_is_the_average_of_the_last_stage() -> None:
    outputs = network().eval()(torch.rand(2, 3, 16, 16))
    torch.testing.assert_close(outputs.embedding, outputs.stages[-1].mean((2, 3)))


def test_logits_are_those_of_torchvisions_own_forward_pass() -> None:
    built, images = network(), torch.rand(4, 3, 16, 16)
    built.eval()
    assert torch.equal(built(images).logits, built.body(images))  # type: ignore[operator]


def test_the_stem_has_as_many_channels_as_the_images_and_starts_as_the_other_convolutions() -> None:
    stem = network(channels=2).body.conv1  # type: ignore[union-attr]
    assert stem.weight.shape == (64, 2, 3, 3)  # type: ignore[union-attr]
    deviation = float(stem.weight.detach().std())  # type: ignore[union-attr,operator]
    assert deviation == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("depth", [20, 101, "18", None])
def test_another_depth_is_refused(depth: object) -> None:
    with pytest.raises(InputError, match="depth"):
        parse(ResNet, {"name": "resnet", "depth": depth})
