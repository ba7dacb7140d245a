"""Weights are noisy in every forward pass; what is learned, stored and counted is what it should
be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.models import CifarResNet, Classifier, Model, Stochastic, WideResNet, size
from kdray.models.noisy_layers import NoisyConv2d, NoisyLinear
from kdray.perturbations.weight_noise import (
    Coloured,
    ColouredNoise,
    Independent,
    IndependentNoise,
    coloured,
    independent,
)

PNI, CNI = Independent(), Coloured()
both_noises = pytest.mark.parametrize("noise", [PNI, CNI], ids=lambda noise: noise.name)
SHAPE = (3, 8, 8)


def conv(noise: Independent | Coloured) -> NoisyConv2d:
    return NoisyConv2d(nn.Conv2d(4, 6, 3, stride=2, padding=1), noise)


@both_noises
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_adds_the_noise_of_its_draws_to_its_weights(
    noise: Independent | Coloured, training: bool
) -> None:
    layer, x = conv(noise).train(training), torch.randn(2, 4, 5, 5)
    torch.manual_seed(3)
    found = layer(x)
    torch.manual_seed(3)
    epsilon = torch.randn(6, 4, 3, 3)
    if isinstance(layer.noise, ColouredNoise):
        added = coloured(
            layer.weight, layer.noise.diagonal, layer.noise.factor, epsilon, torch.randn(5)
        )
    else:
        added = independent(layer.weight, layer.noise.amplitude, epsilon)
    assert torch.equal(found, functional.conv2d(x, layer.weight + added, layer.bias, 2, 1))


def test_a_linear_layer_has_independent_noise_on_its_weights_alone() -> None:
    layer, x = NoisyLinear(nn.Linear(4, 3), CNI), torch.randn(2, 4)
    assert isinstance(layer.noise, IndependentNoise)
    torch.manual_seed(3)
    found = layer(x)
    torch.manual_seed(3)
    added = independent(layer.weight, layer.noise.amplitude, torch.randn(3, 4))
    assert torch.equal(found, functional.linear(x, layer.weight + added, layer.bias))
    assert torch.equal(layer(torch.zeros(2, 4)), layer.bias.expand(2, 3))


@both_noises
def test_all_images_of_a_batch_see_the_same_weights(noise: Independent | Coloured) -> None:
    outputs = conv(noise)(torch.ones(3, 4, 5, 5))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


def test_the_drawn_weights_have_the_formulas_moments() -> None:
    layer = NoisyLinear(nn.Linear(5, 4, bias=False), Independent(amplitude=0.5))
    drawn = torch.stack([layer(torch.eye(5)).T for _ in range(4000)]).detach()
    deviation = 0.5 * float(layer.weight.detach().std(correction=1))
    assert float((drawn.mean(0) - layer.weight.detach()).abs().max()) < 5 * deviation / 4000**0.5
    torch.testing.assert_close(drawn.std(0), torch.full((4, 5), deviation), rtol=0.08, atol=0)


@both_noises
def test_coefficients_start_where_the_description_says(noise: Independent | Coloured) -> None:
    network = CifarResNet(depth=8, weight_noise=noise).build(SHAPE, 10)
    layers = [m for m in network.modules() if isinstance(m, Stochastic)]
    assert len(layers) == 8
    for name, parameter in network.named_parameters():
        start = {"amplitude": 0.25, "diagonal": 0.0625, "factor": 0.01}.get(name.rsplit(".", 1)[-1])
        if ".noise." in name:
            assert start is not None
            assert (parameter == start).all()


def test_the_shared_part_of_coloured_noise_has_mean_zero() -> None:
    torch.manual_seed(0)
    noise = ColouredNoise(torch.ones(4), Coloured(diagonal=0.0, factor=1.0, rank=1))
    drawn = torch.stack([noise(torch.ones(4)).detach()[0] for _ in range(2000)])
    assert abs(float(drawn.mean())) < 0.1
    assert float(drawn.std()) == pytest.approx(1, rel=0.1)


def test_coloured_noise_has_a_row_of_its_factor_for_every_weight() -> None:
    noise = conv(Coloured(rank=3)).noise
    assert noise.diagonal.shape == (6, 4, 3, 3)
    assert noise.factor.shape == (6 * 4 * 3 * 3, 3)


MODELS: list[Model] = [WideResNet(depth=10, width=1), CifarResNet(depth=8)]
each_model = pytest.mark.parametrize("model", MODELS, ids=str)


@each_model
@both_noises
def test_every_convolution_and_linear_layer_is_noisy(
    model: Model, noise: Independent | Coloured
) -> None:
    network = model.model_copy(update={"weight_noise": noise}).build(SHAPE, 10)
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    plain = [m for m in model.build(SHAPE, 10).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == len(plain)
    assert all(isinstance(layer, Stochastic) for layer in layers)


@each_model
@both_noises
def test_noise_is_learned_but_neither_a_weight_nor_a_multiplication(
    model: Model, noise: Independent | Coloured
) -> None:
    def sized(described: Model) -> tuple[int, int, int]:
        return size(Classifier(described.build(SHAPE, 10), nn.Identity()), SHAPE)

    (parameters, *plain), (noisy, *rest) = (
        sized(model),
        sized(model.model_copy(update={"weight_noise": noise})),
    )
    assert rest == plain
    linear, convolutions = 64 * 10, plain[0] - 64 * 10
    assert noisy == parameters + linear + convolutions * (6 if isinstance(noise, Coloured) else 1)


@each_model
def test_noise_of_amplitude_zero_changes_nothing(model: Model) -> None:
    images = torch.randn(2, *SHAPE)
    torch.manual_seed(0)
    plain = model.build(SHAPE, 10).eval()
    torch.manual_seed(0)
    silent = (
        model.model_copy(update={"weight_noise": Independent(amplitude=0.0)})
        .build(SHAPE, 10)
        .eval()
    )
    assert torch.equal(plain(images).logits, silent(images).logits)


@both_noises
def test_a_noisy_network_learns(noise: Independent | Coloured) -> None:
    torch.manual_seed(0)
    network = CifarResNet(depth=8, weight_noise=noise).build(SHAPE, 4).train()
    images, labels = torch.randn(16, *SHAPE), torch.arange(16) % 4
    optimizer = torch.optim.Adam(network.parameters(), 0.01)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images).logits, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses = [float(step()) for _ in range(60)]
    assert sum(losses[-10:]) / 10 < 0.6 * losses[0]


@pytest.mark.parametrize("kind", [WideResNet, CifarResNet])
def test_noise_is_described_by_its_name(kind: type[Model]) -> None:
    name = kind.model_fields["name"].default
    read = parse(kind, {"name": name, "weight_noise": {"name": "cni", "rank": 2}})
    assert read.weight_noise == Coloured(rank=2)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"weight_noise.*pni, cni"):
        parse(kind, {"name": name, "weight_noise": {"name": "white"}})
