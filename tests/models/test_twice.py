"""Networks made of these layers have torch's outputs and first derivatives to the bit, and second
ones that differences agree with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional

from kdray.data import Digits
from kdray.models import CifarResNet, Classifier, Maxout, Model, Standardize, WideResNet, build
from kdray.models.twice import OURS, differentiable_twice
from kdray.testing.samples import draws

CPU = torch.device("cpu")
COLOUR = Digits(resize=32, channels=3)
MODELS = [
    WideResNet(depth=10, width=1),
    CifarResNet(depth=8),
    Maxout(network="student_1", scale=0.05),
]
networks = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def classifier(model: Model) -> Classifier:
    """In train mode, batch norm's weights drawn."""
    made = build(
        model, COLOUR, Standardize(torch.full((3,), 0.5), torch.full((3,), 0.25)), seed=0
    ).train()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=draws(1))
            nn.init.normal_(module.bias, generator=draws(2))
    return made


def images() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=draws())


def slope(model: Classifier, pixels: Tensor, *, create_graph: bool) -> tuple[Tensor, Tensor]:
    """The logits, and the gradient of the first class's probability for the images."""
    logits = model.logits(pixels)
    return logits, torch.autograd.grad(
        logits.softmax(1)[:, 0].sum(), pixels, create_graph=create_graph
    )[0]


@networks
def test_outputs_running_statistics_and_first_derivatives_are_torchs_to_the_bit(
    model: Model,
) -> None:
    one, other = classifier(model), classifier(model)
    pixels = images().requires_grad_(True)
    expected = slope(one, pixels, create_graph=False)
    with differentiable_twice(CPU):
        found = slope(other, pixels, create_graph=False)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    for name, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


@networks
def test_gradients_for_weights_are_torchs_to_the_bit(model: Model) -> None:
    one, other = classifier(model), classifier(model)
    one.logits(images()).square().sum().backward()
    with differentiable_twice(CPU):
        logits = other.logits(images())
    logits.square().sum().backward()
    for (name, weight), counterpart in zip(one.named_parameters(), other.parameters(), strict=True):
        assert counterpart.grad is not None, name
        assert weight.grad is not None
        assert torch.equal(counterpart.grad, weight.grad), name


@networks
def test_a_loss_of_the_input_gradient_has_torchs_gradients_up_to_rounding(model: Model) -> None:
    one, other = classifier(model).double(), classifier(model).double()
    pixels = images().double().requires_grad_(True)
    for each, context in ((one, None), (other, differentiable_twice(CPU))):
        if context is None:
            logits, gradient = slope(each, pixels, create_graph=True)
        else:
            with context:
                logits, gradient = slope(each, pixels, create_graph=True)
        (
            functional.cross_entropy(logits, torch.arange(4)) + 1e3 * gradient.square().sum()
        ).backward(inputs=list(each.parameters()))
    for (name, weight), counterpart in zip(
        one.named_parameters(), other.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            counterpart[1].grad,
            weight.grad,
            rtol=1e-9,
            atol=1e-9,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def normalised(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return functional.batch_norm(x, None, None, w, b, training=True)


LAYERS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "convolution": (lambda x, w: functional.conv2d(x, w, padding=1), ((2, 2, 5, 4), (3, 2, 3, 3))),
    "with a stride": (
        lambda x, w: functional.conv2d(x, w, stride=2, padding=1),
        ((2, 2, 6, 5), (3, 2, 3, 3)),
    ),
    "with a bias": (lambda x, w, b: functional.conv2d(x, w, b), ((2, 2, 3, 4), (3, 2, 2, 3), (3,))),
    "in groups, dilated": (
        lambda x, w: functional.conv2d(x, w, groups=2, dilation=2),
        ((2, 4, 5, 5), (6, 2, 2, 2)),
    ),
    "batch norm": (normalised, ((3, 2, 2, 2), (2,), (2,))),
    "batch norm of vectors": (normalised, ((5, 3), (3,), (3,))),
    "relu": (functional.relu, ((4, 5),)),
}


def doubles(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    return [
        torch.randn(shape, generator=draws(i), dtype=torch.float64).requires_grad_()
        for i, shape in enumerate(shapes)
    ]


@pytest.mark.parametrize("name", LAYERS)
def test_first_derivatives_are_those_of_differences(name: str) -> None:
    layer, shapes = LAYERS[name]
    with differentiable_twice(CPU):
        assert gradcheck(layer, doubles(shapes))


@pytest.mark.parametrize("name", LAYERS)
def test_derivatives_of_the_images_derivative_are_those_of_differences_also_for_weights(
    name: str,
) -> None:
    layer, shapes = LAYERS[name]
    x, *weights = doubles(shapes)
    g = torch.randn(layer(x, *weights).shape, generator=draws(8), dtype=torch.float64)
    v = torch.randn(x.shape, generator=draws(9), dtype=torch.float64)

    def pulled(x: Tensor, g: Tensor, *weights: Tensor) -> Tensor:
        pixels = x * 1.0
        with differentiable_twice(CPU):
            y = layer(pixels, *weights)
        return (torch.autograd.grad(y, pixels, g, create_graph=True)[0] * v).sum()

    # A bias takes no part in it.
    assert gradcheck(
        pulled, (x, g.requires_grad_(), *weights[:1], *(bias.detach() for bias in weights[1:]))
    )


@networks
def test_every_layer_is_replaced_and_only_within(model: Model) -> None:
    def operations(root: torch.autograd.graph.Node | None) -> set[str]:
        found, seen, left = set(), set(), [root]
        while left:
            node = left.pop()
            if node is not None and node not in seen:
                seen.add(node)
                found.add(type(node).__name__)
                left += [following for following, _ in node.next_functions]
        return found

    torchs = {"ConvolutionBackward0", "NativeBatchNormBackward0", "ReluBackward0"}
    with differentiable_twice(CPU):
        within = operations(classifier(model).logits(images()).grad_fn)
    after = operations(classifier(model).logits(images()).grad_fn)
    assert not within & torchs
    assert after & torchs


def test_in_eval_mode_a_network_answers_the_same() -> None:
    made = classifier(MODELS[0]).eval()
    with differentiable_twice(CPU):
        found = made.logits(images())
    assert torch.equal(found, made.logits(images()))


def test_in_mixed_precision_it_changes_nothing() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16), differentiable_twice(CPU):
        mixed = functional.relu(torch.ones(1, requires_grad=True))
    with differentiable_twice(CPU):
        ours = functional.relu(torch.ones(1, requires_grad=True))
    assert type(mixed.grad_fn).__name__ == "ReluBackward0" != type(ours.grad_fn).__name__
    assert len(OURS) == 3


def test_one_value_in_a_channel_is_refused_as_by_torch() -> None:
    with (
        differentiable_twice(CPU),
        pytest.raises(ValueError, match="more than 1 value per channel"),
    ):
        functional.batch_norm(
            torch.ones(1, 3),
            torch.zeros(3),
            torch.ones(3),
            torch.ones(3),
            torch.zeros(3),
            training=True,
        )
