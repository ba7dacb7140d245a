"""What is known of a network before it is trained, without making its numbers."""

from __future__ import annotations

import pytest
import torch

from kdray.models import (
    CNN,
    MLP,
    CifarResNet,
    Model,
    ResNet,
    WideResNet,
    blueprint,
    has_dropout,
    is_stochastic,
    smallest_batch,
    stage_shapes,
)
from kdray.perturbations.weight_noise import Coloured, Independent

GREY, COLOUR = (1, 8, 8), (3, 32, 32)


def test_a_blueprint_has_no_numbers_and_draws_none() -> None:
    before = torch.get_rng_state()
    network = blueprint(ResNet(depth=50), COLOUR, 100)
    stage_shapes(WideResNet(depth=10, width=1, weight_noise=Coloured()), COLOUR, 100)
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.zeros(1).device == torch.device("cpu")


def test_a_blueprint_is_made_once() -> None:
    assert blueprint(MLP(hidden=(5,)), GREY, 3) is blueprint(MLP(hidden=(5,)), GREY, 3)
    assert blueprint(MLP(hidden=(5,)), GREY, 3) is not blueprint(MLP(hidden=(5,)), GREY, 4)


def test_dropout_of_probability_zero_is_none() -> None:
    assert has_dropout(MLP(dropout=0.1), GREY, 10)
    assert not has_dropout(MLP(dropout=0.0), GREY, 10)
    assert not has_dropout(MLP(hidden=(), dropout=0.1), GREY, 10)  # nothing to drop


def test_noise_on_the_input_or_on_the_weights_makes_a_model_stochastic() -> None:
    assert is_stochastic(MLP(input_sigma=0.1), GREY, 10)
    assert is_stochastic(CifarResNet(depth=8, weight_noise=Independent()), GREY, 10)
    assert not is_stochastic(CifarResNet(depth=8), GREY, 10)
    assert not is_stochastic(MLP(dropout=0.5), GREY, 10)


def test_stages_are_listed_input_side_first_without_the_batch() -> None:
    assert stage_shapes(MLP(hidden=(5, 4)), GREY, 10) == ((5,), (4,))
    assert stage_shapes(MLP(hidden=()), GREY, 10) == ()
    assert stage_shapes(WideResNet(depth=10, width=2), COLOUR, 10) == (
        (32, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
    )


@pytest.mark.parametrize(
    ("model", "side", "least"),
    [
        (ResNet(depth=10), 8, 2),
        (ResNet(depth=10), 32, 1),
        (WideResNet(depth=10, width=1), 8, 1),
        (WideResNet(depth=10, width=1), 4, 2),
        (MLP(), 8, 1),
        (CNN(channels=(4, 4, 4), batch_norm=True), 8, 1),
    ],
)
def test_two_images_are_needed_where_batch_norm_sees_one_value_of_each(
    model: Model, side: int, least: int
) -> None:
    assert smallest_batch(model, (1, side, side), 10) == least
    network = model.build((1, side, side), 10).train()
    network(torch.rand(least, 1, side, side))
    if least > 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(torch.rand(1, 1, side, side))
