"""All students of all sweeps, and which of them are plain: what others are compared with."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from kdray.report.papers.snapshot import Snapshot

WATCHED = ("training.monitor", "training.gradients")
"""Columns of what is measured while training, which does not change it."""

NOISES = ("noise.input", "noise.labels", "model.weight_noise")
"""Sections that only something noisy has."""
DRAWS = (
    "model.dropout",
    "model.input_sigma",
    "supervision.smoothing.samples",
    "supervision.virtual.probability",
)
"""Columns that hold anything but 0 only where something else is drawn."""
STRENGTHS = ("sigma", "rate", "probability")
"""Fields of a noise by which, at 0, it does nothing."""
PLAIN = ("cross_entropy", "kd")
"""Methods of a plain student and of an ordinary teacher."""


def described(snapshot: Snapshot) -> pd.DataFrame:
    """All students of all sweeps, with ``network``, ``training`` (of the data and of what it begins
    with too; each its configuration as text), ``plain`` and ``swept`` (as text)."""
    everyone = snapshot.all_students()
    swept = everyone["swept"].map(in_words)
    network = _as_text(everyone, ["model."])
    training = _as_text(everyone, ["training.", "data.", "init."])
    return everyone.assign(
        network=network, training=training, swept=swept, plain=_is_plain(everyone)
    )


def _as_text(trials: pd.DataFrame, sections: Sequence[str]) -> list[str]:
    """The configuration under ``sections``, without what is compared (what a network draws) and
    what is only watched while training."""
    columns = sorted(
        name
        for name in trials.columns
        if name.startswith(tuple(sections)) and not name.startswith((*DRAWS, *WATCHED))
    )
    return ["/".join(map(str, row)) for row in trials[columns].itertuples(index=False)]


def in_words(swept: str) -> str:
    """What a point sweeps, from the JSON of it: ``noise.input.sigma 0.2``."""
    return ", ".join(f"{path} {_short(value)}" for path, value in json.loads(swept).items())


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _is_plain(trials: pd.DataFrame) -> pd.Series[bool]:
    """Trained without noise of any kind: by cross-entropy alone, or by distilling from an ordinary
    teacher."""
    plain = trials["method.name"].isin(PLAIN)
    above = ""
    while any(name.startswith(above) for name in map(str, trials)):
        plain &= ~_is_noisy(trials, above)
        above += "teacher."
        if (method := f"{above}method.name") in trials:
            plain &= trials[method].isin(PLAIN) | trials[method].isna()
    return plain


def _is_noisy(trials: pd.DataFrame, above: str) -> pd.Series[bool]:
    """Whether anything is drawn in the training of each student itself or, with ``teacher.`` for
    ``above``, of its teacher."""
    noisy = pd.Series(False, trials.index)
    for section in NOISES:
        fields = [name for name in map(str, trials) if name.startswith(f"{above}{section}.")]
        silent = [name for name in fields if name.rpartition(".")[2] in STRENGTHS]
        noisy |= trials[fields].notna().any(axis=1) & ~trials[silent].eq(0).any(axis=1)
    draws = [name for name in (f"{above}{each}" for each in DRAWS) if name in trials]
    noisy |= trials[draws].fillna(0).ne(0).any(axis=1)
    if (logits := f"{above}supervision.noise") in trials:
        noisy |= trials[logits].fillna("[]").map(_disturbs)
    return noisy


def _disturbs(noises: str) -> bool:
    """Whether any of the noises on a teacher's logits does anything."""
    return any(
        all(noise.get(strength, 1) != 0 for strength in STRENGTHS) for noise in json.loads(noises)
    )
