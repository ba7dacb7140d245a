"""Every noise on images, labels, logits and weights keeps to the contracts of its kind."""

from __future__ import annotations

import pytest

from kdray.core import tag_of
from kdray.perturbations import (
    AnyInputNoise,
    AnyLabelNoise,
    AnyLogitNoise,
    AnyWeightNoise,
    InputNoise,
    LabelNoise,
    LogitNoise,
    WeightNoise,
)
from kdray.testing import (
    INPUT_NOISE_CONTRACTS,
    LABEL_NOISE_CONTRACTS,
    LOGIT_NOISE_CONTRACTS,
    WEIGHT_NOISE_CONTRACTS,
    Contract,
    hold,
)
from kdray.testing.noise import CLASSES, SHAPE
from tests.contracts.members import each, every, members

UNIONS = (AnyInputNoise, AnyLabelNoise, AnyLogitNoise, AnyWeightNoise)


@every(AnyInputNoise)
@each(INPUT_NOISE_CONTRACTS)
def test_input_noise(value: InputNoise, contract: Contract) -> None:
    hold(contract, value, SHAPE)


@every(AnyLabelNoise)
@each(LABEL_NOISE_CONTRACTS)
def test_label_noise(value: LabelNoise, contract: Contract) -> None:
    hold(contract, value, CLASSES)


@every(AnyLogitNoise)
@each(LOGIT_NOISE_CONTRACTS)
def test_logit_noise(value: LogitNoise, contract: Contract) -> None:
    hold(contract, value)


@every(AnyWeightNoise)
@each(WEIGHT_NOISE_CONTRACTS)
def test_weight_noise(value: WeightNoise, contract: Contract) -> None:
    hold(contract, value)


@pytest.mark.parametrize("kind", [kind for union in UNIONS for kind in members(union)], ids=tag_of)
def test_says_where_it_is_written_down(value: InputNoise | LabelNoise | LogitNoise) -> None:
    assert value.paper
