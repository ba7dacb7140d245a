"""Relational distillation against loops over all pairs and triplets in NumPy, and equal
embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kdray.core import InputError, parse
from kdray.data import Digits
from kdray.methods import RKD, TrainedTeacher
from kdray.methods.rkd import relational, relations
from kdray.models import MLP, Described, Smoothing
from kdray.testing.samples import draws
from tests.methods.steps import Plain, hard, linear, step
from tests.tensors import linear_classifier

STUDENT = torch.randn(6, 3, generator=draws(0), dtype=torch.float64)
TEACHER = 5 * torch.randn(6, 7, generator=draws(1), dtype=torch.float64)


def huber(first: float, second: float) -> float:
    gap = abs(first - second)
    return gap**2 / 2 if gap <= 1 else gap - 0.5


def written_out(student: Any, teacher: Any) -> tuple[float, float]:
    """The sums of eqs. 6 and 9 over pairs and triplets of different examples, over B² and B³."""
    s, t = np.asarray(student), np.asarray(teacher)
    count = len(s)
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    mu_s, mu_t = (np.mean([np.linalg.norm(e[i] - e[j]) for i, j in pairs]) for e in (s, t))
    distance = sum(
        huber(np.linalg.norm(s[i] - s[j]) / mu_s, np.linalg.norm(t[i] - t[j]) / mu_t)
        for i, j in pairs
    )
    angle = 0.0
    for i, j in pairs:
        for k in range(count):
            if k in (i, j):
                continue
            found = []
            for e in (s, t):
                first, second = e[i] - e[j], e[k] - e[j]
                found.append(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
            angle += huber(*found)
    return distance / count**2, angle / count**3


def test_equals_the_formulas_computed_with_numpy() -> None:
    distance, angle = written_out(STUDENT, TEACHER)
    found = relational(STUDENT, TEACHER)
    assert float(found[0]) == pytest.approx(distance, rel=1e-9)
    assert float(found[1]) == pytest.approx(angle, rel=1e-9)


def test_hubers_loss_is_linear_where_relations_are_more_than_1_apart() -> None:
    """A student with one example far away, whose distances are several mean ones."""
    student = STUDENT.clone()
    student[0] += 1e3
    assert float(relational(student, TEACHER)[0]) == pytest.approx(
        written_out(student, TEACHER)[0], rel=1e-9
    )


def test_by_default_cross_entropy_and_25_distances_and_50_angles_of_the_embeddings() -> None:
    case = linear()
    found, teacher = case.losses(RKD())
    noisy, clean = (part.flatten(1).double() for part in case.batch[:2])
    distance, angle = written_out(noisy, clean)  # a linear network's embedding is its input
    assert float(found.terms["distance"]) == pytest.approx(distance, rel=1e-4)
    assert float(found.terms["angle"]) == pytest.approx(angle, rel=1e-4)
    expected = hard(case.logits[0]) + 25 * distance + 50 * angle
    assert float(found.total) == pytest.approx(expected, rel=1e-4)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, case.batch.clean)
    assert not asked.with_graph


def test_a_larger_turned_and_moved_embedding_has_no_loss() -> None:
    turn, _ = torch.linalg.qr(torch.randn(7, 7, generator=draws(2), dtype=torch.float64))
    assert sum(map(float, relational(3 * TEACHER @ turn + 1, TEACHER))) == pytest.approx(
        0, abs=1e-12
    )


def test_equal_embeddings_have_no_distance_and_no_angle_and_give_no_gradient_but_that_of_others() -> (
    None
):
    student = STUDENT.clone()
    student[1] = student[0]
    found = relations(student)
    assert found.distances[0, 1] == 0
    assert not found.cosines[0, 1].any()
    assert not found.cosines[2].isnan().any()
    student.requires_grad_(True)
    sum(relational(student, TEACHER)).backward()  # type: ignore[union-attr]
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad[0].any()


def test_relations_of_a_hundred_wide_embeddings_in_float32_keep_their_digits() -> None:
    """Far from 0, as embeddings after a ReLU are, with two that are equal and two that nearly
    are."""
    wide = 50 + torch.randn(100, 512, generator=draws(3))
    wide[1] = wide[0]
    wide[3] = wide[2] + 1e-3 * torch.randn(512, generator=draws(4))
    found = relations(wide)
    apart = wide.double()[None] - wide.double()[:, None]
    lengths = torch.linalg.vector_norm(apart, dim=2)
    expected = lengths / (lengths.sum() / (lengths > 0).sum())
    assert torch.allclose(found.distances.double(), expected, rtol=1e-6, atol=0)
    turns = apart / lengths.masked_fill(lengths == 0, torch.inf)[:, :, None]
    assert torch.allclose(found.cosines.double(), turns @ turns.transpose(1, 2), atol=2e-7)


def test_embeddings_that_are_all_equal_have_a_finite_loss_without_a_gradient() -> None:
    student = torch.ones(6, 3, dtype=torch.float64, requires_grad=True)
    loss = sum(relational(student, TEACHER))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert not student.grad.any()


def test_one_example_alone_has_no_relations() -> None:
    assert sum(map(float, relational(STUDENT[:1], TEACHER[:1]))) == 0


def test_gradient_reaches_the_student_alone() -> None:
    case = linear()
    student = linear_classifier(torch.tensor(case.student)).train().requires_grad_(True)
    teacher = linear_classifier(torch.tensor(case.teacher)).requires_grad_(True)
    method = RKD()
    method.losses("main", step(method, student, case.batch, Plain(teacher))).total.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_teacher_without_an_embedding_is_refused() -> None:
    student = Described(MLP(), Digits().shape, 10)
    with pytest.raises(ValueError, match="method rkd needs embeddings, and a virtual teacher has"):
        RKD().check_fits(student, None)
    smoothed = TrainedTeacher(student, Smoothing(samples=2, sigma=0.1))
    with pytest.raises(ValueError, match=r"^supervision\.smoothing: "):
        RKD().check_fits(student, smoothed)
    RKD().check_fits(student, TrainedTeacher(student))


@pytest.mark.parametrize("fields", [{"distance_weight": -1.0}, {"angle_weight": -1.0}])
def test_what_makes_no_sense_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}: "):
        parse(RKD, {"name": "rkd", **fields}, "method")
