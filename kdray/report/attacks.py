"""One robust accuracy per trained model, where several attacks were run."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from kdray.report.data import Snapshot

ATTACK = ["norm", "epsilon", "steps", "restarts"]
"""What two attacks must share to be one, whatever their labels and step sizes."""


def attacks(snapshot: Snapshot, trials: pd.DataFrame, label: str | None = None) -> list[pd.DataFrame]:
    """Of every white-box PGD (of this label) on the plain form of ``trials`` a frame: those that it attacked, a row each, with
    the accuracy as ``value``, the lowest over the step sizes, each the worst of its restarts per image.

    First the attack that most of them have, of several such the strongest.
    """
    rows = snapshot.measured(trials.assign(of_trials=np.arange(len(trials))), evaluation="pgd", label=label)
    smoothed = {text: "smoothing" in json.loads(text) for text in rows["parameters"].dropna().unique()}
    plain = rows["source_trial_id"].isna() & ~rows["parameters"].map(smoothed).eq(True)
    found = []
    for _, same in rows[plain].groupby(ATTACK, dropna=False):
        lowest = same.groupby("of_trials")["value"].idxmin()
        found.append(same.loc[lowest].drop(columns="of_trials").reset_index(drop=True))
    return sorted(found, key=lambda each: (-each["trial_id"].nunique(), each["value"].mean()))


def under_pgd(snapshot: Snapshot, trials: pd.DataFrame, label: str | None = None) -> pd.DataFrame:
    """The first of :func:`attacks`: numbers that can be compared; empty if there are none."""
    found = attacks(snapshot, trials, label)
    return found[0] if found else snapshot.measured(trials.head(0))


def attack_text(rows: pd.DataFrame) -> str:
    """What :func:`under_pgd` took, for a caption: "PGD-20, ℓ∞, ε = 8/255, step size 2/255, worst of 5 starts"."""
    if rows.empty:
        return "PGD"
    first = rows.iloc[0]
    sizes = " or ".join(in_255ths(size) for size in sorted(rows["step_size"].dropna().unique()))
    restarts = f"worst of {first['restarts']:.0f} starts" if first["restarts"] > 1 else "one start"
    return f"{attack_name(rows)}, step size {sizes}, {restarts}"


def attack_name(rows: pd.DataFrame) -> str:
    """The same, short enough for an axis: "PGD-20, ℓ∞, ε = 8/255"."""
    first = rows.iloc[0]
    norm = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}.get(first["norm"], str(first["norm"]))
    return f"PGD-{first['steps']:.0f}, {norm}, ε = {in_255ths(first['epsilon'])}"


def in_255ths(value: float) -> str:
    """``8/255`` where that is what the number is, else the number."""
    steps = value * 255
    meant = 0 < round(steps) < 255 and abs(steps - round(steps)) < 1e-6
    return f"{round(steps)}/255" if meant else f"{value:g}"
