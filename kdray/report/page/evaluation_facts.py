"""What was measured and how: every evaluation with its parameters, as they are stored beside its
numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from kdray.core.wording import listed, pixels, value_text
from kdray.report.page.group import Group

PIXELS = ("epsilon", "step_size")
"""Parameters that are differences of pixel values."""
SAID = {
    "epsilon": "ε",
    "step_size": "step size",
    "sigma": "noise σ",
    "sigmas": "noise σ",
    "snr": "signal-to-noise ratio",
    "ratios": "signal-to-noise ratios",
    "peaks": "photons at white",
}
"""Names of parameters in words; of the others ``_`` becomes a space."""
TYPED = ("norm", "epsilon", "step_size", "steps", "restarts", "samples")
"""Columns that hold a parameter with its default; attacks alone have them."""
APART = ("name", "label", "split", "examples")
"""What is said of every evaluation in a place of its own."""


def evaluations(group: Group) -> Iterator[tuple[str, str]]:
    """Name and text of each evaluation of the group's trials, in the order of their labels in the
    table."""
    numbers = group.results.robustness()
    trials = pd.concat([group.students["trial_id"], group.teachers["trial_id"]])
    own = numbers[numbers["trial_id"].isin(trials) & numbers["parameters"].notna()]
    for (label, parameters), rows in own.groupby(["label", "parameters"], sort=False):
        kind = str(rows["evaluation"].iloc[0])
        told = [*_settings(json.loads(str(parameters)), rows), _images(rows)]
        yield f"Evaluation {label}", f"{kind}: {', '.join(filter(None, told))}"


def _settings(given: dict[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """What was given, and the defaults that the rows hold."""
    stated = {name: rows[name].dropna().unique() for name in TYPED}
    known = {
        name: values[0]
        for name, values in stated.items()
        if len(values) == 1 and (name, values[0]) != ("samples", 1)
    }
    for name, value in {
        **known,
        **{name: value for name, value in given.items() if name not in APART},
    }.items():
        yield f"{SAID.get(name, name.replace('_', ' '))} {_value(name, value)}"


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        facts = (f"{SAID.get(key, key)} {_value(key, inner)}" for key, inner in value.items())
        return f"({', '.join(facts)})"
    if isinstance(value, list):
        return listed([_value(name, each) for each in value], 12)
    return pixels(value) if name in PIXELS else value_text(value)


def _images(rows: pd.DataFrame) -> str:
    """On how many, and of which split."""
    whole = rows[rows["class"].isna()]["examples"].dropna()
    if whole.empty:
        return ""
    low, high = int(whole.min()), int(whole.max())
    count = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return (
        f"on {count} images of {listed([f'{split}' for split in rows['split'].dropna().unique()])}"
    )
