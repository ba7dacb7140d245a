"""What every method keeps to, on a small student and teacher."""

from __future__ import annotations

import pytest
import torch

from kdray.data import Digits
from kdray.methods import AnyMethod, Batch, Losses, Method
from kdray.models import MLP, Classifier, build, fit
from tests.contracts.members import every
from tests.methods.steps import Plain, step
from tests.tensors import digits, draws

every_method = every(AnyMethod)


def classifier(seed: int) -> Classifier:
    return build(MLP(hidden=(6,)), Digits(), fit(Digits(), digits()), seed)


def batch(seed: int = 0, size: int = 12) -> Batch:
    images = torch.rand(2, size, 1, 8, 8, generator=draws(seed))
    return Batch(images[0], images[1], torch.randint(0, 10, (size,), generator=draws(seed)))


def saturated(sign: int) -> Classifier:
    """So sure that every probability is 0 or 1, of the class with the highest logit or (-1) of the
    one with the lowest."""
    sure = classifier(0)
    with torch.no_grad():
        for parameter in sure.network.head.parameters():
            parameter *= sign * 1e6
    return sure


def losses(
    method: Method,
    student: Classifier,
    on: Batch,
    teacher: Classifier | None = None,
    stage: str = "main",
) -> Losses:
    asked = Plain(teacher or classifier(1)) if method.asks_teacher else None
    return method.losses(stage, step(method, student, on, asked))


def made_of_others(method: Method) -> bool:
    """Whether its terms are those of the methods in its fields."""
    return any(isinstance(getattr(method, name), Method) for name in type(method).model_fields)


def draws_for_examples(method: Method) -> bool:
    """Whether it draws in a step: then an example's draws go by its place in the batch."""
    given = step(
        method, classifier(0), batch(), Plain(classifier(1)) if method.asks_teacher else None
    )
    before = given.draws.get_state()
    method.losses("main", given)
    return not torch.equal(given.draws.get_state(), before)


@every_method
def test_trains_in_stages_with_names_of_their_own_and_the_last_is_main(value: Method) -> None:
    stages = value.stages(7)
    assert stages[-1] == ("main", 7)
    assert len({stage.name for stage in stages}) == len(stages)
    assert all(stage.epochs >= 1 for stage in stages)


@every_method
def test_terms_are_those_that_it_says_and_every_one_is_a_number(value: Method) -> None:
    stages = value.stages(7)
    for stage in stages:
        found = losses(value, classifier(0), batch(), stage=stage.name)
        assert found.terms.keys() <= set(value.term_names())
        if len(stages) == 1 and not made_of_others(value):
            assert tuple(found.terms) == value.term_names()
        for number in (found.total, *found.terms.values()):
            assert number.shape == ()
            assert number.isfinite()
        assert found.logits.shape == (12, 10)


@every_method
def test_says_where_its_loss_is_written_down(value: Method) -> None:
    assert value.paper


@every_method
def test_duplicating_the_batch_leaves_every_loss_as_it_is(value: Method) -> None:
    if draws_for_examples(value):
        pytest.skip("the two copies of an example get draws of their own")
    once, twice = (
        losses(value, classifier(0), on)
        for on in (batch(), Batch(*(torch.cat([part, part]) for part in batch()[:3])))
    )
    torch.testing.assert_close(twice.total, once.total)
    torch.testing.assert_close(twice.terms, once.terms)


@every_method
def test_the_order_of_the_examples_does_not_matter(value: Method) -> None:
    if draws_for_examples(value):
        pytest.skip("an example that moves gets the draws of its new place")
    forward, backward = (
        losses(value, classifier(0), on)
        for on in (batch(), Batch(*(part.flip(0) for part in batch()[:3])))
    )
    torch.testing.assert_close(backward.total, forward.total)


@every_method
def test_a_gradient_reaches_every_parameter_of_the_student_and_none_of_the_teacher(
    value: Method,
) -> None:
    student, teacher = classifier(0).train(), classifier(1)
    teacher.requires_grad_(True)  # so that a gradient would show
    losses(value, student, batch(), teacher).total.backward()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in teacher.parameters())


@every_method
def test_in_every_stage_something_is_learned_and_nothing_of_the_teacher(value: Method) -> None:
    for stage in value.stages(7):
        student, teacher = classifier(0).train(), classifier(1)
        teacher.requires_grad_(True)
        given = step(value, student, batch(), Plain(teacher) if value.asks_teacher else None)
        value.losses(stage.name, given).total.backward()
        learned = [*student.parameters(), *given.helper.parameters()]
        assert any(parameter.grad is not None and parameter.grad.any() for parameter in learned), (
            stage.name
        )
        assert all(parameter.grad is None for parameter in teacher.parameters()), stage.name


@every_method
@pytest.mark.parametrize("teacher_agrees", [True, False])
def test_loss_and_gradient_are_finite_at_saturated_logits(
    value: Method, teacher_agrees: bool
) -> None:
    student, teacher = saturated(1), saturated(1 if teacher_agrees else -1)
    found = losses(value, student, batch(), teacher)
    assert found.logits.abs().max() > 1e4
    found.total.backward()
    for number in (
        found.total,
        *found.terms.values(),
        *(parameter.grad for parameter in student.parameters()),
    ):
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
    states = [
        {name: tensor.clone() for name, tensor in net.state_dict().items()}
        for net in (student, teacher)
    ]
    losses(value, student, on, teacher).total.backward()
    assert all(torch.equal(*parts) for parts in zip(on[:3], batch()[:3], strict=True))
    assert all(part.grad is None and not part.requires_grad for part in on[:3])
    for net, state in zip((student, teacher), states, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert student.training


@every_method
def test_logits_are_the_students_for_its_own_input(value: Method) -> None:
    student = classifier(0).train()
    assert torch.equal(losses(value, student, batch()).logits, student.logits(batch().images))
