"""What every noise on inputs, labels and logits keeps to: it draws from the generator, its argument
stays as it is."""

from __future__ import annotations

import pytest
import torch

from kdray.perturbations import (
    AnyInputNoise,
    AnyLabelNoise,
    AnyLogitNoise,
    InputNoise,
    LabelNoise,
    LogitNoise,
)
from tests.contracts.members import every, members
from tests.tensors import draws

UNIONS = (AnyInputNoise, AnyLabelNoise, AnyLogitNoise)
every_input_noise, every_label_noise, every_logit_noise = map(every, UNIONS)
IMAGES = torch.rand(16, 3, 6, 6, generator=draws())
LABELS = torch.randint(0, 10, (400,), generator=draws())
LOGITS = 2 * torch.randn(40, 10, generator=draws())


@every_input_noise
def test_noisy_images_have_the_shape_and_type_of_the_images(value: InputNoise) -> None:
    noisy = value(IMAGES, draws())
    assert (noisy.shape, noisy.dtype) == (IMAGES.shape, IMAGES.dtype)
    assert noisy.isfinite().all()
    assert not torch.equal(noisy, IMAGES)


@every_input_noise
def test_the_generator_alone_decides_the_noise_on_images(value: InputNoise) -> None:
    noisy = value(IMAGES, draws())
    ambient = torch.get_rng_state()
    assert torch.equal(value(IMAGES, draws()), noisy)
    assert not torch.equal(value(IMAGES, draws(1)), noisy)
    assert torch.equal(torch.get_rng_state(), ambient)


@every_input_noise
def test_every_image_gets_noise_of_its_own(value: InputNoise) -> None:
    same = IMAGES[:1].expand(8, -1, -1, -1)
    noisy = value(same, draws())
    assert len(noisy.flatten(1).unique(dim=0)) == 8


@every_input_noise
def test_the_images_themselves_stay_as_they_are(value: InputNoise) -> None:
    images = IMAGES.clone()
    value(images, draws()).fill_(7)
    assert torch.equal(images, IMAGES)


@every_label_noise
def test_noisy_labels_are_classes(value: LabelNoise) -> None:
    for classes in (10, 100):
        noisy = value(LABELS, classes, draws())
        assert (noisy.shape, noisy.dtype) == (LABELS.shape, LABELS.dtype)
        assert int(noisy.min()) >= 0
        assert int(noisy.max()) < classes
        assert not torch.equal(noisy, LABELS)


@every_label_noise
def test_the_generator_alone_decides_the_noise_on_labels(value: LabelNoise) -> None:
    noisy = value(LABELS, 10, draws())
    ambient = torch.get_rng_state()
    assert torch.equal(value(LABELS, 10, draws()), noisy)
    assert not torch.equal(value(LABELS, 10, draws(1)), noisy)
    assert torch.equal(torch.get_rng_state(), ambient)


@every_label_noise
def test_the_labels_themselves_stay_as_they_are(value: LabelNoise) -> None:
    labels = LABELS.clone()
    value(labels, 10, draws()).fill_(-1)
    assert torch.equal(labels, LABELS)


@every_logit_noise
def test_noisy_logits_have_the_shape_and_type_of_the_logits(value: LogitNoise) -> None:
    for logits in (LOGITS, LOGITS.double()):
        noisy = value(logits, 4.0, draws())
        assert (noisy.shape, noisy.dtype) == (logits.shape, logits.dtype)
        assert noisy.isfinite().all()
        assert not torch.equal(noisy, logits)


@every_logit_noise
def test_the_generator_alone_decides_the_noise_on_logits(value: LogitNoise) -> None:
    noisy = value(LOGITS, 4.0, draws())
    ambient = torch.get_rng_state()
    assert torch.equal(value(LOGITS, 4.0, draws()), noisy)
    assert not torch.equal(value(LOGITS, 4.0, draws(1)), noisy)
    assert torch.equal(torch.get_rng_state(), ambient)


@every_logit_noise
def test_how_much_is_drawn_does_not_depend_on_the_logits(value: LogitNoise) -> None:
    states = []
    for logits in (LOGITS, torch.zeros_like(LOGITS), 1e4 * LOGITS):
        generator = draws()
        value(logits, 4.0, generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


@every_logit_noise
def test_samples_draw_independently_of_each_other(value: LogitNoise) -> None:
    same = torch.linspace(1, 1.4, 5).expand(200, -1)
    assert len(value(same, 4.0, draws()).unique(dim=0)) > 1
    one = value(LOGITS, 4.0, draws())
    others = value(torch.cat([LOGITS[:1], LOGITS[1:].flip(0)]), 4.0, draws())
    assert torch.equal(one[0], others[0])


@every_logit_noise
def test_a_gradient_passes_through_to_the_logits(value: LogitNoise) -> None:
    logits = LOGITS.clone().requires_grad_(True)
    value(logits, 4.0, draws()).square().sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad != 0).all()


@every_logit_noise
def test_the_logits_themselves_stay_as_they_are(value: LogitNoise) -> None:
    logits = LOGITS.clone()
    value(logits, 4.0, draws()).fill_(7)
    assert torch.equal(logits, LOGITS)


@pytest.mark.parametrize(
    "kind", [kind for union in UNIONS for kind in members(union)], ids=lambda kind: kind.__name__
)
def test_says_where_it_is_written_down(value: InputNoise | LabelNoise | LogitNoise) -> None:
    assert value.paper
