"""What every model keeps to, at the two sizes of image that sweeps use most."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import Value, seeds
from kdray.data import Shape
from kdray.models import (
    AnyModel,
    Classifier,
    Model,
    Network,
    has_dropout,
    is_stochastic,
    stage_shapes,
)
from kdray.perturbations.weight_noise import AnyWeightNoise
from tests.contracts.members import MISSING, every, instance, members
from tests.tensors import draws


def noisy(kind: type[Value]) -> list[Any]:
    """The test's instance of ``kind`` with each noise that it can have."""
    noises: list[dict[str, Any]] = [{"input_sigma": 0.2}]
    if "weight_noise" in kind.model_fields:
        noises += [{"weight_noise": noise()} for noise in members(AnyWeightNoise)]
    return [instance(kind).model_copy(update=noise) for noise in noises]


every_model = every(AnyModel)
every_noisy_model = pytest.mark.parametrize(
    "value",
    [each for kind in members(AnyModel) if kind not in MISSING for each in noisy(kind)],
    ids=str,
)
both_shapes = pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)], ids=str)
CLASSES = 7


def network(model: Model, shape: Shape, seed: int = 0) -> Network:
    with seeds.ambient(seed, "model"):
        return model.build(shape, CLASSES)


@cache
def images(shape: Shape) -> Tensor:
    return torch.randn(4, *shape, generator=draws())


@every_model
@both_shapes
def test_logits_stages_and_embedding_have_a_row_for_every_image(value: Model, shape: Shape) -> None:
    outputs = network(value, shape)(images(shape))
    assert outputs.logits.shape == (4, CLASSES)
    assert outputs.embedding.ndim == 2
    assert outputs.stages
    for part in (*outputs.stages, outputs.embedding, outputs.logits):
        assert len(part) == 4
        assert part.dtype == torch.float32
        assert part.isfinite().all()


@every_model
@both_shapes
def test_the_embedding_is_the_input_of_the_last_linear_layer(value: Model, shape: Shape) -> None:
    built = network(value, shape)
    last = [module for module in built.modules() if isinstance(module, nn.Linear)][-1]
    outputs = built(images(shape))
    torch.testing.assert_close(
        functional.linear(outputs.embedding, last.weight, last.bias), outputs.logits
    )


@every_model
@both_shapes
def test_eval_mode_is_deterministic_and_treats_every_image_alone(
    value: Model, shape: Shape
) -> None:
    built = network(value, shape).eval()
    together = built(images(shape)).logits
    torch.manual_seed(1)
    assert torch.equal(built(images(shape)).logits, together)
    alone = torch.cat([built(image[None]).logits for image in images(shape)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@every_model
@both_shapes
def test_a_gradient_reaches_every_parameter_and_the_image(value: Model, shape: Shape) -> None:
    built, shown = network(value, shape).train(), images(shape).clone().requires_grad_(True)
    functional.cross_entropy(built(shown).logits, torch.tensor([0, 3, 6, 1])).backward()
    for name, tensor in (*built.named_parameters(), ("image", shown)):
        assert tensor.grad is not None, name
        assert tensor.grad.any(), name


@every_model
def test_looking_at_images_does_not_change_them(value: Model) -> None:
    shown = images((1, 8, 8)).clone()
    network(value, (1, 8, 8))(shown)
    assert torch.equal(shown, images((1, 8, 8)))


@every_model
def test_stored_weights_make_the_same_network(value: Model) -> None:
    shape = (1, 8, 8)
    trained, fresh = network(value, shape, seed=0), network(value, shape, seed=1)
    trained.train()(images(shape))  # running statistics are stored too
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh.eval()(images(shape)).logits, trained.eval()(images(shape)).logits)


@every_model
def test_the_global_generator_alone_decides_the_initial_weights(value: Model) -> None:
    first, again, other = (network(value, (1, 8, 8), seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@every_model
@both_shapes
def test_the_shapes_of_the_stages_are_known_without_numbers(value: Model, shape: Shape) -> None:
    stages = network(value, shape)(images(shape)).stages
    assert stage_shapes(value, shape, CLASSES) == tuple(tuple(stage.shape[1:]) for stage in stages)


@every_model
def test_dropout_and_noise_are_off_unless_asked_for(value: Model) -> None:
    assert not is_stochastic(value, (1, 8, 8), CLASSES)
    assert not has_dropout(value, (1, 8, 8), CLASSES)
    if "dropout" in type(value).model_fields:
        assert has_dropout(value.model_copy(update={"dropout": 0.5}), (1, 8, 8), CLASSES)


@every_noisy_model
def test_a_noisy_model_draws_in_eval_mode_from_the_global_generator_alone(value: Model) -> None:
    shape = (1, 8, 8)
    classifier = Classifier(
        network(value, shape), nn.Identity(), input_sigma=value.input_sigma
    ).eval()
    assert is_stochastic(value, shape, CLASSES)

    def logits(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return classifier.logits(images(shape))

    first = logits(0)
    assert first.isfinite().all()
    assert torch.equal(logits(0), first)
    assert not torch.equal(logits(1), first)


@every_noisy_model
def test_noise_changes_no_initial_weight(value: Model) -> None:
    silent = {
        name: field.default
        for name, field in type(value).model_fields.items()
        if name in ("input_sigma", "weight_noise")
    }
    noisy_weights = network(value, (1, 8, 8)).state_dict()
    for name, tensor in network(value.model_copy(update=silent), (1, 8, 8)).state_dict().items():
        assert torch.equal(noisy_weights[name], tensor), name


@every_noisy_model
def test_a_gradient_reaches_every_parameter_of_a_noisy_model(value: Model) -> None:
    built = network(value, (1, 8, 8)).train()
    functional.cross_entropy(built(images((1, 8, 8))).logits, torch.tensor([0, 3, 6, 1])).backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_noisy_model
def test_stored_weights_of_a_noisy_model_make_the_same_network(value: Model) -> None:
    trained, fresh = network(value, (1, 8, 8), seed=0), network(value, (1, 8, 8), seed=1)
    fresh.load_state_dict(trained.state_dict())
    outputs = []
    for built in (trained, fresh):
        torch.manual_seed(0)
        outputs.append(built.eval()(images((1, 8, 8))).logits)
    assert torch.equal(*outputs)
