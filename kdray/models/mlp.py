"""Multi-layer perceptron: fully connected layers with ReLU, and dropout after each hidden layer."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from kdray.core import Several
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs, Probability


class MLP(Model):
    """Fully connected network on flattened pixels."""

    paper: ClassVar[str] = "current_understanding table 1 (784-1200-1200-10 and 784-400-10)"

    name: Literal["mlp"] = "mlp"
    hidden: Several[Annotated[int, Field(ge=1, le=1_000_000)]] = (128,)
    """Units of each hidden layer, input side first; none: a linear classifier."""
    dropout: Probability = 0.0
    """Probability that a hidden unit is set to zero; 0: no dropout."""

    def build(self, shape: Shape, classes: int) -> Network:
        return MLPNetwork(prod(shape), self.hidden, classes, self.dropout)


class MLPNetwork(Network):
    def __init__(self, inputs: int, hidden: tuple[int, ...], classes: int, dropout: float) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout))
            for a, b in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Outputs:
        x, stages = images.flatten(1), []
        for layer in self.hidden:
            x = layer(x)
            stages.append(x)
        return Outputs(self.head(x), tuple(stages), x)
