"""What every noise on inputs and labels keeps to: its draws come from the generator, its argument stays as it is."""

from __future__ import annotations

import torch

from kdray.perturbations import AnyInputNoise, AnyLabelNoise, InputNoise, LabelNoise
from tests.contracts.members import every
from tests.tensors import draws

every_input_noise, every_label_noise = every(AnyInputNoise), every(AnyLabelNoise)
IMAGES = torch.rand(16, 3, 6, 6, generator=draws())
LABELS = torch.randint(0, 10, (400,), generator=draws())


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
