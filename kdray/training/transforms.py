"""Augmentations that draw continuously, as values: no view comes twice, so that a teacher is asked
for every image of every epoch.

    trivial_augment  one of 14 operations at one of 31 strengths     (Müller, Hutter 2021,
                                                                     arXiv:2103.10158)
    random_erasing   a rectangle becomes zero                        (Zhong et al. 2020,
                                                                     arXiv:1708.04896; cutout:
                                                                     DeVries, Taylor 2017)
    mixup            λ·x_i + (1 - λ)·x_j, labels likewise            (Zhang et al. 2018,
                                                                     arXiv:1710.09412)
    cutmix           a rectangle of x_j in x_i, labels by area       (Yun et al. 2019,
                                                                     arXiv:1905.04899)

They are torchvision's, which draw from torch's global generator; the loop sets that to a stream of
the epoch and the batch. What an image becomes is drawn for each image, λ for each batch, as both
papers' code and torchvision have it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float32, Int64
from pydantic import Field, model_validator
from torch import Tensor

from kdray.core import Several, Value, seeds
from kdray.machine.torchvision import torchvision_part

Images = Float32[Tensor, "B C H W"]
Labels = Int64[Tensor, "B"]
Targets = Float32[Tensor, "B K"]


class Transformed(NamedTuple):
    """A batch of training images after its transforms."""

    images: Images
    labels: Labels
    """Of the class that the image has most of."""
    targets: Targets | None
    """Distributions over classes, where labels are mixed."""


class Transform(Value):
    """What is done to a batch of training images in [0, 1], after crops and flips and before
    noise."""

    mixes_labels: ClassVar[bool] = False
    """Whether an image has several labels afterwards."""
    paper: ClassVar[str]

    @abstractmethod
    def __call__(
        self, images: Images, labels: Labels, classes: int
    ) -> tuple[Images, Targets | None]:
        """The images, and their distributions over so many classes if labels are mixed."""


class TrivialAugment(Transform):
    """One operation for each image, of colours or geometry, at a strength that is drawn
    uniformly."""

    paper: ClassVar[str] = "Müller, Hutter 2021 (arXiv:2103.10158), the wide space"

    name: Literal["trivial_augment"] = "trivial_augment"
    strengths: Annotated[int, Field(ge=2, le=255)] = 31
    """Strengths of an operation, the weakest of which changes nothing."""

    def __call__(self, images: Images, labels: Labels, classes: int) -> tuple[Images, None]:
        del labels, classes
        transform = _v2().TrivialAugmentWide(num_magnitude_bins=self.strengths)
        pixels = images.mul(255).round_().to(torch.uint8)  # of which some operations shift bits
        return torch.stack([transform(image) for image in pixels]).float().div_(255), None


class RandomErasing(Transform):
    """A rectangle of an image becomes zero (black)."""

    paper: ClassVar[str] = "Zhong et al. 2020 (arXiv:1708.04896)"

    name: Literal["random_erasing"] = "random_erasing"
    probability: Annotated[float, Field(gt=0, le=1)] = 0.5
    """With which an image is changed."""
    area: Several[Annotated[float, Field(gt=0, lt=1)]] = (0.02, 0.33)
    """The least and the largest part of the image that is erased."""
    ratio: Several[Annotated[float, Field(gt=0)]] = (0.3, 3.3)
    """The least and the largest ratio of the rectangle's height to its width; [1, 1]: squares
    (cutout)."""

    @model_validator(mode="after")
    def _from_least_to_largest(self) -> RandomErasing:
        for field in ("area", "ratio"):
            pair = getattr(self, field)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ValueError(f"{field}: {list(pair)} is not the least and the largest")
        return self

    def __call__(self, images: Images, labels: Labels, classes: int) -> tuple[Images, None]:
        del labels, classes
        transform = _v2().RandomErasing(self.probability, scale=self.area, ratio=self.ratio)
        return torch.stack([transform(image) for image in images]), None


class MixUp(Transform):
    """Every image is mixed with another one of its batch, λ ~ Beta(α, α)."""

    mixes_labels: ClassVar[bool] = True
    paper: ClassVar[str] = "Zhang et al. 2018 (arXiv:1710.09412), eq. 1"

    name: Literal["mixup"] = "mixup"
    alpha: Annotated[float, Field(gt=0)] = 0.2
    """α; towards 0 nothing is mixed, at 1 λ is uniform."""

    def __call__(self, images: Images, labels: Labels, classes: int) -> tuple[Images, Targets]:
        return _mixed(_v2().MixUp(alpha=self.alpha, num_classes=classes), images, labels)


class CutMix(Transform):
    """A rectangle of every image is that of another one of its batch, whose area is 1 - λ,
    λ ~ Beta(α, α)."""

    mixes_labels: ClassVar[bool] = True
    paper: ClassVar[str] = "Yun et al. 2019 (arXiv:1905.04899), eqs. 1 and 2"

    name: Literal["cutmix"] = "cutmix"
    alpha: Annotated[float, Field(gt=0)] = 1.0
    """α; at 1 λ is uniform."""

    def __call__(self, images: Images, labels: Labels, classes: int) -> tuple[Images, Targets]:
        return _mixed(_v2().CutMix(alpha=self.alpha, num_classes=classes), images, labels)


AnyTransform = Annotated[
    TrivialAugment | RandomErasing | MixUp | CutMix, Field(discriminator="name")
]


def transformed(
    transforms: tuple[Transform, ...],
    images: Images,
    labels: Labels,
    classes: int,
    seed: int,
    *counters: int,
    stream: seeds.Stream = "transforms",
) -> Transformed:
    """A batch after ``transforms``, drawn from the part of ``stream`` that ``counters`` (epoch,
    batch) tell from others."""
    if not transforms:
        return Transformed(images, labels, None)
    targets = None
    with seeds.ambient(seed, stream, *counters):
        for transform in transforms:
            images, mixed = transform(images, labels, classes)
            targets = targets if mixed is None else mixed
    return Transformed(images, labels if targets is None else targets.argmax(1), targets)


def _mixed(mixing: Any, images: Images, labels: Labels) -> tuple[Images, Targets]:
    images, targets = mixing(images, labels)
    return images, targets


def _v2() -> Any:
    return torchvision_part("transforms.v2")
