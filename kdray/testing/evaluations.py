"""What every evaluation keeps to, on a classifier of digits."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import asdict
from typing import get_args

import torch

from kdray.core import InputError, canonical, fingerprint, parse, seeds
from kdray.data import Digits
from kdray.robustness import Evaluation, Measurement, Subject, measurements
from kdray.testing.contracts import Contract, check
from kdray.testing.samples import copied, digits, same, trained_on_digits, untrained_on_digits
from kdray.testing.values import VALUE_CONTRACTS


def subject_of_digits() -> Subject:
    """Return a trained classifier and 100 digits that it is measured on."""
    return Subject(
        deepcopy(trained_on_digits()),
        digits().test.first(100),
        teacher=untrained_on_digits(),
        data=Digits(),
        others={"a": trained_on_digits, "b": untrained_on_digits},
    )


def first(subject: Subject, examples: int) -> Subject:
    """Return the subject on its first images only."""
    return subject._replace(split=subject.split.first(examples))


def it_yields_the_metrics_that_it_says(evaluation: Evaluation, subject: Subject) -> None:
    """There are as many values of each metric as ``metrics()`` says, without those of single
    classes."""
    measured = measurements(evaluation, subject)
    found = Counter(each.metric for each in measured if each.class_ is None)
    for metric, count in evaluation.metrics().items():
        assert found[metric] == count, (
            f"it says {count} values of {metric} and yields {found[metric]}"
        )
    assert measured, "it yields nothing"


def a_share_is_correct_over_examples(evaluation: Evaluation, subject: Subject) -> None:
    """An accuracy is the share of so many examples, of which some are correct."""
    for each in measurements(evaluation, subject):
        if each.correct is None:
            shares = each.metric is not None and each.metric.endswith("accuracy")
            relative = each.metric is not None and each.metric.endswith("relative_accuracy")
            assert relative or not shares, f"{each.metric} says not how many are correct"
            continue
        assert each.examples is not None, f"{each.metric} says not of how many examples"
        assert 0 <= each.correct <= each.examples, (
            f"{each.metric}: {each.correct} of {each.examples} examples are correct"
        )
        assert each.value == each.correct / each.examples, (
            f"{each.metric} is {each.value}, and {each.correct} of {each.examples} are correct"
        )


def numbers_are_of_the_examples_that_it_was_given(evaluation: Evaluation, subject: Subject) -> None:
    """Of 1 and of 20 images every number counts these, or a multiple of them."""
    for examples in (1, 20):
        for each in measurements(evaluation, first(subject, examples)):
            assert each.class_ is not None or (each.examples or 0) % examples == 0, (
                f"{each.metric} is of {each.examples} examples, and it was given {examples}"
            )


def repeating_it_gives_the_same_bits(evaluation: Evaluation, subject: Subject) -> None:
    """What it draws follows from its seed, whatever the state of torch's global generator."""
    once = list(map(_told, measurements(evaluation, subject)))
    with seeds.ambient(99, "evaluation"):
        again = list(map(_told, measurements(evaluation, subject)))
    for one, other in zip(once, again, strict=True):
        assert one == other, f"measured again, {one} is {other}"


def two_numbers_of_it_are_told_apart_by_their_columns(
    evaluation: Evaluation, subject: Subject
) -> None:
    """No two numbers agree in everything but their value: one would hide the other."""
    seen: set[str] = set()
    for each in measurements(evaluation, subject):
        columns = {k: v for k, v in asdict(each).items() if k not in ("value", "correct")}
        assert repr(columns) not in seen, (
            f"two numbers of {each.metric} have the same columns; give them an axis"
        )
        seen.add(repr(columns))


def classifier_images_and_global_generator_stay_as_they_are(
    evaluation: Evaluation, subject: Subject
) -> None:
    """Measuring leaves no trace."""
    given = first(subject, 50)
    classifier, images, ambient = (
        given.classifier,
        given.split.images.clone(),
        torch.get_rng_state(),
    )
    before = copied(classifier.state_dict())
    measurements(evaluation, given)
    assert same(classifier.state_dict(), before), "it changed the classifier's weights"
    assert not any(module.training for module in classifier.modules()), (
        "it left the classifier in train mode"
    )
    for name, parameter in classifier.named_parameters():
        assert parameter.grad is None, f"it left a gradient on {name}"
        assert not parameter.requires_grad, f"it left {name} asking for a gradient"
    assert torch.equal(given.split.images, images), "it changed the images"
    assert torch.equal(torch.get_rng_state(), ambient), "it moved torch's global generator"


def its_label_is_no_part_of_its_identity_and_everything_else_is(
    evaluation: Evaluation, subject: Subject
) -> None:
    """Two labels are one evaluation; another split, number of examples or seed is another."""
    del subject
    kind = type(evaluation)
    labelled = evaluation.model_copy(update={"label": "called-so"})
    assert fingerprint(labelled) == fingerprint(evaluation), "its label changes its identity"
    splits = get_args(kind.model_fields["split"].annotation)
    changes: list[dict[str, int | str]] = [{"split": each} for each in splits]
    changes += [{"examples": (evaluation.examples or 0) + 50}, {"seed": evaluation.seed + 1}]
    for change in changes:
        if change.items() <= dict(evaluation).items():
            continue
        other = parse(kind, {**canonical(evaluation), **change})
        assert fingerprint(other) != fingerprint(evaluation), (
            f"{change} does not change its identity"
        )


def a_label_that_would_not_do_in_a_metrics_name_is_refused(
    evaluation: Evaluation, subject: Subject
) -> None:
    """A label is of letters, digits, '-' and '_'."""
    del subject
    for label in ("", "two words", "a.b", "a[0]"):
        said = refusal(evaluation, label)
        assert said is not None, f"label {label!r} is taken"
        assert said.startswith("label: "), f"label {label!r} is refused with {said!r}"


EVALUATION_CONTRACTS: tuple[Contract, ...] = (
    it_yields_the_metrics_that_it_says,
    a_share_is_correct_over_examples,
    numbers_are_of_the_examples_that_it_was_given,
    repeating_it_gives_the_same_bits,
    two_numbers_of_it_are_told_apart_by_their_columns,
    classifier_images_and_global_generator_stay_as_they_are,
    its_label_is_no_part_of_its_identity_and_everything_else_is,
    a_label_that_would_not_do_in_a_metrics_name_is_refused,
)


def check_evaluation(evaluation: Evaluation, *, subject: Subject | None = None) -> None:
    """Raise AssertionError unless ``evaluation`` keeps to every contract of an evaluation, on
    ``subject``, of 50 images or more (none: a small classifier of digits and its teacher)."""
    __tracebackhide__ = True
    check(evaluation, VALUE_CONTRACTS)
    check(evaluation, EVALUATION_CONTRACTS, subject or subject_of_digits())


def refusal(evaluation: Evaluation, label: str) -> str | None:
    """Return why ``evaluation`` cannot be called ``label``; none if it can."""
    try:
        parse(type(evaluation), {**canonical(evaluation), "label": label})
    except InputError as error:
        return str(error)
    return None


def _told(measurement: Measurement) -> str:
    """Return everything that a measurement says; text, in which a number that is none equals
    itself."""
    return repr(asdict(measurement))
