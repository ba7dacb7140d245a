"""A model that breaks a contract is told which one."""

from __future__ import annotations

from itertools import count
from typing import Annotated, Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from kdray.data import Shape
from kdray.models import Model, Network, Outputs, Stochastic
from kdray.models.noisy_layers import with_weight_noise
from kdray.perturbations import AnyWeightNoise
from kdray.testing import MODEL_CONTRACTS, NOISY_MODEL_CONTRACTS, check_model
from kdray.testing.models import noisy_variants
from tests.testing.broken import assert_breaks_only, broken_by

SHAPE, CLASSES = (1, 8, 8), 5


class Net(Network):
    """Linear, tanh, linear."""

    def __init__(self, shape: Shape, classes: int, width: int = 6) -> None:
        super().__init__()
        self.hidden = nn.Linear(shape[0] * shape[1] * shape[2], width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Outputs:
        hidden = self.hidden(images.flatten(1)).tanh()
        return Outputs(self.head(hidden), (hidden,), hidden)


class Sound(Model):
    """A small network."""

    network: ClassVar[type[Net]] = Net

    name: Literal["sound"] = "sound"

    def build(self, shape: Shape, classes: int) -> Network:
        return self.network(shape, classes)


def model_of(network: type[Net]) -> Model:
    """A model that builds ``network``."""
    return type(
        "Broken",
        (Sound,),
        {
            "__doc__": network.__doc__,
            "network": network,
            "__module__": __name__,
            "__annotations__": {"network": ClassVar[type[Net]]},
        },
    )()  # type: ignore[no-any-return]


class Double(Net):
    """Has a stage in double precision."""

    def forward(self, images: Tensor) -> Outputs:
        found = super().forward(images)
        return found._replace(stages=(found.embedding.double(),))


class OtherEmbedding(Net):
    """Gives half of what the last layer sees."""

    def forward(self, images: Tensor) -> Outputs:
        found = super().forward(images)
        return found._replace(embedding=found.embedding / 2)


class SeesOthers(Net):
    """Centres its hidden layer over the batch."""

    def forward(self, images: Tensor) -> Outputs:
        hidden = self.hidden(images.flatten(1)).tanh()
        hidden = hidden - 0.1 * hidden.mean(0)
        return Outputs(self.head(hidden), (hidden,), hidden)


class Idle(Net):
    """Has a layer that it does not use."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.idle = nn.Parameter(torch.zeros(3))


class Paints(Net):
    """Works in its input."""

    def forward(self, images: Tensor) -> Outputs:
        if not images.requires_grad:
            found = super().forward(images.clone())
            images.add_(1e-3 if self.training else 0)
            return found
        return super().forward(images)


SERIAL = count()


class Unstored(Net):
    """Scales by a number that is no buffer and different in each."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.scale = 1 + next(SERIAL)

    def forward(self, images: Tensor) -> Outputs:
        return super().forward(images * self.scale)


class Constant(Net):
    """Starts the same whatever the seed."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        for parameter in self.parameters():
            values = torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter)
            parameter.data = values


class Grows(Net):
    """Has another stage in train mode."""

    def forward(self, images: Tensor) -> Outputs:
        found = super().forward(images)
        more = (found.embedding,) if self.training else ()
        return found._replace(stages=(*found.stages, *more))


class Drops(Net):
    """Drops out unasked."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.dropout = nn.Dropout(1e-6)


BROKEN: dict[type[Net], tuple[str, str]] = {
    Double: ("outputs_have_a_row_for_every_image", "stage 0 is torch.float64"),
    OtherEmbedding: ("the_embedding_is_the_input_of_the_last_linear_layer", "does not give"),
    SeesOthers: ("eval_mode_is_deterministic_and_treats_every_image_alone", "differ by"),
    Idle: ("a_gradient_reaches_every_parameter_and_the_image", "no gradient reaches idle"),
    Paints: ("the_images_stay_as_they_are", "a pass changed the images"),
    Unstored: ("stored_weights_make_the_same_network", "has other logits"),
    Constant: (
        "the_global_generator_alone_decides_the_initial_weights",
        "another seed made the same network",
    ),
    Grows: ("the_shapes_of_the_stages_are_known_without_numbers", "found"),
    Drops: ("dropout_and_noise_are_off_unless_asked_for", "dropout that no field asks for"),
}


def test_every_contract_has_a_model_that_breaks_it() -> None:
    names = {contract.__name__ for contract in MODEL_CONTRACTS}
    assert {name for name, _ in BROKEN.values()} == names


@pytest.mark.parametrize("network", BROKEN, ids=lambda network: network.__name__)
def test_a_broken_model_is_told_which_contract(network: type[Net]) -> None:
    name, found = BROKEN[network]
    broken = model_of(network)
    assert_breaks_only(broken_by(broken, MODEL_CONTRACTS, SHAPE, CLASSES), broken, name, found)


def test_a_sound_model_passes() -> None:
    check_model(Sound())
    check_model(Sound(input_sigma=0.3), shape=(3, 5, 7), classes=2)


class Noisy(Sound):
    """May have noise on its weights."""

    name: Literal["noisy"] = "noisy"  # type: ignore[assignment]
    weight_noise: AnyWeightNoise | None = None

    def build(self, shape: Shape, classes: int) -> Network:
        return with_weight_noise(self.network(shape, classes), self.weight_noise)


class Deaf(Noisy):
    """Takes noise and has none."""

    def build(self, shape: Shape, classes: int) -> Network:
        return self.network(shape, classes)


class Elsewhere(Noisy):
    """Starts elsewhere with noise."""

    def build(self, shape: Shape, classes: int) -> Network:
        if self.weight_noise is not None:
            torch.rand(1)
        return super().build(shape, classes)


class Unlearned(Noisy):
    """Has with noise a parameter that is not used."""

    def build(self, shape: Shape, classes: int) -> Network:
        built = super().build(shape, classes)
        if self.weight_noise is not None:
            built.idle = nn.Parameter(torch.zeros(2))
        return built


class Numbered(Stochastic):
    """Noise of a strength that is no buffer, different in each."""

    def __init__(self) -> None:
        super().__init__()
        self.sigma = 0.1 * (1 + next(SERIAL))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.sigma * torch.randn_like(images)


class NumberedNet(Net):
    """Has it in front."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__(shape, classes)
        self.noise = Numbered()

    def forward(self, images: Tensor) -> Outputs:
        return super().forward(self.noise(images))


class Unnoted(Noisy):
    """Has with noise what is not stored."""

    def build(self, shape: Shape, classes: int) -> Network:
        return (Net if self.weight_noise is None else NumberedNet)(shape, classes)


BROKEN_NOISY: dict[type[Model], tuple[str, str]] = {
    Deaf: ("it_draws_in_eval_mode_from_the_global_generator_alone", "in no Stochastic layer"),
    Elsewhere: ("noise_changes_no_initial_weight", "hidden.weight starts elsewhere"),
    Unlearned: ("a_finite_gradient_reaches_every_parameter", "no gradient reaches idle"),
    Unnoted: ("stored_weights_make_the_same_noisy_network", "has other logits"),
}


def test_every_contract_of_noisy_models_has_one_that_breaks_it() -> None:
    names = {contract.__name__ for contract in NOISY_MODEL_CONTRACTS}
    assert {name for name, _ in BROKEN_NOISY.values()} == names


@pytest.mark.parametrize("kind", BROKEN_NOISY, ids=lambda kind: kind.__name__)
def test_a_broken_noisy_model_is_told_which_contract(kind: type[Model]) -> None:
    name, found = BROKEN_NOISY[kind]
    _, broken, _ = noisy_variants(kind())
    said = broken_by(broken, NOISY_MODEL_CONTRACTS, SHAPE, CLASSES)
    assert_breaks_only(said, broken, name, found)
    with pytest.raises(AssertionError, match=name):
        check_model(kind())


def test_a_sound_model_with_noise_passes() -> None:
    check_model(Noisy(), shape=SHAPE)


class OneShape(Sound):
    """Takes images of 12 x 12 only."""

    def build(self, shape: Shape, classes: int) -> Network:
        if shape[1:] != (12, 12):
            raise ValueError(f"{shape}: 12 x 12 only")
        return super().build(shape, classes)


def test_a_model_of_one_shape_says_so() -> None:
    check_model(OneShape(), shape=(1, 12, 12), classes=2)
    with pytest.raises(AssertionError, match=r"it raises ValueError: \(1, 8, 8\): 12 x 12 only$"):
        check_model(OneShape())


class WithDropout(Sound):
    """Has the field and no layer of it."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def test_a_field_that_does_nothing_is_found() -> None:
    said: dict[str, Any] = broken_by(WithDropout(), MODEL_CONTRACTS, SHAPE, CLASSES)
    assert said.keys() == {"dropout_and_noise_are_off_unless_asked_for"}
