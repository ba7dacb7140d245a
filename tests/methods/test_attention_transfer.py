"""Attention transfer against loops in NumPy, maps of different sizes, and stages that are not
there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from kdray.core import InputError, parse
from kdray.data import CIFAR10, Digits
from kdray.methods import AttentionTransfer, Batch, Method, TrainedTeacher
from kdray.methods.attention_transfer import attention, attention_loss, averaging, pooled
from kdray.models import MLP, CifarResNet, Classifier, Described, Smoothing, WideResNet
from kdray.testing.samples import draws
from tests.methods.steps import Plain, step

SHAPE = (1, 8, 8)
LABELS = torch.tensor([0, 3, 1])


def maps(channels: int, size: int, seed: int) -> torch.Tensor:
    return torch.randn(3, channels, size, size, generator=draws(seed), dtype=torch.float64)


def written_out(student: Any, teacher: Any) -> float:
    """The mean of squares of eq. 2, example by example, of maps of one size."""
    found = []
    for ours, theirs in zip(np.asarray(student), np.asarray(teacher), strict=True):
        q_s, q_t = ((a**2).sum(0).ravel() for a in (ours, theirs))
        found.append(((q_s / np.linalg.norm(q_s) - q_t / np.linalg.norm(q_t)) ** 2).mean())
    return float(np.mean(found))


def test_equals_the_formula_computed_with_numpy() -> None:
    student, teacher = maps(5, 4, 0), maps(2, 4, 1)
    found = float(attention_loss(student, teacher))
    assert found == pytest.approx(written_out(student, teacher), rel=1e-9)


@pytest.mark.parametrize("sizes", [(4, 8), (8, 4), (8, 3)])
def test_maps_of_two_sizes_are_averaged_to_the_smaller(sizes: tuple[int, int]) -> None:
    student, teacher = maps(2, sizes[0], 0), maps(3, sizes[1], 1)
    small = [functional.adaptive_avg_pool2d(stage, min(sizes)) for stage in (student, teacher)]
    found = float(attention_loss(student, teacher))
    assert found == pytest.approx(written_out(*small), rel=1e-9)


@pytest.mark.parametrize(("size", "cells"), [(8, 4), (7, 3), (5, 5), (4, 1)])
def test_cells_are_those_of_adaptive_pooling(size: int, cells: int) -> None:
    rows = torch.randn(2, size, generator=draws(), dtype=torch.float64)
    torch.testing.assert_close(
        rows @ averaging(size, cells, rows).T, functional.adaptive_avg_pool1d(rows, cells)
    )


def test_a_map_of_another_height_than_width_is_pooled_in_both() -> None:
    stage = torch.randn(2, 3, 6, 4, generator=draws(), dtype=torch.float64)
    torch.testing.assert_close(pooled(stage, (3, 3)), functional.adaptive_avg_pool2d(stage, (3, 3)))


def test_an_empty_map_attends_nowhere_and_gets_no_gradient() -> None:
    empty = torch.zeros(3, 2, 4, 4, requires_grad=True)
    assert not attention(empty).any()
    loss = attention_loss(empty, maps(2, 4, 1).float())
    loss.backward()
    assert loss.isfinite()
    assert empty.grad is not None
    assert not empty.grad.any()


def network(depth: int, seed: int) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(CifarResNet(depth=depth).build(SHAPE, 4), torch.nn.Identity())


def losses(method: Method) -> tuple[Any, Plain, Batch, tuple[Classifier, Classifier]]:
    images = torch.rand(2, 3, *SHAPE, generator=draws(4))
    batch, student, teacher = Batch(images[0], images[1], LABELS), network(8, 0), network(14, 1)
    plain = Plain(teacher)
    found = method.losses("main", step(method, student.eval(), batch, plain))
    return found, plain, batch, (student, teacher)


@pytest.mark.parametrize("stages", [None, (0, 2), (1,)])
def test_all_stages_or_those_chosen_count_and_half_of_beta(stages: Any) -> None:
    method = AttentionTransfer(beta=30.0, student_stages=stages, teacher_stages=stages)
    found, teacher, batch, networks = losses(method)
    with torch.no_grad():
        ours, theirs = networks[0](batch.images), networks[1](batch.clean)
        indices = (0, 1, 2) if stages is None else stages
        attended = sum(
            written_out(ours.stages[j].double(), theirs.stages[j].double()) for j in indices
        )
        hard = functional.cross_entropy(ours.logits, LABELS)
    assert found.terms["attention"].item() == pytest.approx(attended, rel=1e-4)
    assert found.total.item() == pytest.approx(float(hard) + 15 * attended, rel=1e-4)
    (asked,) = teacher.asked
    assert torch.equal(asked.images, batch.clean)
    assert not asked.with_graph


RESNET = Described(CifarResNet(depth=8), CIFAR10().shape, 10)
TEACHER = TrainedTeacher(Described(WideResNet(depth=10, width=1), CIFAR10().shape, 10))
VECTORS = Described(MLP(), Digits().shape, 10)


def test_networks_with_as_many_maps_fit() -> None:
    AttentionTransfer().check_fits(RESNET, TEACHER)
    AttentionTransfer(student_stages=(2,), teacher_stages=(0,)).check_fits(RESNET, TEACHER)


@pytest.mark.parametrize(
    ("fields", "student", "teacher", "said"),
    [
        ({}, RESNET, None, "method attention_transfer needs hidden layers, and a virtual"),
        (
            {},
            RESNET,
            TEACHER._replace(smoothing=Smoothing(samples=2, sigma=0.1)),
            r"supervision\.smoothing: a smoothed teacher has no hidden",
        ),
        (
            {"student_stages": (0, 3)},
            RESNET,
            TEACHER,
            r"method\.student_stages: 3 is not below 3, the number of the model's stages",
        ),
        ({"teacher_stages": (7,)}, RESNET, TEACHER, r"method\.teacher_stages: 7 is not below 3"),
        (
            {"student_stages": (0, 1)},
            RESNET,
            TEACHER,
            r"method\.student_stages: 2 stages of the student cannot be paired with 3 of",
        ),
        ({}, VECTORS, TEACHER, r"method\.student_stages: model mlp has a stage that is no map"),
        (
            {},
            Described(MLP(hidden=()), Digits().shape, 10),
            TEACHER,
            r"method\.student_stages: model mlp has no stages",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_a_line_with_the_field(
    fields: Any, student: Described, teacher: TrainedTeacher | None, said: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{said}") as refused:
        AttentionTransfer(**fields).check_fits(student, teacher)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fields", [{"beta": -1.0}, {"student_stages": []}, {"teacher_stages": [-1]}]
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}"):
        parse(AttentionTransfer, {"name": "attention_transfer", **fields}, "method")
