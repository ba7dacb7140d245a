"""The learning curves of trials that are in the results already."""

from __future__ import annotations

from kdray.core import fingerprint
from kdray.results import Results
from kdray.robustness import label_of
from kdray.robustness.suite import WhileTraining
from kdray.trials.experiment import Experiment

Curve = dict[tuple[str, int], float]
"""A metric after each epoch: by stage and number."""


class LearningCurves:
    """A metric after the epochs of trials: a column of epochs, or ``label.metric`` of
    training.monitor (of the last stage), whatever the sweep that trained them called it."""

    def __init__(self, found: Results, metric: str) -> None:
        self._label, dot, name = metric.rpartition(".")
        column = metric
        if dot:
            rows = found.robustness()
            rows = rows[rows["epoch"].notna() & rows["metric"].eq(name)].assign(stage="main")
            column = "value"
        else:
            rows = found.epochs().assign(evaluation_id="")
        self._curves: dict[tuple[str, str], Curve] = {}
        columns = ["trial_id", "evaluation_id", "stage", "epoch", column]
        for trial_id, watched, stage, epoch, value in rows[columns].itertuples(
            index=False, name=None
        ):
            self._curves.setdefault((trial_id, watched), {})[stage, int(epoch)] = float(value)

    def of(self, trial: Experiment) -> Curve:
        """The curve of a trial, as far as the tables have it."""
        monitor = trial.training.monitor
        watched = [
            fingerprint(WhileTraining(evaluation=each))
            for each in (monitor.suite if monitor is not None and self._label else ())
            if label_of(each) == self._label
        ]
        return self._curves.get((trial.trial_id, watched[0] if watched else ""), {})
