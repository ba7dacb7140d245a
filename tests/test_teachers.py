from __future__ import annotations

import pytest
import torch

from kdray.data import Digits
from kdray.models import MLP, Classifier, WideResNet, build
from kdray.teachers import PlainTeacher, load_classifier
from kdray.weights import Damaged, pack
from tests.trials import CPU, NOWHERE

DATA = Digits(examples=100)
MODEL = WideResNet(depth=10, width=1, dropout=0.4)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8)


@pytest.fixture
def trained() -> Classifier:
    """With statistics of its own in the normalisation and in batch norm."""
    classifier = build(MODEL, DATA, DATA.load(NOWHERE), seed=1)
    classifier.train().logits(torch.rand(20, 1, 8, 8))
    return classifier


def loaded(classifier: Classifier) -> Classifier:
    return load_classifier(MODEL, DATA, pack(classifier.state_dict(), {}), CPU)


def test_a_loaded_classifier_answers_as_the_stored_one(trained: Classifier, images: torch.Tensor) -> None:
    assert torch.equal(loaded(trained).logits(images), trained.eval().logits(images))


def test_a_loaded_classifier_is_in_eval_mode_and_has_gradients_for_its_input_only(
    trained: Classifier, images: torch.Tensor
) -> None:
    classifier = loaded(trained)
    assert not any(module.training for module in classifier.modules())
    images.requires_grad_()
    classifier.logits(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in classifier.parameters())


@pytest.mark.parametrize("model", [WideResNet(depth=10, width=2), WideResNet(depth=16, width=1), MLP()], ids=str)
def test_weights_of_another_model_are_damaged(model: WideResNet | MLP, trained: Classifier) -> None:
    packed = pack(trained.state_dict(), {})
    with pytest.raises(Damaged):
        load_classifier(model, DATA, packed, CPU)


def test_weights_for_other_channels_are_damaged(trained: Classifier) -> None:
    with pytest.raises(Damaged):
        load_classifier(MODEL, Digits(channels=3), pack(trained.state_dict(), {}), CPU)


def test_a_teacher_answers_with_its_eval_logits_and_no_gradient(trained: Classifier, images: torch.Tensor) -> None:
    expected = trained.eval().logits(images).detach()
    teacher = PlainTeacher(trained.train().requires_grad_(True))
    answer = teacher(images.requires_grad_())
    assert torch.equal(answer, expected)
    assert not answer.requires_grad
    assert torch.equal(teacher(images), answer)
