"""The settings in which numbers were measured, and the one place where the rows of one setting are
told from those of another: what is averaged, or drawn as one line, shares its setting.

A setting is everything that an evaluation says, but for its label and for what the numbers are
shown along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from kdray.core.wording import is_missing, listed, pixels, value_text
from kdray.results.naming import OF_TRIAL
from kdray.results.schema import KEYS, NUMBER_AXES, PARTS

LISTED_IN = {"sigmas": "sigma", "ratios": "snr", "peaks": "peak", "sides": "side"}
"""Parameters that list the values of an axis under another name than the axis has."""
NO_PART = ("name", "label", "lowest_run")
"""Parameters that say which kind of evaluation it is, how people call it, or that it gives another
number too."""
DEFAULTS = {"loss": "cross_entropy", "repeats": 1}
"""Of parameters that an older version may have written."""
AXES = tuple(axis for axis in NUMBER_AXES if axis not in {*OF_TRIAL, *PARTS, *KEYS["robustness"]})
"""Columns in which the numbers of one evaluation may differ."""
RELATIVE_STEP = "step_size / epsilon"
"""A column that stands for ``step_size`` where that grows with ``epsilon``."""
UNSAID = {"smoothing": "not smoothed", "examples": "all images"}
"""How a parameter that is not given is called; all others have a default."""
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
MAX_VALUES = 12
"""Of one parameter."""

Setting = Mapping[str, Any]
"""Parameter or axis to value."""


def by_setting(rows: pd.DataFrame, along: Sequence[str] = ()) -> list[pd.DataFrame]:
    """Return the rows of each setting, in the order in which they first appear; ``along``: the axes
    in which rows of one setting may differ."""
    columns = ["evaluation_parameters", *_axes(rows, along)]
    kind = rows.groupby(columns, dropna=False, sort=False).ngroup()
    firsts = rows[~kind.duplicated()]
    settings = [
        json.dumps(setting_of(firsts.iloc[[at]], along), sort_keys=True)
        for at in range(len(firsts))
    ]
    of_row = kind.map(dict(zip(kind.loc[~kind.duplicated()], settings, strict=True)))
    return [its for _, its in rows.groupby(of_row, sort=False)]


def setting_of(rows: pd.DataFrame, along: Sequence[str] = ()) -> Setting:
    """Return the setting of rows that share it."""
    first = rows.iloc[0]
    # An axis says which value of a list was meant, and what a default is.
    stated = {
        name: value
        for name, value in parameters(first["evaluation_parameters"]).items()
        if LISTED_IN.get(name, name) not in AXES
    }
    axes = {
        name: value.item() if hasattr(value, "item") else value
        for name in _axes(rows, along)
        if not is_missing(value := first[name])
    }
    return stated | axes


def _axes(rows: pd.DataFrame, along: Sequence[str]) -> list[str]:
    if RELATIVE_STEP in rows:
        along = [*along, "step_size"]
        return [RELATIVE_STEP, *(name for name in AXES if name not in along)]
    return [name for name in AXES if name not in along]


def parameters(text: Any) -> dict[str, Any]:
    """Return what an evaluation says besides its defaults, from the JSON in its rows, without what
    it is called."""
    given = {} if is_missing(text) else json.loads(text)
    return {
        name: value
        for name, value in given.items()
        if name not in NO_PART and value != DEFAULTS.get(name)
    }


def differing(settings: Sequence[Setting]) -> list[str]:
    """Return the parameters and axes in which ``settings`` differ, sorted."""
    names = sorted({name for setting in settings for name in setting})
    unlike = [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]
    # The version of a field that differs says nothing more.
    return [
        name
        for name in unlike
        if not name.endswith(".version") or name.removesuffix(".version") not in unlike
    ]


def setting_text(setting: Setting, names: Sequence[str]) -> str:
    """Write what a setting says of ``names``: ``100 images, not smoothed``."""
    return ", ".join(_text(name, setting) for name in names)


def _text(name: str, setting: Setting) -> str:
    if name in setting:
        return parameter_text(name, setting[name])
    return UNSAID.get(name, f"{name.replace('_', ' ')} by default")


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
