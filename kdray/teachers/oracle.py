"""A teacher as one training asks it: its draws, and what is known of its answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from kdray import data, methods, models
from kdray.core import seeds
from kdray.machine import hardware
from kdray.machine.node_cache import Table, code
from kdray.methods import Batch, EpochViews, Teacher
from kdray.methods.gradients import input_gradient
from kdray.models import Classifier, Outputs, Stochastic, smoothed
from kdray.teachers.loading import frozen
from kdray.teachers.logits_cache import (
    GRADIENTS_AT_ONCE,
    LOGITS_AT_ONCE,
    EpochLogits,
    LogitsCache,
    digest,
)
from kdray.teachers.supervision import Supervision

CODE = (*(Path(package.__path__[0]) for package in (data, methods, models)), Path(__file__).parent)
"""That answers come from."""


class TeacherOracle:
    """A teacher as one training asks it. Every draw comes from the seed's "supervision" stream.

    A network that draws nothing is asked once for each view of a training image. ``name`` tells it,
    with its weights, from all other networks (its trial's id does), so that its answers can be
    shared; without it each trial asks for itself. ``say`` is told what was new.
    """

    def __init__(
        self,
        supervision: Supervision,
        classifier: Classifier | None,
        *,
        classes: int,
        seed: int,
        name: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.supervision, self.classes, self.seed = supervision, classes, seed
        self.classifier = None
        self._name, self._say = name, say
        self._answers: dict[float | None, LogitsCache] = {}
        if classifier is not None:
            self.classifier = smoothed(frozen(classifier), supervision.smoothing)
            if (
                supervision.dropout == "active"
            ):  # after smoothing, which puts all that it wraps into one mode
                for module in classifier.modules():
                    if isinstance(module, nn.Dropout):
                        module.train()

    def during(self, *counters: int, shown: EpochViews | None = None) -> Teacher:
        """The teacher in one epoch."""
        return EpochOracle(self, counters, shown if self._says_always_the_same else None)

    @property
    def _says_always_the_same(self) -> bool:
        if (
            self.classifier is None
            or self.supervision.smoothing is not None
            or self.supervision.dropout == "active"
        ):
            return False
        return not any(isinstance(module, Stochastic) for module in self.classifier.modules())

    def answers(self, shown: EpochViews, temperature: float | None) -> EpochLogits | None:
        """What the network says of the views of an epoch: its logits, or at a ``temperature`` its
        input gradients.

        These only where there are few and always of the same labels.
        """
        if temperature is not None and (
            shown.labels is None or shown.views.augmentation.crops or self.supervision.noise
        ):
            return None
        if temperature not in self._answers:
            self._answers[temperature] = self._opened(shown, temperature)
        return self._answers[temperature].of(shown.views)

    def _opened(self, shown: EpochViews, temperature: float | None) -> LogitsCache:
        classifier, (images, _), augmentation = (
            self.classifier,
            shown.split,
            shown.views.augmentation,
        )
        assert classifier is not None  # virtual teachers are not asked for what is known
        labels = torch.zeros_like(shown.split.labels) if shown.labels is None else shown.labels

        def logits(images: Tensor, _: Tensor) -> Tensor:
            with torch.no_grad():
                return classifier.logits(images)

        def gradient(images: Tensor, labels: Tensor) -> Tensor:
            assert temperature is not None
            with torch.enable_grad():
                images.requires_grad_(True)
                return input_gradient(
                    images, classifier.logits(images), labels, temperature, create_graph=False
                )

        ask, width, what, sizes = (
            (logits, self.classes, "logits", LOGITS_AT_ONCE)
            if temperature is None
            else (gradient, images[0].numel(), "gradients", GRADIENTS_AT_ONCE)
        )
        table = None
        if self._name is not None:
            depends = (
                what,
                self._name,
                digest(*classifier.parameters(), *classifier.buffers()),
                digest(images),
                augmentation.name,
                "" if temperature is None else f"{temperature!r} {digest(labels)}",
                hardware.device_name(images.device),
                str(torch.get_num_threads()),
                _precision(images.device),
                code(*CODE),
            )
            key = hashlib.sha256("\n".join(depends).encode()).hexdigest()[:32]
            table = Table.shared(
                key, len(images) * augmentation.variants, width, f"its teacher's {what}"
            )
        return LogitsCache(
            ask,
            images,
            labels,
            width=width,
            at_once=sizes[images.device.type],
            table=table,
            say=self._say,
        )


def _precision(device: torch.device) -> str:
    """That the network is computed in here."""
    kind = (
        str(torch.get_autocast_dtype(device.type))
        if torch.is_autocast_enabled(device.type)
        else "float32"
    )
    return f"{kind} {torch.get_float32_matmul_precision()} {torch.backends.cudnn.allow_tf32}"


class EpochOracle(Teacher):
    """A teacher in one epoch."""

    def __init__(
        self, supervisor: TeacherOracle, counters: tuple[int, ...], shown: EpochViews | None
    ) -> None:
        self._supervisor, self._counters, self._shown = supervisor, counters, shown
        self._calls = count()
        self._known: dict[float | None, EpochLogits | None] = {}

    def __call__(
        self, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
    ) -> Outputs:
        where = self._next()
        # A stream of its own for each batch, whatever the student draws meanwhile.
        with (
            torch.set_grad_enabled(images.requires_grad),
            seeds.ambient(self._supervisor.seed, "supervision", *where),
        ):
            answer = self._answer(images, labels)
            return answer._replace(logits=self._changed(answer.logits, temperature, where))

    def logits(self, batch: Batch, *, temperature: float) -> Float[Tensor, "B K"]:
        known = self._about(batch, None)
        return (
            super().logits(batch, temperature=temperature)
            if known is None
            else (self._changed(known, temperature, self._next()))
        )

    def with_gradient(
        self, batch: Batch, *, temperature: float
    ) -> tuple[Float[Tensor, "B K"], Float32[Tensor, "B C H W"]]:
        gradient = self._about(batch, temperature)
        if gradient is None:
            return super().with_gradient(batch, temperature=temperature)
        return self.logits(batch, temperature=temperature), gradient.view_as(batch.clean)

    def _next(self) -> tuple[int, ...]:
        """What tells this call from all others of the training."""
        return (*self._counters, next(self._calls))

    def _about(self, batch: Batch, temperature: float | None) -> Tensor | None:
        """What is known of a batch's clean images."""
        if self._shown is None or batch.at is None:
            return None
        if temperature not in self._known:
            self._known[temperature] = self._supervisor.answers(self._shown, temperature)
        known = self._known[temperature]
        return None if known is None else known[batch.at]

    def _changed(
        self, logits: Float[Tensor, "B K"], temperature: float, where: tuple[int, ...]
    ) -> Float[Tensor, "B K"]:
        """With the noise that the supervision puts on them."""
        for position, change in enumerate(self._supervisor.supervision.noise):
            # Each its own draws: one that is left out or at 0 leaves the others' as they are.
            draws = seeds.generator(
                self._supervisor.seed, "supervision", *where, position, device=logits.device
            )
            logits = change(logits, temperature, draws)
        return logits

    def _answer(self, images: Float[Tensor, "B C H W"], labels: Int64[Tensor, "B"]) -> Outputs:
        supervision, classifier = self._supervisor.supervision, self._supervisor.classifier
        if classifier is not None:
            outputs: Outputs = classifier(images)
            return outputs
        assert supervision.virtual is not None  # an experiment has a teacher or a virtual one
        logits = supervision.virtual(labels, self._supervisor.classes)
        return Outputs(logits, (), logits[:, :0])
