"""Label noise has the transition matrix that it states: noisy_collaboration's section 4.4, and the
symmetric one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse, tag_of
from kdray.perturbations import (
    AnyLabelNoise,
    Asymmetric,
    LabelNoise,
    PairFlip,
    Symmetric,
    Transition,
    Uniform,
)
from kdray.perturbations.label_noise import symmetric, uniform_incorrect
from kdray.testing.samples import draws

both_noises = pytest.mark.parametrize("noise", [uniform_incorrect, symmetric])
both_kinds = pytest.mark.parametrize("kind", [Uniform, Symmetric])


def transitions(
    rate: float, classes: int, per_class: int, noise: Any = uniform_incorrect
) -> Tensor:
    """How often each class (row) became each class (column)."""
    labels = torch.arange(classes).repeat(per_class)
    noisy = noise(labels, rate, classes, draws())
    return torch.bincount(labels * classes + noisy, minlength=classes**2).view(classes, classes)


@pytest.mark.parametrize(("rate", "classes"), [(0.1, 10), (0.4, 10), (0.8, 10), (0.5, 2), (0.3, 3)])
def test_transition_is_1_minus_rate_on_the_diagonal_and_rate_over_the_others_off_it(
    rate: float, classes: int
) -> None:
    count = 20_000
    expected = torch.full((classes, classes), rate / (classes - 1)).fill_diagonal_(1 - rate)
    deviation = transitions(rate, classes, count) - count * expected
    assert (deviation.abs() < 4.5 * (count * expected * (1 - expected)).sqrt()).all()


@pytest.mark.parametrize(("rate", "classes"), [(0.1, 10), (0.8, 10), (1.0, 10), (0.5, 2), (0.3, 3)])
def test_symmetric_is_rate_over_all_classes_and_what_is_left_on_the_diagonal(
    rate: float, classes: int
) -> None:
    count = 20_000
    expected = torch.full((classes, classes), rate / classes).fill_diagonal_(
        1 - rate + rate / classes
    )
    deviation = transitions(rate, classes, count, symmetric) - count * expected
    assert (deviation.abs() < 4.5 * (count * expected * (1 - expected)).sqrt()).all()


def test_a_replaced_label_is_never_the_true_one() -> None:
    assert not transitions(1.0, 10, 5_000).diagonal().any()


@both_kinds
def test_rate_zero_is_the_identity(kind: Any) -> None:
    labels = torch.randint(0, 10, (5_000,), generator=draws())
    assert torch.equal(kind(rate=0.0)(labels, 10, draws(1)), labels)


def test_each_of_100_classes_becomes_each_of_the_99_others() -> None:
    seen = transitions(1.0, 100, 2_000) > 0
    assert (seen.sum(1) == 99).all()
    assert (seen.sum(0) == 99).all()


def test_which_labels_are_replaced_does_not_depend_on_the_labels() -> None:
    zeros, ones = torch.zeros(500, dtype=torch.long), torch.ones(500, dtype=torch.long)
    replaced = [uniform_incorrect(labels, 0.3, 10, draws()) != labels for labels in (zeros, ones)]
    assert torch.equal(*replaced)


@both_noises
def test_a_higher_rate_replaces_the_same_labels_and_more(noise: Any) -> None:
    labels = torch.randint(0, 10, (2_000,), generator=draws())
    few, many = (noise(labels, rate, 10, draws(1)) for rate in (0.2, 0.6))
    replaced = few != labels
    assert torch.equal(few[replaced], many[replaced])


@both_kinds
def test_same_draws_same_labels_and_fresh_ones_in_every_call(kind: Any) -> None:
    noise: LabelNoise = kind(rate=0.5)
    generator = draws()
    labels = torch.zeros(1_000, dtype=torch.long)
    first, second = noise(labels, 10, generator), noise(labels, 10, generator)
    assert torch.equal(first, noise(labels, 10, draws()))
    assert not torch.equal(first, second)


@both_kinds
@pytest.mark.parametrize("rate", [-0.01, 1.01, float("nan"), "0.5"])
def test_a_rate_outside_0_to_1_is_refused(rate: object, kind: Any) -> None:
    with pytest.raises(InputError, match=r"^rate: "):
        parse(kind, {"name": tag_of(kind), "rate": rate})


@both_kinds
def test_labels_are_drawn_anew_every_epoch_unless_told(kind: Any) -> None:
    assert kind(rate=0.1).resample == "epoch"


# Noise that depends on the class

CIFAR = ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3))
ROWS = ((0.7, 0.2, 0.1), (0.0, 1.0, 0.0), (0.25, 0.25, 0.5))


def counted(noise: LabelNoise, classes: int, per_class: int) -> Tensor:
    """How often each class (row) became each class (column)."""
    labels = torch.arange(classes).repeat(per_class)
    noisy = noise(labels, classes, draws())
    return torch.bincount(labels * classes + noisy, minlength=classes**2).view(classes, classes)


def flipped(rate: float) -> Tensor:
    expected = torch.eye(10) * (1 - rate)
    for number in range(10):
        expected[number, (number + 1) % 10] = rate
    return expected


def mistaken(rate: float) -> Tensor:
    expected = torch.eye(10)
    for before, after in CIFAR:
        expected[before, before], expected[before, after] = 1 - rate, rate
    return expected


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (PairFlip(rate=0.45), flipped(0.45)),
        (PairFlip(rate=0.0), flipped(0.0)),
        (PairFlip(rate=1.0), flipped(1.0)),
        (Asymmetric(rate=0.4, pairs=CIFAR), mistaken(0.4)),
        (Asymmetric(rate=1.0, pairs=CIFAR), mistaken(1.0)),
        (Transition(matrix=ROWS), torch.tensor(ROWS)),
        (Transition(matrix=((0.0, 1.0), (1.0, 0.0))), torch.tensor([[0.0, 1.0], [1.0, 0.0]])),
    ],
)
def test_the_transition_matrix_is_the_one_that_is_written_down(
    noise: LabelNoise, expected: Tensor
) -> None:
    count = 20_000
    deviation = counted(noise, len(expected), count) - count * expected
    assert (deviation.abs() <= 4.5 * (count * expected * (1 - expected)).sqrt()).all()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ({"name": "asymmetric", "rate": 0.1, "pairs": [[1, 1]]}, "two different classes"),
        ({"name": "asymmetric", "rate": 0.1, "pairs": [[1, 2, 3]]}, "two different classes"),
        ({"name": "asymmetric", "rate": 0.1, "pairs": [[1, 2], [1, 3]]}, "becomes two classes"),
        ({"name": "transition", "matrix": [[1.0, 0.0]]}, "at least 2"),
        ({"name": "transition", "matrix": [[1.0], [0.0, 1.0]]}, "row 0 has 1 numbers, needs 2"),
        ({"name": "transition", "matrix": [[0.5, 0.4], [0.0, 1.0]]}, "row 0 sums to 0.9, needs 1"),
    ],
)
def test_what_is_no_such_noise_is_refused(written: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse(AnyLabelNoise, written)


@pytest.mark.parametrize(
    ("noise", "omitted", "reason"),
    [
        (Asymmetric(rate=0.1, pairs=((1, 10),)), (), "pairs: there is no class 10"),
        (Asymmetric(rate=0.1, pairs=((1, 3),)), (3,), "pairs: class 3 is left out of training"),
        (Asymmetric(rate=0.1, pairs=((3, 1),)), (3,), None),
        (Transition(matrix=ROWS), (), "matrix: has 3 rows, needs one for each of 10 classes"),
        (Uniform(rate=0.1), range(9), "name: of one class no label is wrong"),
        (PairFlip(rate=0.1), range(9), "name: of one class no label is wrong"),
        (PairFlip(rate=0.1), range(8), None),
        (Symmetric(rate=0.1), range(9), None),
    ],
)
def test_it_says_what_data_it_does_not_fit(
    noise: LabelNoise, omitted: Any, reason: str | None
) -> None:
    found = noise.misfit(10, tuple(omitted))
    assert (found is None) if reason is None else str(found).startswith(reason)


def test_a_matrix_that_gives_an_omitted_class_is_refused() -> None:
    noise = Transition(matrix=ROWS)
    assert str(noise.misfit(3, (2,))).startswith("matrix: row 0 gives class 2, which is left out")
    assert noise.misfit(3, (0, 2)) is None
