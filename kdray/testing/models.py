"""What every model keeps to: the network that it builds, as it is and with the noise that it may
have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import seeds
from kdray.data import Shape
from kdray.models import (
    Classifier,
    Model,
    Network,
    Outputs,
    has_dropout,
    is_stochastic,
    stage_shapes,
)
from kdray.perturbations import Coloured, Independent, WeightNoise
from kdray.testing.contracts import Contract, check
from kdray.testing.samples import draws, same
from kdray.testing.values import VALUE_CONTRACTS

SHAPES: tuple[Shape, ...] = ((1, 8, 8), (3, 32, 32))
"""Of the images that sweeps use most."""
CLASSES = 7
ROWS = 4
CALM = ("input_sigma", "weight_noise", "dropout")
"""Fields of a model that make it draw."""


def outputs_have_a_row_for_every_image(model: Model, shape: Shape, classes: int) -> None:
    """Logits (one for each class), hidden stages and embedding (a vector) are finite float32."""
    outputs = network_of(model, shape, classes)(images_of(shape))
    assert isinstance(outputs, Outputs), f"it answers with {type(outputs).__name__}, not Outputs"
    assert outputs.logits.shape == (ROWS, classes), (
        f"the logits of {ROWS} images of {classes} classes have shape {tuple(outputs.logits.shape)}"
    )
    assert outputs.embedding.ndim == 2, (
        f"the embedding of {ROWS} images has shape {tuple(outputs.embedding.shape)}"
    )
    stages = {f"stage {number}": stage for number, stage in enumerate(outputs.stages)}
    parts = {**stages, "the embedding": outputs.embedding, "the logits": outputs.logits}
    for name, part in parts.items():
        assert len(part) == ROWS, f"{name} of {ROWS} images has {len(part)} rows"
        assert part.dtype == torch.float32, f"{name} is {part.dtype}"
        assert part.isfinite().all(), f"{name} is not finite"


def the_embedding_is_the_input_of_the_last_linear_layer(
    model: Model, shape: Shape, classes: int
) -> None:
    """The last linear layer makes the logits of the embedding. (A network without one keeps to
    it.)"""
    network = network_of(model, shape, classes)
    linear = [each for each in network.modules() if isinstance(each, nn.Linear)]
    if not linear:
        return
    outputs = network(images_of(shape))
    assert outputs.embedding.shape[1] == linear[-1].in_features, (
        f"the embedding has {outputs.embedding.shape[1]} numbers, the input of the last linear "
        f"layer {linear[-1].in_features}"
    )
    again = functional.linear(outputs.embedding, linear[-1].weight, linear[-1].bias)
    assert again.shape == outputs.logits.shape, (
        f"the last linear layer gives {again.shape[1]} numbers, the logits are "
        f"{outputs.logits.shape[1]}"
    )
    assert torch.allclose(again, outputs.logits, rtol=1.3e-6, atol=1e-5), (
        "the last linear layer does not give the logits of the embedding"
    )


def eval_mode_is_deterministic_and_treats_every_image_alone(
    model: Model, shape: Shape, classes: int
) -> None:
    """In eval mode nothing is drawn, and the logits of an image do not depend on others beside
    it."""
    network, images = network_of(model, shape, classes).eval(), images_of(shape)
    together = network(images).logits
    with seeds.ambient(1, "evaluation"):
        assert torch.equal(network(images).logits, together), "two passes of eval mode differ"
    alone = torch.cat([network(image[None]).logits for image in images])
    assert torch.allclose(alone, together, rtol=1e-4, atol=1e-5), (
        "the logits of an image alone and beside others differ by "
        f"{(alone - together).abs().max().item():.3g}"
    )


def a_gradient_reaches_every_parameter_and_the_image(
    model: Model, shape: Shape, classes: int
) -> None:
    """Whatever it has is learned, and attacks find a way through it."""
    network, shown = network_of(model, shape, classes).train(), images_of(shape).clone()
    shown.requires_grad_(True)
    _loss(network(shown).logits, classes).backward()
    for name, tensor in (*network.named_parameters(), ("the image", shown)):
        assert tensor.grad is not None, f"no gradient reaches {name}"
        assert tensor.grad.any(), f"the gradient of {name} is zero"


def the_images_stay_as_they_are(model: Model, shape: Shape, classes: int) -> None:
    """Looking at images does not change them."""
    shown = images_of(shape).clone()
    network_of(model, shape, classes)(shown)
    assert torch.equal(shown, images_of(shape)), "a pass changed the images"


def stored_weights_make_the_same_network(model: Model, shape: Shape, classes: int) -> None:
    """Parameters and buffers are everything that tells two networks of it apart."""
    trained, fresh = (network_of(model, shape, classes, seed) for seed in (0, 1))
    trained.train()(images_of(shape))  # running statistics are stored too
    fresh.load_state_dict(trained.state_dict())
    logits = [network.eval()(images_of(shape)).logits for network in (trained, fresh)]
    assert torch.equal(*logits), "a network with the same stored weights has other logits"


def the_global_generator_alone_decides_the_initial_weights(
    model: Model, shape: Shape, classes: int
) -> None:
    """Equal seeds make equal networks, other seeds others."""
    first, again, other = (
        network_of(model, shape, classes, seed).state_dict() for seed in (0, 0, 1)
    )
    assert same(first, again), "the same seed made two different networks"
    assert not same(first, other), "another seed made the same network"


def the_shapes_of_the_stages_are_known_without_numbers(
    model: Model, shape: Shape, classes: int
) -> None:
    """The network can be built without numbers, before anything is trained, and says the shapes of
    its hidden stages."""
    stages = network_of(model, shape, classes)(images_of(shape)).stages
    found = tuple(tuple(stage.shape[1:]) for stage in stages)
    told = stage_shapes(model, shape, classes)
    assert told == found, f"stages of shape {told} are foreseen, {found} found"


def dropout_and_noise_are_off_unless_asked_for(model: Model, shape: Shape, classes: int) -> None:
    """Without a field that asks for it nothing is drawn; a field ``dropout`` asks for it."""
    assert not is_stochastic(model, shape, classes), "it has noise that no field asks for"
    assert not has_dropout(model, shape, classes), "it has dropout that no field asks for"
    if "dropout" in type(model).model_fields:
        asking = model.model_copy(update={"dropout": 0.5})
        assert has_dropout(asking, shape, classes), "dropout: 0.5 makes no dropout"


MODEL_CONTRACTS: tuple[Contract, ...] = (
    outputs_have_a_row_for_every_image,
    the_embedding_is_the_input_of_the_last_linear_layer,
    eval_mode_is_deterministic_and_treats_every_image_alone,
    a_gradient_reaches_every_parameter_and_the_image,
    the_images_stay_as_they_are,
    stored_weights_make_the_same_network,
    the_global_generator_alone_decides_the_initial_weights,
    the_shapes_of_the_stages_are_known_without_numbers,
    dropout_and_noise_are_off_unless_asked_for,
)
"""Of a model without noise."""


def it_draws_in_eval_mode_from_the_global_generator_alone(
    model: Model, shape: Shape, classes: int
) -> None:
    """Its noise is there in inference too, and follows from torch's global generator."""
    classifier = Classifier(
        network_of(model, shape, classes), nn.Identity(), input_sigma=model.input_sigma
    ).eval()
    assert is_stochastic(model, shape, classes), "its noise is in no Stochastic layer"

    def logits(seed: int) -> Tensor:
        with seeds.ambient(seed, "evaluation"):
            return classifier.logits(images_of(shape))

    first = logits(0)
    assert first.isfinite().all(), "its logits are not finite"
    assert torch.equal(logits(0), first), "equal seeds give different logits"
    assert not torch.equal(logits(1), first), "another seed gives the same logits: no noise"


def noise_changes_no_initial_weight(model: Model, shape: Shape, classes: int) -> None:
    """With noise the same seed makes the same weights as without."""
    noisy = network_of(model, shape, classes).state_dict()
    for name, tensor in network_of(calm(model), shape, classes).state_dict().items():
        assert name in noisy, f"{name} has another name with noise"
        assert torch.equal(noisy[name], tensor), f"with noise {name} starts elsewhere"


def a_finite_gradient_reaches_every_parameter(model: Model, shape: Shape, classes: int) -> None:
    """Noise is differentiated through; what is learned of it is learned."""
    network = network_of(model, shape, classes).train()
    _loss(network(images_of(shape)).logits, classes).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
        assert parameter.grad.any(), f"the gradient of {name} is zero"


def stored_weights_make_the_same_noisy_network(model: Model, shape: Shape, classes: int) -> None:
    """What is stored holds what is learned of the noise."""
    trained, fresh = (network_of(model, shape, classes, seed) for seed in (0, 1))
    fresh.load_state_dict(trained.state_dict())
    logits = []
    for network in (trained, fresh):
        with seeds.ambient(0, "evaluation"):
            logits.append(network.eval()(images_of(shape)).logits)
    assert torch.equal(*logits), "a network with the same stored weights has other logits"


NOISY_MODEL_CONTRACTS: tuple[Contract, ...] = (
    it_draws_in_eval_mode_from_the_global_generator_alone,
    noise_changes_no_initial_weight,
    a_finite_gradient_reaches_every_parameter,
    stored_weights_make_the_same_noisy_network,
)
"""Of a model with noise on its input or its weights."""


def check_model(model: Model, *, shape: Shape | None = None, classes: int = CLASSES) -> None:
    """Raise AssertionError unless ``model`` keeps to every contract of a model, for images of
    ``shape`` (none: 1 x 8 x 8 and 3 x 32 x 32) and so many ``classes``; also with each noise that
    its fields allow."""
    __tracebackhide__ = True
    check(model, VALUE_CONTRACTS)
    for each in SHAPES if shape is None else (shape,):
        check(calm(model), MODEL_CONTRACTS, each, classes)
    for noisy in noisy_variants(model):
        check(noisy, NOISY_MODEL_CONTRACTS, shape or SHAPES[0], classes)


def calm(model: Model) -> Model:
    """Return the model without noise and dropout."""
    fields = type(model).model_fields
    return model.model_copy(update={name: fields[name].default for name in CALM if name in fields})


def noisy_variants(
    model: Model, noises: Sequence[WeightNoise] = (Independent(), Coloured())
) -> list[Model]:
    """Return the model with each noise that it can have: on its input, and ``noises`` on its
    weights."""
    quiet = calm(model)
    found = [quiet.model_copy(update={"input_sigma": 0.2})]
    if "weight_noise" in type(model).model_fields:
        found += [quiet.model_copy(update={"weight_noise": noise}) for noise in noises]
    return found


def network_of(model: Model, shape: Shape, classes: int, seed: int = 0) -> Network:
    """Return an untrained network of ``model``."""
    with seeds.ambient(seed, "model"):
        return model.build(shape, classes)


def images_of(shape: Shape) -> Tensor:
    """Return some normalised images."""
    return torch.randn(ROWS, *shape, generator=draws())


def _loss(logits: Tensor, classes: int) -> Tensor:
    return functional.cross_entropy(logits, torch.tensor([0, 3, 6, 1]) % classes)
