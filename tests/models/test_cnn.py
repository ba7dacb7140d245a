"""The small CNN has the layers, shapes and counts that its description says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdray.core import InputError
from kdray.models import CNN


def test_the_parameters_are_those_of_its_layers() -> None:
    network = CNN(channels=(8, 16), hidden=32).build((3, 32, 32), 10)
    counts = {name: parameter.numel() for name, parameter in network.named_parameters()}
    convolutions = (3 * 8 * 9 + 8) + (8 * 16 * 9 + 16)
    head = (16 * 8 * 8 * 32 + 32) + (32 * 10 + 10)
    assert sum(counts.values()) == convolutions + head


def test_every_pooling_halves_the_side_and_stages_are_what_it_gives() -> None:
    outputs = CNN(channels=(4, 6, 8), hidden=0).build((1, 28, 20), 5)(torch.rand(2, 1, 28, 20))
    shapes = [tuple(stage.shape[1:]) for stage in outputs.stages]
    assert shapes == [(4, 14, 10), (6, 7, 5), (8, 3, 2)]
    assert (outputs.embedding.shape, outputs.logits.shape) == ((2, 48), (2, 5))


def test_a_convolution_with_batch_norm_has_no_bias() -> None:
    network = CNN(channels=(4,), batch_norm=True).build((1, 8, 8), 2)
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(nn.BatchNorm2d) == 1
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d))


def test_poolings_that_leave_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"^channels: 4 poolings leave nothing of 8 x 8 pixels"):
        CNN(channels=(2, 2, 2, 2)).build((1, 8, 8), 2)
    CNN(channels=(2, 2, 2)).build((1, 8, 8), 2)


def test_only_what_enters_the_last_layer_is_dropped() -> None:
    network = CNN(channels=(4,), hidden=64, dropout=0.5).build((1, 8, 8), 2).train()
    embedding = network(torch.rand(1, 1, 8, 8) + 1).embedding
    network.eval()
    whole = network(torch.rand(1, 1, 8, 8) + 1).embedding
    assert (embedding == 0).sum() > (whole == 0).sum()
