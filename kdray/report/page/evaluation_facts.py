"""How robustness was measured: every evaluation with its parameters, as its rows hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from kdray.core.wording import listed, pixels, value_text
from kdray.report.page.group import Group

PIXELS = ("epsilon", "step_size")
"""Parameters that are differences of pixel values."""
PARAMETER_NAMES = {
    "epsilon": "ε",
    "step_size": "step size",
    "sigma": "noise σ",
    "sigmas": "noise σ",
    "snr": "signal-to-noise ratio",
    "ratios": "signal-to-noise ratios",
    "peaks": "photons at white",
}
"""Names of parameters in words; of the others ``_`` becomes a space."""
ATTACK_COLUMNS = ("norm", "epsilon", "step_size", "steps", "restarts", "samples")
"""Columns that hold a parameter with its default; only attacks fill them."""
NO_PARAMETERS = ("name", "label", "split", "examples")
"""Fields of an evaluation that every description has in a place of its own."""
MAX_VALUES = 12
"""Of one parameter."""


def evaluations(group: Group) -> Iterator[tuple[str, str]]:
    """Yield name and text of each evaluation of the group's trials, in the order in which the
    table has their labels."""
    rows = group.robustness
    trials = pd.concat([group.students["trial_id"], group.teachers["trial_id"]])
    own = rows[rows["trial_id"].isin(trials) & rows["evaluation_parameters"].notna()]
    for (label, parameters), same in own.groupby(["label", "evaluation_parameters"], sort=False):
        parts = [*_settings(json.loads(str(parameters)), same), _images(same)]
        kind = same["evaluation"].iloc[0]
        yield f"Evaluation {label}", f"{kind}: {', '.join(filter(None, parts))}"


def _settings(given: dict[str, Any], rows: pd.DataFrame) -> Iterator[str]:
    """Yield each parameter that was given, and the defaults that the rows hold."""
    values = {name: rows[name].dropna().unique() for name in ATTACK_COLUMNS}
    defaults = {
        name: found[0]
        for name, found in values.items()
        if len(found) == 1 and (name, found[0]) != ("samples", 1)
    }
    stated = {name: value for name, value in given.items() if name not in NO_PARAMETERS}
    for name, value in {**defaults, **stated}.items():
        yield parameter_text(name, value)


def parameter_text(name: str, value: Any) -> str:
    """Write a parameter of an evaluation in words: ``ε 8/255``."""
    return f"{_name(name)} {_value(name, value)}"


def _name(parameter: str) -> str:
    return PARAMETER_NAMES.get(parameter, parameter.replace("_", " "))


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        fields = (
            f"{PARAMETER_NAMES.get(key, key)} {_value(key, one)}" for key, one in value.items()
        )
        return f"({', '.join(fields)})"
    if isinstance(value, list):
        return listed([_value(name, each) for each in value], MAX_VALUES)
    return pixels(value) if name in PIXELS else value_text(value)


def _images(rows: pd.DataFrame) -> str:
    """Write on how many images the evaluation was run, and of which split; nothing if unknown."""
    counts = rows[rows["class"].isna()]["examples"].dropna()
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    count = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"on {count} images of {listed(map(str, rows['split'].dropna().unique()))}"
