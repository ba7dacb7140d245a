"""The paper's models and what was measured of them, as they are and smoothed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from kdray.report import Snapshot, only, published

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
    """Clean accuracy of each of ``trials`` as smoothed with the most ``passes``."""
    rows = _with_smoothing(
        snapshot.measured(trials.drop_duplicates("trial_id"), evaluation="clean")
    )
    rows = rows[rows["aggregate"].eq(aggregate)]
    return rows.sort_values(["passes", "examples"]).drop_duplicates("trial_id", keep="last")


def accuracy_under_pgd(
    snapshot: Snapshot, trials: pd.DataFrame, aggregate: str | None
) -> pd.DataFrame:
    """Accuracy of each of ``trials``, smoothed or not, under PGD, ε 8/255: in the most steps, of
    the most images."""
    rows = _with_smoothing(snapshot.measured(trials, evaluation="pgd"))
    same = (
        rows["norm"].eq("linf")
        & np.isclose(rows["epsilon"].astype(float), EPSILON)
        & rows["restarts"].eq(1)
        & rows["samples"].eq(1)
    )
    rows = rows[same & rows["aggregate"].eq(aggregate or "")]
    return rows.sort_values(["steps", "passes", "examples"]).drop_duplicates(
        "trial_id", keep="last"
    )


def accuracy_by_attack_step(snapshot: Snapshot) -> pd.DataFrame:
    """Accuracy of every ``target`` (a row with its trial) on images attacked on every ``source``,
    by ``steps`` and ``epsilon``.

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
    identity = ["trial_id", "source_trial_id", "source", "target", "epsilon", "steps"]
    return only(
        rows.drop_duplicates(identity),
        f"no accuracy by attack step of the sweep {ADVERSARIAL}: {SUITE}",
    )


def _with_smoothing(rows: pd.DataFrame) -> pd.DataFrame:
    """With ``aggregate`` ("": not smoothed) and ``passes`` of evaluations, which have no columns of
    their own."""
    smoothing = [json.loads(text).get("smoothing") or {} for text in rows["evaluation_parameters"]]
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
