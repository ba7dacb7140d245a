"""The JSON Schema of a sweep file, as an editor uses it."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kdray.core.yaml import parse_text, read_yaml
from kdray.sweep.definition.plugins import load_plugin, unload_plugin
from kdray.sweep.definition.schema import sweep_schema
from kdray.sweep.definition.tree import put
from tests.shipped import PLUGINS, SWEEPS

QUICKSTART = next(path for path in SWEEPS if path.name == "quickstart.yaml")


@cache
def validator() -> Draft202012Validator:
    schema = sweep_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(json.loads(json.dumps(schema)))


def valid(tree: Any) -> bool:
    return bool(validator().is_valid(json.loads(json.dumps(tree))))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_sweep_is_valid_and_names_the_schema(path: Path) -> None:
    assert valid(read_yaml(path))
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == (
        PLUGINS.parents[1] / "kdray.schema.json"
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("experiment.model.dropout", "{uniform: [0.0, 0.5]}"),
        ("experiment.model.dropout", "{choice: [0.0, 0.5]}"),
        ("experiment.model", "{name: {grid: [mlp, cnn]}}"),
        ("experiment.model", "{grid: [{name: mlp, hidden: [8]}, {name: cnn}]}"),
        ("experiment.noise.input", "{grid: [null, {name: gaussian, sigma: {uniform: [0, 1]}}]}"),
        ("experiment.noise.input.sigma", "{same: training.optimizer.learning_rate}"),
        ("experiment.teacher.training.optimizer.learning_rate", "1/64"),
        ("experiment.teacher.seeds", "3"),
        ("experiment.teacher", "{weights: wrn.safetensors, model: {name: mlp}}"),
        ("experiment.teacher", "{weights: {grid: [a.pt, b.pt]}, model: {name: mlp}}"),
        ("experiment.teacher", "{grid: [{weights: a.pt, model: {name: mlp}}, {seeds: 2}, null]}"),
        ("objective", "[{metric: val_accuracy}, {metric: clean.accuracy, mode: min}]"),
        ("search", "{sampler: tpe, points: 5}"),
        ("search", "{early_stopping: null}"),
        ("seeds", "[1, 2]"),
    ],
)
def test_what_kdray_takes_is_valid(path: str, text: str) -> None:
    assert valid(put(copy.deepcopy(read_yaml(QUICKSTART)), path, parse_text(text, path)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("experiment.model.dropot", "0.5"),
        ("experiment.model.dropout", "half"),
        ("experiment.model.dropout", "{uniform: [0.0]}"),
        ("experiment.model.dropout", "{normal: [0.0, 1.0]}"),
        ("experiment.model.name", "perceptron"),
        ("experiment.seed", "1"),
        ("experiment.teacher.select", "the_best"),
        ("experiment.teacher", "{weights: 3, model: {name: mlp}}"),
        ("experiment.teacher", "{wieghts: a.pt, model: {name: mlp}}"),
        ("search", "{sampler: bayes, points: 5}"),
        ("search", "{points: 5}"),
        ("evaluate.suite", "[{epsilon: 0.1}]"),
        ("evaluate.suite", "[{name: pgd, epsilon: far}]"),
        ("seed", "3"),
    ],
)
def test_what_is_misspelt_is_not(path: str, text: str) -> None:
    assert not valid(put(copy.deepcopy(read_yaml(QUICKSTART)), path, parse_text(text, path)))


def test_a_field_has_the_words_that_stand_below_it_in_the_code() -> None:
    definitions = sweep_schema()["$defs"]
    sigma = definitions["swept.Gaussian"]["properties"]["sigma"]
    assert sigma["description"] == "Standard deviation, for images in [0, 1]."
    own = definitions["swept.MLP"]["properties"]["input_sigma"]["description"]
    assert own.startswith("Standard deviation of Gaussian noise that the model itself adds")


def test_members_of_a_plugin_are_in_it() -> None:
    tree = json.loads(json.dumps(read_yaml(PLUGINS / "my_lab.yaml")))
    assert not Draft202012Validator(sweep_schema()).is_valid(tree)
    plugin = load_plugin(PLUGINS / "my_lab.py")
    try:
        assert Draft202012Validator(sweep_schema()).is_valid(tree)
    finally:
        unload_plugin(plugin)
