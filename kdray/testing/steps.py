"""One step, and a short training, of a method on a small student and teacher of digits."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import Any

import torch
from torch import Tensor

from kdray.core import canonical_json, parse, seeds
from kdray.data import Digits, Split
from kdray.methods import Batch, Losses, Method, Teacher, TrainedTeacher, TrainingStep
from kdray.models import CNN, MLP, Classifier, Described, Model
from kdray.perturbations import Noise
from kdray.testing.samples import PlainTeacher, classifier_of, digits, draws
from kdray.training import State, Training, TrainingSetup, train

NETWORKS: tuple[Model, ...] = (
    MLP(hidden=(6,)),
    MLP(hidden=(6, 6, 6)),
    CNN(channels=(4, 4), hidden=8),
)
"""Networks that a method may want: vectors as hidden stages, several of them, maps."""
EXAMPLES = 12
SPLIT = Split(
    torch.randint(0, 256, (EXAMPLES, 1, 8, 8), generator=draws(), dtype=torch.uint8),
    torch.randint(0, 10, (EXAMPLES,), generator=draws()),
)
"""The training split that a batch is all of."""
TRAINING = Training(epochs=2, batch_size=20)


def batch(order: Tensor | None = None) -> Batch:
    """Return the examples of :data:`SPLIT`, in ``order``, with noise on the student's images."""
    order = torch.arange(EXAMPLES) if order is None else order
    clean = SPLIT.images.float() / 255
    noisy = (clean + torch.rand(clean.shape, generator=draws(1))) / 2
    return Batch(noisy[order], clean[order], SPLIT.labels[order], positions=order)


@cache
def network_for(method: Method) -> Model:
    """Return the first of :data:`NETWORKS` whose hidden stages fit the method."""
    for model in NETWORKS:
        network = Described(model, Digits().shape, Digits().classes)
        try:
            method.check_fits(network, TrainedTeacher(network))
        except ValueError:
            continue
        return model
    return NETWORKS[0]


def student_of(method: Method) -> Classifier:
    """Return an untrained student."""
    return classifier_of(network_for(method), seed=0)


def teacher_of(method: Method) -> Classifier:
    """Return an untrained teacher, other than the student."""
    return classifier_of(network_for(method), seed=1)


def step(method: Method, student: Classifier, given: Batch, teacher: Classifier) -> TrainingStep:
    """Return what ``method`` works on for a batch; a method that needs no teacher has none."""
    asked = PlainTeacher(teacher) if method.asks_teacher else None
    return TrainingStep(student, helper_of(method, student, asked, SPLIT), given, asked, draws())


def losses(
    method: Method,
    student: Classifier,
    given: Batch,
    teacher: Classifier | None = None,
    stage: str = "main",
) -> Losses:
    """Return the losses of one step."""
    return method.losses(stage, step(method, student, given, teacher or teacher_of(method)))


def made_of_others(method: Method) -> bool:
    """Return whether its terms are those of the methods in its fields."""
    return any(isinstance(getattr(method, name), Method) for name in type(method).model_fields)


def draws_for_examples(method: Method) -> bool:
    """Return whether it draws in a step, from its generator or torch's global one: then an
    example's draws go by its place in the batch."""
    given = step(method, student_of(method), batch(), teacher_of(method))
    with seeds.ambient(0, "evaluation"):
        before = given.draws.get_state(), torch.get_rng_state()
        method.losses("main", given)
        after = given.draws.get_state(), torch.get_rng_state()
    return not all(map(torch.equal, before, after))


def certain(classifier: Classifier, sign: int) -> Classifier:
    """Return ``classifier`` so sure that every probability is 0 or 1, of the class with the highest
    logit or (-1) of the one with the lowest."""
    *_, head = (each for each in classifier.modules() if isinstance(each, torch.nn.Linear))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(sign * 1e6)
    return classifier


def helper_of(
    method: Method, student: Classifier, teacher: Teacher | None, split: Split
) -> torch.nn.Module:
    """Make the helper as a trial does: its first weights come from a stream of their own."""
    student.eval()
    with seeds.ambient(0, "model", 1):
        helper = method.helper(student, teacher, split)
    student.train()
    return helper


def setup_of(method: Method) -> TrainingSetup:
    """Return what a training of ``method`` on a few digits works with."""
    return TrainingSetup(
        data=Digits(),
        dataset=digits()._replace(train=digits().train.first(40), val=digits().val.first(20)),
        method=method,
        training=TRAINING,
        noise=Noise(),
        oracle=PlainTeacher(teacher_of(method)) if method.asks_teacher else None,
        seed=0,
    )


def fresh_state(method: Method) -> State:
    """Return the state before the first epoch."""
    student, setup = student_of(method), setup_of(method)
    teacher = None if setup.oracle is None else setup.oracle.epoch()
    return State.before(student, helper_of(method, student, teacher, setup.dataset.train), TRAINING)


def trained(method: Method, epochs: int | None = None) -> State:
    """Return the state after so many epochs of all stages together; none: after the last."""
    state = fresh_state(method)
    for _ in train(state, setup_of(method)):
        if len(state.history) == epochs:
            break
    return state


def reread(method: Method) -> Method:
    """Return the method as another process reads it."""
    return parse(type(method), json.loads(canonical_json(method)))


def numbers(state: State) -> list[dict[str, Any]]:
    """Return what was measured of every epoch, but for how long it took."""
    timings = {"seconds", "images_per_second"}
    return [
        {name: number for name, number in asdict(epoch).items() if name not in timings}
        for epoch in state.history
    ]
