"""Architectures of timm, untrained."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar, Literal

from torch import nn

from kdray.core import InputError
from kdray.data import Shape
from kdray.machine.torchvision import torchvision_part
from kdray.models.wrapped import Wrapped


class Timm(Wrapped):
    """Any network of timm (``timm.list_models()``), of the extra ``kdray[timm]``."""

    paper: ClassVar[str] = "none of the four papers; timm's documentation names each one's"
    library: ClassVar[str] = "timm"

    name: Literal["timm"] = "timm"

    def architectures(self) -> Sequence[str]:
        names: list[str] = _timm().list_models()
        return names

    def module(self, shape: Shape, classes: int) -> nn.Module:
        timm, arguments = _timm(), {"num_classes": classes, "in_chans": shape[0]}
        try:  # those with positions are told the size of the image, others know no such argument
            module = timm.create_model(self.architecture, img_size=shape[1:], **arguments)
        except TypeError:
            module = timm.create_model(self.architecture, **arguments)
        network: nn.Module = module
        return network


def _timm() -> ModuleType:
    if importlib.util.find_spec("timm") is None:
        raise InputError("name: timm is not installed (pip install 'kdray[timm]')")
    torchvision_part("models")  # which timm imports
    return importlib.import_module("timm")
