"""How a teacher is asked: plainly, with live dropout, smoothed, with noise on its logits; or made
by hand, with no network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float32, Int64
from pydantic import Field
from torch import Tensor

from kdray.core import Several, Value
from kdray.models import Smoothing
from kdray.perturbations import AnyLogitNoise


class Virtual(Value):
    """A teacher made by hand (Tf-KD-reg).

    It gives the labelled class ``probability`` and every other class an equal part of the rest.
    These numbers stand in the place of logits, so that at temperature T the student learns
    softmax(p / T), as the text and its figure have it (p^(1/T) is something else): 0.2128 for the
    labelled class at K = 10, probability 0.9 and T = 1, and towards uniform as T grows.
    """

    paper: ClassVar[str] = "current_understanding fig. 1 (Yuan et al. 2019)"

    probability: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Of the labelled class, before softmax; the paper's are 0.9 to 1."""

    def __call__(self, labels: Int64[Tensor, "B"], classes: int) -> Float32[Tensor, "B K"]:
        """The vector of every example."""
        rest = (1 - self.probability) / (classes - 1)
        answer = torch.full((len(labels), classes), rest, device=labels.device)
        return answer.scatter_(1, labels[:, None], self.probability)


class Supervision(Value):
    """How the teacher is asked while the student trains."""

    paper: ClassVar[str] = "noisy_collaboration section 4.2 (dropout: active is its Fickle Teacher)"

    dropout: Literal["off", "active"] = "off"
    """active: the teacher's dropout draws anew for every batch while its batch norm stays in eval
    mode ("Fickle Teacher", noisy_collaboration section 4.2)."""
    smoothing: Smoothing | None = None
    """Ask a model that draws many times and aggregate (smoothed_models)."""
    noise: Several[AnyLogitNoise] = ()
    """Changes of the logits, in this order."""
    virtual: Virtual | None = None
    """Instead of a trained teacher."""

    @property
    def asks(self) -> str | None:
        """The first field that says anything about a teacher's answer."""
        said = [
            name
            for name in ("dropout", "smoothing", "noise")
            if getattr(self, name) != _PLAINLY[name]
        ]
        return said[0] if said else None


_PLAINLY = {name: field.default for name, field in Supervision.model_fields.items()}
