"""Values that differ by rounding only are one value."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.sweep.definition.file import without_rounding
from kdray.sweep.evaluate import load_suite
from tests.sweep.fakes import sweep_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1 + 0.2, 0.3),
        (0.1 * 3, 0.3),
        (1 - 0.9, 0.1),
        (-(0.1 + 0.2), -0.3),
        (0.3, 0.3),
        (8 / 255, 8 / 255),
        (1 / 3, 1 / 3),
        (0.5 / 255, 0.5 / 255),
        (0.123456789012345, 0.123456789012345),
        (math.pi, math.pi),
        (1e-300, 1e-300),
        (5e-324, 5e-324),
        (0.0, 0.0),
    ],
)
def test_a_decimal_missed_by_rounding_is_that_decimal(value: float, expected: float) -> None:
    found = without_rounding(value)
    assert found == expected
    assert math.copysign(1, found) == math.copysign(1, value)


def test_the_numbers_of_a_file_are_read_so_wherever_they_stand() -> None:
    sigma = 0.1 + 0.2
    sweep = sweep_of(
        {
            "experiment.noise.input": {"name": "gaussian", "sigma": sigma},
            "experiment.method.temperature": {"choice": [sigma, 0.5, 1]},
            "experiment.training.optimizer": {"name": "sgd", "learning_rate": sigma},
            "cases": [{"name": "a", "set": {"training.optimizer.momentum": sigma}}],
            "search": {
                "sampler": "random",
                "points": 2,
                "first": [{"method.temperature": sigma, "case": "a"}],
            },
            "evaluate": {"suite": [{"name": "gaussian_noise", "sigmas": [sigma, 0.5]}]},
        }
    )
    (space,), (evaluation,) = sweep.spaces, sweep.file.evaluate.suite
    assert space.tree["noise"]["input"]["sigma"] == 0.3
    assert space.tree["training"]["optimizer"] == {
        "name": "sgd",
        "learning_rate": 0.3,
        "momentum": 0.3,
    }
    assert space.distributions["method.temperature"].arguments == (0.3, 0.5, 1)
    assert evaluation.model_dump()["sigmas"] == (0.3, 0.5)


def test_a_value_and_the_same_with_rounding_are_there_twice() -> None:
    with pytest.raises(InputError, match=r"grid\[1\]: 0.3 is there twice"):
        sweep_of({"experiment.method.temperature": {"grid": [0.3, 0.1 + 0.2]}})


def test_a_suite_for_trials_that_are_there_has_the_ids_of_a_sweeps(tmp_path: Path) -> None:
    """The same file is read by ``kdray run`` and by ``kdray evaluate``."""
    evaluate = {"suite": [{"name": "gaussian_noise", "sigmas": [0.1 + 0.2]}]}
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps({"evaluate": evaluate}))
    assert load_suite(file).suite == sweep_of({"evaluate": evaluate}).file.evaluate.suite
