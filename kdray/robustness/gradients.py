"""Mean gradient magnitude of every layer while a network trains: current_understanding, figure
2."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from kdray.core import Value, canonical_json, fingerprint


class GradientRecord(Value):
    """What ``training.gradients`` keeps: identifies its rows."""

    name: Literal["gradients"] = "gradients"


class Gradients:
    """The mean over steps of the mean absolute gradient of each convolution's and linear layer's
    weights."""

    def __init__(self, network: nn.Module) -> None:
        self._layers = {
            name: module.weight
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self) -> None:
        """Take over the gradients of one step; a layer that no gradient reaches counts as zero."""
        self._steps += 1
        for name, weight in self._layers.items():
            if weight.grad is not None:
                magnitude = weight.grad.abs().mean().double()
                self._sums[name] = self._sums[name] + magnitude if name in self._sums else magnitude

    def rows(self, examples: int) -> list[dict[str, Any]]:
        """As rows of the robustness table, one a layer."""
        record = GradientRecord()
        common = {
            "evaluation_id": fingerprint(record),
            "label": record.name,
            "evaluation": record.name,
            "split": "train",
            "metric": "mean_gradient",
            "examples": examples,
            "evaluation_parameters": canonical_json(record),
        }
        return [
            {
                **common,
                "layer": name.removeprefix("network."),
                "value": float(self._sums.get(name, 0.0)) / self._steps,
            }
            for name in self._layers
        ]
