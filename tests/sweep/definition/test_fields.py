"""What the types of fields tell: whole numbers, and one value where other tools have a list or a
mapping."""

from __future__ import annotations

from typing import Any

import pytest

from kdray.core import InputError
from tests.sweep.fakes import ALONE, sweep_of

SEARCH = {"search": {"sampler": "random", "points": 2}}
EPOCHS = "experiment.training.epochs"
NO_LIST = "needs one value, not a list; to try several write {grid: […]} or {choice: […]}"
NO_TEACHER = NO_LIST.replace("needs one value", "input should be an experiment or null")
SEVERAL = "several values to try are written {grid: […]} or {choice: […]}"
RANGE = "a range to search is written {uniform: [low, high]}"
TEACHER = {"model": {"name": "mlp", "hidden": [16]}}
HIDDEN = {"experiment.model.hidden": [{"values": [8, 16]}]}
PGD = {"name": "pgd", "split": "val", "epsilon": 0.1, "steps": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {EPOCHS: {"uniform": [1, 5]}},
            "experiment.training.epochs.uniform: uniform gives fractions, and a whole number is "
            "needed; use randint: [1, 6]",
        ),
        (
            {"experiment.training.batch_size": {"loguniform": [16, 64.5]}},
            "experiment.training.batch_size.loguniform: loguniform gives fractions, and a whole "
            "number is needed; use lograndint: [16, 65]",
        ),
        ({EPOCHS: {"quniform": [1, 3, 0.5]}}, "or quniform with a whole low, high and step"),
        ({EPOCHS: {"quniform": [1.5, 3.5, 1]}}, "a whole number is needed"),
        (
            {"experiment.model": {"name": "cifar_resnet", "depth": {"uniform": [8, 20]}}, **ALONE},
            "experiment.model.depth.uniform: uniform gives fractions",
        ),
        (
            {"experiment.model.hidden": [{"uniform": [8, 20]}]},
            "experiment.model.hidden.0.uniform: uniform gives fractions",
        ),
        (
            {
                "experiment.method": {
                    "choice": [
                        {"name": "kd", "temperature": {"uniform": [1, 10]}},
                        {"name": "fitnet", "hint_epochs": {"uniform": [1, 3]}},
                    ]
                }
            },
            "experiment.method.hint_epochs.uniform: uniform gives fractions",
        ),
        (
            {
                "experiment.data": {"name": "cifar10", "validation": {"uniform": [1000, 5000]}},
                **ALONE,
            },
            "experiment.data.validation.uniform: uniform gives fractions, and a whole number is "
            "needed; use randint: [1000, 5001]",
        ),
        (
            {"experiment.training.monitor.suite": [{**PGD, "steps": {"uniform": [2, 6]}}]},
            "experiment.training.monitor.suite.0.steps.uniform: uniform gives fractions, and a "
            "whole number is needed; use randint: [2, 7]",
        ),
    ],
)
def test_a_range_of_fractions_on_a_whole_number_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        sweep_of(SEARCH, changes)
    assert message in str(raised.value)


def test_whole_steps_give_whole_numbers() -> None:
    sweep = sweep_of({EPOCHS: {"quniform": [1.0, 5.5, 2.0]}})
    values = list(dict.fromkeys(point.values["training.epochs"] for point in sweep.grid()))
    assert values == [1, 3, 5]
    assert all(type(value) is int for value in values)


@pytest.mark.parametrize("path", [EPOCHS, "experiment.method.temperature", "experiment.method"])
@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([1, 2], "needs one value, not a list; to try several write {grid: […]} or {choice: […]}"),
        ({"values": [1, 2]}, "several values to try are written {grid: […]} or {choice: […]}"),
        (
            {"min": 1, "max": 2},
            "a range to search is written {uniform: [low, high]}, {loguniform: [low, high]} or "
            "{randint: [low, high]}",
        ),
        ({"distribution": "uniform", "min": 1, "max": 2}, "a range to search is written {uniform"),
    ],
)
def test_what_other_tools_write_is_told_how_it_is_written_here(
    path: str, written: Any, message: str
) -> None:
    with pytest.raises(InputError) as raised:
        sweep_of({path: written})
    assert f"{path}: {message}" in str(raised.value)


@pytest.mark.parametrize(
    ("path", "written", "line"),
    [
        ("model.hidden", {"values": [[8], [16]]}, SEVERAL),
        ("model.hidden", {"min": 8, "max": 16}, RANGE),
        ("model.hidden", {"value": 8}, "needs {grid: […]}"),
        ("model.hidden.0", {"values": [8, 16]}, SEVERAL),
        ("training.transforms", {"values": [[], []]}, SEVERAL),
        ("data.omit_classes", {"values": [[1], [2]]}, SEVERAL),
        ("supervision.noise", {"values": [[], []]}, SEVERAL),
        ("training.monitor", {"suite": [{**PGD, "epsilon": {"values": [1, 2]}}]}, SEVERAL),
        ("teacher", [TEACHER], NO_TEACHER),
        ("teacher", {"values": [TEACHER]}, SEVERAL),
        ("teacher", {"value": TEACHER}, "needs {grid: […]}"),
        ("teacher.teacher", [TEACHER], NO_TEACHER),
        ("teacher.teacher", {"values": [TEACHER]}, SEVERAL),
        ("teacher.model.hidden", {"values": [[8], [16]]}, SEVERAL),
        ("model", {"name": ["mlp", "cnn"]}, NO_LIST),
        ("model", {"name": {"values": ["mlp", "cnn"]}}, SEVERAL),
        ("method", {"name": {"values": ["kd", "margin"]}}, SEVERAL),
    ],
)
def test_so_it_is_where_the_field_is_a_list_a_teacher_or_a_name(
    path: str, written: Any, line: str
) -> None:
    with pytest.raises(InputError) as raised:
        sweep_of({f"experiment.{path}": written} if path != "model.hidden.0" else HIDDEN)
    below_it = {"training.monitor": ".suite.0.epsilon"}.get(path, "")
    below_it = ".name" if isinstance(written, dict) and "name" in written else below_it
    assert str(raised.value).startswith(f"experiment.{path}{below_it}: {line}")


def test_lists_and_mappings_that_a_field_holds_stay() -> None:
    sweep_of({"experiment.model.hidden": [8, 8]}, {"experiment.data.omit_classes": [1]})
