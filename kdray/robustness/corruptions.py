"""Accuracy under common corruptions, generated on the device: CIFAR-C-like (Hendrycks, Dietterich
2019), for any data set.

noisy_collaboration, appendix A.3.2. Its heat maps (figures 5, 6, 10, 11) show numbers that no clean
accuracy allows and that only a ratio explains: beside every accuracy stands the one relative to the
same images without corruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Field

from kdray.core import Several
from kdray.data import ImageData
from kdray.models import Classifier
from kdray.perturbations.corruptions import CORRUPTIONS, Corruption, corrupt
from kdray.robustness.base import (
    Block,
    Images,
    Measurement,
    Perturbing,
    Subject,
    accuracy,
    all_correct,
)

SMALLEST = 4
"""Side in pixels that every kind can be made of."""


class Count(NamedTuple):
    """Of some images, how many are classified correctly."""

    correct: int
    examples: int


K = TypeVar("K", bound=str)
S = TypeVar("S", bound=int | None)


def by_kind_and_severity(
    kinds: Sequence[K], severities: Sequence[S], count: Callable[[K, S], Count], *, clean: Count
) -> Iterator[Measurement]:
    """The accuracy of every kind at every severity, the mean of every kind where it has more than
    one strength, the mean over all, and both relative to ``clean``, the same images without
    corruption."""
    everything: list[Count] = []
    for kind in kinds:
        of_kind = []
        for severity in severities:
            found = count(kind, severity)
            yield accuracy(found.correct, found.examples, corruption=kind, severity=severity)
            of_kind.append(found)
        together = _sum(of_kind)
        if list(severities) != [None]:
            yield accuracy(together.correct, together.examples, corruption=kind)
        yield _relative("relative_accuracy", together, clean, corruption=kind)
        everything.append(together)
    whole = _sum(everything)
    yield accuracy(whole.correct, whole.examples, metric="mean_accuracy")
    yield _relative("mean_relative_accuracy", whole, clean, kinds=len(kinds))


def _sum(counts: Sequence[Count]) -> Count:
    return Count(sum(each.correct for each in counts), sum(each.examples for each in counts))


def _relative(
    metric: str, found: Count, clean: Count, *, kinds: int = 1, corruption: str | None = None
) -> Measurement:
    """Correct images under corruption for each that is correct without."""
    checks = None if clean.correct else "no image is classified correctly without corruption"
    levels = found.examples / kinds / clean.examples
    value = found.correct / levels / kinds / clean.correct if clean.correct else 0.0
    return Measurement(
        metric=metric, value=value, examples=clean.examples, corruption=corruption, checks=checks
    )


class Corruptions(Perturbing):
    """19 kinds of corruption at 5 severities, generated: CIFAR-C-like.

    A row without severity is the mean over them, one without kind the mean over all.
    """

    paper: ClassVar[str] = (
        "noisy_collaboration figs. 5, 6, 10, 11 (Hendrycks, Dietterich 2019); "
        "CIFAR-C-like, not CIFAR-10-C"
    )

    name: Literal["corruptions"] = "corruptions"
    kinds: Annotated[Several[Corruption], Field(min_length=1)] = CORRUPTIONS
    severities: Annotated[Several[Literal[1, 2, 3, 4, 5]], Field(min_length=1)] = (1, 2, 3, 4, 5)

    @classmethod
    def shrunk(cls, written: dict[str, Any]) -> dict[str, Any]:
        """At the last severity only."""
        severities = written.get("severities", [5])
        last = severities[-1:] if isinstance(severities, list) else severities
        return {**super().shrunk(written), "severities": last}

    def _each(self) -> list[tuple[Corruption, int]]:
        return [(kind, severity) for kind in self.kinds for severity in self.severities]

    def strengths(self) -> list[dict[str, Any]]:
        return [{"corruption": kind, "severity": severity} for kind, severity in self._each()]

    def perturbed(self, classifier: Classifier, block: Block) -> Iterator[Images]:
        del classifier
        for kind, severity in self._each():
            yield corrupt(block.images, kind, severity, self.draws(block))

    def misfit(self, data: ImageData) -> str | None:
        if min(data.shape[1:]) >= SMALLEST:
            return None
        size = f"{data.shape[1]} x {data.shape[2]}"
        return (
            f"images of {size} pixels are too small to corrupt (allowed: from {SMALLEST} x "
            f"{SMALLEST})"
        )

    def metrics(self) -> dict[str, int]:
        kinds = len(self.kinds)
        return {
            "accuracy": kinds * (len(self.severities) + 1),
            "mean_accuracy": 1,
            "relative_accuracy": kinds,
            "mean_relative_accuracy": 1,
        }

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        examples = len(subject.split.labels)
        clean = Count(all_correct(subject), examples)
        correct = dict(zip(self._each(), self.correct(subject), strict=True))

        def count(kind: Corruption, severity: int) -> Count:
            return Count(correct[kind, severity], examples)

        yield from by_kind_and_severity(self.kinds, self.severities, count, clean=clean)
