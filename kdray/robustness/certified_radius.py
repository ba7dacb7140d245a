"""Certified accuracy by randomized smoothing: algorithm CERTIFY of Cohen, Rosenfeld, Kolter (2019),
arXiv:1902.02918.

The smoothed classifier answers an image x with the class that the model most probably gives to x +
N(0, σ²I). If that class has a probability of at least p > 1/2, no change of x that is shorter (l2)
than

    R = σ Φ⁻¹(p)

changes the answer (theorem 1 with p_B = 1 - p_A). Some passes choose the class; others, with noise
of their own, bound its probability from below. Where the bound is not above 1/2 the classifier
abstains. Each radius is wrong with a probability of at most alpha, for each image by itself.

The theorem is one of random functions too: of a model that draws (noise on its input or its
weights) the certificate is no weaker, and p is a probability over those draws as well. But the
bound needs independent passes, and noise on weights is drawn once for a whole pass: no pass shows
the model an image twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from kdray.core import Effort, Several
from kdray.data import Split
from kdray.models import Classifier
from kdray.perturbations.input_noise import gaussian
from kdray.robustness.base import Block, Evaluation, Images, Measurement, Subject, accuracy, blocks

ABSTAINED = -1


class Certificates(NamedTuple):
    """What the smoothed classifier says of some images, on the CPU."""

    classes: Int64[Tensor, "N"]
    """:data:`ABSTAINED` where no class is certain enough."""
    radii: Float64[Tensor, "N"]
    """Within which (l2) the class stays; 0 where it abstained."""


def votes(
    classifier: Classifier, images: Images, *, sigma: float, passes: int, draws: torch.Generator
) -> Int64[Tensor, "B K"]:
    """How many of ``passes`` noisy copies of each image were given each class; one copy after the
    other."""
    answers = (classifier.logits(gaussian(images, sigma, draws)) for _ in range(passes))
    return reduce(
        torch.add, (functional.one_hot(logits.argmax(1), logits.shape[1]) for logits in answers)
    )


def lower_bound(
    successes: Int64[Tensor, "N"], *, trials: int, alpha: float
) -> Float64[Tensor, "N"]:
    """The one-sided lower confidence bound of Clopper and Pearson (1934) for a probability, of
    confidence 1 - ``alpha``.

    That is the ``alpha`` quantile of Beta(k, n - k + 1), and 0 at k = 0.
    """
    from scipy.special import betaincinv  # takes a fifth of a second to import, in every process

    count = successes.cpu().numpy()
    return torch.from_numpy(
        np.where(count > 0, betaincinv(np.maximum(count, 1), trials - count + 1, alpha), 0.0)
    )


class CertifiedRadius(Evaluation):
    """The share of images certified to be classified correctly within each l2 radius, by randomized
    smoothing.

    Also the share where the classifier abstained, and the mean radius (of Zhai et al. 2020), where
    a wrong answer and none count as 0. An image costs ``selection + samples`` passes.
    """

    paper: ClassVar[str] = (
        "certified accuracy by radius of Cohen et al. 2019, which smoothed_models builds on"
    )
    smooths: ClassVar[bool] = True

    name: Literal["certified_radius"] = "certified_radius"
    sigma: Annotated[float, Field(gt=0)] = 0.25
    """σ, for images in [0, 1], not clipped; the certificate is poor unless the model was trained
    with such noise."""
    selection: Annotated[int, Field(ge=1), Effort(memory=2)] = 100
    """n₀, passes that choose the class."""
    samples: Annotated[int, Field(ge=1), Effort(smoke=4, memory=2)] = 1000
    """n, passes that bound its probability. They can certify no radius above σ Φ⁻¹(alpha^(1/n)):
    2.46 σ from 1,000, which a sweep can pay, and 3.81 σ from the 100,000 of Cohen et al."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Probability that the radius of an image is too large; towards 0 every image abstains, and at
    1/2 the observed share counts almost as it is."""
    radii: Annotated[Several[Annotated[float, Field(ge=0)]], Field(min_length=1)] = (0.0, 0.25, 0.5)
    """In the l2 norm, in pixel units of images in [0, 1]."""

    @model_validator(mode="after")
    def _smooths_once(self) -> CertifiedRadius:
        if self.smoothing is not None:
            raise ValueError(
                "smoothing: certified_radius smooths the model itself, with sigma (allowed: none)"
            )
        return self

    def cautions(self) -> Iterator[str]:
        for radius in self.radii:
            if reason := self._out_of_reach(radius):
                yield f"radii: {radius:g} is {reason}"

    def _out_of_reach(self, radius: float) -> str | None:
        """Why no image can be certified within ``radius``, whatever the model."""
        unanimous = lower_bound(torch.tensor([self.samples]), trials=self.samples, alpha=self.alpha)
        largest = float(self.sigma * torch.special.ndtri(unanimous))
        return (
            f"beyond what {self.samples} passes can certify: {largest:.3g} at most"
            if radius > largest
            else None
        )

    def metrics(self) -> dict[str, int]:
        return {"certified_accuracy": len(self.radii), "abstained": 1, "radius": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        found, examples = (
            self.certified(subject.classifier, subject.split),
            len(subject.split.labels),
        )
        right = found.classes == subject.split.labels.cpu()
        for radius in self.radii:
            yield accuracy(
                int((right & (found.radii >= radius)).sum()),
                examples,
                metric="certified_accuracy",
                norm="l2",
                epsilon=radius,
                sigma=self.sigma,
                samples=self.samples,
                checks=self._out_of_reach(radius),
            )
        abstained = int((found.classes == ABSTAINED).sum())
        yield accuracy(
            abstained, examples, metric="abstained", sigma=self.sigma, samples=self.samples
        )
        yield Measurement(
            metric="radius",
            value=float(found.radii[right].sum()) / examples,
            examples=examples,
            norm="l2",
            sigma=self.sigma,
            samples=self.samples,
        )

    def certified(self, classifier: Classifier, split: Split) -> Certificates:
        """The class and the radius of every image of ``split``."""
        classes, agreeing = torch.cat(
            [self._asked(classifier, block) for block in blocks(split)], dim=1
        ).cpu()
        probability = lower_bound(agreeing, trials=self.samples, alpha=self.alpha)
        certain = probability > 0.5
        radii = self.sigma * torch.special.ndtri(probability)
        return Certificates(
            torch.where(certain, classes, ABSTAINED), torch.where(certain, radii, 0.0)
        )

    @torch.no_grad()
    def _asked(self, classifier: Classifier, block: Block) -> Int64[Tensor, "2 B"]:
        """The class that each image is given first, and how many of the passes after that give it
        again."""
        draws = self.generator(block.images.device, block.number)
        first, again = (
            votes(classifier, block.images, sigma=self.sigma, passes=passes, draws=draws)
            for passes in (self.selection, self.samples)
        )
        chosen = first.argmax(1)
        return torch.stack([chosen, again.gather(1, chosen[:, None])[:, 0]])
