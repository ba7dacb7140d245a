"""An evaluation that breaks a contract is told which one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import ClassVar, Literal

import pytest

from kdray.robustness import Evaluation, Measurement, Subject
from kdray.robustness.base import accuracy, all_correct
from kdray.testing import EVALUATION_CONTRACTS, check_evaluation
from kdray.testing.evaluations import subject_of_digits
from tests.testing.broken import assert_breaks_only, broken_by


class Sound(Evaluation):
    """The accuracy."""

    name: Literal["sound"] = "sound"

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        yield accuracy(all_correct(subject), len(subject.split.labels))


class SaysMore(Sound):
    """Says a metric that it does not yield."""

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 1, "loss": 1}


class OtherShare(Sound):
    """In per cent."""

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        correct, examples = all_correct(subject), len(subject.split.labels)
        yield Measurement(
            metric="accuracy", value=100 * correct / examples, correct=correct, examples=examples
        )


class CountsMore(Sound):
    """Of one more example."""

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        yield accuracy(all_correct(subject), len(subject.split.labels) + 1)


RUNS = count()


class Counts(Sound):
    """Of how often it ran."""

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        yield from super().measure(subject)
        yield Measurement(
            metric="runs", value=float(next(RUNS)), examples=len(subject.split.labels)
        )


class NoAxis(Sound):
    """Twice, with nothing that tells the two apart."""

    def metrics(self) -> dict[str, int]:
        return {"accuracy": 2}

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        yield from super().measure(subject)
        yield from super().measure(subject)


class LeavesGradients(Sound):
    """Turns the gradients of parameters on."""

    def measure(self, subject: Subject) -> Iterator[Measurement]:
        subject.classifier.requires_grad_(True)
        yield from super().measure(subject)


class Anonymous(Sound):
    """Its seed is no part of its identity."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"label", "seed"})


class AnyLabel(Sound):
    """Is called anything."""

    label: str | None = None  # type: ignore[assignment]


BROKEN: dict[type[Evaluation], tuple[str, str]] = {
    SaysMore: ("it_yields_the_metrics_that_it_says", "says 1 values of loss and yields 0"),
    OtherShare: ("a_share_is_correct_over_examples", "of 100 are correct"),
    CountsMore: ("numbers_are_of_the_examples_that_it_was_given", "of 21 examples"),
    Counts: ("repeating_it_gives_the_same_bits", "measured again"),
    NoAxis: ("two_numbers_of_it_are_told_apart_by_their_columns", "two numbers of accuracy"),
    LeavesGradients: (
        "classifier_images_and_global_generator_stay_as_they_are",
        "asking for a gradient",
    ),
    Anonymous: (
        "its_label_is_no_part_of_its_identity_and_everything_else_is",
        "{'seed': 1} does not change its identity",
    ),
    AnyLabel: ("a_label_that_would_not_do_in_a_metrics_name_is_refused", "label '' is taken"),
}


def test_every_contract_has_an_evaluation_that_breaks_it() -> None:
    names = {contract.__name__ for contract in EVALUATION_CONTRACTS}
    assert {name for name, _ in BROKEN.values()} == names


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_evaluation_is_told_which_contract(kind: type[Evaluation]) -> None:
    name, found = BROKEN[kind]
    said = broken_by(kind(), EVALUATION_CONTRACTS, subject_of_digits())
    assert_breaks_only(said, kind(), name, found)


def test_a_sound_evaluation_passes() -> None:
    check_evaluation(Sound())
    check_evaluation(Sound(label="own", examples=40, seed=3))
    small = subject_of_digits()
    check_evaluation(Sound(), subject=small._replace(split=small.split.first(60)))
