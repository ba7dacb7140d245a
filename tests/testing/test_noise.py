"""A noise that breaks a contract is told which one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from kdray.core import Value
from kdray.perturbations import InputNoise, LabelNoise, LogitNoise, WeightNoise
from kdray.perturbations.weight_noise import IndependentNoise
from kdray.testing import (
    INPUT_NOISE_CONTRACTS,
    LABEL_NOISE_CONTRACTS,
    LOGIT_NOISE_CONTRACTS,
    WEIGHT_NOISE_CONTRACTS,
    check_input_noise,
    check_label_noise,
    check_logit_noise,
    check_weight_noise,
)
from kdray.testing.noise import CLASSES, SHAPE
from tests.testing.broken import assert_breaks_only, broken_by

SERIAL = count()


class Grain(InputNoise):
    """Adds a little."""

    name: Literal["grain"] = "grain"

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        return images + 0.1 * torch.rand(images.shape, generator=draws)


class Infinite(Grain):
    """Far too large noise on a pixel."""

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        found = super().noisy(images, draws)
        found[0, 0, 0, 0] = float("inf")
        return found


class Ambient(Grain):
    """Draws from the global generator too."""

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        return super().noisy(images, draws) + 0.1 * torch.rand(images.shape)


class Shared(Grain):
    """One noise for the batch."""

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        return images + 0.1 * torch.rand(images.shape[1:], generator=draws)


class InPlaceOnImages(Grain):
    """Writes into the given images."""

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        return images.copy_(super().noisy(images, draws))


class Turn(LabelNoise):
    """Every other label, or so, becomes the next class."""

    name: Literal["turn"] = "turn"

    def __call__(self, labels: Tensor, classes: int, draws: torch.Generator) -> Tensor:
        return (labels + torch.randint(0, 2, labels.shape, generator=draws)) % classes


class Beyond(Turn):
    """Makes a class that is not there."""

    def __call__(self, labels: Tensor, classes: int, draws: torch.Generator) -> Tensor:
        return labels + torch.randint(0, 2, labels.shape, generator=draws)

    def misfit(self, classes: int, omitted: Sequence[int]) -> str | None:
        return "classes: at most 10" if classes > 10 else None


class Fixed(Turn):
    """Draws from a seed of its own."""

    def __call__(self, labels: Tensor, classes: int, draws: torch.Generator) -> Tensor:
        return super().__call__(labels, classes, torch.Generator().manual_seed(0))


class InPlaceOnLabels(Turn):
    """Writes into the given labels."""

    def __call__(self, labels: Tensor, classes: int, draws: torch.Generator) -> Tensor:
        return labels.copy_(super().__call__(labels, classes, draws))


class Shaken(LogitNoise):
    """Adds a little."""

    name: Literal["shaken"] = "shaken"

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        drawn = torch.rand(logits.shape, generator=draws, dtype=logits.dtype)
        return logits + 0.1 * drawn


class Single(Shaken):
    """Always in single precision."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        return super().__call__(logits.float(), temperature, draws)


class AmbientLogits(Shaken):
    """Takes a draw that is not its own."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        torch.rand(1)
        return super().__call__(logits, temperature, draws)


class Picky(Shaken):
    """Draws more where logits are large."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        found = super().__call__(logits, temperature, draws)
        if logits.abs().max() > 100:
            torch.rand(1, generator=draws)
        return found


class Mixed(Shaken):
    """Adds what the last sample says."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        return super().__call__(logits, temperature, draws) + 0.1 * logits[-1]


class Cut(Shaken):
    """Lets no gradient through."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        found = super().__call__(logits, temperature, draws)
        return found.masked_fill(logits > 4, 0.0)


class InPlaceOnLogits(Shaken):
    """Writes into the given logits, where it may."""

    def __call__(self, logits: Tensor, temperature: float, draws: torch.Generator) -> Tensor:
        found = super().__call__(logits, temperature, draws)
        return found if logits.requires_grad else logits.copy_(found)


class Learned(WeightNoise):
    """Independent noise."""

    name: Literal["learned"] = "learned"

    def on_convolution(self, weight: Tensor) -> nn.Module:
        return self.on_linear(weight)


class OneRow(Learned):
    """The same for every unit."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        return Times(weight, lambda drawn: drawn[:1], self.amplitude)


class Times(IndependentNoise):
    """Independent noise, changed."""

    def __init__(self, weight: Tensor, change: Any, amplitude: float) -> None:
        super().__init__(weight, amplitude)
        self.change = change

    def forward(self, weight: Tensor) -> Tensor:
        found: Tensor = self.change(super().forward(weight))
        return found


class Frozen(Learned):
    """Draws once, when it is made."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        normal = torch.randn_like(weight)
        module = IndependentNoise(weight, self.amplitude)
        module.register_buffer("normal", normal)
        module.forward = lambda weight: module.amplitude * module.normal  # type: ignore[method-assign, assignment, operator]
        return module


class Drifts(Learned):
    """Moves the weights a little whenever it draws."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        def drift(drawn: Tensor) -> Tensor:
            weight.data.add_(1e-3)
            return drawn

        return Times(weight, drift, self.amplitude)


class Idle(Learned):
    """Has a parameter that it does not use."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        module = super().on_linear(weight)
        module.idle = nn.Parameter(torch.zeros(2))
        return module


class Unnoted(Learned):
    """Scales by what is not stored."""

    def on_linear(self, weight: Tensor) -> nn.Module:
        scale = 1 + next(SERIAL)
        return Times(weight, lambda drawn: drawn * scale, self.amplitude)


KINDS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "input": (INPUT_NOISE_CONTRACTS, (SHAPE,)),
    "label": (LABEL_NOISE_CONTRACTS, (CLASSES,)),
    "logit": (LOGIT_NOISE_CONTRACTS, ()),
    "weight": (WEIGHT_NOISE_CONTRACTS, ()),
}
BROKEN: dict[type[Value], tuple[str, str, str]] = {
    Infinite: ("input", "noisy_images_have_the_shape_and_type_of_the_images", "are not finite"),
    Ambient: (
        "input",
        "the_generator_alone_decides_the_noise_on_images",
        "equal generators give different noise",
    ),
    Shared: (
        "input",
        "every_image_gets_noise_of_its_own",
        "8 copies of an image became 1 different",
    ),
    Beyond: ("label", "noisy_labels_are_classes", "of 10 classes it makes the label 10"),
    Fixed: (
        "label",
        "the_generator_alone_decides_the_noise_on_labels",
        "another generator gives the same noise",
    ),
    Single: (
        "logit",
        "noisy_logits_have_the_shape_and_type_of_the_logits",
        "torch.float64 become (40, 10) and torch.float32",
    ),
    AmbientLogits: (
        "logit",
        "the_generator_alone_decides_the_noise_on_logits",
        "torch's global generator",
    ),
    Picky: ("logit", "how_much_is_drawn_does_not_depend_on_the_logits", "of large logits"),
    Mixed: ("logit", "samples_draw_independently_of_each_other", "the logits of others"),
    Cut: ("logit", "a_gradient_passes_through_to_the_logits", "a logit has no gradient"),
    OneRow: ("weight", "noise_on_weights_has_their_shape_and_type", "the noise has shape (1,"),
    Frozen: (
        "weight",
        "the_global_generator_alone_decides_the_noise_on_weights",
        "another state gives the same noise",
    ),
    Drifts: ("weight", "the_weights_stay_as_they_are", "changed in place"),
    Idle: ("weight", "what_is_learned_of_the_noise_is_learned", "idle"),
    Unnoted: ("weight", "stored_weights_make_the_same_noisy_network", "has other logits"),
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_noise_is_told_which_contract(kind: type[Value]) -> None:
    which, name, found = BROKEN[kind]
    contracts, given = KINDS[which]
    assert_breaks_only(broken_by(kind(), contracts, *given), kind(), name, found)


IN_PLACE: dict[type[Value], tuple[str, str]] = {
    InPlaceOnImages: ("input", "the_images_stay_as_they_are"),
    InPlaceOnLabels: ("label", "the_labels_stay_as_they_are"),
    InPlaceOnLogits: ("logit", "the_logits_stay_as_they_are"),
}


@pytest.mark.parametrize("kind", IN_PLACE, ids=lambda kind: kind.__name__)
def test_noise_that_works_in_place_is_found(kind: type[Value]) -> None:
    """By others too: what is drawn next comes on top of it."""
    which, name = IN_PLACE[kind]
    contracts, given = KINDS[which]
    (contract,) = (each for each in contracts if each.__name__ == name)
    assert "changed in place" in broken_by(kind(), (contract,), *given)[name]


def test_every_contract_has_a_noise_that_breaks_it() -> None:
    names = {contract.__name__ for contracts, _ in KINDS.values() for contract in contracts}
    assert {name for _, name, _ in BROKEN.values()} | {
        name for _, name in IN_PLACE.values()
    } == names


def test_sound_noise_passes() -> None:
    check_input_noise(Grain())
    check_input_noise(Grain(clip=True), shape=(1, 4, 4))
    check_label_noise(Turn())
    check_label_noise(Turn(), classes=2)
    check_logit_noise(Shaken())
    check_weight_noise(Learned())
