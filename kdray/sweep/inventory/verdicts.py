"""What a sweep gives trials up by: verdicts of another objective, or of other settings, do not
count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kdray.core import fingerprint
from kdray.results.points.objective import Objectives, metric_of
from kdray.robustness import label_of
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.labels import monitored_labels


class Judges(NamedTuple):
    """The identities of what gives trials of a sweep up, as its file is now; none where nothing
    does."""

    early_stopping: str | None
    """Of the first seed of a point."""
    racing: str | None
    """Of its other seeds."""

    def of(self, *, first_seed: bool) -> str | None:
        """What judges a seed of a point."""
        return self.early_stopping if first_seed else self.racing

    def uphold(self, judged_by: str | None) -> bool:
        """Whether a verdict counts; one of before there were identities does while anything is
        judged."""
        known = {self.early_stopping, self.racing} - {None}
        return bool(known) if judged_by is None else judged_by in known


def judges(sweep: Sweep) -> Judges:
    """The identities of early stopping and racing in ``sweep``, which hold the settings and, by
    evaluation ids, what is compared."""
    early, racing = sweep.file.search.early_stopping, sweep.file.search.racing
    stopping = race = None
    if early is not None:
        watched = monitored_labels(sweep) if "." in early.metric else {}
        meant = _meant(early.metric, watched)
        stopping = fingerprint(early.model_copy(update={"metric": meant}))
    if racing is not None:
        race = f"{fingerprint(racing)}{fingerprint(_compared(sweep))}"
    return Judges(stopping, race)


def _compared(sweep: Sweep) -> Objectives:
    """What a race compares points by, and which of them can win it, by evaluation ids."""
    labels = {fingerprint(each): label_of(each) for each in sweep.suite("student")}
    asked = sweep.file.objectives
    objective = asked.objectives[0]
    meant = objective.model_copy(update={"metric": _meant(objective.metric, labels)})
    limits = [
        limit.replace(metric_of(limit), _meant(metric_of(limit), labels), 1)
        for limit in asked.constraints
    ]
    return Objectives(objectives=(meant,)).model_copy(update={"constraints": tuple(limits)})


def _meant(metric: str, labels: Mapping[str, str]) -> str:
    """``label.metric`` with the ids of the evaluations of this label in its place."""
    label, dot, name = metric.rpartition(".")
    ids = "+".join(sorted(each for each, known in labels.items() if known == label))
    return f"{ids}{dot}{name}"


def overruled_text(sweep: str, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the line that says how many trials these verdicts, which no longer count, were on;
    none if there are none."""
    count = len({row["trial_id"] for row in rows})
    if not count:
        return None
    trials, are = ("trial", "is") if count == 1 else ("trials", "are")
    return (
        f"{count} {trials} of {sweep!r} {are} no longer given up: the objective, or the settings "
        "of racing or early stopping, have changed"
    )
