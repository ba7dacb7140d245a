"""Mean gradient magnitudes by layer, against a step written out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from kdray.core import fingerprint
from kdray.models import MLP, CifarResNet
from kdray.perturbations.weight_noise import Independent
from kdray.results import TABLES
from kdray.robustness import Gradients
from kdray.robustness.gradients import GradientRecord
from kdray.testing.samples import draws
from tests.methods.steps import LABELS, softmax
from tests.tensors import linear_classifier


def values(gradients: Gradients) -> dict[str, float]:
    return {row["layer"]: row["value"] for row in gradients.rows(5)}


def test_of_one_step_it_is_the_mean_magnitude_of_the_gradient_of_cross_entropy() -> None:
    weight, images = (
        torch.randn(4, 6, generator=draws()),
        torch.rand(5, 1, 1, 6, generator=draws(1)),
    )
    classifier = linear_classifier(weight).requires_grad_(True)
    functional.cross_entropy(classifier.logits(images), LABELS).backward()
    gradients = Gradients(classifier)
    gradients.add()
    x = images.flatten(1).double().numpy()
    errors = softmax(x @ weight.double().numpy().T) - np.eye(4)[LABELS]
    assert values(gradients) == {"head": pytest.approx(np.abs(errors.T @ x / 5).mean(), rel=1e-5)}


def test_of_several_steps_it_is_their_mean_and_signs_do_not_cancel() -> None:
    classifier = linear_classifier(torch.zeros(2, 3)).requires_grad_(True)
    gradients = Gradients(classifier)
    for step in (
        torch.tensor([[1.0, -2.0, 3.0], [0.0, 0.0, 0.0]]),
        torch.tensor([[-3.0, 2.0, -1.0], [6.0, 0.0, 6.0]]),
    ):
        classifier.network.head.weight.grad = step  # type: ignore[union-attr]
        gradients.add()
    assert values(gradients) == {"head": pytest.approx((1 + 3) / 2)}


def test_a_layer_that_no_gradient_reaches_counts_as_zero() -> None:
    network = MLP(hidden=(3,)).build((1, 2, 2), 2)
    gradients = Gradients(network)
    for reached in (False, True):
        network.zero_grad()
        if reached:
            network(torch.ones(1, 1, 2, 2)).logits[0, 0].backward()
        gradients.add()
    found = values(gradients)
    assert found["hidden.0.0"] == pytest.approx(
        float(network.hidden[0][0].weight.grad.abs().mean()) / 2
    )  # type: ignore[index,union-attr]
    network.zero_grad()
    silent = Gradients(network)
    silent.add()
    assert values(silent) == {"hidden.0.0": 0.0, "head": 0.0}


def test_layers_are_convolutions_and_linear_layers_whether_noisy_or_not_and_no_others() -> None:
    layers = []
    for noise in (None, Independent()):
        network = CifarResNet(depth=8, weight_noise=noise).build((1, 8, 8), 10)
        gradients = Gradients(network)
        network(torch.rand(2, 1, 8, 8)).logits.sum().backward()
        gradients.add()
        assert min(values(gradients).values()) >= 0
        layers.append(list(values(gradients)))
    blocks = [f"stages.{stage}.0.conv{number}" for stage in range(3) for number in (1, 2)]
    assert layers[0] == layers[1] == ["conv", *blocks, "head"]


def test_rows_have_the_columns_of_the_robustness_table_and_an_identity_of_their_own() -> None:
    gradients = Gradients(linear_classifier(torch.zeros(2, 3)))
    gradients.add()
    (row,) = gradients.rows(7)
    assert row.keys() <= {column.name for column in TABLES["robustness"]}
    assert (row["evaluation_id"], row["examples"], row["split"]) == (
        fingerprint(GradientRecord()),
        7,
        "train",
    )
    assert (row["label"], row["evaluation"], row["metric"]) == (
        "gradients",
        "gradients",
        "mean_gradient",
    )
    assert json.loads(row["evaluation_parameters"]) == {"name": "gradients"}
