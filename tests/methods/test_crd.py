"""The contrastive loss against loops over single negatives in NumPy, its draws and its memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.data import Digits
from kdray.methods import CRD, TrainedTeacher, TrainingStep
from kdray.methods.crd import UNSEEN, Memory, contrastive, draw_negatives, log_partition
from kdray.models import MLP, Described, Smoothing
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, PIXELS, ROWS, Plain, hard, linear, step
from tests.tensors import linear_classifier

EXAMPLES, TEMPERATURE = 9, 0.2
POSITIONS = torch.tensor([4, 0, 8])


def unit_rows(rows: int, seed: int) -> Any:
    values = torch.randn(rows, 3, generator=draws(seed), dtype=torch.float64).numpy()
    return values / np.linalg.norm(values, axis=1, keepdims=True)


ANCHORS, MEMORY = unit_rows(3, 0), unit_rows(EXAMPLES, 1)
NEGATIVES = ([1, 1, 7, 0], [3, 8, 5, 5], [2, 2, 2, 6])
"""Four places for each of three anchors."""


def counted() -> torch.Tensor:
    counts = torch.zeros(3, EXAMPLES, dtype=torch.float64)
    for row, places in enumerate(NEGATIVES):
        for place in places:
            counts[row, place] += 1
    return counts


def partition() -> float:
    """Z: M times the mean over everything that is compared."""
    found = [
        math.exp(anchor @ MEMORY[place] / TEMPERATURE)
        for anchor, positive, places in zip(ANCHORS, POSITIONS.tolist(), NEGATIVES, strict=True)
        for place in (positive, *places)
    ]
    return EXAMPLES * float(np.mean(found))


def written_out(z: float) -> float:
    """The mean over anchors of -log h of the positive - Σ log(1 - h) of the negatives."""
    losses = []
    for anchor, positive, places in zip(ANCHORS, POSITIONS.tolist(), NEGATIVES, strict=True):
        noise = len(places) / EXAMPLES
        p = [math.exp(anchor @ MEMORY[place] / TEMPERATURE) / z for place in (positive, *places)]
        h = [each / (each + noise) for each in p]
        losses.append(-math.log(h[0]) - sum(math.log(1 - each) for each in h[1:]))
    return float(np.mean(losses))


def scores() -> tuple[torch.Tensor, torch.Tensor]:
    found = torch.from_numpy(ANCHORS @ MEMORY.T) / TEMPERATURE
    return found, found.gather(1, POSITIONS[:, None])[:, 0]


def test_z_and_the_loss_equal_the_formulas_computed_with_numpy() -> None:
    found, positive = scores()
    log_z = log_partition(found, positive, counted())
    assert float(log_z) == pytest.approx(math.log(partition()), rel=1e-9)
    for z in (partition(), 2.5):
        loss = contrastive(found - math.log(z), positive - math.log(z), counted())
        assert float(loss) == pytest.approx(written_out(z), rel=1e-9)


def test_scores_of_10000_give_a_finite_loss_and_gradient() -> None:
    found = (1e4 * torch.randn(3, EXAMPLES, generator=draws())).requires_grad_(True)
    loss = contrastive(found, found.gather(1, POSITIONS[:, None])[:, 0], counted().float())
    loss.backward()
    assert loss.isfinite()
    assert found.grad is not None
    assert found.grad.isfinite().all()


def test_negatives_are_uniform_among_the_examples_of_other_kinds() -> None:
    kinds = torch.tensor([2, 0, 1, 0, 2, UNSEEN, 2, 0, 0])
    drawn = draw_negatives(kinds, POSITIONS, 12_000, draws())
    assert drawn.sum(1).tolist() == [12_000] * 3
    for row, position in zip(drawn, POSITIONS, strict=True):
        others = kinds != kinds[position]
        assert not row[~others].any()
        expected = 12_000 / int(others.sum())
        assert ((row[others] - expected).abs() < 5 * math.sqrt(expected)).all()


def test_negatives_of_other_examples_are_all_but_the_example_itself() -> None:
    drawn = draw_negatives(torch.arange(EXAMPLES), POSITIONS, 2000, draws())
    for row, position in zip(drawn, POSITIONS.tolist(), strict=True):
        assert (row == 0).nonzero().flatten().tolist() == [position]


def test_draws_are_the_generators_alone() -> None:
    found = []
    for ambient in (0, 1):
        torch.manual_seed(ambient)
        found.append(draw_negatives(torch.arange(EXAMPLES), POSITIONS, 20, draws(3)))
    assert torch.equal(*found)
    other = draw_negatives(torch.arange(EXAMPLES), POSITIONS, 20, draws(4))
    assert not torch.equal(found[0], other)


def test_an_example_whose_whole_split_is_of_its_class_still_draws_something() -> None:
    """Labels are only known as they are seen, so that the check beforehand cannot tell."""
    drawn = draw_negatives(torch.zeros(4, dtype=torch.int64), torch.tensor([1]), 5, draws())
    assert float(drawn.sum()) == 5


METHOD = CRD(negatives=3, negatives_from="other_examples", dimensions=4)


def first_step(method: CRD = METHOD) -> TrainingStep:
    case = linear()
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    teacher = Plain(linear_classifier(torch.tensor(case.teacher)))
    torch.manual_seed(0)
    batch = case.batch._replace(positions=torch.tensor([3, 1, 4, 0, 2]))
    return step(method, student, batch, teacher)


def memory_of(given: TrainingStep) -> Memory:
    assert isinstance(given.helper, Memory)
    return given.helper


def test_a_step_is_cross_entropy_and_both_contrasts_written_out() -> None:
    given = first_step()
    memory = memory_of(given)
    positions = given.batch.positions
    assert positions is not None
    sides, embedded = {}, {}
    for name, images in (("student", given.batch.images), ("teacher", given.batch.clean)):
        side = getattr(memory, name)
        sides[name] = side.memory.double().numpy()
        values = images.flatten(1).double().numpy()  # a linear network's embedding is its input
        g = values @ side.linear.weight.detach().double().numpy().T
        g = g + side.linear.bias.detach().double().numpy()
        embedded[name] = g / np.linalg.norm(g, axis=1, keepdims=True)
    drawn = draw_negatives(torch.arange(ROWS), positions, 3, draws()).double()
    expected = 0.0
    for anchors, other in (("student", "teacher"), ("teacher", "student")):
        found = torch.from_numpy(embedded[anchors] @ sides[other].T / 0.07)
        positive = found.gather(1, positions[:, None])[:, 0]
        log_z = log_partition(found, positive, drawn)
        expected += float(contrastive(found - log_z, positive - log_z, drawn))
    losses = METHOD.losses("main", given)
    assert losses.terms["contrast"].item() == pytest.approx(expected, rel=1e-4)
    total = hard(linear().logits[0]) + 0.8 * expected
    assert losses.total.item() == pytest.approx(total, rel=1e-4)
    for name, g in embedded.items():
        moved = 0.5 * sides[name][positions] + 0.5 * g
        np.testing.assert_allclose(
            getattr(memory, name).memory[positions],
            moved / np.linalg.norm(moved, axis=1, keepdims=True),
            rtol=1e-4,
            atol=1e-6,
        )
    assert memory.labels[positions].tolist() == LABELS.tolist()


def test_z_is_that_of_the_first_step_and_stays() -> None:
    given = first_step()
    memory = memory_of(given)
    assert math.isinf(memory.student.log_z)
    METHOD.losses("main", given)
    first = (memory.student.log_z.clone(), memory.teacher.log_z.clone())
    assert all(each.isfinite() for each in first)
    METHOD.losses("main", given)
    assert torch.equal(memory.student.log_z, first[0])
    assert torch.equal(memory.teacher.log_z, first[1])


def test_a_gradient_reaches_both_maps_and_the_student_but_no_buffer() -> None:
    given = first_step()
    METHOD.losses("main", given).total.backward()
    learned = dict(given.helper.named_parameters())
    assert set(learned) == {
        f"{side}.linear.{part}" for side in ("student", "teacher") for part in ("weight", "bias")
    }
    assert all(each.grad is not None and each.grad.any() for each in learned.values())
    assert not any(buffer.requires_grad for buffer in given.helper.buffers())


def test_the_memory_is_large_enough_for_the_split_and_of_length_1() -> None:
    memory = memory_of(first_step())
    assert memory.student.memory.shape == (ROWS, 4)
    torch.testing.assert_close(memory.teacher.memory.norm(dim=1), torch.ones(ROWS))
    assert (memory.labels == UNSEEN).all()
    assert memory.student.linear.in_features == PIXELS


@pytest.mark.parametrize(
    ("negatives_from", "there", "said"),
    [("other_examples", 4, "other examples"), ("other_classes", 3, "other classes")],
)
def test_more_negatives_than_there_are_are_refused_with_the_field(
    negatives_from: Any, there: int, said: str
) -> None:
    first_step(CRD(negatives=there, negatives_from=negatives_from))
    with pytest.raises(
        InputError,
        match=rf"^method\.negatives: {there + 1} are more than the {there} training examples that "
        rf"there are of {said}$",
    ):
        first_step(CRD(negatives=there + 1, negatives_from=negatives_from))


def test_a_teacher_without_an_embedding_is_refused() -> None:
    student = Described(MLP(), Digits().shape, 10)
    with pytest.raises(ValueError, match="method crd needs embeddings, and a virtual teacher has"):
        CRD().check_fits(student, None)
    smoothed = TrainedTeacher(student, Smoothing(samples=2, sigma=0.1))
    with pytest.raises(ValueError, match=r"^supervision\.smoothing: "):
        CRD().check_fits(student, smoothed)
    CRD().check_fits(student, TrainedTeacher(student))


@pytest.mark.parametrize(
    "fields",
    [
        {"beta": -1.0},
        {"negatives": 0},
        {"temperature": 0},
        {"momentum": 1.0},
        {"dimensions": 1},
        {"negatives_from": "nowhere"},
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}: "):
        parse(CRD, {"name": "crd", **fields}, "method")
