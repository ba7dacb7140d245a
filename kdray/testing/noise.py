"""What every noise on images, labels, logits and weights keeps to: it draws from the generator, and
what it is given stays as it is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kdray.core import seeds
from kdray.data import Shape
from kdray.models import CNN, Network
from kdray.models.noisy_layers import with_weight_noise
from kdray.perturbations import InputNoise, LabelNoise, LogitNoise, WeightNoise
from kdray.testing.contracts import Contract, check
from kdray.testing.samples import draws
from kdray.testing.values import VALUE_CONTRACTS

SHAPE: Shape = (3, 6, 6)
CLASSES = 10
TEMPERATURE = 4.0


def images_of(shape: Shape) -> Tensor:
    """Return images in [0, 1]."""
    return torch.rand(16, *shape, generator=draws())


def labels_of(classes: int) -> Tensor:
    """Return labels of every class."""
    return torch.randint(0, classes, (400,), generator=draws())


def some_logits() -> Tensor:
    """Return the logits of some samples."""
    return 2 * torch.randn(40, CLASSES, generator=draws())


def noisy_images_have_the_shape_and_type_of_the_images(noise: InputNoise, shape: Shape) -> None:
    """Noise changes images and nothing else of them."""
    images = images_of(shape)
    _is_like(noise(images, draws()), images, "images")


def the_generator_alone_decides_the_noise_on_images(noise: InputNoise, shape: Shape) -> None:
    """Equal generators give equal noise, others other noise; the global one is left alone."""
    images = images_of(shape)
    _is_decided_by_its_generator(lambda draws: noise(images, draws))


def every_image_gets_noise_of_its_own(noise: InputNoise, shape: Shape) -> None:
    """Eight copies of an image become eight images."""
    same = images_of(shape)[:1].expand(8, -1, -1, -1)
    found = len(noise(same, draws()).flatten(1).unique(dim=0))
    assert found == 8, f"8 copies of an image became {found} different images"


def the_images_stay_as_they_are(noise: InputNoise, shape: Shape) -> None:
    """The noisy images are others, in memory of their own."""
    images = images_of(shape)
    noise(images, draws()).fill_(7)
    assert torch.equal(images, images_of(shape)), "the given images are changed in place"


INPUT_NOISE_CONTRACTS: tuple[Contract, ...] = (
    noisy_images_have_the_shape_and_type_of_the_images,
    the_generator_alone_decides_the_noise_on_images,
    every_image_gets_noise_of_its_own,
    the_images_stay_as_they_are,
)


def check_input_noise(noise: InputNoise, *, shape: Shape = SHAPE) -> None:
    """Raise AssertionError unless ``noise``, with fields at which it does something, keeps to every
    contract of noise on images, of ``shape``."""
    __tracebackhide__ = True
    check(noise, VALUE_CONTRACTS)
    check(noise, INPUT_NOISE_CONTRACTS, shape)


def noisy_labels_are_classes(noise: LabelNoise, classes: int) -> None:
    """Noisy labels are from 0 to one below the number of classes, for ten times as many too if it
    may be the noise of such data."""
    labels = labels_of(classes)
    for several in (classes, 10 * classes):
        if noise.misfit(several, ()) is not None:
            continue
        noisy = noise(labels, several, draws())
        _is_like(noisy, labels, "labels")
        for label in (int(noisy.min()), int(noisy.max())):
            assert 0 <= label < several, f"of {several} classes it makes the label {label}"


def the_generator_alone_decides_the_noise_on_labels(noise: LabelNoise, classes: int) -> None:
    """Equal generators give equal noise, others other noise; the global one is left alone."""
    labels = labels_of(classes)
    _is_decided_by_its_generator(lambda draws: noise(labels, classes, draws))


def the_labels_stay_as_they_are(noise: LabelNoise, classes: int) -> None:
    """The noisy labels are others, in memory of their own."""
    labels = labels_of(classes)
    noise(labels, classes, draws()).fill_(-1)
    assert torch.equal(labels, labels_of(classes)), "the given labels are changed in place"


LABEL_NOISE_CONTRACTS: tuple[Contract, ...] = (
    noisy_labels_are_classes,
    the_generator_alone_decides_the_noise_on_labels,
    the_labels_stay_as_they_are,
)


def check_label_noise(noise: LabelNoise, *, classes: int = CLASSES) -> None:
    """Raise AssertionError unless ``noise``, with fields at which it does something, keeps to every
    contract of noise on labels, of so many ``classes``."""
    __tracebackhide__ = True
    check(noise, VALUE_CONTRACTS)
    check(noise, LABEL_NOISE_CONTRACTS, classes)


def noisy_logits_have_the_shape_and_type_of_the_logits(noise: LogitNoise) -> None:
    """Noise changes logits and nothing else of them, in single and double precision."""
    for logits in (some_logits(), some_logits().double()):
        _is_like(noise(logits, TEMPERATURE, draws()), logits, "logits")


def the_generator_alone_decides_the_noise_on_logits(noise: LogitNoise) -> None:
    """Equal generators give equal noise, others other noise; the global one is left alone."""
    logits = some_logits()
    _is_decided_by_its_generator(lambda draws: noise(logits, TEMPERATURE, draws))


def how_much_is_drawn_does_not_depend_on_the_logits(noise: LogitNoise) -> None:
    """Whoever draws next from the generator gets the same, whatever the logits were."""
    states = []
    for logits in (some_logits(), 0 * some_logits(), 1e4 * some_logits()):
        generator = draws()
        noise(logits, TEMPERATURE, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1]), "of logits that are zero it draws another number"
    assert torch.equal(states[0], states[2]), "of large logits it draws another number"


def samples_draw_independently_of_each_other(noise: LogitNoise) -> None:
    """Equal samples get noise of their own, and none sees the logits of others."""
    equal = torch.linspace(1, 1.4, 5).expand(200, -1)
    found = len(noise(equal, TEMPERATURE, draws()).unique(dim=0))
    assert found > 1, "200 equal samples get equal noise"
    logits = some_logits()
    first = noise(logits, TEMPERATURE, draws())[0]
    others = torch.cat([logits[:1], logits[1:].flip(0)])
    again = noise(others, TEMPERATURE, draws())[0]
    assert torch.equal(first, again), "the noise on a sample depends on the logits of others"


def a_gradient_passes_through_to_the_logits(noise: LogitNoise) -> None:
    """Noise is differentiated through: every logit gets a finite gradient."""
    logits = some_logits().requires_grad_(True)
    noise(logits, TEMPERATURE, draws()).square().sum().backward()
    assert logits.grad is not None, "no gradient passes"
    assert logits.grad.isfinite().all(), "a gradient is not finite"
    assert (logits.grad != 0).all(), "a logit has no gradient"


def the_logits_stay_as_they_are(noise: LogitNoise) -> None:
    """The noisy logits are others, in memory of their own."""
    logits = some_logits()
    noise(logits, TEMPERATURE, draws()).fill_(7)
    assert torch.equal(logits, some_logits()), "the given logits are changed in place"


LOGIT_NOISE_CONTRACTS: tuple[Contract, ...] = (
    noisy_logits_have_the_shape_and_type_of_the_logits,
    the_generator_alone_decides_the_noise_on_logits,
    how_much_is_drawn_does_not_depend_on_the_logits,
    samples_draw_independently_of_each_other,
    a_gradient_passes_through_to_the_logits,
    the_logits_stay_as_they_are,
)


def check_logit_noise(noise: LogitNoise) -> None:
    """Raise AssertionError unless ``noise``, with fields at which it does something, keeps to every
    contract of noise on a teacher's logits."""
    __tracebackhide__ = True
    check(noise, (*VALUE_CONTRACTS, *LOGIT_NOISE_CONTRACTS))


def noise_on_weights_has_their_shape_and_type(noise: WeightNoise) -> None:
    """The noise on the weights of a convolution and of a linear layer can be added to them."""
    for layer in _layers():
        found = _noise_on(noise, layer)(layer.weight)
        wanted = layer.weight
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), (
            f"on weights of shape {tuple(wanted.shape)} and {wanted.dtype} the noise has shape "
            f"{tuple(found.shape)} and {found.dtype}"
        )
        assert found.isfinite().all(), "it is not finite"
        assert found.any(), "it is zero: give it fields at which it does something"


def the_global_generator_alone_decides_the_noise_on_weights(noise: WeightNoise) -> None:
    """Equal states of torch's global generator give equal noise, others other noise, at every
    call anew."""
    for layer in _layers():
        drawn = _noise_on(noise, layer)
        found = []
        for seed in (0, 0, 1):
            with seeds.ambient(seed, "evaluation"):
                found.append(drawn(layer.weight))
        assert torch.equal(found[0], found[1]), "equal states of the generator give other noise"
        assert not torch.equal(found[0], found[2]), "another state gives the same noise"


def the_weights_stay_as_they_are(noise: WeightNoise) -> None:
    """Drawing noise changes no weight."""
    for layer in _layers():
        before = layer.weight.detach().clone()
        _noise_on(noise, layer)(layer.weight)
        assert torch.equal(layer.weight, before), "the given weights are changed in place"


def what_is_learned_of_the_noise_is_learned(noise: WeightNoise) -> None:
    """A finite gradient reaches every parameter of the noise, and every weight below it."""
    network = _noisy_network(noise)
    network(torch.rand(4, 1, 8, 8, generator=draws())).logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"
        assert parameter.grad.any(), f"the gradient of {name} is zero"


def stored_weights_make_the_same_noisy_network(noise: WeightNoise) -> None:
    """Parameters and buffers are everything that tells two noises of it apart."""
    trained, fresh = _noisy_network(noise, 0), _noisy_network(noise, 1)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.25)
    fresh.load_state_dict(trained.state_dict())
    logits = []
    for network in (trained, fresh):
        with seeds.ambient(0, "evaluation"):
            logits.append(network.eval()(images_of((1, 8, 8))).logits)
    assert torch.equal(*logits), "a network with the same stored weights has other logits"


WEIGHT_NOISE_CONTRACTS: tuple[Contract, ...] = (
    noise_on_weights_has_their_shape_and_type,
    the_global_generator_alone_decides_the_noise_on_weights,
    the_weights_stay_as_they_are,
    what_is_learned_of_the_noise_is_learned,
    stored_weights_make_the_same_noisy_network,
)


def check_weight_noise(noise: WeightNoise) -> None:
    """Raise AssertionError unless ``noise``, with fields at which it does something, keeps to every
    contract of noise on weights."""
    __tracebackhide__ = True
    check(noise, (*VALUE_CONTRACTS, *WEIGHT_NOISE_CONTRACTS))


def _is_like(noisy: Tensor, given: Tensor, what: str) -> None:
    assert (noisy.shape, noisy.dtype) == (given.shape, given.dtype), (
        f"{what} of shape {tuple(given.shape)} and {given.dtype} become "
        f"{tuple(noisy.shape)} and {noisy.dtype}"
    )
    assert noisy.isfinite().all(), f"noisy {what} are not finite"
    assert not torch.equal(noisy, given), (
        f"{what} stay as they are: give it fields at which it does something"
    )


def _is_decided_by_its_generator(noise: Callable[[torch.Generator], Tensor]) -> None:
    noisy = noise(draws())
    ambient = torch.get_rng_state()
    again, other = noise(draws()), noise(draws(1))
    assert torch.equal(again, noisy), "equal generators give different noise"
    assert not torch.equal(other, noisy), "another generator gives the same noise"
    assert torch.equal(torch.get_rng_state(), ambient), "it draws from torch's global generator"


def _layers() -> tuple[nn.Conv2d | nn.Linear, ...]:
    with seeds.ambient(0, "model"):
        return nn.Conv2d(3, 4, 3), nn.Linear(6, 5)


def _noise_on(noise: WeightNoise, layer: nn.Conv2d | nn.Linear) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        return noise.on_convolution(layer.weight)
    return noise.on_linear(layer.weight)


def _noisy_network(noise: WeightNoise, seed: int = 0) -> Network:
    with seeds.ambient(seed, "model"):
        return with_weight_noise(CNN(channels=(4,), hidden=8).build((1, 8, 8), 5), noise)
