from __future__ import annotations

import pytest
import torch

from kdray.core import InputError, parse
from kdray.models import MLP
from kdray.models.mlp import MLPNetwork


def test_the_layers_are_linear_maps_with_relu_between() -> None:
    network = MLP(hidden=(5, 4)).build((2, 3, 3), 7).double()
    images = torch.randn(
        6, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    weights = network.state_dict()
    x, stages = images.reshape(6, 18), []
    for layer in ("hidden.0.0", "hidden.1.0"):
        x = (x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]).clamp(min=0)
        stages.append(x)
    logits = x @ weights["head.weight"].T + weights["head.bias"]
    outputs = network(images)
    assert torch.allclose(outputs.logits, logits)
    assert all(torch.allclose(a, b) for a, b in zip(outputs.stages, stages, strict=True))
    assert outputs.embedding is outputs.stages[-1]


def test_without_hidden_layers_it_is_a_linear_classifier_of_the_pixels() -> None:
    network = MLP(hidden=()).build((1, 2, 2), 3)
    images = torch.rand(4, 1, 2, 2)
    outputs = network(images)
    assert torch.equal(outputs.logits, network.head(images.flatten(1)))  # type: ignore[operator]
    assert outputs.stages == ()
    assert torch.equal(outputs.embedding, images.flatten(1))


def test_dropout_zeroes_its_share_of_hidden_units_and_scales_the_rest() -> None:
    network = MLPNetwork(4, (20_000,), 2, dropout=0.25)
    images = torch.rand(1, 1, 2, 2)
    kept = network.eval()(images).embedding
    dropped = network.train()(images).embedding
    active = kept > 0
    assert float((dropped[active] == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    survivors = active & (dropped > 0)
    assert torch.allclose(dropped[survivors], kept[survivors] / 0.75)


@pytest.mark.parametrize("hidden", [[0], [-1], [8, 0], 8, None])
def test_layers_without_units_are_refused(hidden: object) -> None:
    with pytest.raises(InputError, match=r"^hidden"):
        parse(MLP, {"name": "mlp", "hidden": hidden})
