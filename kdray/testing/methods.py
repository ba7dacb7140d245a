"""What every method keeps to, on a small student and teacher of digits."""

from __future__ import annotations

import torch
from torch import Tensor

from kdray.core import seeds
from kdray.methods import Method
from kdray.models import Classifier
from kdray.testing.contracts import Contract, check
from kdray.testing.samples import copied, same
from kdray.testing.steps import (
    EXAMPLES,
    batch,
    certain,
    draws_for_examples,
    fresh_state,
    losses,
    made_of_others,
    numbers,
    reread,
    setup_of,
    step,
    student_of,
    teacher_of,
    trained,
)
from kdray.testing.values import VALUE_CONTRACTS
from kdray.training import train


def stages_have_names_of_their_own_and_the_last_is_main(method: Method) -> None:
    """It trains in stages of one epoch or more; the last, "main", has the epochs that are asked
    for."""
    stages = method.stages(7)
    assert stages, "it has no stages"
    assert stages[-1] == ("main", 7), f"asked for 7 epochs, its last stage is {stages[-1]}"
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names), f"two of its stages {names} have one name"
    assert all(stage.epochs >= 1 for stage in stages), f"a stage of {stages} has no epoch"


def terms_are_those_that_it_says_and_numbers(method: Method) -> None:
    """Total and terms are finite scalars, the terms have the names that it says, and there are
    logits for every example."""
    stages, said = method.stages(7), method.term_names()
    for stage in stages:
        found = losses(method, student_of(method), batch(), stage=stage.name)
        extra = sorted(found.terms.keys() - set(said))
        assert not extra, f"stage {stage.name} has terms {extra}, which are not among {said}"
        if len(stages) == 1 and not made_of_others(method):
            assert tuple(found.terms) == said, f"it has terms {tuple(found.terms)} and says {said}"
        for name, number in {"the total": found.total, **found.terms}.items():
            assert number.shape == (), f"{name} has shape {tuple(number.shape)}: it is no number"
            assert number.isfinite(), f"{name} is {number.item()}"
        assert found.logits.shape == (EXAMPLES, 10), (
            f"the logits of {EXAMPLES} examples of 10 classes have shape "
            f"{tuple(found.logits.shape)}"
        )


def duplicating_the_batch_leaves_every_loss_as_it_is(method: Method) -> None:
    """A loss is a mean over examples. (Where it draws for examples, copies differ: no contract.)"""
    if draws_for_examples(method):
        return
    once = losses(method, student_of(method), batch())
    twice = losses(method, student_of(method), batch(torch.arange(EXAMPLES).repeat(2)))
    for name, number in {"total": once.total, **once.terms}.items():
        again = {"total": twice.total, **twice.terms}[name]
        assert _close(number, again), (
            f"the {name} of a batch is {number.item():.6g}, of the same examples twice "
            f"{again.item():.6g}: a loss is a mean over examples"
        )


def the_order_of_the_examples_does_not_matter(method: Method) -> None:
    """Nothing goes by the place of an example in its batch, but for draws."""
    if draws_for_examples(method):
        return
    forward = losses(method, student_of(method), batch()).total
    backward = losses(method, student_of(method), batch(torch.arange(EXAMPLES).flip(0))).total
    assert _close(forward, backward), (
        f"the total is {forward.item():.6g}, in the opposite order {backward.item():.6g}"
    )


def a_gradient_reaches_every_parameter_of_the_student(method: Method) -> None:
    """In the main stage the whole student learns, and nothing of the teacher."""
    student, teacher = student_of(method).train(), teacher_of(method)
    teacher.requires_grad_(True)  # so that a gradient would show
    losses(method, student, batch(), teacher).total.backward()
    for name, parameter in student.named_parameters():
        assert _has_gradient(parameter), f"no gradient reaches the student's {name}"
    _taught_nothing(teacher, "main")


def every_stage_teaches_something_and_nothing_to_the_teacher(method: Method) -> None:
    """In every stage a gradient reaches the student or the helper, and none the teacher."""
    for stage in method.stages(7):
        student, teacher = student_of(method).train(), teacher_of(method)
        teacher.requires_grad_(True)
        given = step(method, student, batch(), teacher)
        method.losses(stage.name, given).total.backward()
        learned = [*student.parameters(), *given.helper.parameters()]
        assert any(map(_has_gradient, learned)), f"stage {stage.name} teaches nothing"
        _taught_nothing(teacher, stage.name)


def losses_are_finite_at_saturated_logits(method: Method) -> None:
    """Where student and teacher are certain, of the same classes or of others, every loss and
    gradient is a number."""
    for sign, which in ((1, "the same classes"), (-1, "other classes")):
        student, teacher = certain(student_of(method), 1), certain(student_of(method), sign)
        found = losses(method, student, batch(), teacher)
        found.total.backward()
        said = f"with logits up to 1e6, where the teacher is certain of {which}"
        for name, number in {"total": found.total, **found.terms}.items():
            assert number.isfinite(), f"the {name} is {number.item()} {said}"
        for name, parameter in student.named_parameters():
            finite = parameter.grad is None or parameter.grad.isfinite().all()
            assert finite, f"the gradient of {name} is not finite {said}"


def the_global_generator_does_not_matter(method: Method) -> None:
    """What it draws comes from the generator that it is given."""
    found = []
    for ambient in (0, 1):
        with seeds.ambient(ambient, "evaluation"):
            found.append(losses(method, student_of(method), batch()).total)
    assert torch.equal(*found), (
        "the total depends on torch's global generator; draw from TrainingStep.draws"
    )


def distributions_that_are_certain_count_as_labels(method: Method) -> None:
    """Where it takes distributions over classes for labels, those that are certain of a class are
    this label."""
    if not method.takes_distributions:
        return
    given = batch()
    certainly = given._replace(mixed=torch.nn.functional.one_hot(given.labels, 10).float())
    plain = losses(method, student_of(method), given).total
    mixed = losses(method, student_of(method), certainly).total
    assert _close(plain, mixed), (
        f"the total is {plain.item():.6g} with labels and {mixed.item():.6g} with distributions "
        "that are certain of them; take cross-entropy with Batch.targets"
    )


def distributions_matter(method: Method) -> None:
    """Where it takes distributions over classes for labels, the classes beside the first count."""
    if not method.takes_distributions:
        return
    given = batch()
    hot = torch.nn.functional.one_hot(given.labels, 10).float()
    halves = given._replace(mixed=(hot + hot.roll(1, 1)) / 2)
    plain = losses(method, student_of(method), given).terms
    mixed = losses(method, student_of(method), halves).terms
    assert any(not torch.equal(plain[name], mixed[name]) for name in plain), (
        "no term depends on distributions over classes; take cross-entropy with Batch.targets"
    )


def batch_student_and_teacher_stay_as_they_are(method: Method) -> None:
    """Computing losses and their gradient changes no input, no weight and no mode."""
    student, teacher, given = student_of(method).train(), teacher_of(method), batch()
    before = [copied(network.state_dict()) for network in (student, teacher)]
    losses(method, student, given, teacher).total.backward()
    for name in ("images", "clean", "labels"):
        part, was = getattr(given, name), getattr(batch(), name)
        assert torch.equal(part, was), f"it changed the batch's {name}"
        assert part.grad is None, f"it left a gradient on the batch's {name}"
        assert not part.requires_grad, f"it left the batch's {name} asking for a gradient"
    for who, network, state in zip(("student", "teacher"), (student, teacher), before, strict=True):
        assert same(network.state_dict(), state), f"it changed the {who}'s weights"
    assert student.training, "it left the student in eval mode"


def logits_are_the_students_for_its_own_input(method: Method) -> None:
    """The logits that training accuracy is counted of are those for ``batch.images``."""
    student = student_of(method).train()
    found = losses(method, student, batch()).logits
    assert torch.equal(found, student.logits(batch().images)), (
        "its logits are not the student's for the batch's images"
    )


def a_checkpoint_goes_on_with_the_same_bits(method: Method) -> None:
    """Two epochs are the same, bit by bit, in one go and with a checkpoint between: whatever it
    keeps from step to step is in its helper, as a parameter or a buffer."""
    whole = trained(method)
    total = len(whole.history)
    for done in sorted({1, total - 1}):
        resumed = fresh_state(reread(method))
        resumed.unpack(trained(reread(method), done).pack({}))
        for _ in train(resumed, setup_of(reread(method))):
            pass
        where = f"after {done} of {total} epochs"
        assert same(resumed.classifier.state_dict(), whole.classifier.state_dict()), (
            f"a training that goes on {where} ends with other weights of the student"
        )
        assert same(resumed.helper.state_dict(), whole.helper.state_dict()), (
            f"a training that goes on {where} ends with another helper"
        )
        assert numbers(resumed) == numbers(whole), (
            f"a training that goes on {where} reports other numbers"
        )


METHOD_CONTRACTS: tuple[Contract, ...] = (
    stages_have_names_of_their_own_and_the_last_is_main,
    terms_are_those_that_it_says_and_numbers,
    duplicating_the_batch_leaves_every_loss_as_it_is,
    the_order_of_the_examples_does_not_matter,
    a_gradient_reaches_every_parameter_of_the_student,
    every_stage_teaches_something_and_nothing_to_the_teacher,
    losses_are_finite_at_saturated_logits,
    the_global_generator_does_not_matter,
    distributions_that_are_certain_count_as_labels,
    distributions_matter,
    batch_student_and_teacher_stay_as_they_are,
    logits_are_the_students_for_its_own_input,
    a_checkpoint_goes_on_with_the_same_bits,
)


def check_method(method: Method) -> None:
    """Raise AssertionError unless ``method`` keeps to every contract of a method."""
    __tracebackhide__ = True
    check(method, (*VALUE_CONTRACTS, *METHOD_CONTRACTS))


def _taught_nothing(teacher: Classifier, stage: str) -> None:
    for name, parameter in teacher.named_parameters():
        assert parameter.grad is None, f"in stage {stage} a gradient reaches the teacher's {name}"


def _has_gradient(parameter: Tensor) -> bool:
    """Return whether a gradient, other than zero, reached it."""
    return parameter.grad is not None and bool(parameter.grad.any())


def _close(one: Tensor, other: Tensor) -> bool:
    """Return whether two numbers of float32 are equal but for rounding."""
    return torch.allclose(one, other, rtol=1.3e-6, atol=1e-5)
