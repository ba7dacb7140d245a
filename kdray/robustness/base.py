"""What an evaluation is: a frozen description that measures a trained classifier and yields
numbers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float32, Int64
from pydantic import AfterValidator, Field
from torch import Tensor

from kdray.core import Value, canonical, describe, seeds, tag_of
from kdray.data import ImageData, Split, to_unit
from kdray.models import Classifier, Smoothing, smoothed

Images = Float32[Tensor, "B C H W"]
BLOCK = 250
"""Images per forward pass. Part of every number: random draws are made block by block."""
SMOKE_EXAMPLES = 32
"""Images that ``--smoke`` measures on."""
LABEL = r"^[A-Za-z0-9_\-]+$"


def _in_words(label: str) -> str:
    """Return ``label`` if it may be one of an evaluation."""
    if re.fullmatch(LABEL, label) is None:
        raise ValueError(f"{label!r} may have letters, digits, '-' and '_' only")
    return label


Label = Annotated[str, Field(json_schema_extra={"pattern": LABEL}), AfterValidator(_in_words)]
"""What a sweep calls an evaluation."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number, with the parameters that say what it is. Field names are columns of the
    robustness table."""

    metric: str | None
    value: float | None
    correct: int | None = None
    """Of an accuracy: correctly classified examples."""
    examples: int | None
    norm: str | None = None
    epsilon: float | None = None
    step_size: float | None = None
    steps: int | None = None
    restarts: int | None = None
    sigma: float | None = None
    samples: int | None = None
    snr: float | None = None
    peak: float | None = None
    side: int | None = None
    corruption: str | None = None
    severity: int | None = None
    class_: int | None = None
    """Of a number for one class: the column ``class``."""
    image: int | None = None
    """Of a number for one image: its position in the split."""
    checks: str | None = None
    """Reasons to distrust the number."""
    trial_id: str | None = None
    """Whose number it is, if it is another trial's than the subject's."""
    error: Exception | None = None
    """Why there is no number."""

    axes: tuple[tuple[str, str | float | int | None], ...] = ()
    """Further axes of the robustness table, column and value: those without a field here."""

    @classmethod
    def missing(cls, error: Exception, **parameters: str | float | int | None) -> Measurement:
        """What could not be measured."""
        return cls(metric=None, value=None, examples=None, error=error, **parameters)  # type: ignore[arg-type]

    def row(self) -> dict[str, Any]:
        """As columns of the robustness table; ``trial_id`` only where it is another's."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain["error"] = None if self.error is None else describe(self.error)
        if self.trial_id is None:
            del plain["trial_id"]
        return {"class": plain.pop("class_"), **dict(plain.pop("axes")), **plain}


def accuracy(
    correct: int, examples: int, *, metric: str = "accuracy", **parameters: str | float | int | None
) -> Measurement:
    """A measurement of the share ``correct / examples``; ``parameters`` are axes of the robustness
    table."""
    own = {each.name for each in fields(Measurement)}
    return Measurement(
        metric=metric,
        value=correct / examples,
        correct=correct,
        examples=examples,
        axes=tuple((name, value) for name, value in parameters.items() if name not in own),
        **{name: value for name, value in parameters.items() if name in own},  # type: ignore[arg-type]
    )


class Subject(NamedTuple):
    """What is measured, on what."""

    classifier: Classifier
    """In eval mode, without parameter gradients."""
    split: Split
    omitted: tuple[int, ...] = ()
    """Classes that its training set lacked."""
    teacher: Classifier | None = None
    """The trained classifier that taught it, if one did."""
    data: ImageData | None = None
    """The description of the data set that it was trained on."""
    root: Path = Path()
    """The folder that data sets are read from."""
    others: Mapping[str, Callable[[], Classifier]] = MappingProxyType({})
    """By trial id, how to load the classifiers that it is measured together with; it may be one of
    them itself."""


class Block(NamedTuple):
    """Some images of a split, in order."""

    number: int
    images: Images
    labels: Int64[Tensor, "B"]


def blocks(split: Split) -> Iterator[Block]:
    """``split`` in blocks of :data:`BLOCK` images in [0, 1]."""
    for number, (images, labels) in enumerate(
        zip(split.images.split(BLOCK), split.labels.split(BLOCK), strict=True)
    ):
        yield Block(number, to_unit(images.to(split.device)), labels)


def is_correct(
    classifier: Classifier, images: Images, labels: Int64[Tensor, "B"]
) -> Bool[Tensor, "B"]:
    """Which of ``images`` the classifier gives their label."""
    with torch.no_grad():
        return classifier.logits(images).argmax(1) == labels


def right_predictions(
    classifier: Classifier, images: Images, labels: Int64[Tensor, "B"], repeats: int
) -> Int64[Tensor, "B"]:
    """How many of ``repeats`` new predictions of each image are right."""
    right = torch.zeros_like(labels)
    for _ in range(repeats):
        right += is_correct(classifier, images, labels)
    return right


def all_correct(subject: Subject) -> int:
    """How many images are classified correctly as they are."""
    return sum(
        int(is_correct(subject.classifier, block.images, block.labels).sum())
        for block in blocks(subject.split)
    )


class Evaluation(Value):
    """One entry of a suite. Its label is how people call it and is no part of its identity."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"label"})
    field_versions: ClassVar[Mapping[str, int]] = {"examples": 2}  # 1: the first so many images
    paper: ClassVar[str]
    """Which table or figure of which paper measures this."""
    needs_teacher: ClassVar[bool] = False
    """Whether it compares a student with its trained teacher; trials without one are then not
    measured."""
    smooths: ClassVar[bool] = False
    """Whether it smooths the model itself, and so takes no ``smoothing``."""
    across: ClassVar[bool] = False
    """Whether it measures trials with each other; once all of them are trained, then."""

    label: (
        Annotated[str, Field(json_schema_extra={"pattern": LABEL}), AfterValidator(_in_words)]
        | None
    ) = None
    """Names the rows and the objective (``label.metric``); none: the evaluation's name."""
    split: Literal["val", "test"] = "test"
    examples: Annotated[int, Field(ge=1)] | None = None
    """Only so many images of the split, each class in proportion, the same for every trial and
    evaluation; none: all."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the evaluation's own draws; the same for every trial, whatever the trial's seed."""

    smoothing: Smoothing | None = None
    """Measure the model as it answers under smoothing; none: one pass of it."""

    @classmethod
    def shrunk(cls, written: dict[str, Any]) -> dict[str, Any]:
        """What ``--smoke`` measures instead of what a suite has ``written``, both plain values:
        the fields that are marked as an :class:`Effort` are small already."""
        return {**written, "examples": SMOKE_EXAMPLES}

    def of_one_block(self) -> Evaluation:
        """What takes as much memory as the evaluation itself: it on a block of images."""
        return self.model_copy(update={"examples": BLOCK})

    def misfit(self, data: ImageData) -> str | None:
        """Why it cannot be applied to models of ``data``, if it cannot: the field that is wrong,
        why, what is allowed."""
        del data
        return None

    def check(self, data: ImageData, root: Path) -> None:
        """Raise :class:`kdray.core.InputError` unless what it needs beside the images of ``data``
        is there: files below ``root``, optional packages."""
        del data, root

    def cautions(self) -> Iterator[str]:
        """What a user is warned of before it is measured."""
        return iter(())

    def part(self, split: Split) -> Split:
        """The images of ``split`` that are measured."""
        return split.sample(self.examples)

    def dataset(self, data: ImageData) -> str:
        """The data set that models of ``data`` are measured on: the column ``dataset`` of its
        rows."""
        return str(tag_of(type(data)))

    def as_used(self, classifier: Classifier) -> Classifier:
        """The form in which a classifier is measured."""
        return smoothed(classifier, self.smoothing)

    def generator(self, device: torch.device, *counters: int) -> torch.Generator:
        """The evaluation's draws for one block (and restart, and level)."""
        return seeds.generator(self.seed, "attack", *counters, device=device)

    @abstractmethod
    def metrics(self) -> dict[str, int]:
        """Which metrics :meth:`measure` always yields, and how many values of each; not those of
        single classes."""

    @abstractmethod
    def measure(self, subject: Subject) -> Iterator[Measurement]:
        """The numbers of ``subject``; call :func:`measurements`, which asks the model as the
        evaluation says."""


class Perturbing(Evaluation):
    """An evaluation that shows the classifier perturbed images, at one strength after the other."""

    @abstractmethod
    def strengths(self) -> list[dict[str, Any]]:
        """The parameters that name each perturbation."""

    @abstractmethod
    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        """The images of ``block`` as the classifier is shown them, at each strength in turn."""

    def draws(self, block: Block) -> torch.Generator:
        """For one block; the same for every strength and every classifier."""
        return self.generator(block.images.device, block.number)

    def correct(self, subject: Subject) -> list[int]:
        """At each strength, how many images are classified correctly."""
        right = torch.zeros(
            len(self.strengths()), dtype=torch.long, device=subject.split.labels.device
        )
        for block in blocks(subject.split):
            for number, images in enumerate(self.perturbed(subject.classifier, block)):
                right[number] += is_correct(subject.classifier, images, block.labels).sum()
        counted: list[int] = right.tolist()
        return counted

    def metrics(self) -> dict[str, int]:
        return {"accuracy": len(self.strengths())}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        for parameters, correct in zip(self.strengths(), self.correct(subject), strict=True):
            yield accuracy(correct, len(subject.split.labels), **parameters)


def measurements(evaluation: Evaluation, subject: Subject) -> list[Measurement]:
    """What ``evaluation`` measures of ``subject``: its ``examples``, smoothed if so asked, every
    draw seeded."""
    if not len(subject.split.labels):
        raise ValueError(f"the {evaluation.split} split has no images")
    asked = subject._replace(
        classifier=evaluation.as_used(subject.classifier), split=evaluation.part(subject.split)
    )
    with seeds.ambient(evaluation.seed, "evaluation"):  # what the model itself draws
        return list(evaluation.measure(asked))


def label_of(evaluation: Evaluation) -> str:
    """What people call an evaluation."""
    return evaluation.label or kind_of(evaluation)


def kind_of(evaluation: Evaluation) -> str:
    """The evaluation's name in YAML."""
    return str(canonical(evaluation)["name"])
