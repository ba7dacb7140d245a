"""What every method keeps to, on a small student and teacher."""

from __future__ import annotations

import pytest
import torch

from kdray.data import Digits
from kdray.methods import AnyMethod, Batch, Losses, Method
from kdray.models import MLP, Classifier, build
from kdray.teachers import PlainTeacher
from tests.contracts.members import every
from tests.tensors import digits, draws, linear_classifier

every_method = every(AnyMethod)


def classifier(seed: int) -> Classifier:
    return build(MLP(hidden=(6,)), Digits(), digits(), seed)


def batch(seed: int = 0, size: int = 12) -> Batch:
    images = torch.rand(2, size, 1, 8, 8, generator=draws(seed))
    return Batch(images[0], images[1], torch.randint(0, 10, (size,), generator=draws(seed)))


def losses(method: Method, student: Classifier, on: Batch, teacher: Classifier | None = None) -> Losses:
    asked = PlainTeacher(teacher or classifier(1)) if method.needs_teacher else None
    return method.losses(student, on, asked)


@every_method
def test_terms_are_those_that_it_says_and_every_one_is_a_number(value: Method) -> None:
    found = losses(value, classifier(0), batch())
    assert tuple(found.terms) == value.terms
    assert found.total.shape == ()
    assert all(term.shape == () for term in found.terms.values())
    assert found.logits.shape == (12, 10)


@every_method
def test_says_where_its_loss_is_written_down(value: Method) -> None:
    assert value.paper


@every_method
def test_duplicating_the_batch_leaves_every_loss_as_it_is(value: Method) -> None:
    once, twice = (
        losses(value, classifier(0), on) for on in (batch(), Batch(*(torch.cat([part, part]) for part in batch())))
    )
    torch.testing.assert_close(twice.total, once.total)
    torch.testing.assert_close(twice.terms, once.terms)


@every_method
def test_the_order_of_the_examples_does_not_matter(value: Method) -> None:
    forward, backward = (
        losses(value, classifier(0), on) for on in (batch(), Batch(*(part.flip(0) for part in batch())))
    )
    torch.testing.assert_close(backward.total, forward.total)


@every_method
def test_a_gradient_reaches_every_parameter_of_the_student_and_none_of_the_teacher(value: Method) -> None:
    student, teacher = classifier(0).train(), classifier(1)
    asked = PlainTeacher(teacher)
    teacher.requires_grad_(True)  # so that a gradient would show
    value.losses(student, batch(), asked if value.needs_teacher else None).total.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


@every_method
@pytest.mark.parametrize("teacher_agrees", [True, False])
def test_loss_and_gradient_are_finite_at_saturated_logits(value: Method, teacher_agrees: bool) -> None:
    weight = 1e4 * torch.randn(10, 64, generator=draws())
    student = linear_classifier(weight).requires_grad_(True)
    flat = Batch(*(images.reshape(-1, 1, 1, 64) for images in batch()[:2]), batch().labels)
    found = losses(value, student, flat, linear_classifier(weight if teacher_agrees else -weight))
    assert found.logits.abs().max() > 1e4
    found.total.backward()
    for number in (found.total, *found.terms.values(), *(parameter.grad for parameter in student.parameters())):
        assert number is not None
        assert number.isfinite().all()


@every_method
def test_same_inputs_same_loss_whatever_the_global_generator(value: Method) -> None:
    found = []
    for ambient in (0, 1):
        torch.manual_seed(ambient)
        found.append(losses(value, classifier(0), batch()).total)
    assert torch.equal(*found)


@every_method
def test_batch_student_and_teacher_stay_as_they_are(value: Method) -> None:
    student, teacher, on = classifier(0).train(), classifier(1), batch()
    states = [{name: tensor.clone() for name, tensor in net.state_dict().items()} for net in (student, teacher)]
    losses(value, student, on, teacher).total.backward()
    assert all(torch.equal(*parts) for parts in zip(on, batch(), strict=True))
    for net, state in zip((student, teacher), states, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert student.training


@every_method
def test_logits_are_the_students_for_its_own_input(value: Method) -> None:
    student = classifier(0).train()
    assert torch.equal(losses(value, student, batch()).logits, student.logits(batch().images))
