"""One instance of every member of every union, so that a new one is tested before anyone writes a
test for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import pytest

from kdray.core import Value, tag_of, value_types
from kdray.data import Arrays, Digits, HuggingFace, ImageFolder
from kdray.methods import CRD
from kdray.models import (
    CifarResNet,
    FromPlugin,
    Maxout,
    MobileNetV2,
    PreActResNet,
    Timm,
    Torchvision,
    WideResNet,
)
from kdray.perturbations import (
    Asymmetric,
    Gaussian,
    GaussianSNR,
    Laplace,
    PairFlip,
    SignalDependent,
    Swap,
    Symmetric,
    Transition,
    Uniform,
    UniformNoise,
)
from kdray.robustness import (
    FGSM,
    PGD,
    AutoAttack,
    CertifiedRadius,
    Occlusion,
    OfficialCorruptions,
    OutOfDistribution,
    PredictionScores,
    SignalToNoise,
    Transfer,
)
from kdray.sweep.definition.samplers import CMAES, GP, NSGAII, TPE, Proposer
from kdray.testing import Contract
from kdray.training.optimizers import MultiStep, StepDecay

FIELDS: dict[type[Value], dict[str, Any]] = {
    Arrays: {"path": "own.npz", "classes": 3, "image_shape": (1, 8, 8)},
    ImageFolder: {"path": "own", "classes": 3, "size": 8},
    HuggingFace: {"path": "own", "classes": 3, "size": 8},
    Gaussian: {"sigma": 0.2},
    Laplace: {"sigma": 0.2},
    UniformNoise: {"sigma": 0.2},
    GaussianSNR: {"snr": 10.0},
    Uniform: {"rate": 0.5},
    Symmetric: {"rate": 0.5},
    PairFlip: {"rate": 0.5},
    Asymmetric: {"rate": 0.5, "pairs": ((9, 1), (3, 5), (5, 3))},
    Transition: {"matrix": tuple(tuple(0.1 for _ in range(10)) for _ in range(10))},
    SignalDependent: {"sigma": 0.3},
    Swap: {"which": "all", "probability": 0.7, "threshold": 0.3},
    WideResNet: {"depth": 10, "width": 1},
    CifarResNet: {"depth": 8},
    PreActResNet: {"depth": 10},
    MobileNetV2: {"width": 0.25},
    Maxout: {"network": "student_1", "scale": 0.25},
    Torchvision: {
        "architecture": "mobilenet_v2",
        "stem": "small",
        "stages": ("features.1", "features.7"),
    },
    Timm: {
        "architecture": "mobilenetv3_small_050",
        "stem": "small",
        "stages": ("blocks.0", "blocks.2"),
    },
    CRD: {"negatives": 4},
    FromPlugin: {"factory": "nets:build"},
    StepDecay: {"period": 2},
    MultiStep: {"milestones": (2, 4)},
    PGD: {"steps": 3, "restarts": 2},
    AutoAttack: {"steps": 2, "queries": 5},
    CertifiedRadius: {"selection": 5, "samples": 20},
    OutOfDistribution: {"data": Digits()},
    OfficialCorruptions: {"kinds": ("fog", "zigzag")},
    PredictionScores: {"images": (0,), "under": SignalToNoise(ratios=(10.0,))},
    Transfer: {"attack": FGSM()},
    Occlusion: {"sides": (2, 4)},
    Proposer: {"points": 7},
    TPE: {"startup": 3},
    GP: {"startup": 3},
    CMAES: {"startup": 3, "population": 4},
    NSGAII: {"population": 4},
}
"""Values for the fields that have no default, or whose default is too large for a test; those of a
base class are for every kind of it."""


MISSING = frozenset({FromPlugin, *({Timm} if importlib.util.find_spec("timm") is None else ())})
"""Members whose library is not installed here, or whose plug-in is not loaded: what plug-ins build
is tested in tests/models/test_from_plugin.py."""


def members(union: Any) -> list[type[Value]]:
    return list(value_types(union))


def instance(kind: type[Value]) -> Any:
    given = {
        name: value
        for base in reversed(kind.__mro__)
        for name, value in FIELDS.get(base, {}).items()
    }
    lacking = [
        name
        for name, field in kind.model_fields.items()
        if field.is_required() and name not in given
    ]
    if lacking:
        pytest.fail(
            f"{kind.__name__} has no default for {', '.join(lacking)}: add an entry to "
            f"FIELDS in {__file__}"
        )
    return kind(**given)


def every(union: Any) -> pytest.MarkDecorator:
    """Runs a test once for each member, with an instance of it as ``value``."""
    return pytest.mark.parametrize(
        "kind",
        [
            pytest.param(
                kind,
                id=tag_of(kind),
                marks=pytest.mark.skipif(kind in MISSING, reason="its library is not installed"),
            )
            for kind in members(union)
        ],
    )


def each(contracts: Iterable[Contract]) -> pytest.MarkDecorator:
    """Runs a test once for each of ``contracts``, as ``contract``."""
    return pytest.mark.parametrize("contract", contracts, ids=lambda contract: contract.__name__)
