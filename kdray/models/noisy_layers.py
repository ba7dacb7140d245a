"""Convolutions and linear layers whose weights are noisy at every forward pass: smoothed_models,
section 1.2.

The noise is drawn from torch's global generator, once for the whole batch, in training and in
inference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.models.base import Network, Stochastic
from kdray.perturbations.weight_noise import Coloured, WeightNoise, coloured, independent


class IndependentNoise(nn.Module):
    """a·s·ε with its learned a."""

    def __init__(self, weight: Tensor, noise: WeightNoise) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(torch.full_like(weight, noise.amplitude))

    def forward(self, weight: Tensor) -> Tensor:
        return independent(weight, self.amplitude, torch.randn_like(weight))


class ColouredNoise(nn.Module):
    """sqrt(|d|·s)·ε + F·ε' with its learned d and F."""

    def __init__(self, weight: Tensor, noise: Coloured) -> None:
        super().__init__()
        self.diagonal = nn.Parameter(torch.full_like(weight, noise.diagonal))
        self.factor = nn.Parameter(weight.new_full((weight.numel(), noise.rank), noise.factor))

    def forward(self, weight: Tensor) -> Tensor:
        normal, shared = torch.randn_like(weight), torch.randn_like(self.factor[0])
        return coloured(weight, self.diagonal, self.factor, normal, shared)


class NoisyConv2d(nn.Conv2d, Stochastic):
    """``layer`` with noise on its weights."""

    def __init__(self, layer: nn.Conv2d, noise: WeightNoise) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            layer.bias is not None,
            layer.padding_mode,
            device="meta",
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.noise: nn.Module = (
            ColouredNoise(self.weight, noise)
            if isinstance(noise, Coloured)
            else IndependentNoise(self.weight, noise)
        )

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, self.weight + self.noise(self.weight), self.bias)
        return output


class NoisyLinear(nn.Linear, Stochastic):
    """``layer`` with noise on its weights, independent whatever convolutions have."""

    def __init__(self, layer: nn.Linear, noise: WeightNoise) -> None:
        super().__init__(
            layer.in_features, layer.out_features, layer.bias is not None, device="meta"
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.noise = IndependentNoise(self.weight, noise)

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight + self.noise(self.weight), self.bias)


def with_weight_noise(network: Network, noise: WeightNoise | None) -> Network:
    """``network`` with every convolution and linear layer made noisy in place, their weights as
    they are; none: as it is."""
    if noise is not None:
        for parent in list(network.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, nn.Conv2d):
                    parent.add_module(name, NoisyConv2d(layer, noise))
                elif isinstance(layer, nn.Linear):
                    parent.add_module(name, NoisyLinear(layer, noise))
    return network
