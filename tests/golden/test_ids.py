"""Identities that must never change: a changed one orphans every stored trial of its kind.

An id changes if a default changes, a field is renamed, or canonical JSON is written differently;
none of these may happen. Only a component whose numbers change raises its version, and with it the
ids below that use it.
"""

from __future__ import annotations

from typing import Any

import pytest

from kdray.core import fingerprint, parse
from kdray.robustness import AnyEvaluation
from kdray.trials.experiment import Experiment

CIFAR = {"name": "cifar10", "augment": "crop_flip"}
WRN_16_2 = {"name": "wide_resnet", "depth": 16, "width": 2}
LONG = {
    "epochs": 200,
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 0.0005,
    },
    "schedule": {"name": "multi_step", "milestones": [60, 120, 160], "gamma": 0.2},
}
TEACHER = {
    "data": CIFAR,
    "model": {"name": "wide_resnet", "depth": 40, "width": 2},
    "training": LONG,
}

EXPERIMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "the least": (
        "de7e29561f72bddf",
        {"data": {"name": "digits"}, "model": {"name": "mlp"}, "training": {"epochs": 1}},
    ),
    "digits in full": (
        "e84d282845b72cee",
        {
            "data": {
                "name": "digits",
                "examples": 500,
                "resize": 32,
                "channels": 3,
                "augment": "flip",
                "normalization": "none",
            },
            "model": {"name": "mlp", "hidden": [64, 32], "dropout": 0.25},
            "training": {
                "epochs": 3,
                "batch_size": 64,
                "keep": "best_validation",
                "optimizer": {"name": "adam"},
            },
            "seed": 7,
        },
    ),
    "linear classifier": (
        "177c9aadf053166c",
        {
            "data": {"name": "mnist", "validation": "last_10000"},
            "model": {"name": "mlp", "hidden": []},
            "training": {
                "epochs": 5,
                "optimizer": {"name": "adam", "learning_rate": 0.01, "beta1": 0.8, "beta2": 0.95},
            },
        },
    ),
    "fashion, cosine": (
        "4c5b85e0bf901311",
        {
            "data": {"name": "fashion_mnist", "validation": 10000},
            "model": {"name": "mlp", "hidden": [1200, 1200]},
            "training": {"epochs": 30, "schedule": {"name": "cosine"}},
        },
    ),
    "usps": (
        "df6c2c9682cad8ae",
        {
            "data": {"name": "usps"},
            "model": {"name": "wide_resnet", "depth": 10, "width": 1, "dropout": 0.1},
            "training": {"epochs": 2, "optimizer": {"name": "sgd", "momentum": 0}},
        },
    ),
    "cifar100": (
        "e18237bc60aa91e3",
        {
            "data": {"name": "cifar100", "channels": 1},
            "model": {"name": "wide_resnet"},
            "training": LONG,
            "seed": 1,
        },
    ),
    "teacher": ("6ddfa0dcfecf1cd6", TEACHER),
    "distillation": (
        "259554c846bdb6cc",
        {
            "data": CIFAR,
            "model": WRN_16_2,
            "teacher": {**TEACHER, "seed": 2},
            "training": LONG,
            "method": {"name": "kd"},
        },
    ),
    "noisy distillation": (
        "064f246891cd0b05",
        {
            "data": CIFAR,
            "model": WRN_16_2,
            "teacher": TEACHER,
            "training": LONG,
            "noise": {
                "input": {"name": "gaussian", "sigma": 0.2, "clip": True},
                "labels": {"name": "uniform", "rate": 0.4},
            },
            "method": {
                "name": "kd",
                "alpha": 1,
                "temperature": 2.5,
                "divergence": "student_teacher",
            },
            "seed": 3,
        },
    ),
    "labels corrupted once": (
        "20f5829107fca5e2",
        {
            "data": {"name": "digits"},
            "model": {"name": "mlp"},
            "training": {"epochs": 1},
            "noise": {"labels": {"name": "uniform", "rate": 0.1, "resample": "never"}},
        },
    ),
}

EVALUATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "clean": ("284adebf30dc140c", {"name": "clean", "split": "val", "label": "any"}),
    "noise": (
        "fb24808edd3d3346",
        {"name": "gaussian_noise", "sigmas": [0, 0.1, 0.5], "clip": False, "seed": 1},
    ),
    "pgd": (
        "c3af1e55f208803e",
        {"name": "pgd", "norm": "l2", "epsilon": 0.5, "step_size": 0.1, "steps": 40, "restarts": 5},
    ),
    "pgd of some": (
        "f4b1159568d1e602",
        {
            "name": "pgd",
            "norm": "l2",
            "epsilon": 0.5,
            "step_size": 0.1,
            "steps": 40,
            "restarts": 5,
            "examples": 1000,
        },
    ),
}


@pytest.mark.parametrize(("identity", "written"), EXPERIMENTS.values(), ids=list(EXPERIMENTS))
def test_a_trial_keeps_its_id(identity: str, written: dict[str, Any]) -> None:
    assert Experiment.parse(written).trial_id == identity


@pytest.mark.parametrize(("identity", "written"), EVALUATIONS.values(), ids=list(EVALUATIONS))
def test_an_evaluation_keeps_its_id(identity: str, written: dict[str, Any]) -> None:
    assert fingerprint(parse(AnyEvaluation, written)) == identity


def test_an_evaluation_at_its_defaults_keeps_its_id() -> None:
    ids = {
        name: fingerprint(parse(AnyEvaluation, {"name": name}))
        for name in ("clean", "gaussian_noise", "pgd")
    }
    assert ids == {
        "clean": "d2fc8f419ecda8ea",
        "gaussian_noise": "2f0f1164165b0239",
        "pgd": "319273256dcf198e",
    }
