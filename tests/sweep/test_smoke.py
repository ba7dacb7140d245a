"""``--smoke``: every shipped sweep becomes a small one of digits that is valid and needs nothing that this machine lacks."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kdray.core import parse
from kdray.data import AnyData, Digits
from kdray.sweep.definition import Sweep, data_of, load_sweep, sweep_from
from kdray.sweep.planning import chain
from kdray.sweep.smoke import digits_like, shrink
from tests.sweep.fakes import TINY, changed

FILES = sorted((Path(__file__).parents[2] / "sweeps").rglob("*.yaml"))
MOST_TRIALS = 60


def trials(sweep: Sweep) -> int:
    search = sweep.file.search
    points = search.points or len(list(sweep.grid()))
    return points * sweep.file.seeds + len(chain(sweep))


def test_there_are_sweeps_to_shrink() -> None:
    assert "quickstart.yaml" in [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_shipped_sweep_becomes_small_and_stays_what_it_is(path: Path) -> None:
    full, small = load_sweep(path), load_sweep(path, smoke=True)
    assert small.name == full.name
    assert small.file.seeds == min(full.file.seeds, 2)
    assert max(choice.seeds for choice in small.choices) <= 2
    assert trials(small) <= min(MOST_TRIALS, trials(full))
    assert [space.case for space in small.spaces] == [space.case for space in full.spaces]
    assert [data.shape for data in data_of(small)] == [data.shape for data in data_of(full)]
    for data in data_of(small):
        assert isinstance(data, Digits)
        assert data.examples == 200
    for role in ("teacher", "student"):
        assert getattr(small.file.resources, role).gpu == 0
    assert [e.label for e in small.file.evaluate.suite] == [e.label for e in full.file.evaluate.suite]
    assert all(evaluation.examples == 32 for evaluation in small.file.evaluate.suite)
    for point in small.grid():
        for described in (*small.candidates(point), small.student(point, 0, next(iter(small.candidates(point)), None))):
            assert described.training.epochs <= 2
            assert described.training.batch_size <= 32


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_of_every_list_the_ends_are_left(path: Path) -> None:
    full, small = load_sweep(path), load_sweep(path, smoke=True)
    for large, little in zip(full.spaces, small.spaces, strict=True):
        for name, leaf in large.distributions.items():
            if leaf.kind in ("grid", "choice") and not name.endswith(("epochs", "batch_size")):
                assert little.distributions[name].arguments == tuple(dict.fromkeys((leaf.edges[0], leaf.edges[-1])))


def test_shrinking_leaves_the_file_as_it_was_and_is_done_once() -> None:
    before = copy.deepcopy(TINY)
    assert shrink(shrink(TINY)) == shrink(TINY)
    assert before == TINY


@pytest.mark.parametrize(
    ("data", "like"),
    [
        ({"name": "mnist"}, {"resize": 28, "channels": 1}),
        (
            {"name": "cifar10", "augment": "crop_flip", "validation": 5000},
            {"resize": 32, "channels": 3, "augment": "crop_flip"},
        ),
        ({"name": "usps", "resize": 8, "channels": 3}, {"resize": 8, "channels": 3}),
        ({"name": "cifar10", "normalization": "none"}, {"resize": 32, "channels": 3, "normalization": "none"}),
    ],
)
def test_digits_take_the_shape_of_the_data_that_they_stand_for(data: dict[str, Any], like: dict[str, Any]) -> None:
    small = digits_like(data)
    assert small == {"name": "digits", "examples": 200, **like}
    described: Any = parse(AnyData, data)  # type: ignore[arg-type]  # a union of types
    assert parse(AnyData, small).shape == described.shape  # type: ignore[arg-type]


def test_a_swept_number_of_epochs_is_two_and_points_of_a_search_are_few() -> None:
    tree = changed(TINY, {
        "experiment.training.epochs": {"grid": [100, 200, 300]},
        "search": {"sampler": "tpe", "points": 40, "startup": 10},
        "experiment.noise.input.sigma": {"uniform": [0, 1]},
    })  # fmt: skip
    small = sweep_from(tree, smoke=True)
    assert "training.epochs" not in small.spaces[0].distributions
    assert (small.file.search.points, small.file.search.startup) == (4, 2)


def test_the_case_of_other_data_is_digits_too() -> None:
    tree = changed(TINY, {
        "experiment.data": {"name": "mnist"},
        "cases": [{"name": "a"}, {"name": "b", "set": {"data": {"name": "fashion_mnist", "resize": 14}}}],
    })  # fmt: skip
    assert [(data.name, data.shape) for data in data_of(sweep_from(tree, smoke=True))] == [
        ("digits", (1, 28, 28)), ("digits", (1, 14, 14)),
    ]  # fmt: skip


def test_what_is_no_sweep_is_left_to_validation() -> None:
    for tree in ({}, {"experiment": 3}, {"cases": 3}, {"evaluate": []}, {"evaluate": {"suite": 3}}, {"cases": [3]}):
        assert shrink(tree) == tree


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"experiment.data": {"name": {"grid": ["mnist", "fashion_mnist"]}}}, id="swept name: TypeError"),
        pytest.param({"experiment.data": {"grid": [{"name": "mnist"}, {"name": "fashion_mnist"}]}}, id="list of data"),
        pytest.param({"cases": [{"name": "a", "set": {"data.name": "fashion_mnist"}}]}, id="data.name in a case"),
        pytest.param(
            {"cases": [{"name": "a", "set": {"teacher": {
                "model": {"name": "mlp"}, "data": {"name": "fashion_mnist"}}}}]}, id="data of a teacher in a case",
        ),
    ],
)  # fmt: skip
def test_a_smoke_test_needs_no_data_however_they_are_named(changes: dict[str, Any]) -> None:
    sweep = sweep_from(changed(changed(TINY, {"experiment.data": {"name": "mnist"}}), changes), smoke=True)
    assert {data.name for data in data_of(sweep)} == {"digits"}


def test_a_swept_number_of_epochs_in_a_case_is_two() -> None:
    case = {"name": "long", "set": {"training.epochs": {"grid": [200, 300]}}}
    small = sweep_from(changed(TINY, {"cases": [case]}), smoke=True)
    assert [small.candidates(point)[0].training.epochs for point in small.grid()] == [2, 2]


def test_a_countable_range_becomes_its_ends() -> None:
    assert shrink({"experiment": {"a": {"quniform": [0, 1, 0.01]}, "b": {"randint": [1, 9]}}})["experiment"] == {
        "a": {"grid": [0.0, 1.0]},
        "b": {"grid": [1, 8]},
    }
