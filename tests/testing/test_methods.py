"""A method that breaks a contract is told which one; one with a memory keeps to all."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import PrivateAttr
from torch import Tensor, nn
from torch.nn import functional

from kdray.data import Split
from kdray.methods import Batch, Losses, Method, Stage, Teacher, TrainingStep
from kdray.methods.base import TrainedTeacher
from kdray.models import Classifier, Described
from kdray.testing import METHOD_CONTRACTS, check_method
from kdray.testing.steps import network_for
from tests.testing.broken import assert_breaks_only, broken_by


class Sound(Method):
    """Cross-entropy and the distance from the teacher."""

    terms: ClassVar[tuple[str, ...]] = ("hard", "soft")
    needs_teacher: ClassVar[bool] = True

    name: Literal["sound"] = "sound"

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        assert step.teacher is not None
        logits = step.student.logits(step.batch.images)
        return self.of(logits, step.batch, step.teacher.logits(step.batch, temperature=1.0))

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        hard = functional.cross_entropy(logits, batch.labels)
        soft = functional.mse_loss(logits, answer)
        return Losses(hard + soft, {"hard": hard, "soft": soft}, logits)


class Endless(Sound):
    """Trains an epoch too many."""

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("warm", 1), Stage("main", epochs + 1))


class Misnamed(Sound):
    """Reports a term that it does not say."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        found = super().of(logits, batch, answer)
        return found._replace(terms={"hard": found.total, "smooth": found.total})


class Summed(Sound):
    """A sum over examples instead of their mean."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        found = super().of(logits, batch, answer)
        return found._replace(total=found.total * len(logits))


class FirstCounts(Sound):
    """Weighs the examples of a batch by their place."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        found = super().of(logits, batch, answer)
        each = functional.cross_entropy(logits, batch.labels, reduction="none")
        weights = torch.tensor([1.0, 0.0, 0.0, 3.0]).repeat(len(logits) // 4)
        return found._replace(total=found.total + (weights * each).mean())


class HeadOnly(Sound):
    """Teaches the last layer alone."""

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        del stage
        assert step.teacher is not None
        outputs = step.student(step.batch.images)
        logits = step.student.network.head(outputs.embedding.detach())
        return self.of(logits, step.batch, step.teacher.logits(step.batch, temperature=1.0))


class TeachesTheTeacher(Sound):
    """A warm-up stage that gives the teacher a gradient."""

    def stages(self, epochs: int) -> tuple[Stage, ...]:
        return (Stage("warm", 1), Stage("main", epochs))

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        if stage == "main":
            return super().losses(stage, step)
        assert step.teacher is not None
        images = step.batch.clean.clone().requires_grad_(True)
        answer = step.teacher(images, step.batch.labels, temperature=1.0).logits
        logits = step.student.logits(step.batch.images)
        return Losses(functional.mse_loss(logits, answer), {}, logits)


class Overflows(Sound):
    """The logarithm of a probability that may be 0."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        chosen = logits.softmax(1)[torch.arange(len(logits)), batch.labels]
        found = super().of(logits, batch, answer)
        return found._replace(total=found.total - chosen.log().mean())


class DrawsAnywhere(Sound):
    """Weighs each batch by a draw from torch's global generator."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        found = super().of(logits, batch, answer)
        return found._replace(total=found.total * (1 + torch.rand(())))


class SmoothsDistributions(Sound):
    """Takes distributions for something else than labels."""

    takes_distributions: ClassVar[bool] = True

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        smoothing = 0.0 if batch.mixed is None else 0.2
        hard = functional.cross_entropy(logits, batch.targets, label_smoothing=smoothing)
        soft = functional.mse_loss(logits, answer)
        return Losses(hard + soft, {"hard": hard, "soft": soft}, logits)


class OverlooksDistributions(Sound):
    """Says that it takes distributions, and takes their first classes."""

    takes_distributions: ClassVar[bool] = True


class Scribbles(Sound):
    """Darkens the teacher's images in place."""

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        found = super().losses(stage, step)
        step.batch.clean.mul_(0.5)
        return found


class OthersLogits(Sound):
    """Reports other logits than the student's."""

    def of(self, logits: Tensor, batch: Batch, answer: Tensor) -> Losses:
        return super().of(logits, batch, answer)._replace(logits=logits + 1e-3)


class Bank(nn.Module):
    """The latest logits of every training example."""

    def __init__(self, examples: int) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(examples, 10))


class Remembers(Sound):
    """Also the distance from its own answers of the epoch before, kept in a buffer."""

    def helper(self, student: Classifier, teacher: Teacher | None, train: Split) -> nn.Module:
        return Bank(len(train.labels))

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        found = super().losses(stage, step)
        assert step.batch.positions is not None
        bank = self.bank(step)
        earlier = bank[step.batch.positions].clone()
        bank[step.batch.positions] = found.logits.detach()
        return found._replace(total=found.total + functional.mse_loss(found.logits, earlier))

    def bank(self, step: TrainingStep) -> Any:
        return step.helper.logits


class Forgets(Remembers):
    """Keeps the answers in itself, where no checkpoint has them."""

    _bank: dict[str, Tensor] = PrivateAttr(default_factory=dict)

    def bank(self, step: TrainingStep) -> Any:
        if step.helper.logits.shape[0] == 12:  # one step alone, not a training
            return super().bank(step)
        return self._bank.setdefault("logits", torch.zeros_like(step.helper.logits))


BROKEN: dict[type[Method], tuple[str, str]] = {
    Endless: ("stages_have_names_of_their_own_and_the_last_is_main", "asked for 7 epochs"),
    Misnamed: ("terms_are_those_that_it_says_and_numbers", "has terms ['smooth']"),
    Summed: ("duplicating_the_batch_leaves_every_loss_as_it_is", "the total of a batch is"),
    FirstCounts: ("the_order_of_the_examples_does_not_matter", "in the opposite order"),
    HeadOnly: ("a_gradient_reaches_every_parameter_of_the_student", "the student's network."),
    TeachesTheTeacher: (
        "every_stage_teaches_something_and_nothing_to_the_teacher",
        "in stage warm a gradient reaches the teacher's",
    ),
    Overflows: ("losses_are_finite_at_saturated_logits", "the total is inf with logits"),
    DrawsAnywhere: ("the_global_generator_does_not_matter", "TrainingStep.draws"),
    SmoothsDistributions: (
        "distributions_that_are_certain_count_as_labels",
        "take cross-entropy with Batch.targets",
    ),
    OverlooksDistributions: ("distributions_matter", "no term depends on distributions"),
    Scribbles: ("batch_student_and_teacher_stay_as_they_are", "it changed the batch's clean"),
    OthersLogits: ("logits_are_the_students_for_its_own_input", "are not the student's"),
    Forgets: ("a_checkpoint_goes_on_with_the_same_bits", "after 1 of 2 epochs"),
}


def test_every_contract_has_a_method_that_breaks_it() -> None:
    names = {contract.__name__ for contract in METHOD_CONTRACTS}
    assert {name for name, _ in BROKEN.values()} == names


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_method_is_told_which_contract(kind: type[Method]) -> None:
    name, found = BROKEN[kind]
    assert_breaks_only(broken_by(kind(), METHOD_CONTRACTS), kind(), name, found)


@pytest.mark.parametrize("kind", [Sound, Remembers])
def test_a_sound_method_passes(kind: type[Method]) -> None:
    check_method(kind())


class Maps(Sound):
    """Wants hidden maps."""

    def check_fits(self, student: Described, teacher: TrainedTeacher | None) -> None:
        if student.model.name != "cnn":  # type: ignore[attr-defined]
            raise ValueError("method.stage: has no map")


def test_a_method_gets_networks_that_fit_it() -> None:
    assert type(network_for(Sound())).__name__ == "MLP"
    assert type(network_for(Maps())).__name__ == "CNN"
    check_method(Maps())


class Careless(Sound):
    """Raises what it should not."""

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        raise KeyError("queue")


class Asserts(Sound):
    """Expects what it does not get."""

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        assert stage == "other"
        return super().losses(stage, step)


def test_what_a_member_raises_is_said_in_one_sentence() -> None:
    with pytest.raises(
        AssertionError,
        match=r"^Careless breaks the contract terms_are_\w+: it raises KeyError: 'queue'$",
    ) as raised:
        check_method(Careless())
    assert isinstance(raised.value.__cause__, KeyError)
    with pytest.raises(AssertionError, match=r"^Asserts breaks the contract terms_are"):
        check_method(Asserts())
