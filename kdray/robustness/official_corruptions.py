"""Accuracy on the published corrupted test sets: CIFAR-10-C, CIFAR-100-C (Hendrycks, Dietterich
2019), MNIST-C (Mu, Gilmer 2019).

noisy_collaboration, appendix A.3.2, measures natural robustness on CIFAR-10-C. Which of them
follows from the data that the model was trained on; :mod:`kdray.robustness.corruptions` makes
similar images for any data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kdray.core import Several, tag_of
from kdray.data import ImageData
from kdray.data.corrupted import BENCHMARKS, Benchmark, Kind, benchmark_of
from kdray.robustness.base import Evaluation, Measurement, Subject, all_correct
from kdray.robustness.corruptions import Corruptions, Count, by_kind_and_severity


class OfficialCorruptions(Evaluation):
    """CIFAR-10-C, CIFAR-100-C or MNIST-C from its files, whichever corrupts the test images of the
    model's data.

    A row without severity is the mean over them, one without kind the mean over all. The kinds of
    MNIST-C have one strength: their accuracies are the rows without severity. The images are
    resized, made grey or coloured and padded as the model's own. ``examples`` are the same images
    at each kind and severity.
    """

    paper: ClassVar[str] = (
        "noisy_collaboration figs. 5, 6, 10, 11 (Hendrycks, Dietterich 2019; for MNIST Mu, "
        "Gilmer 2019)"
    )

    name: Literal["official_corruptions"] = "official_corruptions"
    kinds: Annotated[Several[Kind], Field(min_length=1)] | None = None
    """None: all, for CIFAR the 15 of the benchmark and the 4 extra ones, for MNIST-C its 15
    (``identity`` may be named)."""
    severities: Annotated[Several[Literal[1, 2, 3, 4, 5]], Field(min_length=1)] = (1, 2, 3, 4, 5)
    """Of CIFAR's."""
    split: Literal["test"] = "test"
    """What is corrupted are test images, so no objective can be of these."""

    @classmethod
    def shrunk(cls, written: dict[str, Any]) -> dict[str, Any]:
        """Corruptions made of digits, of which there are no official ones; under its own name."""
        return Corruptions.shrunk(
            {
                "name": tag_of(Corruptions),
                "label": written.get("label", written["name"]),
                "seed": written.get("seed", 0) + 1,
            }
        )

    def metrics(self) -> dict[str, int]:
        """Not those of each kind: how many there are depends on the model's data."""
        return {"mean_accuracy": 1, "mean_relative_accuracy": 1}

    def dataset(self, data: ImageData) -> str:
        return f"{super().dataset(data)}_c"

    def misfit(self, data: ImageData) -> str | None:
        benchmark = benchmark_of(data)
        if benchmark is None:
            return (
                f"there is no corrupted test set of {super().dataset(data)} (allowed: "
                f"{', '.join(BENCHMARKS)})"
            )
        for kind in self.kinds or ():
            if kind not in benchmark.kinds + benchmark.others:
                allowed = ", ".join(benchmark.kinds + benchmark.others)
                return f"kinds: {benchmark.name} has no {kind!r} (allowed: {allowed})"
        if (
            not benchmark.graded
            and self.severities != type(self).model_fields["severities"].default
        ):
            return f"severities: {benchmark.name} has none; leave them out"
        return None

    def check(self, data: ImageData, root: Path) -> None:
        benchmark = benchmark_of(data)
        if benchmark is not None:
            benchmark.check(root, self._kinds(benchmark))

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        data, benchmark = subject.data, None if subject.data is None else benchmark_of(subject.data)
        if data is None or benchmark is None:
            raise ValueError(
                "it needs a model of data with a corrupted test set (allowed: "
                f"{', '.join(BENCHMARKS)})"
            )

        def count(kind: str, severity: int | None) -> Count:
            split = data.fitted(
                benchmark.read(subject.root, kind, severity, examples=self.examples)
            )
            split = split.to(subject.split.device, streamed=subject.split.streamed)
            return Count(all_correct(subject._replace(split=split)), len(split.labels))

        clean = Count(all_correct(subject), len(subject.split.labels))
        severities = self.severities if benchmark.graded else (None,)
        yield from by_kind_and_severity(self._kinds(benchmark), severities, count, clean=clean)

    def _kinds(self, benchmark: Benchmark) -> tuple[str, ...]:
        return self.kinds or benchmark.kinds
