from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kdray.core import InputError, fingerprint
from kdray.models import Classifier, Torchvision, blueprint, has_dropout, size, stage_shapes

IMAGENET = (3, 224, 224)
SMALL = (3, 32, 32)


def torchvision(architecture: str, **fields: Any) -> Torchvision:
    return Torchvision(architecture=architecture, **fields)


@pytest.mark.parametrize(
    ("architecture", "parameters"),
    [
        ("mobilenet_v2", 3_504_872),
        ("resnet18", 11_689_512),
        ("shufflenet_v2_x0_5", 1_366_792),
        ("regnet_y_400mf", 4_344_144),
        ("vit_b_32", 88_224_232),
    ],
)
def test_an_architecture_is_torchvisions(architecture: str, parameters: int) -> None:
    """num_params of the weights on ImageNet in torchvision's documentation."""
    network = blueprint(torchvision(architecture), IMAGENET, 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_logits_are_those_of_torchvisions_own_forward_pass() -> None:
    built = torchvision("mobilenet_v2", stem="small", stages=("features.3",)).build(SMALL, 10)
    images = torch.rand(2, *SMALL)
    outputs = built.eval()(images)
    assert torch.equal(outputs.logits, built.module(images))  # type: ignore[operator]
    features = built.module.features  # type: ignore[union-attr]
    assert torch.equal(outputs.stages[0], features[:4](images))  # type: ignore[index]


@pytest.mark.parametrize(
    ("architecture", "first"),
    [("resnet18", (64, 32, 32)), ("densenet121", (256, 32, 32)), ("mobilenet_v2", (16, 32, 32))],
)
def test_a_small_stem_keeps_the_size_of_the_image(
    architecture: str, first: tuple[int, ...]
) -> None:
    names = {"resnet18": "layer1", "densenet121": "features.denseblock1"}
    model = torchvision(architecture, stem="small", stages=(names.get(architecture, "features.1"),))
    assert stage_shapes(model, SMALL, 10) == (first,)


def test_the_first_convolution_has_the_channels_of_the_images() -> None:
    assert stage_shapes(torchvision("resnet18", stages=("conv1",)), (1, 64, 64), 10) == (
        (64, 32, 32),
    )


def test_dropout_is_that_of_the_architectures_layers() -> None:
    assert not has_dropout(torchvision("mobilenet_v2"), SMALL, 10)
    assert has_dropout(torchvision("mobilenet_v2", dropout=0.2), SMALL, 10)
    with pytest.raises(InputError, match="resnet18 has no dropout layer"):
        torchvision("resnet18", dropout=0.2).build(SMALL, 10)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (torchvision("mobilenet_v22"), r"architecture: torchvision has no .*near: mobilenet_v2"),
        (torchvision("fasterrcnn_resnet50_fpn"), "architecture: torchvision has no"),
        (torchvision("resnet18", stages=("layer5",)), "stages: .*'layer5' .near: layer4"),
        (torchvision("vit_b_16", stem="small"), "stem: conv_proj cuts the image into patches"),
        (torchvision("vit_b_16"), "cannot build vit_b_16 for images of 3 x 30 x 30"),
        (torchvision("resnet18", parameters=11_181_643), "parameters: resnet18 has 11,181,642"),
    ],
    ids=lambda each: each.architecture if isinstance(each, Torchvision) else "",
)
def test_what_cannot_be_built_is_said_in_one_line(model: Torchvision, message: str) -> None:
    shape = (3, 30, 30) if "30" in message else SMALL
    with pytest.raises(InputError, match=message):
        model.build(shape, 10)


def test_a_stage_that_is_not_one_tensor_is_refused() -> None:
    model = torchvision("vit_b_32", stages=("encoder.layers.encoder_layer_0.self_attention",))
    with pytest.raises(InputError, match=r"stages: module .* gives tuple, not one tensor"):
        stage_shapes(model, (3, 64, 64), 10)


def test_the_number_that_is_checked_is_no_part_of_the_identity() -> None:
    plain, checked = torchvision("resnet18"), torchvision("resnet18", parameters=11_181_642)
    assert fingerprint(plain) == fingerprint(checked)
    assert checked.build(SMALL, 10)


def test_a_wrapped_network_has_a_size() -> None:
    network = torchvision("mobilenet_v2").build(SMALL, 10)
    found = size(Classifier(network, nn.Identity()), SMALL)
    assert found.parameters == 2_236_682
    assert found.macs > 1_000_000
