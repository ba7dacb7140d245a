"""AutoAttack is the package's own on a model that answers one way, exact on a linear one, and
judged by new predictions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack as Original
from torch import Tensor, nn

from kdray.core import InputError, canonical, parse, seeds
from kdray.data import Arrays, Digits, Split, to_unit
from kdray.models import MLP, Classifier, Network, Outputs, build
from kdray.perturbations.attacks import Norm
from kdray.robustness import PGD, Measurement, Subject, measurements
from kdray.robustness.autoattack import AutoAttack, Ensemble
from kdray.robustness.base import all_correct, blocks
from kdray.teachers import frozen
from kdray.testing.samples import digits, trained_on_digits
from tests.tensors import Watched, linear_classifier

both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])
both_ensembles = pytest.mark.parametrize("attacks", ["standard", "rand"])
EPSILON = {"linf": 0.1, "l2": 0.6}
"""Some of the first digits survive and some do not."""


def small(norm: Norm = "linf", attacks: Ensemble = "standard", **fields: Any) -> AutoAttack:
    given = {
        "steps": 10,
        **({"queries": 50} if attacks == "standard" else {"samples": 2}),
        **fields,
    }
    return AutoAttack(**{"norm": norm, "epsilon": EPSILON[norm], "attacks": attacks, **given})


def some(examples: int = 40) -> Split:
    return digits().test.first(examples)


def by_metric(attack: AutoAttack, classifier: Classifier, split: Split) -> dict[str, Measurement]:
    return {str(m.metric): m for m in measurements(attack, Subject(classifier, split))}


def examples_of(attack: AutoAttack, classifier: Classifier, split: Split) -> Tensor:
    return torch.cat(
        [shown for block in blocks(split) for shown in attack.perturbed(classifier, block)]
    )


class Rounded(Network):
    """A network whose logits are rounded: no gradient comes through."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        said: Outputs = self.network(images)
        return said._replace(logits=(said.logits * 4).round() / 4)


class Coin(Network):
    """Says 0 with probability 0.8, whatever it is shown, and else 1."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(4))

    def forward(self, images: Tensor) -> Outputs:
        said = (torch.rand(len(images)) < 0.2).long()
        logits = (
            torch.nn.functional.one_hot(said, 4)
            + 0 * images.flatten(1).sum(1, keepdim=True)
            + self.nothing
        )
        return Outputs(logits, (), logits)


def coin() -> Classifier:
    return frozen(Classifier(Coin(), torch.nn.Identity()))


def noisy() -> Classifier:
    inner = trained_on_digits()
    return Classifier(inner.network, inner.normalization, input_sigma=0.1).eval()


def test_is_the_package_own_from_the_first_attack_to_the_last_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL")
    split, attack = some(), AutoAttack(norm="l2", epsilon=0.4, queries=100)
    ours, theirs = Watched(), Watched()
    original = Original(theirs.logits, norm="L2", eps=0.4, seed=seeds.stream_seed(0, "attack", 0))
    original.square.n_queries = 100
    measured = by_metric(attack, ours, split)
    with torch.random.fork_rng():
        for metric, attacks in (
            ("accuracy_after_apgd_ce", ["apgd-ce"]),
            ("accuracy", original.attacks_to_run),
        ):
            theirs.shown.clear()
            original.attacks_to_run = attacks
            found, _ = original.run_standard_evaluation(to_unit(split.images), split.labels)
            right = trained_on_digits().logits(found).argmax(1) == split.labels
            assert measured[metric].correct == int(right.sum())
    assert measured["accuracy"].correct < measured["accuracy_after_apgd_ce"].correct
    while_attacking, as_published = (
        [each for each in w.shown if 1 < len(each) < 40] for w in (ours, theirs)
    )
    # The package judges what stands alone after each of four attacks; kdray all images together,
    # and looks at gradients once and whether two passes differ.
    assert len(while_attacking) - 3 == len(as_published) - 4
    theirs_in_order = iter(as_published)
    assert all(
        any(torch.equal(each, other) for other in theirs_in_order) for each in while_attacking[1:-2]
    )


@both_norms
def test_is_not_above_pgd_in_the_same_ball(norm: Norm) -> None:
    subject, epsilon = Subject(trained_on_digits(), some()), EPSILON[norm]
    weaker, *_ = measurements(
        PGD(norm=norm, epsilon=epsilon, step_size=epsilon / 4, steps=20, restarts=3), subject
    )
    after = [
        m.correct for m in by_metric(small(norm, steps=30), trained_on_digits(), some()).values()
    ]
    assert after == sorted(after, reverse=True)
    assert 0 < after[-1] <= weaker.correct < all_correct(subject)


@both_norms
@both_ensembles
def test_is_exact_on_a_linear_model(norm: Norm, attacks: Ensemble) -> None:
    draws, epsilon = torch.Generator().manual_seed(5), {"linf": 0.05, "l2": 0.15}[norm]
    weight = torch.randn(5, 25, generator=draws)
    pixels = torch.randint(60, 196, (80, 1, 5, 5), generator=draws).to(
        torch.uint8
    )  # the ball stays inside [0, 1]
    classifier = linear_classifier(weight)
    logits = classifier.logits(to_unit(pixels))
    labels = logits.argmax(1)
    lead = logits.gather(1, labels[:, None]) - logits
    slopes = torch.linalg.vector_norm(
        weight[labels][:, None] - weight, ord=1 if norm == "linf" else 2, dim=2
    )
    distance = torch.where(slopes > 0, lead / slopes, torch.inf).amin(1)
    clear = (distance / epsilon - 1).abs() > 0.02
    assert 10 < int((distance[clear] > epsilon).sum()) < int(clear.sum()) - 10
    found = by_metric(
        small(norm, attacks, epsilon=epsilon, steps=40),
        classifier,
        Split(pixels[clear], labels[clear]),
    )
    assert found["accuracy"].correct == int((distance[clear] > epsilon).sum())


@both_ensembles
def test_without_a_ball_it_is_clean_accuracy_and_needs_no_package(
    attacks: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack, split = AutoAttack(epsilon=0.0, attacks=attacks), digits().test
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    attack.check(Digits(), Path())
    clean = all_correct(Subject(trained_on_digits(), split))
    found = by_metric(attack, trained_on_digits(), split)
    assert {(m.correct, m.examples) for m in found.values()} == {(clean, len(split.labels))}
    assert torch.equal(examples_of(attack, trained_on_digits(), split), to_unit(split.images))


@both_norms
@both_ensembles
def test_examples_are_in_the_ball_and_in_range(norm: Norm, attacks: Ensemble) -> None:
    attack, split, classifier = small(norm, attacks), some(), trained_on_digits()
    images, found = to_unit(split.images), examples_of(attack, classifier, split)
    offset = (found - images).flatten(1)
    length = torch.linalg.vector_norm(offset, ord=torch.inf if norm == "linf" else 2, dim=1)
    assert 0.9 * attack.epsilon < float(length.max()) <= attack.epsilon * (1 + 1e-5)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    wrong = classifier.logits(found).argmax(1) != split.labels
    assert int((~wrong).sum()) == by_metric(attack, classifier, split)["accuracy"].correct
    if attacks == "standard":
        already = classifier.logits(images).argmax(1) != split.labels
        assert torch.equal(length > 0, wrong & ~already), (
            "what is broken is perturbed, and nothing else"
        )
    else:
        assert bool((length > 0).all())


def test_a_model_that_draws_is_judged_by_new_predictions() -> None:
    """Of hundreds of draws some are wrong for every image, and none says more than 0.8 about the
    next."""
    split = Split(digits().test.images[:20], torch.zeros(20, dtype=torch.long))
    found = by_metric(small(attacks="rand", repeats=200, samples=3), coin(), split)["accuracy"]
    assert (found.examples, found.samples) == (4000, 3)
    assert found.value == pytest.approx(0.8, abs=5 * (0.8 * 0.2 / 4000) ** 0.5)


def test_rand_counts_predictions_and_lowers_accuracy_of_a_noisy_model() -> None:
    split = some()
    found = by_metric(small(attacks="rand", repeats=30), noisy(), split)
    clean = by_metric(AutoAttack(attacks="rand", epsilon=0.0, repeats=30), noisy(), split)
    assert found["accuracy"].examples == 30 * 40
    assert found["accuracy"].checks is None
    assert (
        found["accuracy"].value
        < found["accuracy_after_apgd_ce"].value + 0.02
        < clean["accuracy"].value - 0.1
    )


def test_images_that_only_square_breaks_are_told_of_and_flat_gradients() -> None:
    inner = trained_on_digits()
    masked = frozen(Classifier(Rounded(inner.network), inner.normalization))
    found = by_metric(small(queries=300), masked, some())
    broken = found["accuracy_after_fab_t"].correct - found["accuracy"].correct
    clean = all_correct(Subject(masked, some()))
    assert broken > 1
    assert found["accuracy"].checks == (
        f"zero or undefined gradient for {clean} of {clean} images; "
        f"black-box Square broke {broken} images that the white-box attacks did not"
    )
    honest = by_metric(small(queries=300), inner, some())
    assert honest["accuracy"].checks is None


def test_the_wrong_ensemble_for_a_model_is_told_of() -> None:
    noise = by_metric(small(steps=2, queries=2), noisy(), some())["accuracy"].checks
    assert noise.startswith("randomised output: ")
    assert noise.endswith(": use attacks: rand")
    answers = by_metric(small(attacks="rand"), trained_on_digits(), some())["accuracy"].checks
    assert answers == "output is not random: attacks: standard is stronger"


@both_ensembles
def test_other_random_numbers_output_and_warnings_are_left_alone(
    attacks: Ensemble, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    inner = trained_on_digits()
    masked = frozen(
        Classifier(Rounded(inner.network), inner.normalization)
    )  # of which the package warns
    (block,) = blocks(some(10))
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = next(small(attacks=attacks).perturbed(masked, block))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    torch.manual_seed(99)
    assert torch.equal(next(small(attacks=attacks).perturbed(masked, block)), first)
    assert not torch.equal(next(small(attacks=attacks, seed=1).perturbed(masked, block)), first)


def test_what_it_needs_and_has_no_use_for_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (
        AutoAttack(norm="l2").misfit(Digits(resize=4))
        == "norm: Square with l2 needs images of 5 rows or more, and there are 4"
    )
    assert (
        AutoAttack().misfit(Digits(resize=4))
        is AutoAttack(norm="l2").misfit(Digits(resize=5))
        is None
    )
    AutoAttack().check(Digits(), Path())
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(InputError, match=r"not installed: pip install 'kdray\[attacks\]'$"):
        AutoAttack().check(Digits(), Path())
    for written in (
        {"attacks": "rand", "queries": 10},
        {"repeats": 2},
        {"samples": 5},
        {"epsilon": -0.1},
    ):
        with pytest.raises(InputError):
            parse(AutoAttack, {"name": "autoattack", **written})


@pytest.mark.parametrize(
    ("attacks", "classes", "left", "lacking"),
    [
        ("standard", 2, ["apgd_ce", "square"], "apgd_t, fab_t"),
        ("standard", 3, ["apgd_ce", "square"], "apgd_t, fab_t"),
        ("rand", 2, ["apgd_ce"], "apgd_dlr"),
        ("rand", 3, ["apgd_ce", "apgd_dlr"], None),
        ("standard", 4, ["apgd_ce", "apgd_t", "fab_t", "square"], None),
    ],
)
def test_with_few_classes_the_targeted_attacks_are_left_out_and_the_row_says_so(
    attacks: str, classes: int, left: list[str], lacking: str | None
) -> None:
    data = Arrays(path="own.npz", classes=classes, image_shape=(1, 8, 8))
    torch.manual_seed(0)
    classifier = build(MLP(hidden=(8,)), data, nn.Identity(), 0).eval().requires_grad_(False)
    split = Split(some(8).images, some(8).labels % classes)
    attack = small(attacks=attacks)
    assert attack.misfit(data) is None
    *after, last = attack.measure(Subject(classifier, split))
    assert [row.metric for row in after] == [f"accuracy_after_{name}" for name in left]
    said = f"too few classes for {lacking}: not AutoAttack as published"
    assert (said in (last.checks or "")) == (lacking is not None)


def test_less_than_the_published_attack_is_cautioned_of() -> None:
    assert (
        list(AutoAttack().cautions())
        == list(AutoAttack(attacks="rand", samples=40).cautions())
        == []
    )
    assert len(list(AutoAttack(steps=20, queries=100).cautions())) == 2
    assert canonical(AutoAttack()) == {"name": "autoattack"}
