"""The details of every trial, compact, for the script that shows one when it is opened.

Texts that trials share (lines of configuration, names of numbers, reasons) stand in ``texts`` once;
everything else refers to them by their number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from kdray.core.wording import is_missing
from kdray.report.page.group import Group
from kdray.report.page.rerun_file import rerun_blocks

CURVES = ("train_accuracy", "val_accuracy", "loss", "val_loss")
SIGNIFICANT_DIGITS = 4
MAX_NUMBERS = 400
"""Of one trial; single classes and images beyond that stay in the tables."""


class Texts:
    """The texts of a page, each of which is held once."""

    def __init__(self) -> None:
        self.all: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the number of ``text``, a new one for a new text."""
        return self.all.setdefault(text, len(self.all))


def details(groups: list[Group]) -> dict[str, Any]:
    """Return ``texts``, ``trials`` (by id all that the page shows of one) and ``points``."""
    texts, out = Texts(), {}
    if not groups:
        return {"texts": [], "trials": {}, "points": {}}
    epochs = dict(list(groups[0].results.epochs().groupby("trial_id")))
    points: dict[str, Any] = {}
    for index, group in enumerate(groups):
        numbers, suites = _numbers(group, texts), _suites(group)
        for row in group.trials:
            trial_id = row["trial_id"]
            if not is_missing(row["point"]):
                point = int(row["point"])
                new = {"about": group.about(point), "sweep": group.title, "trials": []}
                trials = points.setdefault(f"{index}-{point}", new)["trials"]
                if not is_missing(trial_id):  # of a point that could not be trained there is none
                    trials.append(trial_id)
            if trial_id in out or is_missing(row["status"]):
                continue
            out[trial_id] = _trial(
                row,
                numbers.get(trial_id, []),
                suites.get(trial_id, []),
                epochs.get(trial_id),
                texts,
            )
    return {"texts": list(texts.all), "trials": out, "points": points}


def _trial(
    row: dict[str, Any],
    numbers: list[list[Any]],
    suite: list[tuple[str, str]],
    epochs: pd.DataFrame | None,
    texts: Texts,
) -> dict[str, Any]:
    facts = {
        "role": row["role"],
        "status": row["status"],
        "seed": row["seed"],
        "error": row["error"],
        "teacher": row["teacher_id"],
        "val": row["val_accuracy"],
        "test": row["test_accuracy"],
        "parameters": row["parameters"],
        "seconds": row["train_seconds"],
    }
    out = {name: _plain(value) for name, value in facts.items() if not is_missing(value)}
    where = [row[name] for name in ("device", "host") if not is_missing(row[name])]
    out["where"] = texts.number(", ".join(where))
    if not is_missing(row["git_commit"]):
        out["commit"] = texts.number(row["git_commit"])
    out["file"] = [
        texts.number(block)
        for block in rerun_blocks(row, row if row["role"] == "student" else None, suite)
    ]
    if epochs is not None:
        out["epochs"] = {
            name: [_plain(value, 3) for value in epochs[name]]
            for name in CURVES
            if epochs[name].notna().any()
        }
        stages = epochs["stage"].value_counts(sort=False)
        if len(stages) > 1:
            out["stages"] = [[str(name), int(count)] for name, count in stages.items()]
    if numbers:
        out["numbers"] = numbers
    return out


def _suites(group: Group) -> dict[str, list[tuple[str, str]]]:
    """Return by trial the evaluations that measured it by itself after training: label and
    JSON."""
    rows = group.robustness
    own = rows[
        rows["epoch"].isna()
        & rows["source_trial_id"].isna()
        & rows["evaluation_parameters"].notna()
    ]
    found: dict[str, list[tuple[str, str]]] = {}
    once = own.drop_duplicates(["trial_id", "evaluation_id"])[
        ["trial_id", "label", "evaluation_parameters"]
    ]
    for trial_id, label, parameters in once.itertuples(index=False, name=None):
        found.setdefault(trial_id, []).append((label, parameters))
    return found


def _numbers(group: Group, texts: Texts) -> dict[str, list[list[Any]]]:
    """Return by trial [name, value, low, high, examples, check or error] of each number, cut after
    the last that is known."""
    rows = group.robustness
    rows = rows[rows["class"].isna() & rows["image"].isna() & rows["epoch"].isna()]
    named = rows.join(group.results.numbers(group.sweep)["column"])
    names = named["column"].fillna(rows["label"] + ": no number")
    notes = rows["error"].fillna(rows["checks"])
    found: dict[str, list[list[Any]]] = {}
    columns = zip(
        rows["trial_id"],
        names,
        rows["value"],
        rows["low"],
        rows["high"],
        rows["examples"],
        notes,
        strict=True,
    )
    for trial_id, name, value, low, high, examples, note in columns:
        own = found.setdefault(trial_id, [])
        if len(own) == MAX_NUMBERS:
            continue
        row = [texts.number(name), _plain(value), _plain(low, 3), _plain(high, 3), _plain(examples)]
        row.append(None if is_missing(note) else texts.number(note))
        while row[-1] is None:
            row.pop()
        own.append(row)
    return found


def _plain(value: Any, digits: int = SIGNIFICANT_DIGITS) -> Any:
    """Return a number for JSON, rounded; None for what is missing or not finite."""
    if is_missing(value):
        return None
    if isinstance(value, float):  # numpy's are too
        if not math.isfinite(value):
            return None
        return (
            int(value)
            if value == int(value) and abs(value) < 1e15
            else float(f"{value:.{digits}g}")
        )
    return int(value) if isinstance(value, np.integer) else value
