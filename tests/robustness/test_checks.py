"""Every reason to distrust a robust accuracy, tripped by a model made for it, and by no ordinary
one."""

from __future__ import annotations

from functools import partial

import pandas as pd
import pytest
import torch
from torch import Tensor

from kdray.models import Classifier
from kdray.results.checks import with_transfers
from kdray.robustness import FGSM, PGD, Evaluation, Subject, Transfer, columns_of, measurements
from kdray.robustness.checks import noticed
from kdray.testing.samples import digits, trained_on_digits


class Stepped(Classifier):
    """Sees images of eight grey levels: a gradient of zero everywhere."""

    def __init__(self) -> None:
        inner = trained_on_digits()
        super().__init__(inner.network, inner.normalization)

    def logits(self, images: Tensor) -> Tensor:
        return super().logits((images * 8).round() / 8)


class Contrary(Stepped):
    """Answers like the one trained on digits, and points every attacker the wrong way."""

    def logits(self, images: Tensor) -> Tensor:
        return Classifier.logits(self, 2 * images.detach() - images)


class Trembling(Stepped):
    """Adds noise to its image, in a place where nobody would look for it."""

    def logits(self, images: Tensor) -> Tensor:
        return Classifier.logits(self, images + 0.2 * torch.randn_like(images))


def doubts(evaluation: Evaluation, classifier: Classifier, examples: int = 200) -> str:
    found = measurements(evaluation, Subject(classifier.eval(), digits().test.first(examples)))
    return str(next(m for m in found if m.metric == "accuracy").checks)


STRONG = PGD(epsilon=0.1, step_size=0.02, steps=20, restarts=4)
both_attacks = pytest.mark.parametrize("attack", [FGSM(epsilon=0.1), STRONG], ids=["fgsm", "pgd"])


@both_attacks
def test_an_ordinary_attack_of_an_ordinary_model_is_trusted(attack: Evaluation) -> None:
    assert doubts(attack, trained_on_digits()) == "None"


@both_attacks
def test_zero_gradients(attack: Evaluation) -> None:
    assert "zero or undefined gradient for" in doubts(FGSM(epsilon=0.1), Stepped())
    assert "zero or undefined gradient for" in doubts(attack, Stepped())


@both_attacks
def test_randomised_output(attack: Evaluation) -> None:
    assert "randomised output: two passes differ by up to" in doubts(attack, Trembling())


def test_the_gradient_in_expectation_is_not_distrusted_for_the_models_draws() -> None:
    assert "randomised" not in doubts(
        STRONG.model_copy(update={"samples": 2, "steps": 2}), Trembling()
    )


def test_robust_above_clean_accuracy() -> None:
    assert "robust above clean accuracy: " in doubts(FGSM(epsilon=0.1), Contrary())


@pytest.mark.parametrize(
    "attack", [FGSM(epsilon=0.0), PGD(epsilon=0.0, steps=2)], ids=["fgsm", "pgd"]
)
def test_an_accuracy_that_no_attack_lowers_is_not_above_clean(attack: Evaluation) -> None:
    assert doubts(attack, trained_on_digits()) == "None"


def test_restarts_that_still_lower_it() -> None:
    weak = PGD(epsilon=0.15, step_size=0.03, steps=2, restarts=2)
    assert "the last of 2 restarts still broke" in doubts(weak, trained_on_digits(), 360)
    assert "restarts" not in doubts(STRONG, trained_on_digits())


def test_steps_that_still_lower_it() -> None:
    slow = PGD(epsilon=0.3, step_size=0.3 / 40, steps=20)
    assert "not converged: the last 5 of 20 steps still broke" in doubts(slow, trained_on_digits())


def test_a_final_iterate_better_than_the_best() -> None:
    found = doubts(PGD(epsilon=0.25, step_size=0.1, steps=5), Contrary())
    assert "an earlier iterate breaks" in found


@pytest.mark.parametrize(
    ("count", "examples", "counts"),
    [(0, 0, False), (1, 40, False), (2, 40, True), (100, 10_000, False), (101, 10_000, True)],
)
def test_a_single_image_and_one_in_a_hundred_are_no_reason(
    count: int, examples: int, counts: bool
) -> None:
    assert noticed(count, examples) is counts


class Undefined(Stepped):
    """Answers like the one trained on digits; its gradient is not a number."""

    def logits(self, images: Tensor) -> Tensor:
        return Classifier.logits(self, images + 0 * (images - images).sqrt())


@both_attacks
def test_undefined_gradients(attack: Evaluation) -> None:
    assert "zero or undefined gradient for" in doubts(attack, Undefined())


def test_a_transferred_attack_that_beats_the_white_box_one() -> None:
    """Masked gradients hide a model from who knows it, and not from who attacks another one."""
    models = {"honest": trained_on_digits(), "masked": Stepped().eval()}
    evaluation, rows = Transfer(attack=FGSM(epsilon=0.15)), []
    for source, classifier in models.items():
        others = {name: partial(models.get, name) for name in models}
        subject = Subject(classifier, digits().test.first(200), others=others)  # type: ignore[arg-type]
        common = {
            **columns_of(evaluation),
            "source_trial_id": source,
            "dataset": "digits",
            "epoch": None,
        }
        rows += [
            {**common, **measurement.row()} for measurement in measurements(evaluation, subject)
        ]
    found = with_transfers(pd.DataFrame(rows)).set_index(["source_trial_id", "trial_id"])
    assert found.loc[("honest", "masked"), "value"] < found.loc[("masked", "masked"), "value"] - 0.2
    assert "transferred attack beats the white-box one" in found.loc[("masked", "masked"), "checks"]
    assert pd.isna(found.loc[("honest", "honest"), "checks"])
