"""Accuracy under common corruptions, generated on the device: CIFAR-C-like (Hendrycks, Dietterich 2019), for any data set.

noisy_collaboration, appendix A.3.2. Its heat maps (figures 5, 6, 10, 11) show numbers that no clean accuracy allows and that
only a ratio explains: beside every accuracy stands the one relative to the same images without corruption.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from kdray.core import Several
from kdray.perturbations.corruptions import CORRUPTIONS, Corruption, corrupt
from kdray.robustness.base import Images, Measurement, Perturbing, Subject, Variant, accuracy, all_correct


class Corruptions(Perturbing):
    """Every kind at every severity; a row without severity is the mean over them, one without kind the mean over all."""

    paper: ClassVar[str] = "noisy_collaboration figs. 5, 6, 10, 11 (Hendrycks, Dietterich 2019); CIFAR-C-like, not CIFAR-10-C"

    name: Literal["corruptions"] = "corruptions"
    kinds: Annotated[Several[Corruption], Field(min_length=1)] = CORRUPTIONS
    severities: Annotated[Several[Literal[1, 2, 3, 4, 5]], Field(min_length=1)] = (1, 2, 3, 4, 5)

    def variants(self) -> list[Variant]:
        return [self._variant(kind, severity) for kind in self.kinds for severity in self.severities]

    def _variant(self, kind: Corruption, severity: int) -> Variant:
        return self.drawn(partial(corrupted, kind, severity), corruption=kind, severity=severity)

    def metrics(self) -> dict[str, int]:
        kinds = len(self.kinds)
        return {
            "accuracy": kinds * (len(self.severities) + 1), "mean_accuracy": 1,
            "relative_accuracy": kinds, "mean_relative_accuracy": 1,
        }  # fmt: skip

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        examples, levels = len(subject.split.labels), len(self.severities)
        clean = all_correct(subject)
        total = 0
        for kind in self.kinds:
            of_kind = 0
            for severity in self.severities:
                correct = self._variant(kind, severity).correct(subject)
                yield accuracy(correct, examples, corruption=kind, severity=severity)
                of_kind += correct
            yield accuracy(of_kind, examples * levels, corruption=kind)
            yield self._relative("relative_accuracy", of_kind / levels, clean, examples, corruption=kind)
            total += of_kind
        yield accuracy(total, examples * levels * len(self.kinds), metric="mean_accuracy")
        yield self._relative("mean_relative_accuracy", total / levels / len(self.kinds), clean, examples)

    @staticmethod
    def _relative(
        metric: str, correct: float, clean: int, examples: int, corruption: Corruption | None = None
    ) -> Measurement:  # fmt: skip
        """Correct images under corruption for each that is correct without."""
        checks = None if clean else "no image is classified correctly without corruption"
        value = correct / clean if clean else 0.0
        return Measurement(metric=metric, value=value, examples=examples, corruption=corruption, checks=checks)


def corrupted(kind: Corruption, severity: int, images: Images, draws: torch.Generator) -> Images:
    return corrupt(images, kind, severity, draws)
