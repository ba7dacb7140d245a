"""A network of a user's own, which a function or a class in a plug-in builds."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, JsonValue, model_validator
from torch import nn

from kdray.core import InputError, Several, canonical_json, describe, shortened
from kdray.core.plugin_modules import PLUGIN_MODULES
from kdray.data import Shape
from kdray.models.base import Model, Network
from kdray.models.wrapped import WrappedNetwork


class FromPlugin(Model):
    """What a callable in a plug-in gives: an ``nn.Module`` from images to logits."""

    paper: ClassVar[str] = "none of the four papers; the plug-in's own"

    name: Literal["module"] = "module"
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")]
    """MODULE:CALLABLE, of a plug-in that is loaded (--plugin MODULE.py)."""
    arguments: dict[str, JsonValue] = {}  # noqa: RUF012
    """What it is called with, by keyword: the number of classes, for one, if it has to know."""
    stages: Several[str] = ()
    """Modules whose outputs are the hidden stages (for hints), by their dotted names, input side
    first."""
    source: str | None = None
    """The digest of the plug-in, part of the identity; it is filled in."""

    @model_validator(mode="before")
    @classmethod
    def _with_source(cls, given: Any) -> Any:
        """The digest that the plug-in has now, where none is given; another one is another
        network."""
        factory = given.get("factory") if isinstance(given, dict) else None
        if not isinstance(factory, str) or ":" not in factory:
            return given
        found = PLUGIN_MODULES.get(factory.partition(":")[0])
        if found is None:
            return given  # said when it is built
        stated = given.get("source")
        if stated not in (None, found.digest):
            raise ValueError(
                f"source: the code of {factory} has changed: it is {found.digest}, not "
                f"{shortened(str(stated))}"
            )
        return {**given, "source": found.digest}

    def __hash__(self) -> int:
        return hash(canonical_json(self))

    def build(self, shape: Shape, classes: int) -> Network:
        del shape, classes  # the arguments say what it has to know
        module, _, attribute = self.factory.partition(":")
        found = PLUGIN_MODULES.get(module)
        if found is None:
            raise InputError(f"factory: there is no plug-in {module!r}; name it: --plugin FILE")
        factory = getattr(found.module, attribute, None)
        if factory is None:
            raise InputError(f"factory: plug-in {module} has no {attribute!r}")
        if not callable(factory):
            raise InputError(f"factory: {self.factory} is a {type(factory).__name__}, not callable")
        try:
            # What it computes with tensors the device "meta" cannot.
            with torch.device("cpu"):
                network = factory(**self.arguments)
        except Exception as error:
            raise InputError(f"factory: {self.factory} raised {describe(error)}") from None
        if not isinstance(network, nn.Module):
            what = type(network).__name__
            raise InputError(f"factory: {self.factory} gives a {what}, not an nn.Module")
        network.to(torch.get_default_device())
        for each in network.modules():  # a stage must stay as it was when it was recorded
            if getattr(each, "inplace", False) is True:
                each.inplace = False  # type: ignore[assignment]
        return WrappedNetwork(network, self.stages)
