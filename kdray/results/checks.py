"""Reasons to distrust a robust accuracy that show only when rows are compared."""

from __future__ import annotations

import json

import pandas as pd

from kdray.results.metrics import WHITE_BOX

SAME_BALL = ["trial_id", "split", "dataset", "examples", "norm", "epsilon", "smoothing"]


def with_transfers(robustness: pd.DataFrame) -> pd.DataFrame:
    """``robustness`` with a reason in ``checks`` of each white-box accuracy that a transferred
    attack in the same ball beats: who knows the model does worse than who does not, so its
    gradients mislead (AutoAttack's list; Athalye et al. 2018). An attack is compared with those of
    no more steps on the model in the same form.
    """
    accuracies = robustness[robustness["metric"].eq("accuracy") & robustness["epoch"].isna()]
    accuracies = accuracies.assign(smoothing=_smoothing(accuracies["evaluation_parameters"]))
    source = accuracies["source_trial_id"]
    transferred = accuracies[source.notna() & (source != accuracies["trial_id"])]
    if transferred.empty:
        return robustness
    own = source.isna() & accuracies["evaluation"].isin(WHITE_BOX) | (
        source == accuracies["trial_id"]
    )
    columns = [*SAME_BALL, "steps", "value", "source_trial_id"]
    pairs = (
        accuracies[own]
        .reset_index()
        .merge(transferred[columns], on=SAME_BALL, suffixes=("", "_transferred"))
    )
    # An attack with fewer steps is weaker by itself.
    no_weaker = ~(pairs["steps"] < pairs["steps_transferred"]) | (
        pairs["evaluation"] == "autoattack"
    )
    beaten = pairs[no_weaker & (pairs["value_transferred"] < pairs["value"])]
    if beaten.empty:
        return robustness
    beaten = beaten.loc[beaten.groupby("index")["value_transferred"].idxmin()].set_index("index")
    reasons = [
        f"transferred attack beats the white-box one: {value:.4f} with images made on {made_on}"
        for value, made_on in zip(
            beaten["value_transferred"], beaten["source_trial_id_transferred"], strict=True
        )
    ]
    stored = robustness["checks"].reindex(beaten.index)
    checks = robustness["checks"].astype(object)
    checks.loc[beaten.index] = [
        reason if pd.isna(before) else f"{before}; {reason}"
        for before, reason in zip(stored, reasons, strict=True)
    ]
    return robustness.assign(checks=checks)


def _smoothing(parameters: pd.Series[str]) -> pd.Series[str]:
    """How a model was smoothed, as text, from the description of each evaluation."""
    described = {
        text: json.dumps(json.loads(text).get("smoothing")) for text in parameters.dropna().unique()
    }
    return parameters.map(lambda text: described.get(text, "null"))
