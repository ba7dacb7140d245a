"""Robust accuracy is exact on a linear model, and dropping broken examples does not change it."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kdray.core import InputError, parse, seeds
from kdray.data import Split, to_unit
from kdray.models import Classifier, Network, Outputs, Smoothing
from kdray.perturbations.attacks import Norm, pgd, random_start
from kdray.robustness import PGD, Clean, Subject, measurements
from kdray.robustness.base import BLOCK, blocks
from kdray.testing.samples import digits, draws, trained_on_digits
from tests.tensors import linear_classifier

both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])
EPSILON = {"linf": 0.15, "l2": 0.9}
"""Some examples survive, some fall to the first restart, and some only to a later one."""


def weak(norm: Norm, **fields: Any) -> PGD:
    epsilon = EPSILON[norm]
    return PGD(
        **{
            "norm": norm,
            "epsilon": epsilon,
            "step_size": epsilon / 4,
            "steps": 2,
            "restarts": 4,
            **fields,
        }
    )


def correct(attack: PGD, split: Split) -> int:
    measured, *_ = attack.measure(Subject(trained_on_digits(), split))
    assert measured.correct is not None
    return measured.correct


class Scaled(Network):
    """A network whose logits are ``factor`` times as large."""

    def __init__(self, network: Network, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Outputs:
        said: Outputs = self.network(images)
        return said._replace(logits=self.factor * said.logits)


def answers(split: Split) -> Tensor:
    return trained_on_digits().logits(to_unit(split.images)).argmax(1)


@cache
def survived(attack: PGD) -> Tensor:
    """By brute force: for each restart (row) which test images are right, every image attacked in
    every restart."""
    classifier, rows = trained_on_digits(), []
    for restart in range(attack.restarts):
        row = []
        for block in blocks(digits().test):
            generator = seeds.generator(attack.seed, "attack", block.number, restart)
            start = random_start(block.images, attack.norm, attack.epsilon, generator)
            adversarial = pgd(
                classifier.logits,
                block.images,
                block.labels,
                norm=attack.norm,
                epsilon=attack.epsilon,
                step_size=attack.step_size,
                steps=attack.steps,
                start=start,
            )
            right = classifier.logits(block.images).argmax(1) == block.labels
            row.append(right & (classifier.logits(adversarial).argmax(1) == block.labels))
        rows.append(torch.cat(row))
    return torch.stack(rows)


@both_norms
def test_robust_is_what_no_restart_breaks_as_brute_force_without_dropping_says(norm: Norm) -> None:
    attack = weak(norm)
    each = survived(attack)
    assert 0 < int(each.all(0).sum()) < int(each[0].sum()), (
        "a later restart breaks what the first did not"
    )
    assert correct(attack, digits().test) == int(each.all(0).sum())


@both_norms
def test_whether_an_example_is_robust_does_not_depend_on_which_others_are_standing(
    norm: Norm,
) -> None:
    test, attack = digits().test, weak(norm)
    fallen = torch.arange(len(test.labels)) % 3 == 0
    mislabelled = Split(test.images, torch.where(fallen, (answers(test) + 1) % 10, test.labels))
    assert correct(attack, mislabelled) == int((survived(attack).all(0) & ~fallen).sum())


def test_misclassified_examples_count_as_broken_though_a_random_start_may_make_them_right() -> None:
    just_wrong = linear_classifier(
        torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([-1.0, 0.01])
    )
    split = Split(
        torch.full((100, 1, 1, 2), 127, dtype=torch.uint8), torch.zeros(100, dtype=torch.long)
    )
    attack = PGD(epsilon=0.1, step_size=1e-6, steps=1)
    started = random_start(
        to_unit(split.images), "linf", 0.1, attack.generator(torch.device("cpu"), 0, 0)
    )
    assert (just_wrong.logits(started).argmax(1) == 0).any()
    measured, *_ = attack.measure(Subject(just_wrong, split))
    assert measured.correct == 0


@both_norms
def test_epsilon_0_gives_clean_accuracy(norm: Norm) -> None:
    clean, *_ = Clean().measure(Subject(trained_on_digits(), digits().test))
    assert correct(PGD(norm=norm, epsilon=0.0, steps=2, restarts=2), digits().test) == clean.correct


@both_norms
def test_another_restart_never_raises_accuracy(norm: Norm) -> None:
    counts = [correct(weak(norm, restarts=n), digits().test) for n in (1, 2, 3, 4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


@both_norms
def test_accuracy_falls_with_epsilon_and_with_steps(norm: Norm) -> None:
    by_epsilon = [
        correct(
            PGD(norm=norm, epsilon=share * EPSILON[norm], step_size=EPSILON[norm] / 8, steps=20),
            digits().test,
        )
        for share in (0.0, 0.5, 1.0, 2.0)
    ]
    assert by_epsilon == sorted(by_epsilon, reverse=True)
    assert by_epsilon[0] > by_epsilon[1] > by_epsilon[2]
    assert correct(weak(norm, steps=1), digits().test) > correct(
        weak(norm, steps=10), digits().test
    )


@both_norms
@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.1])
def test_robust_accuracy_of_a_linear_model_is_the_share_of_margins_above_epsilon_times_the_dual_norm(
    norm: Norm, epsilon: float
) -> None:
    count, pixels = BLOCK + 50, 12
    weight = torch.randn(pixels, generator=draws())
    images = torch.randint(
        64, 192, (count, 1, 1, pixels), generator=draws(1), dtype=torch.uint8
    )  # [0, 1] does not bind
    labels = torch.randint(0, 2, (count,), generator=draws(2))
    classifier = linear_classifier(
        torch.stack([-weight / 2, weight / 2]), torch.tensor([weight.sum() / 4, -weight.sum() / 4])
    )
    margins = (to_unit(images).flatten(1) - 0.5) @ weight * (2 * labels - 1)
    robust = margins > epsilon * weight.norm(1 if norm == "linf" else 2)
    measured, *_ = PGD(norm=norm, epsilon=epsilon, step_size=epsilon / 2, steps=30).measure(
        Subject(classifier, Split(images, labels))
    )
    assert 0 < int(robust.sum()) < int((margins > 0).sum())
    assert measured.correct == int(robust.sum())


def test_the_number_says_what_it_was_measured_with() -> None:
    measured, *_ = weak("l2", restarts=2).measure(
        Subject(trained_on_digits(), digits().test.first(40))
    )
    assert (measured.norm, measured.epsilon, measured.step_size) == ("l2", 0.9, 0.225)
    assert (measured.steps, measured.restarts, measured.examples, measured.samples) == (2, 2, 40, 1)


def test_another_seed_draws_other_starts() -> None:
    starts = [
        random_start(
            torch.full((2, 1, 3, 3), 0.5),
            "linf",
            0.1,
            PGD(seed=seed).generator(torch.device("cpu"), 0, 0),
        )
        for seed in (0, 1)
    ]
    assert not torch.equal(*starts)


@pytest.mark.parametrize(
    "fields",
    [
        {"epsilon": -0.1},
        {"step_size": 0},
        {"steps": 0},
        {"restarts": 0},
        {"norm": "l1"},
        {"samples": 0},
    ],
)
def test_parameters_without_meaning_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"^{next(iter(fields))}: "):
        parse(PGD, {"name": "pgd", **fields})


# Ways to count, and several numbers from one run


def counted(attack: PGD, split: Split | None = None) -> dict[tuple[str, int], int]:
    """Right images by metric and steps."""
    found = measurements(attack, Subject(trained_on_digits(), split or digits().test))
    return {(m.metric, m.steps or 0): m.correct or 0 for m in found}


@both_norms
def test_several_steps_give_what_each_gives_alone(norm: Norm) -> None:
    together = counted(weak(norm, steps=(1, 2, 5), restarts=2))
    for steps in (1, 2, 5):
        alone = counted(weak(norm, steps=steps, restarts=2))
        assert {key: together[key] for key in alone} == alone


@both_norms
def test_any_iterate_is_the_same_with_and_without_dropping_what_is_broken(norm: Norm) -> None:
    attack = weak(norm, steps=(1, 3), restarts=3)
    free, dropping = counted(attack), counted(attack.model_copy(update={"iterate": "any"}))
    assert {key: free[key] for key in dropping} == dropping
    assert {metric for metric, _ in dropping} == {"any_iterate_accuracy"}
    assert all(free["any_iterate_accuracy", steps] <= free["accuracy", steps] for steps in (1, 3))


@both_norms
def test_any_iterate_is_what_no_iterate_of_any_restart_breaks_as_brute_force_says(
    norm: Norm,
) -> None:
    attack, classifier, robust = weak(norm, steps=3, restarts=2), trained_on_digits(), []
    for block in blocks(digits().test):
        unbroken = classifier.logits(block.images).argmax(1) == block.labels
        for restart in range(2):
            start = random_start(
                block.images,
                norm,
                EPSILON[norm],
                seeds.generator(0, "attack", block.number, restart),
            )
            for steps in range(4):
                points = pgd(
                    classifier.logits,
                    block.images,
                    block.labels,
                    norm=norm,
                    epsilon=EPSILON[norm],
                    step_size=EPSILON[norm] / 4,
                    steps=steps,
                    start=start,
                )
                unbroken &= classifier.logits(points).argmax(1) == block.labels
        robust.append(unbroken)
    assert counted(attack)["any_iterate_accuracy", 3] == int(torch.cat(robust).sum())


@both_norms
def test_the_lowest_run_is_that_of_one_restart_and_never_below_the_worst_per_example(
    norm: Norm,
) -> None:
    found = counted(weak(norm, lowest_run=True))
    assert found["lowest_run_accuracy", 2] == min(int(row.sum()) for row in survived(weak(norm)))
    assert (
        found["accuracy", 2]
        == int(survived(weak(norm)).all(0).sum())
        < found["lowest_run_accuracy", 2]
    )


def test_lists_are_crossed_and_each_number_is_that_of_its_own_attack() -> None:
    split = digits().test.first(60)
    attack = PGD(epsilon=(0.0, 0.1), step_size=(0.02, 0.05), steps=2)
    found = measurements(attack, Subject(trained_on_digits(), split))
    assert {(m.epsilon, m.step_size) for m in found} == {
        (e, s) for e in (0.0, 0.1) for s in (0.02, 0.05)
    }
    for m in found:
        alone = measurements(
            PGD(epsilon=m.epsilon, step_size=m.step_size, steps=2),
            Subject(trained_on_digits(), split),
        )
        assert m.correct in [other.correct for other in alone if other.metric == m.metric]


def test_the_margin_loss_breaks_what_a_saturated_cross_entropy_cannot() -> None:
    inner, split = trained_on_digits(), digits().test.first(100)
    certain = Classifier(Scaled(inner.network, 1e4), inner.normalization).eval()
    entropy, margin = (
        measurements(PGD(epsilon=0.2, step_size=0.05, steps=5, loss=loss), Subject(certain, split))[
            0
        ]
        for loss in ("cross_entropy", "margin")
    )
    assert (margin.correct or 0) < (entropy.correct or 0)
    assert "zero or undefined gradient" in str(entropy.checks)
    assert "zero or undefined gradient" not in str(margin.checks)


def test_the_examples_for_others_are_those_that_it_counts() -> None:
    attack, split = PGD(epsilon=0.1, step_size=0.03, steps=(1, 4)), digits().test.first(80)
    (block,) = blocks(split)
    clean = trained_on_digits().logits(block.images).argmax(1) == block.labels
    for parameters, shown in zip(
        attack.strengths(), attack.perturbed(trained_on_digits(), block), strict=True
    ):
        assert float((shown - block.images).abs().max()) <= 0.1 + 1e-6
        right = trained_on_digits().logits(shown).argmax(1) == block.labels
        assert int((right & clean).sum()) == counted(attack, split)["accuracy", parameters["steps"]]


@both_norms
def test_of_several_restarts_others_are_given_the_one_with_the_highest_loss(norm: Norm) -> None:
    (block,) = blocks(digits().test.first(80))
    losses = []
    for attack in (weak(norm, steps=(1, 3), restarts=n) for n in (1, 2, 4)):
        shown = attack.perturbed(trained_on_digits(), block)
        losses.append(
            [
                functional.cross_entropy(trained_on_digits().logits(each), block.labels)
                for each in shown
            ]
        )
    for steps in (0, 1):
        assert losses[0][steps] < losses[1][steps] < losses[2][steps]


def test_a_step_larger_than_the_ball_is_warned_of() -> None:
    assert list(PGD(epsilon=(0.1, 0.2), step_size=0.15).cautions()) == [
        "step_size 0.15 is larger than epsilon 0.1: every step leaves the ball"
    ]
    assert not list(PGD(epsilon=0.0).cautions())


@pytest.mark.parametrize("fields", [{"repeats": 2}, {"lowest_run": True}])
def test_any_iterate_counts_no_repeated_predictions_and_no_single_runs(
    fields: dict[str, object],
) -> None:
    with pytest.raises(InputError, match="iterate: any counts one prediction"):
        parse(PGD, {"name": "pgd", "iterate": "any", **fields})


# Models that draw


def drawing() -> Classifier:
    """The one trained on digits, with noise on its input at every pass."""
    inner = trained_on_digits()
    return Classifier(inner.network, inner.normalization, input_sigma=0.3).eval()


@pytest.mark.parametrize("samples", [1, 3])
def test_a_model_that_draws_is_attacked_in_expectation_with_the_evaluations_draws(
    samples: int,
) -> None:
    split = digits().test.first(40)
    attack = PGD(epsilon=0.1, step_size=0.05, steps=3, samples=samples, seed=4)
    measured, *_ = measurements(attack, Subject(drawing(), split))
    images, classifier = to_unit(split.images), drawing()
    with seeds.ambient(4, "evaluation"):
        robust = classifier.logits(images).argmax(1) == split.labels
        standing = robust.nonzero().flatten()
        start = random_start(images, "linf", 0.1, seeds.generator(4, "attack", 0, 0))[standing]
        adversarial = pgd(
            classifier.logits,
            images[standing],
            split.labels[standing],
            norm="linf",
            epsilon=0.1,
            step_size=0.05,
            steps=3,
            start=start,
            samples=samples,
        )
        robust[standing] = classifier.logits(adversarial).argmax(1) == split.labels[standing]
    assert 0 < measured.value < 1
    assert (measured.correct, measured.samples) == (int(robust.sum()), samples)


@pytest.mark.parametrize("aggregate", ["prediction", "soft_prediction", "logits"])
def test_a_smoothed_model_is_attacked_through_its_smoothing(aggregate: str) -> None:
    subject, smoothing = (
        Subject(trained_on_digits(), digits().test.first(60)),
        {"samples": 8, "sigma": 0.4},
    )
    described = parse(Smoothing, {**smoothing, "aggregate": aggregate})
    (none, *_), (some, *_) = (
        measurements(PGD(epsilon=epsilon, step_size=0.1, steps=3, smoothing=described), subject)
        for epsilon in (0.0, 0.25)
    )
    assert some.value < none.value - 0.2


def test_repeated_predictions_are_made_afresh_once_the_worst_restart_is_chosen() -> None:
    """A coin has an accuracy of a half, however many restarts look for a draw that is wrong."""
    split = Split(torch.zeros(200, 1, 1, 4, dtype=torch.uint8), torch.zeros(200, dtype=torch.long))
    noise = Classifier(
        linear_classifier(torch.tensor([[1.0] * 4, [-1.0] * 4])).network,
        torch.nn.Identity(),
        input_sigma=1.0,
    )
    once, *_ = measurements(PGD(epsilon=0.0, steps=1, restarts=8), Subject(noise.eval(), split))
    repeated, *_ = measurements(
        PGD(epsilon=0.0, steps=1, restarts=8, repeats=20), Subject(noise.eval(), split)
    )
    assert once.value < 0.05
    assert repeated.value == pytest.approx(0.5, abs=0.03)
    assert (repeated.examples, repeated.correct) == (4000, round(repeated.value * 4000))


@pytest.mark.parametrize("restarts", [1, 3])
def test_repeated_predictions_are_of_adversarial_images_also_where_all_predictions_were_right(
    restarts: int,
) -> None:
    """A grey image is right with certainty; the perturbed one with probability Φ(1)."""
    images = torch.full((400, 1, 1, 1), 255, dtype=torch.uint8)
    split = Split(images, torch.ones(400, dtype=torch.long))
    edge = linear_classifier(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.5]))
    noisy = Classifier(edge.network, torch.nn.Identity(), input_sigma=0.1).eval()
    found, *_ = measurements(
        PGD(epsilon=0.4, step_size=0.4, steps=1, restarts=restarts, repeats=5),
        Subject(noisy, split),
    )
    assert found.value == pytest.approx(0.8413, abs=0.03)


def test_images_that_are_never_right_stay_wrong_when_predictions_are_repeated() -> None:
    split = Split(
        torch.full((50, 1, 1, 1), 255, dtype=torch.uint8), torch.zeros(50, dtype=torch.long)
    )
    edge = linear_classifier(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, -0.95]))
    noisy = Classifier(edge.network, torch.nn.Identity(), input_sigma=0.001).eval()
    # The attack goes the other way where the label is wrong anyway: without care some would be
    # "robust".
    found, *_ = measurements(
        PGD(epsilon=0.2, step_size=0.2, steps=1, repeats=3), Subject(noisy, split)
    )
    assert found.correct == 0


@both_norms
def test_others_are_given_of_each_image_the_restart_with_its_highest_loss_as_brute_force_says(
    norm: Norm,
) -> None:
    attack = weak(norm, restarts=4)
    (block,) = blocks(digits().test.first(60))
    losses = []
    for restart in range(4):
        start = random_start(
            block.images, norm, EPSILON[norm], attack.generator(torch.device("cpu"), 0, restart)
        )
        points = pgd(
            trained_on_digits().logits,
            block.images,
            block.labels,
            norm=norm,
            epsilon=EPSILON[norm],
            step_size=EPSILON[norm] / 4,
            steps=2,
            start=start,
        )
        losses.append(
            functional.cross_entropy(
                trained_on_digits().logits(points), block.labels, reduction="none"
            )
        )
    (shown,) = attack.perturbed(trained_on_digits(), block)
    found = functional.cross_entropy(
        trained_on_digits().logits(shown), block.labels, reduction="none"
    )
    torch.testing.assert_close(found, torch.stack(losses).amax(0))


def test_a_value_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"^steps: .* 5 is there twice"):
        parse(PGD, {"name": "pgd", "steps": [5, 5]})
    assert parse(PGD, {"name": "pgd", "steps": [5]}) == PGD(steps=5)
