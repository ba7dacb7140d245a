"""Which data sets accuracies were measured on: only those of one data set are compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from kdray.core.wording import value_text

TRAINING_ONLY = (
    "augment",
    "normalization",
    "omit_classes",
    "train_examples",
    "train_per_class",
    "train_sample_seed",
)
"""Fields of a data set that leave the images alone on which accuracies are measured."""


def different(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How two data sets differ, in one line."""
    return f"different data cannot be compared: {_in_words(one, other)} and {_in_words(other, one)}"


def data_of(experiment: str) -> dict[str, Any]:
    """What an experiment's accuracies are measured on."""
    data = json.loads(experiment).get("data") or {}
    return {name: value for name, value in data.items() if name not in TRAINING_ONLY}


def data_sets(experiments: pd.Series[str]) -> pd.Series[str]:
    """The same of each experiment, as JSON; none where the experiment is not known."""
    kinds = experiments.dropna().unique()
    texts = {text: json.dumps(data_of(text), sort_keys=True) for text in kinds}
    return experiments.map(texts).astype(object)


def _in_words(data: dict[str, Any], other: dict[str, Any]) -> str:
    """A data set with the fields in which it differs from the ``other``."""
    differing = {
        name: value for name, value in data.items() if name != "name" and other.get(name) != value
    }
    listed = (f"data.{name}={json.dumps(value)}" for name, value in sorted(differing.items()))
    stated = ", ".join(listed)
    return f"{data.get('name')} ({stated})" if stated else str(data.get("name"))


def told_apart(kinds: Sequence[dict[str, Any]]) -> list[str]:
    """For each data set, the fields in which those of its name differ."""
    found = []
    for kind in kinds:
        others = [each for each in kinds if each.get("name") == kind.get("name")]
        names = sorted({name for each in others for name in each})
        differing = [
            name for name in names if any(each.get(name) != kind.get(name) for each in others)
        ]
        stated = (
            f"{name} {_exactly(kind[name])}" if name in kind else f"{name} by default"
            for name in differing
        )
        found.append(", ".join(stated))
    return found


def _exactly(value: Any) -> str:
    """A value so that no other is written alike."""
    return repr(value) if isinstance(value, float) else value_text(value)


def test_sets(experiments: pd.Series[str]) -> pd.Series[str]:
    """What accuracies on test images are measured on, the validation split taken out of training
    images left aside, as JSON; none where the experiment is not known."""
    texts = {text: _test_set(text) for text in data_sets(experiments).dropna().unique()}
    return data_sets(experiments).map(texts).astype(object)


def _test_set(data_set: str) -> str:
    fields = json.loads(data_set)
    fields.pop("validation", None)
    return json.dumps(fields, sort_keys=True)


def test_set_names(trials: pd.DataFrame) -> pd.Series[str]:
    """The name of the data set of each of ``trials``, with the fields in which its test images
    differ from others of that name among them."""
    kinds = test_sets(trials["experiment"])
    texts = list(kinds.dropna().unique())
    apart = told_apart([json.loads(text) for text in texts])
    stated = dict(zip(texts, (f" ({fields})" if fields else "" for fields in apart), strict=True))
    return trials["data.name"] + [stated.get(kind, "") for kind in kinds]
