"""What a method is: frozen hyperparameters and a pure loss on one batch, in one or more stages.

Two abstract levels and no third: :class:`Method` owns its forward passes; :class:`OutputMethod`
compares the outputs of one forward pass of the student with the labels and, if it has one, with a
teacher.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from kdray.core import Value
from kdray.data import ImageData, Split, Views
from kdray.methods.gradients import input_gradient
from kdray.models import Classifier, Described, Outputs, Smoothing

Targets = Int64[Tensor, "B"] | Float[Tensor, "B K"]
"""Labels, or distributions over classes."""


class Batch(NamedTuple):
    """What one training step sees."""

    images: Float32[Tensor, "B C H W"]
    """The student's input: augmented, with input noise."""
    clean: Float32[Tensor, "B C H W"]
    """The teacher's input: the same augmented images without noise, unless the experiment says
    otherwise."""
    labels: Int64[Tensor, "B"]
    """The labels to train on, corrupted where the experiment says so."""
    at: slice | None = None
    """Its place in the order of the epoch, where ``clean`` shows training images as they are."""
    positions: Int64[Tensor, "B"] | None = None
    """The position of each example in the training split; none: outside of a training."""
    mixed: Float32[Tensor, "B K"] | None = None
    """Distributions over classes, where labels are mixed; ``labels`` has their largest parts."""

    @property
    def targets(self) -> Targets:
        """What cross-entropy is taken with: the labels, or their mixtures."""
        return self.labels if self.mixed is None else self.mixed


class EpochViews(NamedTuple):
    """What an epoch shows a teacher: every training image once, with nothing but the augmentation
    done to it."""

    split: Split
    views: Views
    labels: Int64[Tensor, "N"] | None
    """To train on, by position in the split, where they are the same in every epoch."""


class Teacher(ABC):
    """Whoever answers for an image in [0, 1]: a trained network as it is asked in this experiment,
    or a virtual one."""

    @abstractmethod
    def __call__(
        self, images: Float32[Tensor, "B C H W"], labels: Int64[Tensor, "B"], *, temperature: float
    ) -> Outputs:
        """The answer, its logits with the noise that the experiment puts on them; no parameter
        learns from it.

        ``temperature`` is what the method is going to divide the logits by. The answer has a graph
        back to ``images`` if these ask for a gradient, none otherwise.
        """

    def logits(self, batch: Batch, *, temperature: float) -> Float[Tensor, "B K"]:
        """The logits for the clean images of ``batch``, which may be known from an earlier epoch or
        another trial."""
        return self(batch.clean, batch.labels, temperature=temperature).logits

    def with_gradient(
        self, batch: Batch, *, temperature: float
    ) -> tuple[Float[Tensor, "B K"], Float32[Tensor, "B C H W"]]:
        """The logits as of :meth:`logits`, and ∇_x softmax(z/τ)_y at the clean images; neither has
        a graph."""
        clean = batch.clean.detach().requires_grad_(True)
        logits = self(clean, batch.labels, temperature=temperature).logits
        return logits.detach(), input_gradient(
            clean, logits, batch.labels, temperature, create_graph=False
        )


@runtime_checkable
class TeacherSource(Protocol):
    """A teacher whose draws are told apart by epoch."""

    def epoch(self, *counters: int, views: EpochViews | None = None) -> Teacher:
        """The teacher in the epoch (and stage) that ``counters`` number, whose batches hold parts
        of ``views``; none: images that nobody sees again."""


class Losses(NamedTuple):
    """The loss of a batch (a mean over its examples) and what it is made of."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    """Every term without its weight, under names in :meth:`Method.term_names`."""
    logits: Float[Tensor, "B K"]
    """The student's, for its training accuracy."""


class TrainingStep(NamedTuple):
    """What a method works on in one training step."""

    student: Classifier
    """In train mode."""
    helper: nn.Module
    """What :meth:`Method.helper` made."""
    batch: Batch
    teacher: Teacher | None
    draws: torch.Generator
    """On the images' device: for what the method itself draws (an attack's starts)."""
    epoch: int = 0
    """The index of the epoch in the stage."""


class Stage(NamedTuple):
    """A part of the training with an optimiser of its own."""

    name: str
    epochs: int


class TrainedTeacher(NamedTuple):
    """A teacher that is a network, as far as an experiment describes it."""

    network: Described
    smoothing: Smoothing | None = None
    """How its answer is an aggregate of many passes, if it is."""


class Method(Value):
    """A way to train a student."""

    terms: ClassVar[tuple[str, ...]]
    """Names of the loss terms; each becomes the column ``loss.NAME`` of the epochs. A stage may
    report only some of them."""
    needs_teacher: ClassVar[bool]
    takes_distributions: ClassVar[bool] = False
    """Whether labels may be distributions over classes (:attr:`Batch.targets`), as mixup makes
    them."""
    differentiates_twice: ClassVar[bool] = False
    """Whether its loss has a gradient of the student in it, which is differentiated in turn."""
    same_operations: ClassVar[bool] = False
    """Whether a step's operations are the same in every step of a stage, so that they can be
    replayed as a CUDA graph: they do not depend on the epoch, draw from nothing but
    :attr:`TrainingStep.draws` and torch's own generator, copy nothing from the processor, keep the
    helper's buffers where they are, and ask the teacher about the batch's own images only."""
    paper: ClassVar[str]
    """Where the loss is written down."""

    @classmethod
    def term_names(cls) -> tuple[str, ...]:
        """The names of all loss terms that it may report."""
        return cls.terms

    @property
    def asks_teacher(self) -> bool:
        """Whether it needs somebody to answer."""
        return self.needs_teacher

    @property
    def is_replayable(self) -> bool:
        """Whether :attr:`same_operations` is true with these hyperparameters."""
        return self.same_operations

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        """Raise ValueError, with the field that is wrong, unless both networks have what it
        compares; ``teacher``: none where the teacher is virtual or there is none."""
        del student, teacher

    def check_data(self, data: ImageData, root: Path) -> None:
        """Raise :class:`kdray.core.InputError`, with the field that is wrong, unless it can be
        trained on ``data``, whose files are below ``root``."""
        del data, root

    def cautions(self, epochs: int) -> Iterator[str]:
        """What a user is warned of before anything is trained, each with its field; ``epochs`` are
        those of the last stage."""
        del epochs
        return iter(())

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        """What is trained in turn; ``epochs`` are those of the last stage, "main", whose weights
        are kept."""
        return (Stage("main", epochs),)

    def helper(self, student: Classifier, teacher: Teacher | None, train: Split) -> nn.Module:
        """What the method keeps beside the student from the first step to the last, on the device
        of ``train``, the training split; checkpointed, and not stored; for most nothing.

        Parameters of it learn with the student's. Buffers are the method's own to change in
        :meth:`losses` (a memory of earlier answers, by :attr:`Batch.positions`); they are part of a
        checkpoint too, so that a training that was interrupted goes on with the same bits.
        """
        del student, teacher, train
        return nn.Module()

    @abstractmethod
    def losses(self, stage: str, step: TrainingStep) -> Losses:
        """The losses of one step in ``stage``."""


class OutputMethod(Method):
    """A method whose loss is a function of one student output, the labels and one teacher
    answer."""

    @property
    def softening(self) -> float:
        """The temperature at which the teacher's answer is used."""
        return 1.0

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        logits = step.student.logits(step.batch.images)
        return self.of(logits, step.batch.targets, self.ask(step))

    def ask(
        self, step: TrainingStep, images: Float32[Tensor, "B C H W"] | None = None
    ) -> Float[Tensor, "B K"] | None:
        """The logits of the teacher, if there is one, for ``images``; none: the batch's clean
        ones."""
        if step.teacher is None:
            return None
        if images is None:
            return step.teacher.logits(step.batch, temperature=self.softening)
        return step.teacher(images, step.batch.labels, temperature=self.softening).logits

    def of(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> Losses:
        """The losses of a student that answers ``logits``."""
        total, terms = self.compare(logits, labels, teacher_logits)
        return Losses(total, terms, logits)

    @abstractmethod
    def compare(
        self,
        logits: Float[Tensor, "B K"],
        labels: Targets,
        teacher_logits: Float[Tensor, "B K"] | None,
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """The total and its unweighted terms."""
