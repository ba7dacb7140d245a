"""Reasons to distrust a robust accuracy that show only when rows are compared."""

from __future__ import annotations

import pandas as pd

WHITE_BOX = ("pgd", "fgsm", "autoattack")
SAME_BALL = ["trial_id", "split", "dataset", "examples", "norm", "epsilon"]


def with_transfers(robustness: pd.DataFrame) -> pd.DataFrame:
    """``robustness`` with a reason in ``checks`` of each white-box accuracy that a transferred attack in the same ball beats:
    who knows the model does worse than who does not, so its gradients mislead (AutoAttack's list; Athalye et al. 2018).
    """
    accuracies = robustness[robustness["metric"].eq("accuracy") & robustness["epoch"].isna()]
    source = accuracies["source_trial_id"]
    transferred = accuracies[source.notna() & (source != accuracies["trial_id"])]
    if transferred.empty:
        return robustness
    own = source.isna() & accuracies["evaluation"].isin(WHITE_BOX) | (source == accuracies["trial_id"])
    strongest = transferred.groupby(SAME_BALL, dropna=False)["value"].idxmin()
    lowest = transferred.loc[strongest, [*SAME_BALL, "source_trial_id", "value"]]
    pairs = accuracies[own].reset_index().merge(lowest, on=SAME_BALL, suffixes=("", "_transferred"))
    beaten = pairs[pairs["value_transferred"] < pairs["value"]].set_index("index")
    if beaten.empty:
        return robustness
    reason = (
        "transferred attack beats the white-box one: "
        + beaten["value_transferred"].map("{:.4f}".format) + " with images made on " + beaten["source_trial_id_transferred"]
    )  # fmt: skip
    known = robustness["checks"].reindex(beaten.index)
    out = robustness.copy()
    out.loc[beaten.index, "checks"] = reason.where(known.isna(), known + "; " + reason)
    return out
