"""One robust accuracy per trained model, where several attacks were run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from kdray.core.wording import pixels
from kdray.report.papers.snapshot import Snapshot
from kdray.report.settings import by_setting, differing, parameters, setting_of, setting_text

ATTACK_COLUMNS = ["norm", "epsilon", "steps", "restarts", "samples", "dataset", "examples"]
"""Columns that two attacks must share to be one, besides their setting, whatever their labels and
step sizes."""
IN_COLUMNS = {*ATTACK_COLUMNS, "split", "step_size"}
"""Fields of a PGD that have a column."""
COMPARED, LEFT_OUT = "step sizes compared", "step sizes left out"
"""The columns with the step sizes, in words, that all and that only some of the attacked trials
have."""


def attacks(snapshot: Snapshot, trials: pd.DataFrame) -> list[pd.DataFrame]:
    """The white-box PGD attacks on ``trials`` without smoothing, a frame each with a row per trial
    that it attacked: the accuracy as ``value``, the lowest over the step sizes that all of these
    have, each the worst of its restarts per image. Where they share none, each step size is an
    attack of its own.

    First the attack that most of them have, of several such the strongest.
    """
    rows = snapshot.measured(trials.assign(of_trials=np.arange(len(trials))), evaluation="pgd")
    texts = rows["evaluation_parameters"]
    smoothed = {text: "smoothing" in parameters(text) for text in texts.dropna().unique()}
    plain = rows["source_trial_id"].isna() & ~texts.map(smoothed).eq(True)
    found = []
    for _, alike in rows[plain].groupby(ATTACK_COLUMNS, dropna=False):
        for same in by_setting(alike, ["step_size"]):
            found += [_lowest(each) for each in _of_equal_strength(same)]
    return sorted(found, key=lambda each: (-each["trial_id"].nunique(), each["value"].mean()))


def _of_equal_strength(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of one attack at the step sizes that all its trials have, or where there is no such
    size at each size; the columns :data:`COMPARED` and :data:`LEFT_OUT` say so."""
    having = rows.groupby("step_size", dropna=False)["of_trials"].nunique()
    shared = list(having.index[having.eq(rows["of_trials"].nunique())])
    found = []
    for kept in [shared] if shared else [[size] for size in having.index]:
        is_kept = rows["step_size"].isin(kept)
        told = {
            name: " or ".join(pixels(size) for size in sorted(sizes.dropna().unique()))
            for name, sizes in (
                (COMPARED, rows.loc[is_kept, "step_size"]),
                (LEFT_OUT, rows.loc[~is_kept, "step_size"]),
            )
        }
        found.append(rows[is_kept].assign(**told))
    return found


def _lowest(rows: pd.DataFrame) -> pd.DataFrame:
    """Each trial's row with the lowest accuracy."""
    lowest = rows.groupby("of_trials")["value"].idxmin()
    return rows.loc[lowest].drop(columns="of_trials").reset_index(drop=True)


def under_pgd(snapshot: Snapshot, trials: pd.DataFrame) -> pd.DataFrame:
    """The first of :func:`attacks`: numbers that can be compared; empty if there are none."""
    found = attacks(snapshot, trials)
    return found[0] if found else snapshot.measured(trials.head(0))


def attack_text(rows: pd.DataFrame) -> str:
    """The attack of :func:`under_pgd` in words, for a caption: "PGD-20, ℓ∞, ε = 8/255, 10000
    images, step size 2/255, worst of 5 starts"."""
    if rows.empty:
        return "PGD"
    first = rows.iloc[0]
    restarts = f"worst of {first['restarts']:.0f} starts" if first["restarts"] > 1 else "one start"
    told = f"{attack_name(rows)}, step size {first[COMPARED]}, {restarts}"
    others = first[LEFT_OUT]
    return f"{told} (left out: step size {others}, of some models only)" if others else told


def left_out_text(found: Sequence[pd.DataFrame]) -> str:
    """Sentences that follow in a caption: the step sizes that the numbers of :func:`attacks` are
    without."""
    names = attack_names(found)
    return "".join(
        f" Left out of {name}: step size {rows[LEFT_OUT].iloc[0]}, of some models only."
        for name, rows in zip(names, found, strict=True)
        if rows[LEFT_OUT].iloc[0]
    )


def attack_names(found: Sequence[pd.DataFrame]) -> list[str]:
    """The :func:`attack_name` of each of :func:`attacks`, with what tells it from others that have
    the same."""
    names = list(map(attack_name, found))
    settings = [
        {**setting_of(rows, ["step_size"]), "dataset": rows["dataset"].iloc[0]} for rows in found
    ]
    alike = [
        [setting for other, setting in zip(names, settings, strict=True) if other == name]
        for name in names
    ]
    apart = [
        ", ".join(filter(None, [name, setting_text(setting, differing(others))]))
        for name, setting, others in zip(names, settings, alike, strict=True)
    ]
    # Attacks of one setting are of a step size each.
    return [
        name if apart.count(name) == 1 else f"{name}, step size {rows[COMPARED].iloc[0]}"
        for name, rows in zip(apart, found, strict=True)
    ]


def attack_name(rows: pd.DataFrame) -> str:
    """The attack, short enough for an axis: "PGD-20, ℓ∞, ε = 8/255, 10000 images", or AutoAttack;
    what is not its default comes with it."""
    first = rows.iloc[0]
    is_pgd = first["evaluation"] == "pgd"
    parts = [f"PGD-{first['steps']:.0f}" if is_pgd else "AutoAttack"]
    if pd.notna(first["norm"]):
        parts.append({"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}.get(first["norm"], first["norm"]))
    if pd.notna(first["epsilon"]):
        parts.append(f"ε = {pixels(first['epsilon'])}")
    if pd.notna(first["examples"]):
        parts.append(f"{first['examples']:.0f} images")
    if first["samples"] > 1:
        parts.append(f"{first['samples']:.0f} samples of each gradient")
    for name, value in parameters(first["evaluation_parameters"]).items():
        in_column = name in IN_COLUMNS and pd.notna(first[name])
        if not in_column and not name.endswith(".version"):
            parts.append(f"{name} {value}")
    return ", ".join(parts)
