"""What a classifier adds to its network: normalisation, and initial weights that follow from the
seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdray.data import Digits, to_unit
from kdray.models import (
    MLP,
    Classifier,
    Model,
    Network,
    Outputs,
    Standardize,
    WideResNet,
    build,
    fit,
)

DIGITS = Digits(examples=100)
MODELS = [MLP(hidden=(12, 9)), MLP(hidden=()), WideResNet(depth=10, width=1)]
NOISY_MODELS = [MLP(hidden=(12, 9), dropout=0.5), WideResNet(depth=10, width=1, dropout=0.5)]

each_model = pytest.mark.parametrize("model", MODELS, ids=str)
each_dropout = pytest.mark.parametrize("model", NOISY_MODELS, ids=str)


def built(model: Model, data: Digits = DIGITS, seed: int = 0) -> Classifier:
    return build(model, data, fit(data, data.load(Path())), seed)


def images(count: int = 6) -> torch.Tensor:
    return to_unit(DIGITS.load(Path()).val.images[:count])


@each_model
def test_normalisation_is_the_first_layer(model: Model) -> None:
    classifier, dataset = built(model).eval(), DIGITS.load(Path())
    normalised = (images() - dataset.mean.view(1, 1, 1, 1)) / dataset.std.view(1, 1, 1, 1)
    for found, expected in zip(
        classifier(images())[::2], classifier.network(normalised)[::2], strict=True
    ):
        assert torch.equal(found, expected)
    assert torch.equal(classifier.logits(images()), classifier(images()).logits)


def test_each_channel_is_normalised_by_its_own_statistics() -> None:
    class Echo(Network):
        def forward(self, images: torch.Tensor) -> Outputs:
            return Outputs(images.flatten(1), (), images.flatten(1))

    classifier = Classifier(
        Echo(), Standardize(torch.tensor([0.1, 0.2]), torch.tensor([0.5, 0.25]))
    )
    found = classifier.logits(torch.full((1, 2, 1, 3), 0.6))
    assert torch.allclose(found, torch.tensor([[1.0, 1.0, 1.0, 1.6, 1.6, 1.6]]))


@each_model
def test_without_normalisation_the_network_sees_the_pixels(model: Model) -> None:
    classifier = built(model, Digits(examples=100, normalization="none")).eval()
    assert torch.equal(classifier.logits(images()), classifier.network(images()).logits)


@each_model
def test_normalisation_is_stored_with_the_weights_and_not_learned(model: Model) -> None:
    classifier = built(model)
    assert {"normalization.mean", "normalization.std"} <= classifier.state_dict().keys()
    assert not {"normalization.mean", "normalization.std"} & {
        name for name, _ in classifier.named_parameters()
    }
    empty = build(model, DIGITS, Standardize(torch.zeros(1), torch.ones(1)), seed=7)
    empty.load_state_dict(classifier.state_dict())
    assert torch.equal(empty.eval().logits(images()), classifier.eval().logits(images()))


@each_model
def test_the_seed_alone_decides_the_initial_weights(model: Model) -> None:
    def weights(seed: int, ambient: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(ambient)
        return built(model, seed=seed).state_dict()

    first, again, other = weights(0, 1), weights(0, 2), weights(1, 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["network.head.weight"], other["network.head.weight"])


@each_model
def test_building_leaves_the_global_generator_alone(model: Model) -> None:
    before = torch.random.get_rng_state()
    built(model)
    assert torch.equal(torch.random.get_rng_state(), before)


@each_model
def test_the_data_do_not_change_the_initial_weights(model: Model) -> None:
    one, other = built(model), built(model, Digits(examples=300))
    assert torch.equal(one.network.head.weight, other.network.head.weight)  # type: ignore[arg-type]


@each_dropout
def test_dropout_acts_in_train_mode_only(model: Model) -> None:
    classifier = built(model).train()
    assert not torch.equal(classifier.logits(images()), classifier.logits(images()))
    classifier.eval()
    assert torch.equal(classifier.logits(images()), classifier.logits(images()))


@each_dropout
def test_dropout_changes_no_initial_weight_and_adds_none(model: Model) -> None:
    plain = built(type(model).model_validate({**model.model_dump(), "dropout": 0.0})).state_dict()
    noisy = built(model).state_dict()
    assert plain.keys() == noisy.keys()
    assert all(torch.equal(plain[name], noisy[name]) for name in plain)


@each_dropout
@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability_below_one(model: Model, dropout: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        type(model).model_validate({**model.model_dump(), "dropout": dropout})
