"""A plug-in: a loss, a network, a data set and a noise of one's own, beside kdray's.

    kdray run sweeps/plugins/my_lab.yaml --plugin sweeps/plugins/my_lab.py

Each class derives from one of kdray's public bases, has a ``name`` by which a sweep file calls it,
and fields that are checked, swept and stored like kdray's own. ``kdray list methods --plugin
sweeps/plugins/my_lab.py`` shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

import kdray
from kdray.data import Shape, Split
from kdray.models import Network, Outputs


class MeanSquaredLogits(kdray.OutputMethod):
    """alpha·mean (z - z_T)² + (1 - alpha)·CE(z, y): the student answers with the teacher's
    logits."""

    terms: ClassVar[tuple[str, ...]] = ("logits", "cross_entropy")
    needs_teacher: ClassVar[bool] = True
    paper: ClassVar[str] = "Ba and Caruana 2014, arXiv:1312.6184, eq. 1"

    name: Literal["mean_squared_logits"] = "mean_squared_logits"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Weight of the teacher's logits; 0: plain training, 1: the teacher alone."""

    def compare(
        self, logits: Tensor, labels: Tensor, teacher_logits: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert teacher_logits is not None
        terms = {
            "logits": functional.mse_loss(logits, teacher_logits),
            "cross_entropy": functional.cross_entropy(logits, labels),
        }
        return self.alpha * terms["logits"] + (1 - self.alpha) * terms["cross_entropy"], terms


class OneHiddenLayer(kdray.Model):
    """Linear, tanh, linear."""

    paper: ClassVar[str] = "Ba and Caruana 2014, arXiv:1312.6184, section 2"

    name: Literal["one_hidden_layer"] = "one_hidden_layer"
    width: Annotated[int, Field(ge=1)] = 32

    def build(self, shape: Shape, classes: int) -> Network:
        return Shallow(self.width, shape, classes)


class Shallow(Network):
    """The network of :class:`OneHiddenLayer`."""

    def __init__(self, width: int, shape: Shape, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(shape[0] * shape[1] * shape[2], width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Outputs:
        hidden = self.hidden(images.flatten(1)).tanh()
        return Outputs(self.head(hidden), (hidden,), hidden)


class Stripes(kdray.ImageData):
    """Grey 8 x 8 images of stripes, horizontal (class 0) or vertical (class 1), anywhere, in
    noise."""

    name: Literal["stripes"] = "stripes"
    noise: Annotated[float, Field(ge=0)] = 60.0
    """Standard deviation, in grey levels of 0 to 255."""
    classes: ClassVar[int] = 2
    native_shape: ClassVar[Shape] = (1, 8, 8)

    def check(self, root: Path) -> None:
        """Nothing has to be there."""

    def read(self, root: Path) -> tuple[Split, Split, Split]:
        del root
        return self._drawn(512, 1), self._drawn(128, 2), self._drawn(128, 3)

    def _drawn(self, count: int, seed: int) -> Split:
        draws = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 2
        start = torch.randint(0, 4, (count, 1, 1), generator=draws)
        vertical = ((torch.arange(8) + start) // 2 % 2 * 255.0).expand(count, 8, 8)
        images = torch.where(labels.view(-1, 1, 1) == 1, vertical, vertical.mT)
        images = images + self.noise * torch.randn(count, 8, 8, generator=draws)
        return Split(images.clamp(0, 255).to(torch.uint8).unsqueeze(1), labels)


class SaltAndPepper(kdray.InputNoise):
    """Pixels, all channels of each at once, become black or white with probability ``rate``."""

    paper: ClassVar[str] = "Hendrycks and Dietterich 2019, arXiv:1903.12261, impulse noise"

    name: Literal["salt_and_pepper"] = "salt_and_pepper"
    rate: Annotated[float, Field(ge=0, le=1)]

    def noisy(self, images: Tensor, draws: torch.Generator) -> Tensor:
        place = (len(images), 1, *images.shape[2:])
        drawn = torch.rand(place, generator=draws, device=images.device)
        black, white = drawn < self.rate / 2, drawn >= 1 - self.rate / 2
        return images.masked_fill(black, 0.0).masked_fill(white, 1.0)
