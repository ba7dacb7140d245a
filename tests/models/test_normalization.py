"""What is done to images before a network sees them, against independent NumPy computations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kdray.core import parse
from kdray.data import Dataset, Digits, Split, to_unit
from kdray.models import (
    MLP,
    ContrastNormalize,
    Standardize,
    Whiten,
    build,
    fit,
    fitted,
    normalizer,
    storage_key,
)
from kdray.models.normalization import zca

NOWHERE = Path("/nowhere")
KINDS = ["none", "standardize", "gcn", "gcn_zca"]


def images(count: int, shape: tuple[int, ...] = (3, 4, 5), seed: int = 0) -> Tensor:
    """Images whose pixels depend on each other."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    mixed = (
        rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) * 12
        + 128
        + 20 * rng.normal(size=(1, size))
    )
    return torch.from_numpy(mixed.clip(0, 255).astype(np.uint8)).view(count, *shape)


def contrast(pixels: np.ndarray) -> np.ndarray:
    """pylearn2's global contrast normalisation of rows, subtract_mean, scale 55, no bias in the
    root."""
    centred = pixels - pixels.mean(1, keepdims=True)
    norms = np.sqrt((centred**2).sum(1)) / 55
    norms[norms < 1e-8] = 1
    return centred / norms[:, None]


def whitening(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    values, vectors = np.linalg.eigh(covariance)
    return mean, vectors @ np.diag(1 / np.sqrt(values + 0.1)) @ vectors.T


def rows(pixels: Tensor) -> np.ndarray:
    return pixels.numpy().reshape(len(pixels), -1).astype(np.float64) / 255


def described(normalization: str, **fields: object) -> Digits:
    return parse(
        Digits, {"name": "digits", "examples": 300, "normalization": normalization, **fields}
    )


# Global contrast normalisation


def test_contrast_is_normalised_as_in_pylearn2() -> None:
    pixels = images(20)
    found = ContrastNormalize()(to_unit(pixels))
    assert found.shape == pixels.shape
    np.testing.assert_allclose(
        found.numpy().reshape(20, -1), contrast(rows(pixels)), rtol=1e-4, atol=1e-5
    )


def test_every_image_gets_mean_0_and_norm_55_whatever_its_brightness_and_contrast() -> None:
    unit = to_unit(images(20)).double()
    found = ContrastNormalize()(unit)
    assert found.mean((1, 2, 3)).abs().max() < 1e-12
    assert (found.flatten(1).norm(dim=1) - 55).abs().max() < 1e-9
    assert torch.allclose(ContrastNormalize()(0.3 * unit + 0.2), found)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 7, 11)])
def test_images_of_one_colour_become_zero_and_have_finite_derivatives(
    shape: tuple[int, ...],
) -> None:
    flat = (
        to_unit(torch.arange(256, dtype=torch.uint8))
        .view(-1, 1, 1, 1)
        .expand(-1, *shape)
        .clone()
        .requires_grad_()
    )
    found = ContrastNormalize()(flat)
    assert found.abs().max() < 1e-6
    (first,) = torch.autograd.grad(
        found.square().sum() + found[:, 0, 0, 0].sum(), flat, create_graph=True
    )
    (second,) = torch.autograd.grad(first.square().sum(), flat)
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_one_pixel_that_differs_by_one_level_is_contrast() -> None:
    pixels = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    pixels[0, 1, 5, 5] += 1
    assert float(ContrastNormalize()(to_unit(pixels)).norm()) == pytest.approx(55, rel=1e-3)


# Whitening


@pytest.mark.parametrize("count", [5, 14, 16, 40, 5000])
def test_whitening_is_that_of_an_independent_computation(count: int) -> None:
    """With fewer images than pixels, and with several blocks of them."""
    pixels = images(count)
    mean, matrix = whitening(contrast(rows(pixels)))
    found_mean, found = zca(pixels)
    assert (found_mean.dtype, found.dtype) == (torch.float32, torch.float32)
    np.testing.assert_allclose(found_mean.numpy(), mean, atol=1e-5)
    np.testing.assert_allclose(found.numpy(), matrix, atol=2e-5)


def test_whitened_images_have_variance_of_their_eigenvalue_over_itself_and_a_tenth() -> None:
    pixels = images(2000)
    before = contrast(rows(pixels))
    values, vectors = np.linalg.eigh(np.cov(before.T, bias=True))
    data, dataset = described("gcn_zca"), of(pixels)
    after = fit(data, dataset)(to_unit(pixels)).numpy().reshape(2000, -1).astype(np.float64)
    covariance = np.cov(after.T, bias=True)
    np.testing.assert_allclose(
        vectors.T @ covariance @ vectors, np.diag(values / (values + 0.1)), atol=1e-3
    )
    assert np.abs(after.mean(0)).max() < 1e-4


def of(pixels: Tensor) -> Dataset:
    split = Split(pixels, torch.zeros(len(pixels), dtype=torch.long))
    channels = pixels.shape[1]
    return Dataset(split, split, split, torch.zeros(channels), torch.ones(channels))


def test_whitening_stays_near_the_image() -> None:
    """ZCA is the whitening that turns nothing: its matrix is symmetric and positive definite."""
    _, matrix = zca(images(100))
    assert torch.allclose(matrix, matrix.T, atol=1e-5)
    assert torch.linalg.eigvalsh(matrix).min() > 0


# Every kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_repeatable_and_draws_nothing(kind: str) -> None:
    data = described(kind)
    dataset, before = data.load(NOWHERE), torch.get_rng_state()
    one, other = (fitted(data, dataset) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_makes_the_same_layer(kind: str) -> None:
    data = described(kind)
    dataset = data.load(NOWHERE)
    unit = to_unit(dataset.test.images)
    rebuilt = normalizer(data, fitted(data, dataset))
    assert torch.equal(rebuilt(unit), fit(data, dataset)(unit))
    assert rebuilt(unit).shape == unit.shape
    assert not list(rebuilt.parameters())


def test_the_fit_knows_the_training_images_only() -> None:
    data = described("gcn_zca")
    dataset = data.load(NOWHERE)
    other = dataset._replace(val=dataset.train, test=dataset.train)
    for name, tensor in fitted(data, dataset).items():
        assert torch.equal(tensor, fitted(data, other)[name])


def test_means_are_among_the_weights_and_a_matrix_is_not() -> None:
    layers = {kind: fit(described(kind), described(kind).load(NOWHERE)) for kind in KINDS}
    assert {kind: set(layer.state_dict()) for kind, layer in layers.items()} == {
        "none": set(),
        "standardize": {"mean", "std"},
        "gcn": set(),
        "gcn_zca": set(),
    }
    assert {name for name, _ in layers["gcn_zca"].named_buffers()} == {"1.mean", "1.matrix"}


def test_standardize_waits_for_the_weights() -> None:
    data = described("standardize", channels=3)
    waiting, whole = normalizer(data, {}), fit(data, data.load(NOWHERE))
    assert isinstance(waiting, Standardize)
    waiting.load_state_dict(whole.state_dict())
    unit = to_unit(data.load(NOWHERE).test.images)
    assert torch.equal(waiting(unit), whole(unit))


def test_each_kind_is_the_layer_that_it_says() -> None:
    kinds = {kind: fit(described(kind), described(kind).load(NOWHERE)) for kind in KINDS}
    assert isinstance(kinds["none"], nn.Identity)
    assert isinstance(kinds["standardize"], Standardize)
    assert isinstance(kinds["gcn"], ContrastNormalize)
    assert [type(layer) for layer in kinds["gcn_zca"].children()] == [ContrastNormalize, Whiten]


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_reach_the_pixels_twice(kind: str) -> None:
    pixels = images(30, (1, 3, 2))
    layer: Any = fit(described(kind), of(pixels)).double()
    unit = to_unit(pixels[:3]).double().requires_grad_()
    assert torch.autograd.gradcheck(layer, (unit,))
    assert torch.autograd.gradgradcheck(layer, (unit,))


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_is_attacked_in_pixel_space_and_its_size_is_the_networks(kind: str) -> None:
    data = described(kind)
    dataset = data.load(NOWHERE)
    classifier = build(MLP(hidden=(8,)), data, fit(data, dataset), seed=0)
    unit = to_unit(dataset.test.images[:5]).requires_grad_()
    loss = nn.functional.cross_entropy(classifier.logits(unit), dataset.test.labels[:5])
    (gradient,) = torch.autograd.grad(loss, unit)
    assert gradient.isfinite().all()
    assert gradient.flatten(1).norm(dim=1).min() > 0
    assert (
        sum(parameter.numel() for parameter in classifier.parameters()) == 64 * 8 + 8 + 8 * 10 + 10
    )
    assert not any("matrix" in name for name in classifier.state_dict())


# The name of what is stored


def test_only_a_whitening_is_stored() -> None:
    assert [storage_key(described(kind)) is None for kind in KINDS] == [True, True, True, False]


def test_the_name_depends_on_what_the_training_images_are() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"examples": 301},
        {"resize": 12},
        {"channels": 3},
        {"pad": 1},
        {"omit_classes": [4]},
    ]
    names = [storage_key(described("gcn_zca", **change)) for change in changes]
    assert len(set(names)) == len(names)
    assert (
        names[0]
        == storage_key(described("gcn_zca", augment="flip"))
        == storage_key(described("gcn_zca"))
    )
    assert str(names[0]).startswith("digits-")
