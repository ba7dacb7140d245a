"""Loading a trained classifier, and asking it as a teacher: plainly, with live dropout, smoothed, with noise on its logits.

A virtual teacher needs no network: it answers from the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float32, Int64
from pydantic import Field
from torch import Tensor, nn

from kdray import seeds
from kdray.core import Several, Value
from kdray.data import ImageData
from kdray.methods import Teacher
from kdray.models import Classifier, Model, Outputs, Smoothing, build, smoothed
from kdray.perturbations import AnyLogitNoise
from kdray.weights import Damaged, unpack, unpack_shared


class Virtual(Value):
    """A teacher made by hand (Tf-KD-reg).

    It gives the labelled class ``probability`` and every other class an equal part of the rest. These numbers stand in the
    place of logits, so that at temperature T the student learns softmax(p / T), as the text and its figure have it (p^(1/T)
    is something else): 0.2128 for the labelled class at K = 10, probability 0.9 and T = 1, and towards uniform as T grows.
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
    """active: the teacher's dropout draws anew for every batch while its batch norm stays in eval mode ("Fickle Teacher",
    noisy_collaboration section 4.2)."""
    smoothing: Smoothing | None = None
    """Ask a model that draws many times and aggregate (smoothed_models)."""
    noise: Several[AnyLogitNoise] = ()
    """Changes of the logits, in this order."""
    virtual: Virtual | None = None
    """Instead of a trained teacher."""

    @property
    def asks(self) -> str | None:
        """The first field that says anything about a teacher's answer."""
        said = [name for name in ("dropout", "smoothing", "noise") if getattr(self, name) != _PLAINLY[name]]
        return said[0] if said else None


_PLAINLY = {name: field.default for name, field in Supervision.model_fields.items()}


def load_classifier(
    model: Model, data: ImageData, normalization: nn.Module, packed: bytes, device: torch.device
) -> Classifier:
    """The trained classifier whose stored weights are ``packed``, in eval mode and without parameter gradients.

    Raises :class:`kdray.weights.Damaged` if the bytes are not intact or belong to another model.
    """
    return _loaded(build(model, data, normalization, seed=0), unpack(packed)[0], device, assign=False)


def load_teacher(
    model: Model, data: ImageData, normalization: nn.Module, packed: bytes, device: torch.device
) -> Classifier:
    """As :func:`load_classifier`; processes on one node that ask the same teacher on its CPUs hold its weights once."""
    if device.type != "cpu":
        return load_classifier(model, data, normalization, packed, device)
    return _loaded(build(model, data, normalization, seed=0), unpack_shared(packed)[0], device, assign=True)


def _loaded(
    classifier: Classifier, tensors: Mapping[str, Tensor], device: torch.device, *, assign: bool
) -> Classifier:
    """``classifier`` with the values of ``tensors``, or, to ``assign``, with the tensors themselves."""
    try:
        classifier.load_state_dict(tensors, assign=assign)
    except RuntimeError as error:
        raise Damaged(str(error).splitlines()[0]) from None
    return frozen(classifier.to(device))


def frozen(classifier: Classifier) -> Classifier:
    """``classifier`` in eval mode, with gradients for its input only."""
    return classifier.eval().requires_grad_(False)


class Supervisor:
    """A teacher as one training asks it. Every draw comes from the seed's "supervision" stream."""

    def __init__(
        self, supervision: Supervision, classifier: Classifier | None, *, classes: int, seed: int
    ) -> None:  # fmt: skip
        self._supervision, self._classes, self._seed = supervision, classes, seed
        self._classifier = None
        if classifier is not None:
            self._classifier = smoothed(frozen(classifier), supervision.smoothing)
            if supervision.dropout == "active":  # after smoothing, which puts all that it wraps into one mode
                for module in classifier.modules():
                    if isinstance(module, nn.Dropout):
                        module.train()

    def during(self, *counters: int) -> Teacher:
        """The teacher in one epoch."""
        calls = count()

        def teacher(
            images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
        ) -> Outputs:  # fmt: skip
            where = (*counters, next(calls))
            # A stream of its own for each batch, whatever the student draws meanwhile.
            with torch.set_grad_enabled(images.requires_grad), seeds.ambient(self._seed, "supervision", *where):
                answer = self._answer(images, labels)
                logits = answer.logits
                for position, change in enumerate(self._supervision.noise):
                    # Each its own draws: one that is left out or at 0 leaves the others' as they are.
                    draws = seeds.generator(self._seed, "supervision", *where, position, device=images.device)
                    logits = change(logits, temperature, draws)
                return answer._replace(logits=logits)

        return teacher

    def _answer(self, images: Float[Tensor, "B C H W"], labels: Int64[Tensor, "B"]) -> Outputs:
        if self._classifier is not None:
            outputs: Outputs = self._classifier(images)
            return outputs
        assert self._supervision.virtual is not None  # an experiment has a teacher or a virtual one
        logits = self._supervision.virtual(labels, self._classes)
        return Outputs(logits, (), logits[:, :0])
