"""How robustness was measured: every evaluation with its parameters, as its rows hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from kdray.core.wording import listed
from kdray.report.page.group import Group
from kdray.report.settings import parameter_text

ATTACK_COLUMNS = ("norm", "epsilon", "step_size", "steps", "restarts", "samples")
"""Columns that hold a parameter with its default; only attacks fill them."""
NO_PARAMETERS = ("name", "label", "split", "examples")
"""Fields of an evaluation that every description has in a place of its own."""


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


def _images(rows: pd.DataFrame) -> str:
    """Write on how many images the evaluation was run, and of which split; nothing if unknown."""
    counts = rows[rows["class"].isna()]["examples"].dropna()
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    count = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"on {count} images of {listed(map(str, rows['split'].dropna().unique()))}"
