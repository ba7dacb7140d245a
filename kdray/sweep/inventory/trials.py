"""What the results already hold, and so what is left to do for a trial."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from kdray.core import fingerprint
from kdray.results import Results
from kdray.results.points.objective import SIZES
from kdray.results.points.table import ACCURACIES
from kdray.robustness import AnyEvaluation, Evaluation, label_of
from kdray.sweep.definition.file import Role, TeacherChoice
from kdray.trials.experiment import Experiment
from kdray.trials.task import Outcome, Step, Task, is_fault, measurable
from kdray.trials.trained import weights_file

TRAINED = ["trial_id", "status", "error", *ACCURACIES, *SIZES]
MEASURED = ["trial_id", "evaluation_id", "source_trial_id", "metric", "value", "error"]


class Record(NamedTuple):
    """What is known of one trial."""

    status: str
    error: str | None
    accuracies: dict[str, float]
    """By name: val_accuracy, test_accuracy; and the network's sizes."""
    numbers: dict[str, float]
    """By ``evaluation_id.metric``, where an evaluation gave one value of it."""
    failed: dict[str, str]
    """Evaluations that could not be measured, with the reason."""
    measured: frozenset[str]


class TrialIndex:
    """The trials and evaluations in a results folder, kept up to date while a sweep runs."""

    def __init__(
        self, results: Results, *, retry_failed: bool = False, curves: bool = True
    ) -> None:
        """``curves``: a trial whose learning curve was taken away is not all there."""
        self._retry_failed = retry_failed
        self.busy: set[str] = set()
        """Trials that have been found something to do for, and that have not ended since."""
        self._weights = set(results.store.names("weights", ".safetensors"))
        robustness = results.robustness(MEASURED)
        between = robustness["source_trial_id"].notna()
        self._records = _records(results.trials(TRAINED), robustness[~between])
        self._cells = _cells(robustness[between])
        curved = (
            results.table("epochs", ["trial_id"]).column("trial_id").unique() if curves else None
        )
        with_epochs = set(self._records if curved is None else curved.to_pylist())
        for trial_id in [
            i for i, r in self._records.items() if r.status == "completed" and i not in with_epochs
        ]:
            del self._records[trial_id]

    def get(self, trial_id: str) -> Record | None:
        return self._records.get(trial_id)

    def has_weights(self, trial_id: str) -> bool:
        return weights_file(trial_id) in self._weights

    def lose_weights(self, trial_id: str) -> None:
        """Plan as if the trial's weights were not there."""
        self._weights.discard(weights_file(trial_id))

    def best(self, candidates: Sequence[Experiment], by: str = "val_accuracy") -> Experiment | None:
        """The candidate with the highest accuracy ``by``, ties to the lowest seed; none until all
        are trained."""
        records = [self._records.get(candidate.trial_id) for candidate in candidates]
        known = [
            r.accuracies[by]
            for r in records
            if r is not None and r.status == "completed" and by in r.accuracies
        ]
        if len(known) < len(candidates):
            return None
        return min(zip(candidates, known, strict=True), key=lambda pair: (-pair[1], pair[0].seed))[
            0
        ]

    def choose(
        self, candidates: Sequence[Experiment], choice: TeacherChoice, seed: int
    ) -> Experiment | None:
        """The teacher of the student with ``seed``."""
        match choice.select:
            case "each":
                return self.best([candidates[seed]])
            case "best_validation":
                return self.best(candidates)
            case "best_test":
                return self.best(candidates, "test_accuracy")

    def task(
        self,
        role: Role,
        experiment: Experiment,
        suite: Sequence[AnyEvaluation],
        *,
        weights_needed: bool = False,
    ) -> Task | None:
        """What is left to do, or none. A failure that trying again would only repeat is not tried
        again unasked."""
        trial_id = experiment.trial_id
        record = self._records.get(trial_id)
        if record is not None and record.status != "completed" and not self._again(record.error):
            return None
        known = record if record is not None and record.status == "completed" else None
        missing = tuple(
            e for e in measurable(suite, experiment) if known is None or self._open(known, e)
        )
        train = known is None or (
            bool(missing or weights_needed) and not self.has_weights(trial_id)
        )
        if not train and not missing:
            return None
        self.busy.add(trial_id)
        return Task(role=role, experiment=experiment, evaluations=missing, train=train)

    def cells_missing(
        self, source: str, evaluation: Evaluation, targets: Iterable[str]
    ) -> frozenset[str]:
        """Which ``targets`` an evaluation across trials has not measured with what it made on
        ``source``."""
        known = self._cells.get((source, fingerprint(evaluation)), {})
        failure = known.get(source)  # it could not even be measured with itself
        if failure is not None and not self._again(failure):
            return frozenset()
        return frozenset(
            t
            for t in targets
            if t not in known or ((error := known[t]) is not None and self._again(error))
        )

    def cells_failed(self, evaluation: Evaluation) -> dict[str, str]:
        """By target, why it could not be measured with some source."""
        evaluation_id = fingerprint(evaluation)
        return {
            target: f"{label_of(evaluation)}: {error}"
            for (_, its), cells in self._cells.items()
            if its == evaluation_id
            for target, error in cells.items()
            if error is not None
        }

    def outcome(self, trial_id: str, suite: Iterable[AnyEvaluation]) -> tuple[Outcome, str | None]:
        """How a trial with nothing left to do ended, and why."""
        record = self._records.get(trial_id)
        if record is None:
            return "failed", "not trained"
        if record.status != "completed":
            return "failed", record.error
        problems = [
            f"{label_of(e)}: {record.failed[fingerprint(e)]}"
            for e in suite
            if fingerprint(e) in record.failed
        ]
        return ("failed", "; ".join(problems)) if problems else ("completed", None)

    def numbers(self, trial_id: str, suite: Iterable[AnyEvaluation]) -> dict[str, float]:
        """val_accuracy, sizes and ``label.metric`` of the suite, under the labels that the sweep
        uses now."""
        record = self._records.get(trial_id)
        if record is None or "val_accuracy" not in record.accuracies:
            return {}
        out = {
            name: record.accuracies[name]
            for name in ("val_accuracy", *SIZES)
            if name in record.accuracies
        }
        for evaluation in suite:
            for metric in evaluation.metrics():
                value = record.numbers.get(f"{fingerprint(evaluation)}.{metric}")
                if value is not None:
                    out[f"{label_of(evaluation)}.{metric}"] = value
        return out

    def note(self, task: Task, last: Step) -> None:
        """Take over what a trial that has just ended has written."""
        trial_id = task.experiment.trial_id
        self.busy.discard(trial_id)
        before = self._records.get(trial_id)
        kept = before if before is not None and before.status == "completed" else None
        if last.error is not None:
            # What is trained stays trained, though its worker died or its weights could not be
            # read.
            if task.train or kept is None:
                self._records[trial_id] = Record("failed", last.error, {}, {}, {}, frozenset())
            else:
                lost = {
                    fingerprint(each): last.error for each in task.evaluations if not each.across
                }
                known = kept._replace(
                    failed=kept.failed | lost, measured=kept.measured | lost.keys()
                )
                self._records[trial_id] = known
            return
        numbers, failed, measured = (
            (dict(kept.numbers), dict(kept.failed), set(kept.measured)) if kept else ({}, {}, set())
        )
        for evaluation in (each for each in task.evaluations if not each.across):
            evaluation_id, label = fingerprint(evaluation), label_of(evaluation)
            measured.add(evaluation_id)
            failed.pop(evaluation_id, None)
            if label in last.failed:
                failed[evaluation_id] = last.failed[label]
            for metric in evaluation.metrics():
                if f"{label}.{metric}" in last.numbers:
                    numbers[f"{evaluation_id}.{metric}"] = last.numbers[f"{label}.{metric}"]
        accuracies = {
            name: last.numbers[name] for name in (*ACCURACIES, *SIZES) if name in last.numbers
        }
        accuracies = (kept.accuracies if kept else {}) | accuracies
        self._records[trial_id] = Record(
            "completed", None, accuracies, numbers, failed, frozenset(measured)
        )
        self._weights.add(weights_file(trial_id))

    def _again(self, error: str | None) -> bool:
        return self._retry_failed or is_fault(error)

    def _open(self, record: Record, evaluation: Evaluation) -> bool:
        evaluation_id = fingerprint(evaluation)
        if evaluation_id in record.failed:
            return self._again(record.failed[evaluation_id])
        return evaluation_id not in record.measured


def _cells(between: pd.DataFrame) -> dict[tuple[str, str], dict[str, str | None]]:
    """By source and evaluation: the targets that were measured, and why one could not be."""
    cells: dict[tuple[str, str], dict[str, str | None]] = {}
    columns = ["source_trial_id", "evaluation_id", "trial_id", "error"]
    for source, evaluation_id, target, error in between[columns].itertuples(index=False, name=None):
        cells.setdefault((source, evaluation_id), {})[target] = None if pd.isna(error) else error
    return cells


def _records(trials: pd.DataFrame, robustness: pd.DataFrame) -> dict[str, Record]:
    numbers: dict[str, dict[str, float]] = {}
    failed: dict[str, dict[str, str]] = {}
    measured: dict[str, set[str]] = {}
    columns = ["trial_id", "evaluation_id", "metric", "value", "error"]
    several = robustness.duplicated(["trial_id", "evaluation_id", "metric"], keep=False)
    for (trial_id, evaluation_id, metric, value, error), many in zip(
        robustness[columns].itertuples(index=False, name=None), several, strict=True
    ):
        measured.setdefault(trial_id, set()).add(evaluation_id)
        if not pd.isna(error):
            failed.setdefault(trial_id, {})[evaluation_id] = error
        elif not many:
            numbers.setdefault(trial_id, {})[f"{evaluation_id}.{metric}"] = value
    return {
        trial_id: Record(
            status,
            None if pd.isna(error) else error,
            {
                name: float(value)
                for name, value in zip((*ACCURACIES, *SIZES), numbers_, strict=True)
                if not pd.isna(value)
            },
            numbers.get(trial_id, {}),
            failed.get(trial_id, {}),
            frozenset(measured.get(trial_id, ())),
        )
        for trial_id, status, error, *numbers_ in trials[TRAINED].itertuples(index=False, name=None)
    }
