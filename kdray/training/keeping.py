"""Which epoch's weights are kept: the last one's, or those of the best on the validation split."""

from __future__ import annotations

import re
from typing import Literal

from kdray.core import Value, fingerprint
from kdray.robustness import AnyEvaluation, Monitor, label_of
from kdray.robustness.base import kind_of
from kdray.robustness.suite import WhileTraining

METRIC = "accuracy"
"""What a best epoch may be the best in: more of it is better."""
_PLACE = re.compile(r"(?P<kind>.+)\[(?P<number>[1-9][0-9]*)\]")


class Best(Value):
    """The first epoch with the best number of training.monitor."""

    best: str
    """``LABEL.accuracy`` of an evaluation of training.monitor. A label is no part of an
    experiment's identity: stored is the kind of the evaluation with its number among those of its
    kind, as ``pgd[1].accuracy``."""

    def evaluation(self, monitor: Monitor) -> AnyEvaluation:
        """The evaluation of ``monitor`` that is meant; ValueError if there is none."""
        label, _, metric = self.best.rpartition(".")
        place = _PLACE.fullmatch(label)
        for each in monitor.suite:
            meant = label == label_of(each) if place is None else label == place_of(each, monitor)
            if meant and metric == METRIC and each.metrics().get(METRIC) == 1:
                return each
        there = [e for e in monitor.suite if e.metrics().get(METRIC) == 1]
        allowed = ", ".join(f"{label_of(each)}.{METRIC}" for each in there)
        raise ValueError(
            f"keep.best: {self.best!r} is no number of training.monitor "
            f"(allowed: {allowed or f'none: no evaluation in it has one {METRIC}'})"
        )

    def resolved(self, monitor: Monitor | None) -> Best:
        """The same without labels; ValueError if it is not monitored."""
        if monitor is None:
            raise ValueError(
                f"keep.best: {self.best!r} is not measured while it trains: "
                "training.monitor.suite is empty"
            )
        return Best(best=f"{place_of(self.evaluation(monitor), monitor)}.{METRIC}")

    def evaluation_id(self, monitor: Monitor) -> str:
        """What the rows of the monitored number have as their ``evaluation_id``."""
        return fingerprint(WhileTraining(evaluation=self.evaluation(monitor)))


Keep = Literal["last", "best_validation"] | Best


def place_of(evaluation: AnyEvaluation, monitor: Monitor) -> str:
    """The kind of an evaluation of ``monitor`` and its number among those of that kind."""
    kind = kind_of(evaluation)
    alike = [each for each in monitor.suite if kind_of(each) == kind]
    return f"{kind}[{alike.index(evaluation) + 1}]"
