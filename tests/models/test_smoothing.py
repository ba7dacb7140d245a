"""Smoothed inference against a plain loop over the same draws: its answers, and its gradients
though passes are made twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse, seeds
from kdray.data import Digits, to_unit
from kdray.models import MLP, Classifier, Model, Smoothing, WideResNet, build, fit, smoothed
from kdray.perturbations.weight_noise import Coloured, Independent
from kdray.robustness import Clean, Subject, measurements
from kdray.robustness.base import BLOCK
from kdray.teachers import frozen
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import linear_classifier

AGGREGATES = ["prediction", "soft_prediction", "logits"]
every_aggregate = pytest.mark.parametrize("aggregate", AGGREGATES)
IMAGES, LABELS = torch.rand(6, 1, 8, 8, generator=draws(1)), torch.tensor([0, 5, 2, 9, 9, 1])


def built(model: Model) -> Classifier:
    """With statistics of its own in batch norm."""
    classifier = build(model, Digits(), fit(Digits(), digits()), seed=1)
    classifier.train().logits(to_unit(digits().train.images[:40]))
    return frozen(classifier)


def _network(noise: Independent | Coloured) -> WideResNet:
    return WideResNet(depth=10, width=1, weight_noise=noise)


def alive(model: Model) -> Classifier:
    """With its dropout as a Fickle Teacher has it."""
    classifier = built(model)
    for module in classifier.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    return classifier


SUBJECTS: dict[str, tuple[Callable[[], Classifier], float]] = {
    "noise of the smoothing": (lambda: trained_on_digits(), 0.7),
    "noise of the model's input": (lambda: built(MLP(hidden=(16,), input_sigma=0.5)), 0.0),
    "both": (lambda: built(MLP(hidden=(16,), input_sigma=0.5)), 0.7),
    "independent weight noise": (lambda: built(_network(Independent(amplitude=0.8))), 0.0),
    "coloured weight noise": (lambda: built(_network(Coloured())), 0.0),
}
every_subject = pytest.mark.parametrize("name", SUBJECTS)


def smooth(name: str, aggregate: str, samples: int) -> tuple[Classifier, Classifier, Smoothing]:
    """The classifier, and it smoothed."""
    make, sigma = SUBJECTS[name]
    classifier, smoothing = (
        make(),
        parse(Smoothing, {"samples": samples, "aggregate": aggregate, "sigma": sigma}),
    )
    return classifier, smoothed(classifier, smoothing), smoothing


def passes(classifier: Classifier, smoothing: Smoothing, images: Tensor) -> Tensor:
    """The logits (M, B, K) of a plain loop."""
    listed = []
    for _ in range(smoothing.samples):
        noisy = images + smoothing.sigma * torch.randn(images.shape) if smoothing.sigma else images
        listed.append(classifier.logits(noisy))
    return torch.stack(listed)


def softmax(values: Any) -> Any:
    powers = np.exp(np.asarray(values, dtype=float))
    return powers / powers.sum(-1, keepdims=True)


def written_out(logits: Any, aggregate: str) -> Any:
    """The answer to (M, B, K) logits, straight from the definitions."""
    count, _, classes = logits.shape
    if aggregate == "logits":
        return logits.mean(0)
    if aggregate == "soft_prediction":
        return np.log(softmax(logits).mean(0))
    votes = np.stack([(logits.argmax(2) == k).sum(0) / count for k in range(classes)], axis=1)
    return np.log(np.maximum(votes, np.finfo(float).tiny))


# Answers


@every_aggregate
@every_subject
def test_the_answer_is_the_aggregate_of_a_plain_loop_over_the_same_draws(
    name: str, aggregate: str
) -> None:
    classifier, whole, smoothing = smooth(name, aggregate, samples=7)
    torch.manual_seed(3)
    logits = passes(classifier, smoothing, IMAGES)
    assert logits.std(0).mean() > 0.05, "the passes differ"
    torch.manual_seed(3)
    found = whole(IMAGES)
    np.testing.assert_allclose(
        found.logits, written_out(logits.double().numpy(), aggregate), rtol=1e-4, atol=1e-5
    )
    assert found.stages == ()
    assert found.embedding.shape == (6, 0)
    assert not found.logits.requires_grad


@every_aggregate
def test_live_dropout_is_what_a_smoothed_model_may_draw(aggregate: str) -> None:
    smoothing = parse(Smoothing, {"samples": 5, "aggregate": aggregate})
    classifier = alive(MLP(hidden=(16,), dropout=0.5))
    torch.manual_seed(3)
    expected = written_out(passes(classifier, smoothing, IMAGES).double().numpy(), aggregate)
    whole = smoothed(frozen(classifier), smoothing)
    for module in whole.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    torch.manual_seed(3)
    np.testing.assert_allclose(whole.logits(IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [1, 4, 10, 20])
def test_a_unanimous_vote_of_512_stays_one_at_every_temperature(temperature: float) -> None:
    """p^(1/T) normalised, of p = (0, 0, 1, 0), is p."""
    says_two = linear_classifier(torch.zeros(4, 64), torch.tensor([0.0, 0.0, 1e4, 0.0]))
    smoothing = Smoothing(samples=512, aggregate="prediction", sigma=0.5)
    soft = functional.softmax(smoothed(says_two, smoothing).logits(IMAGES) / temperature, dim=1)
    torch.testing.assert_close(soft, torch.tensor([0.0, 0, 1, 0]).expand(6, 4), atol=1e-7, rtol=0)


def test_shares_of_votes_are_exact_at_a_temperature() -> None:
    classifier, whole, smoothing = smooth("both", "prediction", 9)
    torch.manual_seed(3)
    votes = passes(classifier, smoothing, IMAGES).argmax(2)
    shares = np.stack([(votes == k).double().mean(0) for k in range(10)], axis=1)
    powers = shares ** (1 / 4)
    torch.manual_seed(3)
    found = functional.softmax(whole.logits(IMAGES) / 4, dim=1)
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-6)


def test_a_soft_prediction_keeps_what_single_precision_would_lose() -> None:
    """Of two classes that are 200 apart, at temperature 20: 1 / (1 + e^-10)."""
    sure = linear_classifier(torch.zeros(2, 64), torch.tensor([200.0, 0.0]))
    soft = smoothed(sure, Smoothing(samples=4, sigma=0.5)).logits(IMAGES) / 20
    expected = np.exp(-10) / (1 + np.exp(-10))
    np.testing.assert_allclose(functional.softmax(soft, dim=1)[:, 1], expected, rtol=1e-4)


def test_a_class_without_a_vote_has_the_log_of_the_smallest_double() -> None:
    says_two = linear_classifier(torch.zeros(4, 64), torch.tensor([0.0, 0.0, 1e4, 0.0]))
    answer = smoothed(says_two, Smoothing(samples=8, aggregate="prediction", sigma=0.5)).logits(
        IMAGES
    )
    least = float(np.log(np.finfo(float).tiny))
    expected = torch.tensor([least, least, 0.0, least]).expand(6, 4)
    torch.testing.assert_close(answer, expected)
    soft = smoothed(says_two, Smoothing(samples=8, sigma=0.5)).logits(IMAGES)
    assert soft.isfinite().all(), "where softmax is 0, too"


def test_of_one_pass_the_soft_prediction_is_log_softmax_and_the_logits_are_its_own() -> None:
    plain = trained_on_digits().logits(IMAGES)
    soft, logits = (
        smoothed(
            trained_on_digits(), parse(Smoothing, {"samples": 1, "aggregate": aggregate})
        ).logits(IMAGES)
        for aggregate in ("soft_prediction", "logits")
    )
    torch.testing.assert_close(soft, functional.log_softmax(plain, dim=1), rtol=1e-5, atol=1e-5)
    assert torch.equal(logits, plain)


def test_the_probabilities_of_a_soft_prediction_sum_to_1() -> None:
    _, soft, _ = smooth("both", "soft_prediction", 9)
    torch.testing.assert_close(soft.logits(IMAGES).exp().sum(1), torch.ones(6))


def test_without_smoothing_a_classifier_is_itself() -> None:
    assert smoothed(trained_on_digits(), None) is trained_on_digits()


@pytest.mark.parametrize("training", [False, True])
def test_a_smoothed_classifier_is_in_the_mode_of_the_classifier(training: bool) -> None:
    classifier = built(WideResNet(depth=10, width=1, dropout=0.3)).train(training)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    whole = smoothed(classifier, Smoothing(samples=3, sigma=0.1))
    assert {module.training for module in whole.modules()} == {training}
    if not training:
        whole.logits(IMAGES)
        assert all(
            torch.equal(tensor, before[name]) for name, tensor in classifier.state_dict().items()
        )
    assert whole.device == classifier.device


# Gradients


COSTS = torch.randn(6, 10, generator=draws(4))
"""The gradient that arrives at the answer."""


def expected_gradient(classifier: Classifier, smoothing: Smoothing) -> Tensor:
    """Of Σ cost·answer, from one graph that holds all passes."""
    images = IMAGES.clone().requires_grad_(True)
    logits = passes(classifier, smoothing, images)
    soft = functional.softmax(logits, dim=2).mean(0)
    if smoothing.aggregate == "logits":
        total = (COSTS * logits.mean(0)).sum()
    elif smoothing.aggregate == "soft_prediction":
        total = (COSTS * soft.log()).sum()
    else:  # d log(v) = dv / v, with the votes' values and the soft prediction's slope
        votes = torch.from_numpy(written_out(logits.detach().numpy(), "prediction")).float().exp()
        votes = votes.clamp(min=1 / (2 * smoothing.samples))
        total = (COSTS / votes * soft).sum()
    return torch.autograd.grad(total, images)[0]


@every_aggregate
@every_subject
def test_the_gradient_is_that_of_one_graph_over_the_same_draws(name: str, aggregate: str) -> None:
    classifier, whole, smoothing = smooth(name, aggregate, samples=5)
    torch.manual_seed(8)
    expected = expected_gradient(classifier, smoothing)
    torch.manual_seed(8)
    images = IMAGES.clone().requires_grad_(True)
    answer = whole.logits(images)
    torch.rand(3)  # what is drawn between the passes and the gradient
    (found,) = torch.autograd.grad((COSTS * answer).sum(), images)
    assert expected.abs().mean() > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_asking_for_a_gradient_changes_neither_the_answer_nor_what_is_drawn_after_it() -> None:
    answers, after = [], []
    for with_gradient in (False, True):
        _, whole, _ = smooth("both", "soft_prediction", samples=4)
        torch.manual_seed(2)
        images = IMAGES.clone().requires_grad_(with_gradient)
        answer = whole.logits(images)
        if with_gradient:
            answer.sum().backward()
        answers.append(answer.detach())
        after.append(torch.rand(3))
    assert torch.equal(*answers)
    assert torch.equal(*after)


def test_votes_have_the_direction_of_the_soft_predictions_slope_of_the_label() -> None:
    slopes = []
    for aggregate in ("prediction", "soft_prediction"):
        _, whole, _ = smooth("noise of the smoothing", aggregate, samples=6)
        images = IMAGES.clone().requires_grad_(True)
        torch.manual_seed(6)
        of_labels = whole.logits(images).gather(1, LABELS[:, None]).sum()
        slopes.append(torch.autograd.grad(of_labels, images)[0].flatten(1))
    assert min(slope.norm(dim=1).min() for slope in slopes) > 0
    torch.testing.assert_close(functional.cosine_similarity(*slopes), torch.ones(6))


def test_no_parameter_gets_a_gradient() -> None:
    classifier, whole, _ = smooth("coloured weight noise", "logits", samples=3)
    images = IMAGES.clone().requires_grad_(True)
    whole.logits(images).sum().backward()
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_many_passes_keep_no_more_for_the_backward_pass_than_few() -> None:
    kept: dict[int, int] = {}
    for samples in (2, 20):
        _, whole, _ = smooth("noise of the smoothing", "soft_prediction", samples=samples)
        numbers: dict[int, int] = {}

        def pack(tensor: Tensor, numbers: dict[int, int] = numbers) -> Tensor:
            numbers[tensor.data_ptr()] = tensor.numel()  # every pass keeps the same images
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            answer = whole.logits(IMAGES.clone().requires_grad_(True))
        kept[samples] = sum(numbers.values())
        assert answer.requires_grad
    assert kept[20] == kept[2]


# In an evaluation


@every_aggregate
def test_an_evaluation_measures_the_smoothed_answer(aggregate: str) -> None:
    split = digits().test
    smoothing = parse(Smoothing, {"samples": 6, "aggregate": aggregate, "sigma": 0.6})
    accuracy, loss, *_ = measurements(
        Clean(smoothing=smoothing, seed=2), Subject(trained_on_digits(), split)
    )
    right, total = 0, 0.0
    with seeds.ambient(2, "evaluation"):
        for images, labels in zip(
            to_unit(split.images).split(BLOCK), split.labels.split(BLOCK), strict=True
        ):
            logits = passes(trained_on_digits(), smoothing, images).double().numpy()
            answer = written_out(logits, aggregate)
            right += int((answer.argmax(1) == labels.numpy()).sum())
            total -= np.log(softmax(answer)[range(len(labels)), labels]).sum()
    assert accuracy.correct == right
    assert loss.value == pytest.approx(total / len(split.labels), rel=1e-4)


@pytest.mark.parametrize(
    "fields",
    [{"samples": 0}, {"samples": 4, "sigma": -1.0}, {"samples": 4, "aggregate": "mean"}, {}],
)
def test_what_is_no_smoothing_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^(samples|sigma|aggregate): "):
        parse(Smoothing, fields)
