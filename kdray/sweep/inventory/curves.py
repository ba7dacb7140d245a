"""The learning curves of trials that are in the results already."""

from __future__ import annotations

from kdray.results import Results


def learning_curves(found: Results, metric: str) -> dict[str, dict[tuple[str, int], float]]:
    """By trial: a metric after each epoch (stage and number) in the tables, as of training.monitor
    (of its last stage)."""
    label, dot, name = metric.rpartition(".")
    if dot:
        rows = found.robustness()
        rows = rows[
            rows["epoch"].notna() & (rows["label"] == label) & (rows["metric"] == name)
        ].assign(stage="main")
        metric = "value"
    else:
        rows = found.epochs()
    out: dict[str, dict[tuple[str, int], float]] = {}
    for trial_id, stage, epoch, value in rows[["trial_id", "stage", "epoch", metric]].itertuples(
        index=False, name=None
    ):
        out.setdefault(trial_id, {})[stage, int(epoch)] = float(value)
    return out
