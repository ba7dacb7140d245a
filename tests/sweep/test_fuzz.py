"""Whatever is written in a sweep file: it is read, or refused with one line. Never anything else."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kdray.core import InputError
from kdray.sweep.definition import Sweep, sweep_from
from kdray.sweep.space import put
from tests.sweep.fakes import TINY, changed

GOOD = changed(TINY, {
    "search": {"sampler": "random", "points": 3},
    "objective": {"metric": "clean.accuracy", "mode": "max"},
    "resources": {"teacher": {"cpu": 1}, "student": {"gpu": 0.5}},
    "cases": [{"name": "a"}, {"name": "b", "set": {"method.alpha": {"uniform": [0, 1]}}}],
    "experiment.training.schedule": {"name": "multi_step", "milestones": [1]},
    "experiment.model.dropout": {"same": "noise.input.sigma"},
})  # fmt: skip


def branches(node: Any, path: str = "") -> list[str]:
    """The path of every mapping and every leaf."""
    parts = node.items() if isinstance(node, dict) else ()
    below = [branches(part, f"{path}.{key}" if path else key) for key, part in parts]
    return [path] * bool(path) + [each for some in below for each in some]


PATHS = branches({key: part for key, part in GOOD.items() if key != "cases"})
WORDS = st.sampled_from([
    "name", "seed", "seeds", "select", "teacher", "data", "model", "grid", "choice", "uniform", "randint", "quniform", "same",
    "kd", "mlp", "digits", "wide_resnet", "x", "", ".", "experiment", "training.epochs", "noise.input.sigma", "\ud800", "[b]",
])  # fmt: skip
NUMBERS = (
    st.integers(-3, 300) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([10**30, 1e308, -0.0])
)
# Ranges are small: listing a huge finite one takes all memory, see the report on Distribution.finite.
RANGES = st.one_of(
    st.fixed_dictionaries({"grid": st.lists(NUMBERS | WORDS, max_size=3)}),
    st.fixed_dictionaries({"uniform": st.lists(NUMBERS, max_size=3)}),
    st.fixed_dictionaries({"randint": st.lists(st.integers(-3, 9), max_size=3)}),
    st.fixed_dictionaries({"quniform": st.lists(st.integers(-3, 9), max_size=3)}),
    st.fixed_dictionaries({"same": st.sampled_from(PATHS) | WORDS}),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | RANGES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def read(tree: Any, **options: Any) -> Sweep | None:
    """A sweep, or none if it was refused as it should be."""
    try:
        return sweep_from(tree, **options)
    except InputError as error:
        said = str(error)
    assert said
    assert "\n" not in said, "one line"
    return None


def put_or_leave(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    try:
        return put(tree, path, value)
    except InputError:
        return tree  # into a list only the number of an item leads


def test_what_is_changed_here_was_good() -> None:
    assert read(GOOD) is not None


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=3))
@example({"name": "\ud800"})
def test_a_changed_value_is_read_or_refused_in_one_line(changes: dict[str, Any]) -> None:
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        tree = put_or_leave(tree, path, value)
    read(tree)


@given(st.sampled_from(PATHS), WORDS, VALUES)
def test_an_added_key_is_read_or_refused_in_one_line(path: str, key: str, value: Any) -> None:
    tree = put_or_leave(copy.deepcopy(GOOD), f"{path}.{key}", value)
    read(tree)


@given(st.lists(st.sampled_from(PATHS), min_size=1, max_size=3))
def test_what_is_left_out_is_read_or_refused_in_one_line(paths: list[str]) -> None:
    tree = copy.deepcopy(GOOD)
    for path in paths:
        *above, last = path.split(".")
        node: Any = tree
        for key in above:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node.pop(last, None)
    read(tree)


@given(VALUES)
def test_cases_of_anything_are_read_or_refused_in_one_line(value: Any) -> None:
    for cases in (value, [value], [{"name": "a", "set": value}], [{"name": "a", "set": {"model": value}}]):
        tree = {**copy.deepcopy(GOOD), "cases": cases}
        read(tree)


@given(VALUES)
def test_anything_at_all_is_refused_in_one_line(tree: Any) -> None:
    assert read(tree) is None


@given(st.sampled_from(PATHS) | WORDS, VALUES)
def test_any_override_is_read_or_refused_in_one_line(path: str, value: Any) -> None:
    read(GOOD, set=[f"{path}={json.dumps(value)}"])


@given(st.dictionaries(st.sampled_from(PATHS), VALUES, min_size=1, max_size=2))
def test_a_changed_value_is_read_or_refused_by_a_smoke_test_too(changes: dict[str, Any]) -> None:
    tree = copy.deepcopy(GOOD)
    for path, value in changes.items():
        tree = put_or_leave(tree, path, value)
    read(tree, smoke=True)


def test_a_very_long_path_is_refused() -> None:
    read(TINY, set=[f"model{'.a' * 3000}=1"])
