"""A trained classifier is loaded as it was stored, and asked as a supervision says: every draw is
the supervision's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kdray.core import InputError, parse, seeds
from kdray.data import Digits
from kdray.machine.checked_file import Damaged, pack
from kdray.models import MLP, Classifier, WideResNet, build, fit, normalizer, smoothed
from kdray.perturbations import SignalDependent, Swap
from kdray.teachers import Supervision, TeacherOracle, Virtual, load_classifier
from tests.small_trials import CPU, NOWHERE

DATA = Digits(examples=100)
MODEL = WideResNet(depth=10, width=1, dropout=0.4)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 1, 8, 8)


@pytest.fixture
def trained() -> Classifier:
    """With statistics of its own in the normalisation and in batch norm."""
    classifier = build(MODEL, DATA, fit(DATA, DATA.load(NOWHERE)), seed=1)
    classifier.train().logits(torch.rand(20, 1, 8, 8))
    return classifier


def loaded(classifier: Classifier) -> Classifier:
    return load_classifier(
        MODEL, DATA, normalizer(DATA, {}), pack(classifier.state_dict(), {}), CPU
    )


def test_a_loaded_classifier_answers_as_the_stored_one(
    trained: Classifier, images: torch.Tensor
) -> None:
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


@pytest.mark.parametrize(
    "model", [WideResNet(depth=10, width=2), WideResNet(depth=16, width=1), MLP()], ids=str
)
def test_weights_of_another_model_are_damaged(model: WideResNet | MLP, trained: Classifier) -> None:
    packed = pack(trained.state_dict(), {})
    with pytest.raises(Damaged):
        load_classifier(model, DATA, normalizer(DATA, {}), packed, CPU)


def test_weights_for_other_channels_are_damaged(trained: Classifier) -> None:
    with pytest.raises(Damaged):
        load_classifier(
            MODEL,
            Digits(channels=3),
            normalizer(Digits(channels=3), {}),
            pack(trained.state_dict(), {}),
            CPU,
        )


# Asked plainly


LABELS = torch.tensor([0, 3, 9, 3, 1])


def asking(classifier: Classifier | None, *, seed: int = 0, **supervision: Any) -> TeacherOracle:
    return TeacherOracle(parse(Supervision, supervision), classifier, classes=10, seed=seed)


def told(oracle: TeacherOracle, images: Tensor, *counters: int, times: int = 1) -> list[Tensor]:
    """The logits of some calls in a row in one epoch."""
    teacher = oracle.epoch(*counters)
    labels = torch.arange(len(images)) % 10
    return [teacher(images, labels, temperature=4.0).logits for _ in range(times)]


def test_a_plain_teacher_answers_with_its_logits_and_stages_in_eval_mode_and_without_a_graph(
    trained: Classifier, images: Tensor
) -> None:
    answer = asking(trained.train()).epoch(0)(images, LABELS, temperature=3.0)
    expected = trained.eval()(images)
    assert torch.equal(answer.logits, expected.logits)
    assert all(torch.equal(*pair) for pair in zip(answer.stages, expected.stages, strict=True))
    assert not answer.logits.requires_grad
    assert not any(stage.requires_grad for stage in answer.stages)


@pytest.mark.parametrize(
    "supervision", [{}, {"dropout": "active"}, {"smoothing": {"samples": 2, "sigma": 0.1}}]
)
def test_images_that_ask_for_a_gradient_get_one_and_no_parameter_does(
    supervision: dict[str, Any], trained: Classifier, images: Tensor
) -> None:
    trained.requires_grad_(True)
    (logits,) = told(asking(trained, **supervision), images.requires_grad_(True), 0)
    logits.square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum(dim=(1, 2, 3)).min() > 0
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in trained.parameters()
    )


def test_images_that_ask_for_none_get_no_graph_even_if_somebody_wakes_the_parameters(
    trained: Classifier, images: Tensor
) -> None:
    oracle = asking(trained)
    trained.requires_grad_(True)
    (logits,) = told(oracle, images, 0)
    assert not logits.requires_grad


def test_the_gradient_is_that_of_the_classifier(trained: Classifier, images: Tensor) -> None:
    images.requires_grad_(True)
    (logits,) = told(asking(trained), images, 0)
    expected = torch.autograd.grad(trained.eval().logits(images).square().sum(), images)
    assert torch.equal(torch.autograd.grad(logits.square().sum(), images)[0], *expected)


# With its dropout alive


def test_with_live_dropout_only_dropout_is_in_train_mode_and_no_statistic_moves(
    trained: Classifier, images: Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    told(asking(trained.train(), dropout="active"), images, 0, times=3)
    assert {type(module) for module in trained.modules() if module.training} == {nn.Dropout}
    assert all(module.training for module in trained.modules() if isinstance(module, nn.Dropout))
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_dropout_is_off_unless_it_is_asked_for(trained: Classifier, images: Tensor) -> None:
    first, second = told(asking(trained.train()), images, 0, times=2)
    assert torch.equal(first, second)
    assert not any(module.training for module in trained.modules())


def test_live_dropout_is_unbiased_where_what_follows_it_is_linear() -> None:
    classifier = build(MLP(hidden=(16,), dropout=0.5), DATA, nn.Identity(), seed=0)
    image = torch.rand(1, 1, 8, 8).expand(20_000, -1, -1, -1)
    (logits,) = told(asking(classifier, dropout="active"), image, 0)
    assert logits.std(0).min() > 0.01
    spread = logits.std(0) / len(logits) ** 0.5
    assert ((logits.mean(0) - classifier.eval().logits(image[:1])[0]).abs() < 4 * spread).all()


ALIVE: list[dict[str, Any]] = [
    {"dropout": "active"},
    {"smoothing": {"samples": 2, "sigma": 0.3}},
    {"dropout": "active", "smoothing": {"samples": 3}},
    {"noise": [{"name": "signal_dependent", "sigma": 0.3}]},
    {"noise": [{"name": "swap", "probability": 0.5, "threshold": 2.0}]},
]
every_draw = pytest.mark.parametrize(
    "supervision", ALIVE, ids=["dropout", "smoothing", "both", "signal", "swap"]
)


@every_draw
def test_answers_differ_from_batch_to_batch_from_epoch_to_epoch_and_from_seed_to_seed(
    supervision: dict[str, Any], trained: Classifier, images: Tensor
) -> None:
    images = images.repeat(8, 1, 1, 1)
    answers = [
        *told(asking(trained, **supervision), images, 0, times=3),
        *told(asking(trained, **supervision), images, 1),
        *told(asking(trained, **supervision), images, 0, -1),
        *told(asking(trained, seed=1, **supervision), images, 0),
    ]
    assert not any(torch.equal(a, b) for i, a in enumerate(answers) for b in answers[:i])


@every_draw
def test_answers_repeat_for_a_seed_and_an_epoch_whatever_was_drawn_elsewhere(
    supervision: dict[str, Any], trained: Classifier, images: Tensor
) -> None:
    oracle, answers = asking(trained, **supervision), []
    told(oracle, images, 0, times=2)  # another epoch does not matter
    for elsewhere in (0, 1):
        torch.manual_seed(elsewhere)
        teacher = (oracle if elsewhere else asking(trained, **supervision)).epoch(1)
        found = []
        for _ in range(3):
            torch.rand(elsewhere)  # a student's dropout
            found.append(teacher(images, LABELS, temperature=4.0).logits)
        answers.append(torch.stack(found))
    assert torch.equal(*answers)


@every_draw
def test_what_the_student_draws_does_not_depend_on_the_teacher(
    supervision: dict[str, Any], trained: Classifier, images: Tensor
) -> None:
    before = torch.get_rng_state()
    told(asking(trained, **supervision), images, 0, times=2)
    assert torch.equal(torch.get_rng_state(), before)
    (logits,) = told(asking(trained, **supervision), images.requires_grad_(True), 0)
    logits.sum().backward()  # smoothing makes its passes again here
    assert torch.equal(torch.get_rng_state(), before)


# Smoothed


def test_a_smoothed_teacher_answers_with_the_aggregate(trained: Classifier, images: Tensor) -> None:
    described = {"samples": 5, "aggregate": "prediction", "sigma": 0.4}
    oracle = asking(trained, seed=3, smoothing=described)
    (logits,) = told(oracle, images, 2)
    with seeds.ambient(3, "supervision", 2, 0):
        expected = smoothed(trained, parse(Supervision, {"smoothing": described}).smoothing).logits(
            images
        )
    assert torch.equal(logits, expected)
    assert not torch.equal(logits, *told(asking(trained), images, 2))


def test_the_mean_of_64_passes_with_live_dropout_varies_by_a_64th(
    trained: Classifier, images: Tensor
) -> None:
    variances = []
    for samples in (1, 64):
        smoothing = {"samples": samples, "aggregate": "logits"}
        (logits,) = told(
            asking(trained, dropout="active", smoothing=smoothing), images.repeat(50, 1, 1, 1), 0
        )
        variances.append(float(logits.view(50, 5, 10).var(0).mean()))
    assert variances[0] / variances[1] == pytest.approx(64, rel=0.3)


# With noise on its logits


def test_changes_of_the_logits_are_made_in_order_with_the_draws_of_the_call(
    trained: Classifier, images: Tensor
) -> None:
    signal, swap = SignalDependent(sigma=0.9), Swap(which="all", probability=0.5, threshold=0.2)
    written = [
        {"name": "signal_dependent", "sigma": 0.9},
        {"name": "swap", "which": "all", "probability": 0.5, "threshold": 0.2},
    ]
    images, plain = images.repeat(8, 1, 1, 1), trained.eval().logits(images.repeat(8, 1, 1, 1))
    found = []
    for listed, changes in ((written, (signal, swap)), (written[::-1], (swap, signal))):
        expected = plain
        for position, change in enumerate(changes):
            expected = change(expected, 4.0, seeds.generator(5, "supervision", 3, 0, position))
        found += told(asking(trained, seed=5, noise=listed), images, 3)
        assert torch.equal(found[-1], expected)
    assert not torch.equal(*found)


def test_a_change_of_the_logits_leaves_the_draws_of_the_next_as_they_are(
    trained: Classifier, images: Tensor
) -> None:
    swap = {"name": "swap", "which": "all", "probability": 0.5, "threshold": 0.2}
    images = images.repeat(8, 1, 1, 1)
    nothing, other = (
        {"name": "signal_dependent", "sigma": 0.0},
        {"name": "swap", "probability": 0.0, "threshold": 1.0},
    )
    assert torch.equal(
        *(
            told(asking(trained, seed=5, noise=[first, swap]), images, 1)[0]
            for first in (nothing, other)
        )
    )


def test_a_change_of_the_logits_knows_the_methods_temperature(
    trained: Classifier, images: Tensor
) -> None:
    """Hot, all probabilities are alike and every neighbour is below the threshold; cold, none
    is."""
    sure = trained.eval().logits(images)
    oracle = asking(trained, noise=[{"name": "swap", "probability": 1.0, "threshold": 0.5}])
    cold = oracle.epoch(0)(images, LABELS, temperature=1e-4).logits
    hot = oracle.epoch(0)(images, LABELS, temperature=1e4).logits
    assert torch.equal(cold, sure)
    assert torch.equal(hot.argmax(1), sure.topk(2).indices[:, 1])


def test_noise_on_the_logits_leaves_the_gradient_to_the_images_and_the_stages(
    trained: Classifier, images: Tensor
) -> None:
    images.requires_grad_(True)
    noisy = asking(trained, noise=[{"name": "signal_dependent", "sigma": 0.3, "per": "sample"}])
    answer = noisy.epoch(0)(images, LABELS, temperature=1.0)
    plain = trained.eval()(images)
    factor = (answer.logits / plain.logits).detach()[:, :1]
    (found,) = torch.autograd.grad(answer.logits.sum(), images)
    (expected,) = torch.autograd.grad((factor * plain.logits).sum(), images)
    torch.testing.assert_close(found, expected)
    assert all(torch.equal(*pair) for pair in zip(answer.stages, plain.stages, strict=True))


# Virtual


def virtual(probability: float, classes: int, temperature: float) -> Any:
    """softmax(p / T) for class 0, with p the probability of the right class and equal parts of the
    rest."""
    p = np.full(classes, (1 - probability) / (classes - 1))
    p[0] = probability
    powers = np.exp(p / temperature)
    return powers / powers.sum()


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_virtual_teachers_softened_answer_is_softmax_of_its_probabilities_over_the_temperature(
    probability: float, temperature: float, classes: int
) -> None:
    labels = torch.tensor([0, 1, classes - 1])
    answer = Virtual(probability=probability)(labels, classes)
    found = functional.softmax(answer.double() / temperature, dim=1).numpy()
    expected = virtual(probability, classes, temperature)
    for row, label in zip(found, labels.tolist(), strict=True):
        order = [label, *(k for k in range(classes) if k != label)]
        np.testing.assert_allclose(row[order], expected, rtol=1e-6)


@pytest.mark.parametrize(("temperature", "probability"), [(1.0, 0.2128), (20.0, 0.1041)])
def test_a_virtual_teacher_of_ten_classes_and_nine_tenths(
    temperature: float, probability: float
) -> None:
    answer = asking(None, virtual={"probability": 0.9}).epoch(0)(
        torch.rand(5, 1, 8, 8), LABELS, temperature=temperature
    )
    softened = functional.softmax(answer.logits / temperature, dim=1)
    assert softened[range(5), LABELS].tolist() == pytest.approx([probability] * 5, abs=5e-5)
    assert answer.logits.sum(1).tolist() == pytest.approx([1.0] * 5)


def test_a_virtual_teacher_answers_the_labels_that_it_is_given_whatever_the_images() -> None:
    teacher = asking(None, virtual={}).epoch(0)
    images = torch.rand(5, 1, 8, 8).requires_grad_(True)
    for labels in (LABELS, LABELS.flip(0)):
        answer = teacher(images, labels, temperature=1.0)
        assert torch.equal(answer.logits.argmax(1), labels)
        assert answer.stages == ()
        assert not answer.logits.requires_grad


def test_a_virtual_teachers_answer_may_be_noisy_too() -> None:
    noise = [{"name": "signal_dependent", "sigma": 0.3}]
    (noisy,), (plain,) = (
        told(asking(None, virtual={}, noise=listed), torch.rand(5, 1, 8, 8), 0)
        for listed in (noise, [])
    )
    expected = SignalDependent(sigma=0.3)(plain, 4.0, seeds.generator(0, "supervision", 0, 0, 0))
    assert torch.equal(noisy, expected)


@pytest.mark.parametrize("probability", [-0.1, 1.1])
def test_a_virtual_probability_outside_0_to_1_is_refused(probability: float) -> None:
    with pytest.raises(InputError, match=r"^virtual\.probability: "):
        parse(Supervision, {"virtual": {"probability": probability}})


@pytest.mark.parametrize(
    ("supervision", "said"),
    [
        ({}, None),
        ({"virtual": {}}, None),
        ({"dropout": "off", "noise": []}, None),
        ({"dropout": "active", "noise": [{"name": "signal_dependent", "sigma": 0.1}]}, "dropout"),
        ({"smoothing": {"samples": 2}}, "smoothing"),
        ({"noise": [{"name": "signal_dependent", "sigma": 0.0}]}, "noise"),
    ],
)
def test_a_supervision_knows_what_it_says_of_an_answer(
    supervision: dict[str, Any], said: str | None
) -> None:
    assert parse(Supervision, supervision).asks == said
