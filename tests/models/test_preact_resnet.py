from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from kdray.models import Classifier, PreActResNet, size, stage_shapes
from kdray.models.preact_resnet import Block


def test_the_network_is_that_of_published_adversarial_training() -> None:
    """Counted from the code of Rice et al. 2020 (locuslab/robust_overfitting c47a25c)."""
    network = PreActResNet().build((3, 32, 32), 10)
    assert size(Classifier(network, nn.Identity()), (3, 32, 32)).parameters == 11_172_170


def test_four_stages_the_first_of_the_images_size() -> None:
    assert stage_shapes(PreActResNet(), (3, 32, 32), 10) == (
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    )


def test_a_shortcut_that_changes_shape_starts_after_the_first_activation() -> None:
    block, x = Block(4, 6, 2).eval(), torch.randn(2, 4, 6, 6)
    assert block.shortcut is not None
    activated = functional.relu(block.norm1(x))
    inner = block.conv2(functional.relu(block.norm2(block.conv1(activated))))
    assert torch.equal(block(x), block.shortcut(activated) + inner)
