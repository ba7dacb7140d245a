"""What each sweep of the paper varies, a :class:`Study` for each kind of noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kdray.core import InputError
from kdray.report import Snapshot, a_line_for_each_point

SIGMA_INPUT = "σ of the input noise\n(images in [0, 1])"
SIGMA_LOGITS = "σ of the noise on the logits"
RATE = "Corrupted labels (%)"

CORRUPTED = ("corrupted_s", "corrupted_t", "corrupted_ts")
"""The groups of :func:`label_corruption` whose wrong labels are drawn anew in every epoch."""


@dataclass(frozen=True)
class Study:
    """What one sweep varies, ready to draw: a row per model with ``x`` and ``group`` besides the
    trial's columns."""

    trials: pd.DataFrame
    xlabel: str
    names: Mapping[str, str]
    """Of the groups, in the order in which they are drawn."""
    reference: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Models without what is varied, drawn as a level."""
    level: str = ""

    def of(self, *groups: str) -> Study:
        """With these groups only."""
        kept = self.trials[self.trials["group"].isin(groups)].reset_index(drop=True)
        return Study(
            kept, self.xlabel, {g: self.names[g] for g in groups}, self.reference, self.level
        )

    def by_point(self) -> Study:
        """With a group for each point where several share a group and an x."""
        trials, names = a_line_for_each_point(self.trials, "group", self.names, ["x"])
        return Study(trials, self.xlabel, names, self.reference, self.level)


def students(snapshot: Snapshot, sweep: str) -> pd.DataFrame:
    """Of one of the paper's sweeps; what is missing comes with the command that trains it."""
    if sweep not in snapshot.sweeps:
        file = f"sweeps/noisy_collaboration/{sweep.replace('-', '_')}.yaml"
        raise InputError(
            f"the results have no students of the sweep {sweep}: kdray run {file} --results RESULTS"
        )
    return snapshot.students(sweep)


def of_noise(trials: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A field of the first noise on the teacher's logits, of each trial; NaN without such noise."""
    described = trials["supervision.noise"].map(json.loads)
    return described.map(lambda noise: noise[0].get(name) if noise else None)


def signal_dependent(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "signal-dependent")
    sigma = of_noise(trials, "sigma").fillna(0.0).astype(float)  # noise of σ 0 is none
    names = {"per_logit": "one δ per logit", "per_sample": "one δ per sample"}
    return Study(trials.assign(x=sigma, group=trials["case"]), SIGMA_LOGITS, names)


def fickle_teacher(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "fickle-teacher")
    teachers = snapshot.teachers("fickle-teacher")
    together = pd.concat(
        [
            trials.assign(x=trials["teacher.model.dropout"].fillna(0.0), group="student"),
            teachers.assign(x=teachers["model.dropout"].fillna(0.0), group="teacher"),
        ],
        ignore_index=True,
    )
    return Study(
        together,
        "Dropout rate of the teacher",
        {"student": "student", "teacher": "teacher, dropout off"},
    )


def soft_randomization(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "soft-randomization")
    names = {"soft_randomization": "Soft Randomization", "no_teacher": "noise, no teacher"}
    return Study(
        trials.assign(x=trials["noise.input.sigma"].fillna(0.0), group=trials["case"]),
        SIGMA_INPUT,
        names,
    )


def exponential_family(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "exponential-family")
    names = {"gaussian": "Gaussian", "laplace": "Laplace", "uniform": "uniform"}
    return Study(
        trials.assign(x=trials["noise.input.sigma"], group=trials["noise.input.name"]),
        SIGMA_INPUT,
        names,
    )


def random_swapping(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "random-swapping")
    plain = trials["case"].eq("no_swapping")
    swapped, words = trials[~plain], {"top2": "top 2", "all": "all"}
    threshold = of_noise(swapped, "threshold")
    group = swapped["case"] + threshold.map(lambda value: f"|{value:g}")
    kinds = sorted(group.unique(), key=lambda name: (name.startswith("all"), name))
    names = {name: f"{words[name.split('|')[0]]}, threshold {name.split('|')[1]}" for name in kinds}
    return Study(
        swapped.assign(x=of_noise(swapped, "probability").astype(float), group=group),
        "Probability of swapping",
        names,
        trials[plain],
        "no swapping",
    )


def label_corruption(snapshot: Snapshot) -> Study:
    trials = students(snapshot, "label-corruption")
    teachers = snapshot.teachers("label-corruption")
    rate = trials["noise.labels.rate"].fillna(trials["teacher.noise.labels.rate"]).fillna(0.0)
    trials = trials.assign(x=100 * rate, group=trials["case"])
    # Nothing corrupted is the same trial in every case with a teacher, and trained once.
    clean = trials[trials["group"].eq("corrupted_s") & trials["x"].eq(0)]
    parts = [
        trials,
        *(clean.assign(group=name) for name in ("corrupted_t", "corrupted_ts", "fixed")),
    ]
    parts.append(
        teachers.assign(x=100 * teachers["noise.labels.rate"].fillna(0.0), group="teacher")
    )
    names = {
        "corrupted_s": "Corrupted-S",
        "corrupted_t": "Corrupted-T",
        "corrupted_ts": "Corrupted-TS",
        "fixed": "S, labels drawn once",
        "no_teacher": "no teacher",
        "teacher": "teacher itself",
    }
    return Study(pd.concat(parts, ignore_index=True), RATE, names)
