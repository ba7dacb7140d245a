"""The paper's models and what was measured of them, as they are and smoothed."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdray.report import Snapshot, of_one_evaluation, of_one_point, of_one_setting, only, published
from kdray.report.settings import parameters

TITLE = "Knowledge Distillation via Smoothed Models and Adversarial Robustness"
PAPER = "Katz and Reches 2022"
SOURCE = f"{PAPER}, whose numbers are of CIFAR-10"
PRINTED = published("smoothed_models")
DISTILLATION, ADVERSARIAL = "smoothed-distillation", "smoothed-adversarial"
AGGREGATE = "supervision.smoothing.aggregate"
AGGREGATES = {"prediction": "prediction smoothing", "soft_prediction": "soft prediction smoothing"}
STUDENT, CNI, SMOOTHED = "KD student", "CNI", "Smoothed CNI"
KINDS = (STUDENT, CNI, SMOOTHED)
EPSILON = 8 / 255
SUITE = "kdray evaluate RESULTS --suite sweeps/suites/smoothed_models.yaml"
SMOOTHED_SUITE = (
    f"{SUITE}, with smoothing: {{samples: 512, aggregate: prediction}} in each of its evaluations"
)


def clean_accuracy_of_smoothed(
    snapshot: Snapshot, trials: pd.DataFrame, aggregate: str
) -> pd.DataFrame:
    """Clean accuracy of each of ``trials`` as smoothed with the most ``passes``, of one
    evaluation."""
    rows = _with_smoothing(
        snapshot.measured(trials.drop_duplicates("trial_id"), evaluation="clean")
    )
    return of_one_evaluation(_with_most(rows[rows["aggregate"].eq(aggregate)], "passes"))


def attacked(
    snapshot: Snapshot, students: pd.DataFrame, teachers: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Accuracies under PGD, ε 8/255, in the most steps: of the students as they are (""), and of
    the teachers by how they are smoothed; one attack for all, the images of each their own."""
    trials = pd.concat([students, teachers], ignore_index=True)
    rows = _with_smoothing(snapshot.measured(trials, evaluation="pgd"))
    same = (
        rows["norm"].eq("linf")
        & np.isclose(rows["epsilon"].astype(float), EPSILON)
        & rows["restarts"].eq(1)
        & rows["samples"].eq(1)
    )
    is_teacher = rows["trial_id"].isin(teachers["trial_id"])
    rows = _with_most(rows[same & is_teacher.eq(rows["aggregate"].ne(""))], "steps")
    rows = _of_one_attack(rows, kept=("examples",))
    return {
        aggregate: of_one_evaluation(_with_most(rows[rows["aggregate"].eq(aggregate)], "passes"))
        for aggregate in ("", *AGGREGATES)
    }


def accuracy_by_attack_step(snapshot: Snapshot) -> pd.DataFrame:
    """Accuracy of every ``target`` (a row with its trial) on images attacked on every ``source``,
    by ``steps`` and ``epsilon``; at each ε of one attack.

    From transferred attacks; a model under its own attack also from PGD with a list of steps.
    """
    students, teachers = snapshot.students(ADVERSARIAL), snapshot.teachers(ADVERSARIAL)
    students = students[students["case"].eq("distilled") & students[AGGREGATE].eq("prediction")]
    kinds = dict.fromkeys(students["trial_id"], STUDENT) | dict.fromkeys(teachers["trial_id"], CNI)
    trials = pd.concat([students, teachers], ignore_index=True)
    transferred, own = (
        _with_smoothing(snapshot.measured(trials, evaluation=kind)) for kind in ("transfer", "pgd")
    )
    own = own[own.groupby(["trial_id", "evaluation_id"])["steps"].transform("nunique") > 1]
    own = own.assign(source_trial_id=own["trial_id"])
    rows = pd.concat([transferred, own], ignore_index=True)
    rows = rows[rows["norm"].eq("linf") & rows["aggregate"].isin(["", "prediction"])]
    for column, end in (("trial_id", "target"), ("source_trial_id", "source")):
        kind = rows[column].map(kinds)
        # Smoothing does nothing to a student, which draws nothing.
        rows[end] = kind.where(kind.ne(CNI) | rows["aggregate"].eq(""), SMOOTHED)
    rows = rows.dropna(subset=["source", "target"])
    # One student on another is no cell of the table: its own images only.
    rows = rows[rows["source"].ne(rows["target"]) | rows["trial_id"].eq(rows["source_trial_id"])]
    of_one_point(trials, ["case"], "A cell of table 3, or a line of figures 4 to 6,")
    identity = ["trial_id", "source_trial_id", "source", "target", "epsilon", "steps"]
    parts = [
        _with_most(smoothed, "passes")
        for _, at in rows.groupby("epsilon", sort=False)
        for _, smoothed in _of_one_attack(at, ["steps"]).groupby("aggregate", sort=False)
    ]
    return only(
        pd.concat([rows.head(0), *parts]).drop_duplicates(identity).sort_index(),
        f"no accuracy by attack step of the sweep {ADVERSARIAL}: {SUITE}",
    )


def _of_one_attack(
    rows: pd.DataFrame, along: Sequence[str] = (), kept: Sequence[str] = ()
) -> pd.DataFrame:
    """Those of ``rows`` that were attacked in one setting, whatever the smoothing of the model and
    what is ``kept``, by itself or for others."""
    whole = rows["evaluation_parameters"]
    texts = {
        text: json.dumps(_attack_of(parameters(text), {"smoothing", *kept}), sort_keys=True)
        for text in whole.dropna().unique()
    }
    numbered = rows.assign(evaluation_parameters=whole.map(texts), row=np.arange(len(rows)))
    return rows.iloc[sorted(of_one_setting(numbered, along)["row"])]


def _attack_of(stated: dict[str, Any], without: Collection[str]) -> dict[str, Any]:
    """What an evaluation says of an attack, which a transfer says of another model's."""
    attack = stated.pop("attack", None) or {}
    flat = {**attack, **stated}
    return {name: value for name, value in flat.items() if name not in {"name", *without}}


def _with_most(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Those of ``rows`` with the value of ``column`` that most trials have, of several such the
    largest."""
    if rows.empty:
        return rows
    counts = rows.groupby(column)["trial_id"].nunique()
    return rows[rows[column].eq(counts[counts.eq(counts.max())].index.max())]


def _with_smoothing(rows: pd.DataFrame) -> pd.DataFrame:
    """With ``aggregate`` ("": not smoothed) and ``passes`` of evaluations, which have no columns of
    their own."""
    smoothing = [parameters(text).get("smoothing") or {} for text in rows["evaluation_parameters"]]
    aggregate = [(each.get("aggregate", "soft_prediction") if each else "") for each in smoothing]
    return rows.assign(aggregate=aggregate, passes=[each.get("samples", 1) for each in smoothing])


def pairs_text(cells: pd.DataFrame) -> str:
    """What means of ``cells`` are over; empty where each is of one pair, or of models under their
    own attack: of seeds."""
    if cells["trial_id"].eq(cells["source_trial_id"]).all():
        return ""
    pairs = cells[["source", "target", "source_trial_id", "trial_id"]].drop_duplicates()
    counts = pairs.groupby(["source", "target"]).size()
    low, high = counts.min(), counts.max()
    if high == 1:
        return ""
    count = f"{low} to {high}" if low < high else str(high)
    return f"the pairs of attacked model and target ({count}; the seeds counted are the targets')"
