from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from kdray.data import CIFAR10, MNIST, ImageData
from kdray.models import (
    MLP,
    CifarResNet,
    Classifier,
    Model,
    Network,
    Outputs,
    Size,
    WideResNet,
    build,
    images_per_second,
    size,
)
from kdray.perturbations.weight_noise import Coloured

CIFAR = CIFAR10()
WRN_40_2, WRN_16_2 = WideResNet(depth=40, width=2), WideResNet(depth=16, width=2)


def sized(model: Model, data: ImageData) -> Size:
    return size(build(model, data, nn.Identity(), seed=0), data.shape)


@pytest.mark.parametrize(
    ("model", "parameters", "macs"),
    [(WRN_40_2, 2_243_546, 327_599_360), (WRN_16_2, 691_674, 101_106_944)],
    ids=str,
)
def test_wide_resnets_have_the_papers_size(model: Model, parameters: int, macs: int) -> None:
    found = sized(model, CIFAR)
    assert found.parameters == parameters
    assert found.macs == macs


@pytest.mark.parametrize(
    ("hidden", "weights"), [((1200, 1200), 2_392_800), ((400,), 317_600), ((), 7_840)]
)
def test_an_mlp_multiplies_once_per_weight(hidden: tuple[int, ...], weights: int) -> None:
    found = sized(MLP(hidden=hidden), MNIST())
    assert found.weights == found.macs == weights
    assert found.parameters == weights + sum(hidden) + 10


class OneConvolution(Network):
    """3 to 5 channels, 3 x 3, stride 2, with bias and batch norm; then 80 to 7."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = (
            nn.Conv2d(3, 5, 3, stride=2, padding=1),
            nn.BatchNorm2d(5),
            nn.Linear(80, 7),
        )

    def forward(self, images: Tensor) -> Outputs:
        embedding = self.norm(self.conv(images)).flatten(1)
        return Outputs(self.head(embedding), (), embedding)


@pytest.fixture
def convolution() -> Classifier:
    return Classifier(OneConvolution(), nn.Identity())


def test_a_convolution_multiplies_once_per_weight_and_output_pixel(convolution: Classifier) -> None:
    weights, head = 5 * 3 * 3 * 3, 80 * 7
    assert size(convolution, (3, 8, 8)) == Size(
        parameters=weights + 5 + 2 * 5 + head + 7,
        weights=weights + head,
        macs=weights * 4 * 4 + head,
    )


@pytest.mark.parametrize("training", [True, False])
def test_measuring_changes_nothing(convolution: Classifier, training: bool) -> None:
    convolution.train(training)
    before = {name: tensor.clone() for name, tensor in convolution.state_dict().items()}
    size(convolution, (3, 8, 8))
    assert images_per_second(convolution, (3, 8, 8), batch_size=4, seconds=0.0) > 0
    assert all(module.training is training for module in convolution.modules())
    assert all(
        torch.equal(before[name], tensor) for name, tensor in convolution.state_dict().items()
    )
    assert all(parameter.grad is None for parameter in convolution.parameters())


def test_measuring_a_noisy_model_leaves_the_global_generator_alone() -> None:
    model = CifarResNet(depth=8, weight_noise=Coloured())
    classifier = Classifier(model.build((3, 8, 8), 10), nn.Identity(), input_sigma=0.1)
    before = torch.get_rng_state()
    size(classifier, (3, 8, 8))
    images_per_second(classifier, (3, 8, 8), batch_size=2, seconds=0.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_normalisation_is_not_counted() -> None:
    network = MLP(hidden=(4,)).build((1, 3, 3), 2)
    assert (
        size(Classifier(network, nn.Sequential(nn.Flatten(), nn.Linear(9, 9))), (1, 3, 3)).macs
        == 9 * 4 + 4 * 2
    )


def test_dropout_costs_nothing() -> None:
    assert sized(MLP(hidden=(30,), dropout=0.5), MNIST()) == sized(MLP(hidden=(30,)), MNIST())


def test_throughput_counts_images_and_not_batches(
    convolution: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.5, 1.5, 2.0])  # the start, then the time before each further batch
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert images_per_second(convolution, (3, 8, 8), batch_size=10, seconds=2.0) == 20 / 2.0
