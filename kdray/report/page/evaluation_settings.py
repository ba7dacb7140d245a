"""The numbers of one curve or map of the report: all of one setting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd

from kdray.report.settings import (
    RELATIVE_STEP,
    Setting,
    by_setting,
    differing,
    parameters,
    setting_of,
    setting_text,
)

LETTERS_PER_INCH = 15
"""Of a panel's title."""


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
    return _told_apart(found, [setting_of(its, [strength]) for its in found])


def _curves(rows: pd.DataFrame, strength: str, least: int) -> list[pd.DataFrame]:
    return [
        # Two evaluations of one setting gave the same number where both have a strength.
        its.drop_duplicates(["trial_id", "point", strength])
        for its in by_setting(rows, [strength])
        if its.groupby("trial_id")[strength].nunique().max() >= least
    ]


def evaluations_apart(rows: pd.DataFrame) -> list[Measured]:
    """Return the numbers of each evaluation."""
    found = [its for _, its in rows.groupby("evaluation_id", sort=False)]
    return _told_apart(found, [parameters(its["evaluation_parameters"].iloc[0]) for its in found])


def panel_title(text: str, inches: float) -> str:
    """Return ``text`` broken into lines that fit above a panel of this width."""
    return fill(text, max(1, int(inches * LETTERS_PER_INCH)))


def _told_apart(parts: Sequence[pd.DataFrame], settings: Sequence[Setting]) -> list[Measured]:
    """Return ``parts`` with what their ``settings`` differ in, the one that says least first."""
    unlike = differing(settings)
    order = sorted(
        range(len(parts)),
        key=lambda at: (len(settings[at]), [_sortable(settings[at].get(n)) for n in unlike]),
    )
    return [Measured(setting_text(settings[at], unlike), parts[at]) for at in order]


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Return numbers as such, before all else."""
    if isinstance(value, int | float):
        return False, value, ""
    return True, 0, json.dumps(value)
