"""Knowledge distillation against NumPy, its limits in temperature and alpha, and its gradient
written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kdray.core import InputError, parse
from kdray.methods import KD, Batch
from kdray.methods.kd import divergence, soft_cross_entropy
from kdray.testing.samples import draws
from tests.methods.steps import Plain, step
from tests.tensors import linear_classifier

LABELS = torch.tensor([0, 3, 1, 4, 4, 2, 0])
ROWS, CLASSES = 7, 5
both_divergences = pytest.mark.parametrize("divergence", ["teacher_student", "student_teacher"])
every_divergence = pytest.mark.parametrize(
    "divergence", ["teacher_student", "student_teacher", "cross_entropy"]
)


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(ROWS, CLASSES, generator=draws(seed), dtype=torch.float64)


STUDENT, TEACHER = logits(0), logits(1)


def softmax(values: Any) -> Any:
    powers = np.exp(np.asarray(values))
    return powers / powers.sum(1, keepdims=True)


def written_out(student: Any, teacher: Any, method: KD) -> tuple[float, float]:
    """Cross-entropy and the soft term, straight from the formulas."""
    hard = -np.log(softmax(student)[range(ROWS), LABELS]).mean()
    p, q = softmax(teacher / method.temperature), softmax(student / method.temperature)
    if method.divergence == "cross_entropy":
        return hard, -(p * np.log(q)).sum(1).mean()
    if method.divergence == "student_teacher":
        p, q = q, p
    return hard, (p * np.log(p / q)).sum(1).mean()


@every_divergence
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_equals_the_formula_computed_with_numpy(
    alpha: float, temperature: float, divergence: Any
) -> None:
    method = KD(alpha=alpha, temperature=temperature, divergence=divergence)
    total, terms = method.compare(STUDENT, LABELS, TEACHER)
    hard, soft = written_out(STUDENT.numpy(), TEACHER.numpy(), method)
    assert float(terms["cross_entropy"]) == pytest.approx(hard, rel=1e-12)
    assert float(terms["soft"]) == pytest.approx(soft, rel=1e-12)
    assert float(total) == pytest.approx(
        (1 - alpha) * hard + alpha * temperature**2 * soft, rel=1e-12
    )


def test_by_default_a_tenth_cross_entropy_and_nine_tenths_of_16_times_kl_from_the_teacher_to_the_student() -> (
    None
):
    total, _ = KD().compare(STUDENT, LABELS, TEACHER)
    hard = -np.log(softmax(STUDENT)[range(ROWS), LABELS]).mean()
    p, q = softmax(TEACHER / 4), softmax(STUDENT / 4)
    assert float(total) == pytest.approx(
        0.1 * hard + 0.9 * 16 * (p * np.log(p / q)).sum() / ROWS, rel=1e-12
    )


def test_the_teacher_is_asked_about_the_clean_image_and_the_student_about_the_noisy_one() -> None:
    noisy, clean = torch.rand(2, ROWS, 1, 1, 4, generator=draws(2))
    student, network = (
        linear_classifier(torch.randn(CLASSES, 4, generator=draws(seed))) for seed in (3, 4)
    )
    teacher, method = Plain(network), KD(temperature=2.5)
    losses = method.losses("main", step(method, student, Batch(noisy, clean, LABELS), teacher))
    total, _ = method.compare(student.logits(noisy), LABELS, network.logits(clean))
    assert torch.equal(losses.total, total)
    assert torch.equal(losses.logits, student.logits(noisy))
    (asked,) = teacher.asked
    assert torch.equal(asked.images, clean)
    assert torch.equal(asked.labels, LABELS)
    assert (asked.temperature, asked.with_graph) == (2.5, False)


@both_divergences
def test_hot_limit_is_half_the_mean_squared_gap_of_the_centred_logits(divergence: Any) -> None:
    """Hinton et al. 2015, eq. 4: τ²·KL → Σ (gap of the centred logits)² / 2K."""
    _, terms = KD(temperature=1e4, divergence=divergence).compare(STUDENT, LABELS, TEACHER)
    gap = (STUDENT - STUDENT.mean(1, keepdim=True)) - (TEACHER - TEACHER.mean(1, keepdim=True))
    assert 1e8 * float(terms["soft"]) == pytest.approx(
        float(gap.square().sum() / (2 * CLASSES * ROWS)), rel=1e-3
    )


def test_cold_limit_is_temperature_times_what_the_student_lacks_for_the_teachers_first_class() -> (
    None
):
    """τ²·KL → τ·(max z_S - z_S of the teacher's first class): only that class matters, and the term
    vanishes."""
    _, terms = KD(temperature=1e-3).compare(STUDENT, LABELS, TEACHER)
    lacking = STUDENT.max(1).values - STUDENT[range(ROWS), TEACHER.argmax(1)]
    assert lacking.max() > 1
    assert 1e-3 * float(terms["soft"]) == pytest.approx(float(lacking.mean()), rel=1e-2)


def test_alpha_0_is_cross_entropy_and_alpha_1_knows_no_labels() -> None:
    total, terms = KD(alpha=0.0).compare(STUDENT, LABELS, TEACHER)
    assert float(total) == float(terms["cross_entropy"])
    first, second = (
        KD(alpha=1.0).compare(STUDENT, labels, TEACHER)[0] for labels in (LABELS, LABELS.flip(0))
    )
    assert float(first) == float(second)


def test_kl_keeps_its_factor_of_temperature_squared_as_alpha_goes_to_0() -> None:
    """No cliff at alpha 0: the loss is linear in alpha all the way."""
    ends = [
        float(KD(alpha=alpha).compare(STUDENT, LABELS, TEACHER)[0]) for alpha in (0.0, 1e-3, 1.0)
    ]
    assert ends[1] - ends[0] == pytest.approx(1e-3 * (ends[2] - ends[0]), rel=1e-9)


@both_divergences
def test_kl_of_equal_logits_is_0_and_a_shift_of_all_logits_changes_nothing(divergence: Any) -> None:
    method = KD(divergence=divergence)
    shifts = torch.arange(ROWS, dtype=torch.float64)[:, None]
    _, same = method.compare(TEACHER + shifts, LABELS, TEACHER)
    assert float(same["soft"]) == pytest.approx(0, abs=1e-12)
    _, shifted = method.compare(STUDENT + shifts, LABELS, TEACHER - shifts)
    _, plain = method.compare(STUDENT, LABELS, TEACHER)
    assert float(shifted["soft"]) == pytest.approx(float(plain["soft"]), rel=1e-9)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_cross_entropy_is_the_default_divergence_plus_the_teachers_entropy_with_the_same_gradient(
    temperature: float,
) -> None:
    soft, gradients = {}, {}
    for name in ("teacher_student", "cross_entropy"):
        student, method = (
            STUDENT.clone().requires_grad_(True),
            parse(KD, {"name": "kd", "divergence": name}),
        )
        _, terms = method.model_copy(update={"temperature": temperature}).compare(
            student, LABELS, TEACHER
        )
        terms["soft"].backward()
        soft[name], gradients[name] = float(terms["soft"].detach()), student.grad
    p = softmax(TEACHER / temperature)
    entropy = -(p * np.log(p)).sum(1).mean()
    assert soft["cross_entropy"] - soft["teacher_student"] == pytest.approx(entropy, rel=1e-9)
    np.testing.assert_allclose(gradients["cross_entropy"], gradients["teacher_student"], atol=1e-14)


def test_cross_entropy_is_finite_against_a_teacher_that_gives_classes_no_probability() -> None:
    """The reason for the target first (smoothed_models' prediction smoothing): 0·log p_S is 0, log
    0 never appears."""
    certain = torch.tensor([[0.0, -1e5, -1e5]], dtype=torch.float64)
    student = torch.tensor([[1.0, 2.0, 0.5]], dtype=torch.float64)
    found = float(soft_cross_entropy(student, certain, 1.0))
    assert found == pytest.approx(-np.log(softmax(student)[0, 0]), rel=1e-12)


def test_kl_is_positive_and_not_symmetric() -> None:
    forward, backward = (
        float(divergence(TEACHER, STUDENT, 2.0)),
        float(divergence(STUDENT, TEACHER, 2.0)),
    )
    assert min(forward, backward) > 0
    assert forward != pytest.approx(backward, rel=0.01)


@pytest.mark.parametrize("alpha", [0.5, 0.9, 1.0])
def test_a_perfect_student_does_not_score_worse_than_a_uniform_one(alpha: float) -> None:
    teacher = 4 * torch.nn.functional.one_hot(LABELS, CLASSES).double() + 0.1 * STUDENT
    perfect, _ = KD(alpha=alpha).compare(teacher, LABELS, teacher)
    uniform, _ = KD(alpha=alpha).compare(torch.zeros_like(teacher), LABELS, teacher)
    assert float(perfect) < float(uniform)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_of_the_default_divergence_is_that_of_the_paper(
    alpha: float, temperature: float
) -> None:
    """(1-α)(softmax(z_S) - y) + ατ(softmax(z_S/τ) - softmax(z_T/τ)), over the batch: Hinton et al.
    2015, eq. 2, times τ²."""
    student = STUDENT.clone().requires_grad_(True)
    KD(alpha=alpha, temperature=temperature).compare(student, LABELS, TEACHER)[0].backward()
    hard = softmax(STUDENT) - np.eye(CLASSES)[LABELS]
    soft = softmax(STUDENT / temperature) - softmax(TEACHER / temperature)
    expected = ((1 - alpha) * hard + alpha * temperature * soft) / ROWS
    np.testing.assert_allclose(student.grad, expected, atol=1e-14)


@every_divergence
@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
def test_loss_and_gradient_are_finite_at_logits_of_10000(
    divergence: Any, temperature: float
) -> None:
    extreme = 1e4 * torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 1.0]])
    student = extreme.clone().requires_grad_(True)
    total, terms = KD(temperature=temperature, divergence=divergence).compare(
        student, torch.tensor([1, 0]), extreme.flip(1)
    )
    total.backward()
    assert total.isfinite()
    assert all(term.isfinite() for term in terms.values())
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha": -0.1},
        {"alpha": 1.1},
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
    ],
)
def test_alpha_outside_0_to_1_and_a_temperature_not_above_0_are_refused(
    fields: dict[str, float],
) -> None:
    with pytest.raises(InputError, match=rf"^method\.{next(iter(fields))}: "):
        parse(KD, {"name": "kd", **fields}, "method")


def test_an_unknown_divergence_is_refused_with_the_three_there_are() -> None:
    with pytest.raises(
        InputError, match=r"divergence: .*'teacher_student', 'student_teacher' or 'cross_entropy'"
    ):
        parse(KD, {"name": "kd", "divergence": "kl"})
