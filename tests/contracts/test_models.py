"""Every model keeps to the contracts of a model, at the two sizes of image that sweeps use most."""

from __future__ import annotations

from typing import Any

import pytest

from kdray.data import Shape
from kdray.models import AnyModel, Model
from kdray.perturbations import AnyWeightNoise
from kdray.testing import MODEL_CONTRACTS, NOISY_MODEL_CONTRACTS, Contract, hold
from kdray.testing.models import CLASSES, SHAPES, images_of, network_of, noisy_variants
from kdray.testing.models import dropout_and_noise_are_off_unless_asked_for as calm
from kdray.testing.models import stored_weights_make_the_same_network as stored
from kdray.testing.models import the_global_generator_alone_decides_the_initial_weights as drawn
from kdray.testing.models import the_images_stay_as_they_are as untouched
from tests.contracts.members import MISSING, each, every, instance, members

SMALL = (1, 8, 8)
SIZELESS = (calm, stored, drawn, untouched)
"""Contracts that one size of image is enough for."""
PLAIN = [
    pytest.param(contract, shape, id=f"{contract.__name__}-{shape}")
    for contract in MODEL_CONTRACTS
    for shape in SHAPES
    if shape == SMALL or contract not in SIZELESS
]


def noisy() -> list[Any]:
    """Every model with each noise that it can have."""
    noises = [instance(kind) for kind in members(AnyWeightNoise)]
    return [
        pytest.param(model, id=f"{model.name}-{model.weight_noise.name}" if noise else model.name)  # type: ignore[attr-defined]
        for kind in members(AnyModel)
        if kind not in MISSING
        for model in noisy_variants(instance(kind), noises)
        for noise in [getattr(model, "weight_noise", None)]
    ]


@every(AnyModel)
@pytest.mark.parametrize(("contract", "shape"), PLAIN)
def test_model(value: Model, contract: Contract, shape: Shape) -> None:
    hold(contract, value, shape, CLASSES)


@pytest.mark.parametrize("value", noisy())
@each(NOISY_MODEL_CONTRACTS)
def test_noisy_model(value: Model, contract: Contract) -> None:
    hold(contract, value, SMALL, CLASSES)


@every(AnyModel)
def test_it_has_stages_to_give_hints_from(value: Model) -> None:
    for shape in SHAPES:
        assert network_of(value, shape, CLASSES)(images_of(shape)).stages
