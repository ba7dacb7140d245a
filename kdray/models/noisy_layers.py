"""Convolutions and linear layers whose weights are noisy at every forward pass: smoothed_models,
section 1.2.

The noise is drawn from torch's global generator, once for the whole batch, in training and in
inference.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from kdray.models.base import Network, Stochastic
from kdray.perturbations.weight_noise import WeightNoise


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
        self.noise = noise.on_convolution(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self._conv_forward(input, self.weight + self.noise(self.weight), self.bias)
        return output


class NoisyLinear(nn.Linear, Stochastic):
    """``layer`` with noise on its weights."""

    def __init__(self, layer: nn.Linear, noise: WeightNoise) -> None:
        super().__init__(
            layer.in_features, layer.out_features, layer.bias is not None, device="meta"
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.noise = noise.on_linear(self.weight)

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
