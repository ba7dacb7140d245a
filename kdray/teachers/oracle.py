"""A teacher as one training asks it: where its draws come from, and which of its outputs are
cached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
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
    Ask,
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
        self._caches: dict[float | None, LogitsCache] = {}
        if classifier is not None:
            self.classifier = smoothed(frozen(classifier), supervision.smoothing)
            if (
                supervision.dropout == "active"
            ):  # after smoothing, which puts all that it wraps into one mode
                for module in classifier.modules():
                    if isinstance(module, nn.Dropout):
                        module.train()

    def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
        """The teacher in one epoch."""
        return EpochOracle(self, counters, views if self._is_deterministic else None)

    @property
    def _is_deterministic(self) -> bool:
        """Whether the network gives the same answer whenever it is asked."""
        if (
            self.classifier is None
            or self.supervision.smoothing is not None
            or self.supervision.dropout == "active"
        ):
            return False
        return not any(isinstance(module, Stochastic) for module in self.classifier.modules())

    def cached(self, views: EpochViews, temperature: float | None) -> EpochLogits | None:
        """The network's logits for the views of an epoch, or its input gradients at a
        ``temperature``, each computed once.

        There are none of gradients unless there are few views, always of the same labels.
        """
        if temperature is not None and (
            views.labels is None or views.views.augmentation.crops or self.supervision.noise
        ):
            return None
        if temperature not in self._caches:
            self._caches[temperature] = self._new_cache(views, temperature)
        return self._caches[temperature].of(views.views)

    def _new_cache(self, views: EpochViews, temperature: float | None) -> LogitsCache:
        """A cache of logits, or at a ``temperature`` of input gradients, which trials share where
        the network has a name."""
        assert self.classifier is not None  # virtual teachers are never cached
        split = views.split
        labels = torch.zeros_like(split.labels) if views.labels is None else views.labels
        if temperature is None:
            what, width, sizes = "logits", self.classes, LOGITS_AT_ONCE
            ask: Ask = partial(_logits, self.classifier)
        else:
            what, width, sizes = "gradients", split.images[0].numel(), GRADIENTS_AT_ONCE
            ask = partial(_gradients, self.classifier, temperature)
        table = None
        if self._name is not None:
            depends = (
                what,
                self._name,
                digest(*self.classifier.parameters(), *self.classifier.buffers()),
                digest(split.images),
                views.views.augmentation.name,
                "" if temperature is None else f"{temperature!r} {digest(labels)}",
                hardware.device_name(split.device),
                str(torch.get_num_threads()),
                _precision(split.device),
                code(*CODE),
            )
            key = hashlib.sha256("\n".join(depends).encode()).hexdigest()[:32]
            rows = len(labels) * views.views.augmentation.variants
            table = Table.shared(key, rows, width, f"its teacher's {what}")
        return LogitsCache(
            ask,
            split._replace(labels=labels),
            width=width,
            at_once=sizes[split.device.type],
            table=table,
            say=self._say,
        )


def _logits(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    del labels
    with torch.no_grad():
        return classifier.logits(images)


def _gradients(
    classifier: Classifier, temperature: float, images: Tensor, labels: Tensor
) -> Tensor:
    with torch.enable_grad():
        images.requires_grad_(True)
        logits = classifier.logits(images)
        return input_gradient(images, logits, labels, temperature, create_graph=False)


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
        self, oracle: TeacherOracle, counters: tuple[int, ...], views: EpochViews | None
    ) -> None:
        self._oracle, self._counters, self._views = oracle, counters, views
        self._calls = count()
        self._cached: dict[float | None, EpochLogits | None] = {}

    def __call__(
        self, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
    ) -> Outputs:
        where = self._next()
        # A stream of its own for each batch, whatever the student draws meanwhile.
        with (
            torch.set_grad_enabled(images.requires_grad),
            seeds.ambient(self._oracle.seed, "supervision", *where),
        ):
            answer = self._answer(images, labels)
            return answer._replace(logits=self._with_noise(answer.logits, temperature, where))

    def logits(self, batch: Batch, *, temperature: float) -> Float[Tensor, "B K"]:
        known = self._cached_for(batch, None)
        return (
            super().logits(batch, temperature=temperature)
            if known is None
            else (self._with_noise(known, temperature, self._next()))
        )

    def with_gradient(
        self, batch: Batch, *, temperature: float
    ) -> tuple[Float[Tensor, "B K"], Float32[Tensor, "B C H W"]]:
        gradient = self._cached_for(batch, temperature)
        if gradient is None:
            return super().with_gradient(batch, temperature=temperature)
        return self.logits(batch, temperature=temperature), gradient.view_as(batch.clean)

    def _next(self) -> tuple[int, ...]:
        """What tells this call from all others of the training."""
        return (*self._counters, next(self._calls))

    def _cached_for(self, batch: Batch, temperature: float | None) -> Tensor | None:
        """The cached logits, or gradients at a ``temperature``, of a batch's clean images."""
        if self._views is None or batch.at is None:
            return None
        if temperature not in self._cached:
            self._cached[temperature] = self._oracle.cached(self._views, temperature)
        known = self._cached[temperature]
        return None if known is None else known[batch.at]

    def _with_noise(
        self, logits: Float[Tensor, "B K"], temperature: float, where: tuple[int, ...]
    ) -> Float[Tensor, "B K"]:
        """The ``logits`` with the noise that the supervision puts on them."""
        for position, change in enumerate(self._oracle.supervision.noise):
            # Each its own draws: one that is left out or at 0 leaves the others' as they are.
            draws = seeds.generator(
                self._oracle.seed, "supervision", *where, position, device=logits.device
            )
            logits = change(logits, temperature, draws)
        return logits

    def _answer(self, images: Float[Tensor, "B C H W"], labels: Int64[Tensor, "B"]) -> Outputs:
        supervision, classifier = self._oracle.supervision, self._oracle.classifier
        if classifier is not None:
            outputs: Outputs = classifier(images)
            return outputs
        assert supervision.virtual is not None  # an experiment has a teacher or a virtual one
        logits = supervision.virtual(labels, self._oracle.classes)
        return Outputs(logits, (), logits[:, :0])
