"""Networks of other libraries: an architecture by its name, made to fit the images and the classes,
whose hidden stages are the outputs of named modules."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from kdray.core import InputError, Several
from kdray.data import Shape
from kdray.models.base import Model, Network, Outputs

Stem = Literal["imagenet", "small"]


class Wrapped(Model):
    """An architecture of another library, untrained; nothing is downloaded."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"parameters"})
    library: ClassVar[str]
    """Whose architectures these are."""

    architecture: Annotated[str, Field(min_length=1, max_length=200)]
    """As the library calls it."""
    stem: Stem = "imagenet"
    """imagenet: as the library has it; small, for images of up to 64 pixels: the first convolution
    is 3x3 of stride 1, and the pooling right behind it is left out."""
    stages: Several[str] = ()
    """Modules whose outputs are the hidden stages (for hints), by their dotted names, input side
    first."""
    parameters: Annotated[int, Field(ge=1)] | None = None
    """Refuse the network if it has not exactly so many parameters: another version of the library,
    say."""

    @abstractmethod
    def architectures(self) -> Sequence[str]:
        """The names that ``architecture`` may have."""

    @abstractmethod
    def module(self, shape: Shape, classes: int) -> nn.Module:
        """The library's own network, from images to logits."""

    def build(self, shape: Shape, classes: int) -> Network:
        known = self.architectures()
        if self.architecture not in known:
            near = get_close_matches(self.architecture, known, n=3)
            hint = f" (near: {', '.join(near)})" if near else ""
            raise InputError(
                f"architecture: {self.library} has no {self.architecture!r} among its "
                f"{len(known)} for classification{hint}"
            )
        network = WrappedNetwork(self._fitted(shape, classes), self.stages)
        count = sum(parameter.numel() for parameter in network.parameters())
        if self.parameters is not None and count != self.parameters:
            raise InputError(
                f"parameters: {self.architecture} has {count:,} for {shape[0]} channels and "
                f"{classes} classes, not {self.parameters:,}"
            )
        return network

    def _fitted(self, shape: Shape, classes: int) -> nn.Module:
        """The library's network, with the stem that is asked for."""
        try:
            # Some builders compute with tensors, which the device "meta" cannot.
            with torch.device("cpu"):
                module = self.module(shape, classes)
        except (ValueError, AssertionError, TypeError, RuntimeError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise InputError(
                f"architecture: {self.library} cannot build {self.architecture} for "
                f"images of {' x '.join(map(str, shape))}: {said}"
            ) from None
        module.to(torch.get_default_device())
        fit_stem(module, shape[0], self.stem)
        for each in module.modules():  # a stage must stay as it was when it was recorded
            if getattr(each, "inplace", False) is True:
                each.inplace = False  # type: ignore[assignment]
        return module


class WrappedNetwork(Network):
    """``module``, whose ``stages`` and input of the last linear layer are recorded as it runs."""

    def __init__(self, module: nn.Module, stages: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self._stages = tuple(stages)
        known = [name for name, _ in module.named_modules() if name]
        for name in stages:
            if name not in known:
                near = get_close_matches(name, known, n=3)
                first = ", ".join(near or [each for each in known if "." not in each])
                raise InputError(f"stages: there is no module {name!r} (near: {first})")
        linear = [name for name, each in module.named_modules() if isinstance(each, nn.Linear)]
        self._head = linear[-1] if linear else None

    def forward(self, images: Tensor) -> Outputs:
        if torch.compiler.is_compiling():  # nobody asks an exported network for more
            logits = self.module(images)
            return Outputs(logits, (), logits)
        recorded: dict[str, Any] = {}
        with ExitStack() as hooks:
            for name in self._stages:
                hooks.enter_context(_Recorded(self.module.get_submodule(name), name, recorded))
            if self._head is not None:
                hooks.enter_context(
                    _Recorded(self.module.get_submodule(self._head), "", recorded, inputs=True)
                )
            logits = self.module(images)
        embedding = recorded.get("", logits)
        return Outputs(logits, tuple(self._checked(recorded)), embedding.flatten(1))

    def _checked(self, recorded: dict[str, Any]) -> Iterator[Tensor]:
        for name in self._stages:
            if not isinstance(recorded.get(name), Tensor):
                what = type(recorded[name]).__name__ if name in recorded else "nothing"
                raise InputError(f"stages: module {name!r} gives {what}, not one tensor")
            yield recorded[name]


class _Recorded:
    """Within it the last output (or input) of ``module`` is kept in ``into`` under ``name``."""

    def __init__(
        self, module: nn.Module, name: str, into: dict[str, Any], *, inputs: bool = False
    ) -> None:
        self._module, self._name, self._into, self._inputs = module, name, into, inputs

    def __enter__(self) -> None:
        self._handle = self._module.register_forward_hook(self._keep)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        del module
        self._into[self._name] = given[0] if self._inputs else output


def fit_stem(module: nn.Module, channels: int, stem: Stem) -> None:
    """Give ``module`` a first convolution for images of ``channels``, and one that keeps their size
    if ``stem`` is small."""
    leaves = [(name, each) for name, each in module.named_modules() if not any(each.children())]
    at = next((i for i, (_, each) in enumerate(leaves) if isinstance(each, nn.Conv2d)), None)
    if at is None:
        raise InputError("architecture: has no convolution, so it takes no images")
    name, first = leaves[at]
    assert isinstance(first, nn.Conv2d)
    shrinks = first.stride != (1, 1) or max(first.kernel_size) > 3
    if stem == "small" and first.kernel_size == first.stride:
        raise InputError(f"stem: {name} cuts the image into patches; it has no small one")
    if stem == "small" and shrinks:
        _put(module, name, _convolution(first, channels, 3, 1, 1))
        after = next(
            (each for each in leaves[at + 1 :] if not _keeps_size(each[1])), ("", nn.Identity())
        )
        if isinstance(after[1], nn.MaxPool2d | nn.AvgPool2d):
            _put(module, after[0], nn.Identity())
    elif first.in_channels != channels:
        _put(
            module,
            name,
            _convolution(first, channels, first.kernel_size, first.stride, first.padding),
        )


def _convolution(
    like: nn.Conv2d, channels: int, kernel: Any, stride: Any, padding: Any
) -> nn.Conv2d:
    """A convolution that starts as torchvision's residual networks do."""
    new = nn.Conv2d(
        channels, like.out_channels, kernel, stride, padding, bias=like.bias is not None
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


def _keeps_size(layer: nn.Module) -> bool:
    """Whether it is a normalisation or an activation."""
    # Libraries have normalisations of their own, so the name decides.
    kind = type(layer).__name__.lower()
    return isinstance(layer, nn.Identity | nn.Dropout) or any(
        part in kind for part in ("norm", "lu", "swish", "act", "sigmoid")
    )


def _put(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, new)
