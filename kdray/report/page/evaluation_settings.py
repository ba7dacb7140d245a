"""The settings in which numbers were measured: what all numbers of one curve or map share.

A setting is everything that an evaluation says, but for its label and for what the figure is drawn
against.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd

from kdray.core.wording import is_missing
from kdray.report.page.evaluation_facts import parameter_text
from kdray.results.naming import OF_TRIAL
from kdray.results.schema import KEYS, NUMBER_AXES, PARTS

LISTED_IN = {"sigmas": "sigma", "ratios": "snr", "peaks": "peak", "sides": "side"}
"""Parameters that list the values of an axis under another name than the axis has."""
NAMES = ("name", "label")
"""Parameters that say which kind of evaluation it is, or how people call it."""
AXES = tuple(axis for axis in NUMBER_AXES if axis not in {*OF_TRIAL, *PARTS, *KEYS["robustness"]})
"""Columns in which the numbers of one evaluation may differ."""
RELATIVE_STEP = "step_size / epsilon"
"""A column that stands for ``step_size`` where that grows with ``epsilon``."""
UNSAID = {"smoothing": "not smoothed", "examples": "all images"}
"""How a parameter that is not given is called; all others have a default."""
LETTERS_PER_INCH = 15
"""Of a panel's title."""

Setting = Mapping[str, Any]
"""Parameter or axis to value."""


class Measured(NamedTuple):
    """The numbers that were measured in one setting."""

    what: str
    """In which the setting differs from the others, in words; nothing of the only one."""
    rows: pd.DataFrame


def curves(rows: pd.DataFrame, strength: str, least: int) -> list[Measured]:
    """Return the numbers of each setting in which some trial was measured at ``least`` values of
    ``strength``, an axis. An attack may be another evaluation at each of them."""
    found = _curves(rows, strength, least)
    if strength == "epsilon":
        used = [index for its in found for index in its.index]
        rest = rows.drop(index=used)
        rest = rest[rest["epsilon"].gt(0) & rest["step_size"].notna()]
        relative = (rest["step_size"] / rest["epsilon"]).round(9)
        found += _curves(rest.assign(**{RELATIVE_STEP: relative}), strength, least)
    return _told_apart(found, [_setting_of(its, strength) for its in found])


def _curves(rows: pd.DataFrame, strength: str, least: int) -> list[pd.DataFrame]:
    return [
        # Two evaluations of one setting gave the same number where both have a strength.
        its.drop_duplicates(["trial_id", "point", strength])
        for its in _by_setting(rows, strength)
        if its.groupby("trial_id")[strength].nunique().max() >= least
    ]


def evaluations_apart(rows: pd.DataFrame) -> list[Measured]:
    """Return the numbers of each evaluation."""
    found = [its for _, its in rows.groupby("evaluation_id", sort=False)]
    return _told_apart(found, [_parameters(its["evaluation_parameters"].iloc[0]) for its in found])


def panel_title(text: str, inches: float) -> str:
    """Return ``text`` broken into lines that fit above a panel of this width."""
    return fill(text, max(1, int(inches * LETTERS_PER_INCH)))


def _by_setting(rows: pd.DataFrame, strength: str) -> list[pd.DataFrame]:
    """Return the rows of each setting, in the order in which they first appear."""
    columns = ["evaluation_parameters", *_axes(rows, strength)]
    kind = rows.groupby(columns, dropna=False, sort=False).ngroup()
    firsts = rows[~kind.duplicated()]
    settings = [
        json.dumps(_setting_of(firsts.iloc[[at]], strength), sort_keys=True)
        for at in range(len(firsts))
    ]
    of_row = kind.map(dict(zip(kind[firsts.index], settings, strict=True)))
    return [its for _, its in rows.groupby(of_row, sort=False)]


def _setting_of(rows: pd.DataFrame, strength: str) -> Setting:
    """Return the setting of rows that share it."""
    first = rows.iloc[0]
    # An axis says which value of a list was meant, and what a default is.
    stated = {
        name: value
        for name, value in _parameters(first["evaluation_parameters"]).items()
        if LISTED_IN.get(name, name) not in AXES
    }
    axes = {
        name: value.item() if hasattr(value, "item") else value
        for name in _axes(rows, strength)
        if not is_missing(value := first[name])
    }
    return stated | axes


def _axes(rows: pd.DataFrame, strength: str) -> list[str]:
    if RELATIVE_STEP in rows:
        return [RELATIVE_STEP, *(name for name in AXES if name not in (strength, "step_size"))]
    return [name for name in AXES if name != strength]


def _parameters(text: Any) -> dict[str, Any]:
    given = {} if is_missing(text) else json.loads(text)
    return {name: value for name, value in given.items() if name not in NAMES}


def _told_apart(parts: Sequence[pd.DataFrame], settings: Sequence[Setting]) -> list[Measured]:
    """Return ``parts`` with what their ``settings`` differ in, the one that says least first."""
    names = sorted({name for setting in settings for name in setting})
    unlike = [name for name in names if len({json.dumps(each.get(name)) for each in settings}) > 1]
    # The version of a field that differs says nothing more.
    differing = [
        name
        for name in unlike
        if not name.endswith(".version") or name.removesuffix(".version") not in unlike
    ]
    order = sorted(
        range(len(parts)),
        key=lambda at: (len(settings[at]), [_sortable(settings[at].get(n)) for n in differing]),
    )
    return [
        Measured(", ".join(_text(name, settings[at]) for name in differing), parts[at])
        for at in order
    ]


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Return numbers as such, before all else."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, json.dumps(value)


def _text(name: str, setting: Setting) -> str:
    if name in setting:
        return parameter_text(name, setting[name])
    return UNSAID.get(name, f"{name.replace('_', ' ')} by default")
