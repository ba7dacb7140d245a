"""The networks have the sizes that robust_student counted; their units are the larger of two
pieces; they learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.data import Shape
from kdray.models import Classifier, Maxout, Network, Outputs, Size, blueprint, size, stage_shapes
from kdray.models.maxout import ARCHITECTURES, Conv, LargerPiece

GREY, COLOUR = (1, 28, 28), (3, 32, 32)
SHAPES: dict[str, Shape] = {name: GREY if "mnist" in name else COLOUR for name in ARCHITECTURES}
every_network = pytest.mark.parametrize("name", ARCHITECTURES)


def built(name: str, **fields: float) -> Network:
    return Maxout.model_validate({"network": name, **fields}).build(SHAPES[name], 10)


def sized(name: str, classes: int = 10) -> Size:
    model = Maxout.model_validate({"network": name})
    return size(Classifier(blueprint(model, SHAPES[name], classes), nn.Identity()), SHAPES[name])


@pytest.mark.parametrize(
    ("name", "weights", "macs"),
    [
        ("teacher_cifar", 9_044_360, 725_090_696),
        ("teacher_mnist", 360_816, 28_673_136),
        ("student_mnist", 29_944, 5_310_648),
        ("student_1", 249_576, 30_150_024),
        ("student_2", 861_928, 107_775_880),
        ("student_3", 1_569_544, 391_776_136),
        ("student_4", 2_544_712, 381_749_128),
    ],
)
def test_the_networks_have_the_sizes_that_the_paper_counted(
    name: str, weights: int, macs: int
) -> None:
    assert sized(name)[1:] == (weights, macs)


def test_cifar_100_changes_the_last_layer_only() -> None:
    assert sized("teacher_cifar", classes=100).weights == 9_089_360


def test_biases_are_parameters_and_no_weights() -> None:
    """readings.md: student 2 has 864,122 parameters with biases."""
    assert sized("student_2").parameters == 864_122


@pytest.mark.parametrize(
    ("name", "convolutions", "layers"),
    [("student_1", 9, 11), ("student_2", 9, 11), ("student_3", 11, 13), ("student_4", 17, 19)],
)
def test_students_have_as_many_layers_as_table_vii_counts(
    name: str, convolutions: int, layers: int
) -> None:
    modules = list(built(name, scale=0.05).modules())
    assert len([m for m in modules if isinstance(m, nn.Conv2d)]) == convolutions
    assert len([m for m in modules if isinstance(m, nn.Conv2d | nn.Linear)]) == layers


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("teacher_cifar", ((96, 16, 16), (192, 7, 7), (192, 5, 5))),
        ("teacher_mnist", ((48, 10, 10), (48, 4, 4), (24, 3, 3))),
        ("student_mnist", ((16, 10, 10), (16, 4, 4), (12, 3, 3))),
        ("student_4", ((48, 16, 16), (80, 8, 8), (128, 1, 1))),
    ],
)
def test_a_stage_ends_in_pooling_that_is_rounded_up(
    name: str, stages: tuple[tuple[int, ...], ...]
) -> None:
    assert stage_shapes(Maxout.model_validate({"network": name}), SHAPES[name], 10) == stages


def test_a_unit_is_the_larger_of_its_two_pieces() -> None:
    pieces = torch.randn(3, 8, 2, 2)
    expected = torch.stack([pieces[:, :4], pieces[:, 4:]]).max(0).values
    assert torch.equal(LargerPiece()(pieces), expected)


@every_network
def test_the_forward_pass_by_hand(name: str) -> None:
    network, images = built(name, scale=0.1).eval(), torch.randn(2, *SHAPES[name])
    architecture, x, hidden = (
        ARCHITECTURES[name],
        images,
        [m for m in network.modules() if isinstance(m, nn.Conv2d)],
    )
    remaining = iter(hidden)
    for stage, found in zip(architecture.stages, network(images).stages, strict=True):
        for conv in stage.convs:
            layer = next(remaining)
            pieces = functional.conv2d(x, layer.weight, layer.bias, padding=conv.padding)
            x = pieces.unflatten(1, (2, -1)).amax(1)
        x = functional.max_pool2d(x, stage.pool, stage.stride, ceil_mode=True)
        torch.testing.assert_close(found, x)
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    embedding = x.flatten(1)
    if architecture.hidden:
        embedding = linear[0](embedding).unflatten(1, (2, -1)).amax(1)
    torch.testing.assert_close(network(images).embedding, embedding)
    torch.testing.assert_close(network(images).logits, linear[-1](embedding))


@pytest.mark.parametrize(("scale", "units"), [(1.0, 16), (0.5, 8), (0.1, 2), (0.01, 1)])
def test_scale_multiplies_the_units_of_every_hidden_layer(scale: float, units: int) -> None:
    network = built("student_1", scale=scale)
    first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    assert first.out_channels == 2 * units
    assert network.head.in_features == round(500 * scale)  # type: ignore[union-attr]


def test_dropout_is_on_the_inputs_of_linear_layers() -> None:
    images = torch.randn(2, *COLOUR)
    dropping, plain = (built("student_1", scale=0.25, dropout=each).train() for each in (0.5, 0.0))
    dropping.load_state_dict(plain.state_dict())
    torch.testing.assert_close(dropping(images).stages, plain(images).stages)
    assert float((dropping(images).embedding == 0).float().mean()) == pytest.approx(0.5, abs=0.15)
    assert len([m for m in dropping.modules() if isinstance(m, nn.Dropout)]) == 2
    assert torch.equal(dropping.eval()(images).logits, plain.eval()(images).logits)


@pytest.mark.parametrize(
    ("name", "side"), [("teacher_mnist", 8), ("student_mnist", 5), ("teacher_mnist", 6)]
)
def test_images_that_are_too_small_are_refused(name: str, side: int) -> None:
    with pytest.raises(
        InputError, match=rf"network: images of 28 x {side} pixels are too small.*28 x 28.*32 x 32"
    ):
        Maxout.model_validate({"network": name}).build((1, 28, side), 10)


@every_network
@pytest.mark.parametrize("side", [*range(1, 13), 28])
def test_what_is_not_refused_works(name: str, side: int) -> None:
    model = Maxout.model_validate({"network": name, "scale": 0.02})
    try:
        network = model.build((1, side, 33), 10)
    except InputError:
        assert name in ("teacher_cifar", "teacher_mnist", "student_mnist")
        assert side < 20
    else:
        assert network(torch.zeros(1, 1, side, 33)).logits.shape == (1, 10)


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "student_5"},
        {},
        {"network": "student_1", "scale": 0.0},
        {"network": "student_1", "scale": 1.5},
    ],
)
def test_other_networks_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"^(network|scale)"):
        parse(Maxout, {"name": "maxout", **fields})


def test_convolutions_are_padded_by_one_pixel_unless_said_otherwise() -> None:
    assert Conv(16) == Conv(16, kernel=3, padding=1)


def trained(network: Network, images: Tensor, labels: Tensor, steps: int) -> list[float]:
    optimizer, losses = torch.optim.SGD(network.parameters(), 0.02, momentum=0.8), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images).logits, labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def outputs_at_the_start(name: str) -> tuple[Network, Outputs]:
    torch.manual_seed(0)
    network = built(name)
    return network, network(torch.randn(8, *SHAPES[name]))


@pytest.mark.parametrize("name", ["student_1", "student_4", "student_mnist", "teacher_mnist"])
def test_signals_keep_their_size_up_to_the_last_layers_and_logits_start_small(name: str) -> None:
    _, outputs = outputs_at_the_start(name)
    for stage in outputs.stages:
        assert 0.05 < float(stage.detach().square().mean().sqrt()) < 5
    assert outputs.logits.abs().max() < 1


@pytest.mark.parametrize("name", ["student_1", "student_4"])
def test_gradients_keep_their_size_through_all_convolutions(name: str) -> None:
    network, outputs = outputs_at_the_start(name)
    convolutions = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    gradients = torch.autograd.grad(
        functional.cross_entropy(outputs.logits, torch.arange(8)), convolutions
    )
    steepness = [
        float(g.norm() / w.detach().norm()) for g, w in zip(gradients, convolutions, strict=True)
    ]
    assert max(steepness) < 10 * min(steepness)


@pytest.mark.parametrize(("name", "steps"), [("student_1", 80), ("student_4", 150)])
def test_plain_sgd_fits_random_images(name: str, steps: int) -> None:
    torch.manual_seed(0)
    network, images = built(name, scale=0.25), torch.randn(8, *COLOUR)
    losses = trained(network, images, torch.arange(8) % 2, steps)
    assert losses[-1] < 0.1 * losses[0]
