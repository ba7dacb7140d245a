"""The first layers of every model: what is done to images in [0, 1] before the network sees them,
fitted on train only.

Global contrast normalisation and ZCA whitening are robust_student's (section V.A, "GCA and ZCA"),
with the constants of the source that it follows (Goodfellow et al. 2013, Maxout networks;
pylearn2): scale 55, and 0.1 added to every eigenvalue.

What is fitted comes from :func:`fitted` and goes into :func:`normalizer`. The means and deviations
of ``standardize`` lie in every weights file; a whitening matrix (36 MiB for CIFAR) does not, but is
stored once under :func:`storage_key`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from kdray.core import fingerprint, tag_of
from kdray.data import Dataset, ImageData, to_unit

SCALE = 55.0
"""The norm of an image after global contrast normalisation."""
FLAT = 1e-4
"""An image whose distance from its mean is smaller is of one colour: one pixel that differs by one
of 255 levels is 0.003 away. pylearn2 has 1e-8, at which float32's rounding of a mean would pass for
contrast."""
FILTER_BIAS = 0.1
"""Added to every eigenvalue before whitening."""
BLOCK = 2048
"""Images that the covariance is accumulated over at once."""


class Standardize(nn.Module):
    """Every channel to mean 0 and standard deviation 1 on the training images."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float32[Tensor, "C"], std: Float32[Tensor, "C"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1).clone())
        self.register_buffer("std", std.view(1, -1, 1, 1).clone())

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class ContrastNormalize(nn.Module):
    """Global contrast normalisation: 55·(x - mean(x)) / ‖x - mean(x)‖ over all pixels and channels
    of each image.

    An image of one colour becomes x - mean(x), which is 0. All derivatives are finite, there as
    well.
    """

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        centred = images - images.mean((1, 2, 3), keepdim=True)
        squares = centred.square().sum((1, 2, 3), keepdim=True)
        # Before the root, whose derivative at 0 is infinite.
        return centred * (SCALE / torch.where(squares < FLAT**2, SCALE**2, squares).sqrt())


class Whiten(nn.Module):
    """ZCA: (x - mean) · matrix on flattened images. Neither is part of the weights."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Float32[Tensor, "D"], matrix: Float32[Tensor, "D D"]) -> None:
        super().__init__()
        self.register_buffer("mean", mean.clone(), persistent=False)
        self.register_buffer("matrix", matrix.clone(), persistent=False)

    def forward(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        whitened: Tensor = (images.flatten(1) - self.mean) @ self.matrix
        return whitened.view_as(images)


def zca(images: UInt8[Tensor, "N C H W"]) -> tuple[Float32[Tensor, "D"], Float32[Tensor, "D D"]]:
    """Mean μ of the contrast-normalised images, and V diag(1/√(λ + 0.1)) Vᵀ of their covariance's
    (over N) eigenvectors.

    Computed in float64 on the CPU; no random number is drawn.
    """
    count, size = len(images), images[0].numel()
    blocks = (
        ContrastNormalize()(to_unit(block.cpu()).double()).flatten(1)
        for block in images.split(BLOCK)
    )
    if (
        4 * count < size
    ):  # few images: their own decomposition, which leaves out the directions that they do not span
        contrasts = torch.cat(list(blocks))
        mean = contrasts.mean(0)
        _, roots, rows = torch.linalg.svd((contrasts - mean) / count**0.5, full_matrices=False)
        values, vectors = roots.square(), rows.mT
    else:
        total, products = (
            torch.zeros(size, dtype=torch.float64),
            torch.zeros(size, size, dtype=torch.float64),
        )
        for block in blocks:
            total += block.sum(0)
            products.addmm_(block.mT, block)
        mean = total / count
        values, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    # 1/√0.1 everywhere, and the difference to it where there is variance.
    scales = (values.clamp(min=0) + FILTER_BIAS).rsqrt() - FILTER_BIAS**-0.5
    matrix = (
        FILTER_BIAS**-0.5 * torch.eye(size, dtype=torch.float64) + (vectors * scales) @ vectors.mT
    )
    return mean.float(), matrix.float()


def fitted(data: ImageData, dataset: Dataset) -> dict[str, Tensor]:
    """What the normalisation of ``data`` learns from the training images of ``dataset``, by
    name."""
    if data.normalization == "standardize":
        return {"mean": dataset.mean, "std": dataset.std}
    if data.normalization == "gcn_zca":
        mean, matrix = zca(dataset.train.images)
        return {"mean": mean, "matrix": matrix}
    return {}


def storage_key(data: ImageData) -> str | None:
    """The name to store :func:`fitted`'s tensors under: equal for equal training images. None if
    there is nothing to store.

    Of the description only the augmentation changes no image that is fitted to.
    """
    if data.normalization != "gcn_zca":
        return None
    return f"{tag_of(type(data))}-{fingerprint(data.model_copy(update={'augment': 'none'}))}"


def normalizer(data: ImageData, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The normalisation that ``data`` asks for, of what :func:`fitted` gave.

    Without its tensors ``standardize`` waits for those in the weights that are about to be loaded.
    """
    match data.normalization:
        case "none":
            return nn.Identity()
        case "standardize":
            channels = data.shape[0]
            return Standardize(
                tensors.get("mean", torch.zeros(channels)), tensors.get("std", torch.ones(channels))
            )
        case "gcn":
            return ContrastNormalize()
        case "gcn_zca":
            return nn.Sequential(ContrastNormalize(), Whiten(tensors["mean"], tensors["matrix"]))


def fit(data: ImageData, dataset: Dataset) -> nn.Module:
    """The normalisation that ``data`` asks for, fitted to the training images of ``dataset``."""
    return normalizer(data, fitted(data, dataset))
