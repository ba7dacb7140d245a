"""Standardized logits against NumPy, and in every method that compares logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdray.core import canonical_json, value_types
from kdray.methods import AnyMethod, Losses, Method
from kdray.methods.standardization import LogitStandardization, standardized
from kdray.models import MLP, Classifier
from kdray.testing.samples import draws
from tests.methods.steps import CLASSES, LABELS, PIXELS, ROWS, Plain, linear, step

LOGITS = 5 * torch.randn(ROWS, 4, generator=draws(3), dtype=torch.float64) + 2
SOFT = frozenset({"soft", "target", "non_target", "inter_class", "intra_class"})
"""Terms that compare logits."""
METHODS = [kind for kind in value_types(AnyMethod) if issubclass(kind, LogitStandardization)]
every_method_of_logits = pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)


def test_equals_the_formula_computed_with_numpy() -> None:
    values = LOGITS.numpy()
    deviations = np.sqrt(((values - values.mean(1, keepdims=True)) ** 2).mean(1, keepdims=True))
    expected = (values - values.mean(1, keepdims=True)) / deviations
    np.testing.assert_allclose(standardized(LOGITS), expected, rtol=1e-12)


def test_equal_logits_become_0_and_get_no_gradient() -> None:
    logits = torch.cat([torch.full((1, 4), 2.5), LOGITS[:1].float()]).requires_grad_(True)
    found = standardized(logits)
    assert not found[0].any()
    (found * torch.arange(4.0)).sum().backward()
    assert logits.grad is not None
    assert not logits.grad[0].any()
    assert logits.grad[1].any()


def test_every_loss_of_logits_has_it_off() -> None:
    names = {kind.model_fields["name"].default for kind in METHODS}
    assert names >= {"kd", "additive_kd", "dkd", "margin", "fitnet"}
    for kind in METHODS:
        assert "standardization" not in canonical_json(kind())


def network(seed: int, scale: float) -> Classifier:
    """One hidden layer, and logits times ``scale``."""
    torch.manual_seed(seed)
    classifier = Classifier(MLP(hidden=(5,)).build((1, 1, PIXELS), CLASSES), torch.nn.Identity())
    with torch.no_grad():
        for parameter in classifier.network.head.parameters():
            parameter *= scale
    return classifier


def losses(method: Method, student: float, teacher: float) -> Losses:
    """Of networks whose logits are so many times as large."""
    teacher_network = network(1, teacher)
    return method.losses(
        "main", step(method, network(0, student).train(), linear().batch, Plain(teacher_network))
    )


def soft_terms(method: Method, student: float, teacher: float) -> dict[str, float]:
    terms = losses(method, student, teacher).terms
    return {name: float(terms[name].detach()) for name in terms.keys() & SOFT}


@every_method_of_logits
def test_the_range_of_either_networks_logits_no_longer_counts(kind: type[Method]) -> None:
    method = kind(logit_standardization=True)
    found = soft_terms(method, 1.0, 1.0)
    assert found
    assert soft_terms(method, 30.0, 5.0) == pytest.approx(found, rel=1e-3)
    assert soft_terms(kind(), 30.0, 1.0) != pytest.approx(found, rel=1e-2)


@every_method_of_logits
def test_it_is_the_loss_of_standardized_logits_but_for_the_cross_entropy(
    kind: type[Method],
) -> None:
    """Where a method compares outputs alone, which then is all there is to it."""
    compare = getattr(kind(), "compare", None)
    if compare is None:
        pytest.skip("compares more than outputs")
    student, teacher = LOGITS, LOGITS.flip(0) ** 2
    found = kind(logit_standardization=True).compare(student, LABELS, teacher)[1]  # type: ignore[attr-defined]
    expected = compare(standardized(student), LABELS, standardized(teacher))[1]
    plain = compare(student, LABELS, teacher)[1]
    for name, term in found.items():
        same = expected if name in SOFT else plain
        torch.testing.assert_close(term, same[name])


@every_method_of_logits
def test_loss_and_gradient_are_finite_where_the_logits_are_all_equal(kind: type[Method]) -> None:
    found = losses(kind(logit_standardization=True), 0.0, 0.0)
    found.total.backward()
    assert found.total.isfinite()
