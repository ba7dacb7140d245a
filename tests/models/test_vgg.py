from __future__ import annotations

import pytest
from torch import nn

from kdray.models import VGG, Classifier, size, stage_shapes
from kdray.models.facts import blueprint


@pytest.mark.parametrize(
    ("depth", "parameters"), [(8, 3_965_028), (13, 9_462_180), (16, 14_774_436)]
)
def test_the_networks_are_those_of_the_literature_on_distillation(
    depth: int, parameters: int
) -> None:
    """Counted from the code of Tian et al. 2020 (HobbitLong/RepDistiller b84f547), 100 classes."""
    network = VGG(depth=depth).build((3, 32, 32), 100)  # type: ignore[arg-type]
    assert size(Classifier(network, nn.Identity()), (3, 32, 32)).parameters == parameters


@pytest.mark.parametrize(("side", "last"), [(32, 4), (64, 4)])
def test_images_of_64_pixels_are_pooled_once_more(side: int, last: int) -> None:
    assert stage_shapes(VGG(), (3, side, side), 10)[-1] == (512, last, last)


@pytest.mark.parametrize("depth", [8, 11, 13, 16, 19])
def test_the_depth_counts_two_linear_layers_that_are_left_out(depth: int) -> None:
    network = blueprint(VGG(depth=depth), (3, 32, 32), 10)  # type: ignore[arg-type]
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth - 2
