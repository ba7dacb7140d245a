"""Mean gradient magnitude of every layer while a network trains: current_understanding, figure
2."""

from __future__ import annotations

from typing import Any, Literal

import torch
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
        self._sums: dict[tuple[str, ...], Tensor] = {}
        """By the names of the layers that a step's gradient reaches."""
        self._steps = 0

    def add(self) -> None:
        """Take over the gradients of one step; a layer that no gradient reaches counts as zero."""
        self._steps += 1
        reached = {n: w.grad for n, w in self._layers.items() if w.grad is not None}
        if not reached:
            return
        names = tuple(reached)
        magnitudes = torch.stack([gradient.abs().mean() for gradient in reached.values()]).double()
        self._sums[names] = self._sums[names] + magnitudes if names in self._sums else magnitudes

    def rows(self, examples: int) -> list[dict[str, Any]]:
        """As rows of the robustness table, one a layer."""
        record = GradientRecord()
        sums = dict.fromkeys(self._layers, 0.0)
        for names, summed in self._sums.items():
            for name, magnitude in zip(names, summed.tolist(), strict=True):
                sums[name] += magnitude
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
            {**common, "layer": name.removeprefix("network."), "value": summed / self._steps}
            for name, summed in sums.items()
        ]
