"""Architectures of torchvision, untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import nn

from kdray.core import InputError
from kdray.data import Shape
from kdray.machine.torchvision import torchvision_part
from kdray.models.base import Probability
from kdray.models.wrapped import Wrapped


class Torchvision(Wrapped):
    """Any network of torchvision for classification (``torchvision.models.list_models()``)."""

    paper: ClassVar[str] = "none of the four papers; torchvision's documentation names each one's"
    library: ClassVar[str] = "torchvision"

    name: Literal["torchvision"] = "torchvision"
    dropout: Probability = 0.0
    """Of every dropout layer that the architecture has (torchvision's own: 0.2 of mobilenet_v2, 0.5
    of vgg); 0: no dropout."""

    def architectures(self) -> Sequence[str]:
        models = torchvision_part("models")
        names: list[str] = models.list_models(module=models)
        return names

    def module(self, shape: Shape, classes: int) -> nn.Module:
        models = torchvision_part("models")
        arguments = _arguments(self.architecture, shape)
        module: nn.Module = models.get_model(
            self.architecture, weights=None, num_classes=classes, **arguments
        )
        layers = [each for each in module.modules() if isinstance(each, nn.Dropout) and each.p > 0]
        if self.dropout > 0 and not layers:
            raise InputError(f"dropout: {self.architecture} has no dropout layer")
        for each in layers:
            each.p = self.dropout
        return module


def _arguments(architecture: str, shape: Shape) -> dict[str, Any]:
    """What a builder must be told beside the number of classes."""
    if architecture in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    if architecture.startswith("vit"):
        return {"image_size": shape[1]}
    return {"input_size": shape[1:]} if architecture.startswith("maxvit") else {}
