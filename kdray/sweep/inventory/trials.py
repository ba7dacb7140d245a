"""What the results already hold, and so what is left to do for a trial."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from kdray.core import fingerprint
from kdray.results import Results
from kdray.results.metrics import ACCURACIES, SIZES
from kdray.robustness import AnyEvaluation, Evaluation, label_of
from kdray.sweep.definition.file import Role, TeacherChoice
from kdray.sweep.definition.teacher_order import ancestors
from kdray.teachers import Pretrained
from kdray.trials.experiment import AnyTrial
from kdray.trials.files import weights_file
from kdray.trials.task import Ended, Outcome, Reason, ReasonKind, Task, joined, measurable

TRAINED = ["trial_id", "status", "error", "reason_kind", "device", *ACCURACIES, *SIZES]
MEASURED = ["trial_id", "evaluation_id", "source_trial_id", "metric", "value"]
MEASURED += ["error", "reason_kind"]
VERSION_1_FAULTS = ("OutOfMemoryError", "AcceleratorError", "WorkerDied", "Damaged", "InputError")
"""Classes of errors, beside Python's OSError and MemoryError, by which results of schema version 1
tell a fault of the machine."""


class Record(NamedTuple):
    """What the results hold of one trial."""

    outcome: Outcome
    reason: Reason | None
    accuracies: dict[str, float]
    """By name: val_accuracy, test_accuracy; and the network's sizes."""
    metrics: dict[str, dict[str, float]]
    """By evaluation id and metric, where an evaluation gave one value of it."""
    failed: dict[str, Reason]
    """By id: evaluations that could not be measured, or not completely."""
    measured: frozenset[str]
    """Ids of all evaluations that were tried."""
    device: str | None = None
    """The kind that it was trained on."""

    @property
    def completed(self) -> bool:
        return self.outcome in (Outcome.COMPLETED, Outcome.IMPORTED)


class TrialIndex:
    """The trials and evaluations in a results folder, kept up to date while a sweep runs."""

    def __init__(
        self, results: Results, *, retry_failed: bool = False, curves: bool = True
    ) -> None:
        """``curves``: a trial whose learning curve was taken away is not all there."""
        self._retry_failed = retry_failed
        self.busy: set[str] = set()
        """Trials that have been found something to do for, and that have not ended since."""
        self._tried: set[str] = set()
        """Trials that have ended in this run: ``retry_failed`` is done with them."""
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
            i
            for i, r in self._records.items()
            if r.outcome is Outcome.COMPLETED and i not in with_epochs
        ]:
            del self._records[trial_id]

    def get(self, trial_id: str) -> Record | None:
        return self._records.get(trial_id)

    def has_weights(self, trial_id: str) -> bool:
        return weights_file(trial_id) in self._weights

    def lose_weights(self, trial_id: str) -> None:
        """Plan as if the trial's weights were not there."""
        self._weights.discard(weights_file(trial_id))

    def best(self, candidates: Sequence[AnyTrial], by: str = "val_accuracy") -> AnyTrial | None:
        """The candidate with the highest accuracy ``by`` of those that completed, ties to the
        lowest seed; none if none did."""
        records = [(one, self._records.get(one.trial_id)) for one in candidates]
        known = [
            (one, record.accuracies[by])
            for one, record in records
            if record is not None and record.completed and by in record.accuracies
        ]
        if not known:
            return None
        return min(known, key=lambda pair: (-pair[1], pair[0].seed))[0]

    def all_settled(self, candidates: Iterable[AnyTrial]) -> bool:
        """Whether each has completed, or has failed and is not tried again by this command."""
        return all(self._is_settled(one) for one in candidates)

    def _is_settled(self, trial: AnyTrial) -> bool:
        if self.completed(trial.trial_id):
            return True
        reason = self.problem(trial)
        tried = (one.trial_id in self._tried for one in ancestors(trial))
        asked_again = self._retry_failed and not any(tried)
        return reason is not None and not (reason.is_transient or asked_again)

    def problem(self, trial: AnyTrial) -> Reason | None:
        """Why there is no trained model of ``trial``: it failed, or a teacher above it did."""
        record = self._records.get(trial.trial_id)
        if record is not None:
            return None if record.completed else record.reason
        if trial.teacher is None:
            return None
        reason = self.problem(trial.teacher)
        return reason and reason.prefixed(f"its teacher {trial.teacher.trial_id} failed")

    def choose(
        self, candidates: Sequence[AnyTrial], choice: TeacherChoice, seed: int
    ) -> AnyTrial | None:
        """The teacher of the student with ``seed``: the best of its candidates.

        None until every candidate has completed or has failed for good: one that the same command
        tries again (its worker died, say) may still be the best, and a choice that changed from run
        to run would train its students twice. So the choice stays until the user adds candidates
        or tries the failed ones again.
        """
        asked = considered(candidates, choice, seed)
        return self.best(asked, chosen_by(choice)) if self.all_settled(asked) else None

    def task(
        self,
        role: Role,
        experiment: AnyTrial,
        suite: Sequence[AnyEvaluation],
        *,
        weights_needed: bool = False,
    ) -> Task | None:
        """What is left to do, or none. A failure that trying again would only repeat is not tried
        again unasked."""
        trial_id = experiment.trial_id
        record = self._records.get(trial_id)
        if record is not None and not record.completed and not self._tries_again(record.reason):
            return None
        known = record if record is not None and record.completed else None
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
        if failure is not None and not self._tries_again(failure):
            return frozenset()
        return frozenset(
            t
            for t in targets
            if t not in known or ((reason := known[t]) is not None and self._tries_again(reason))
        )

    def cells_failed(self, evaluation: Evaluation) -> dict[str, Reason]:
        """By target, why it could not be measured with some source."""
        evaluation_id = fingerprint(evaluation)
        return {
            target: reason.prefixed(label_of(evaluation))
            for (_, its), cells in self._cells.items()
            if its == evaluation_id
            for target, reason in cells.items()
            if reason is not None
        }

    def outcome(
        self, trial_id: str, suite: Iterable[AnyEvaluation]
    ) -> tuple[Outcome, Reason | None]:
        """How a trial with nothing left to do ended, and why it failed."""
        record = self._records.get(trial_id)
        if record is None:
            return Outcome.FAILED, Reason(kind=ReasonKind.EXPERIMENT, text="not trained")
        if not record.completed:
            return Outcome.FAILED, record.reason
        reason = joined(
            *(
                record.failed[fingerprint(e)].prefixed(label_of(e))
                for e in suite
                if fingerprint(e) in record.failed
            )
        )
        return (Outcome.COMPLETED if reason is None else Outcome.FAILED), reason

    def completed(self, trial_id: str) -> bool:
        """Whether the trial is trained, whatever became of its evaluations."""
        record = self._records.get(trial_id)
        return record is not None and record.completed

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
            found = record.metrics.get(fingerprint(evaluation), {})
            names = evaluation.metrics()
            out |= {
                f"{label_of(evaluation)}.{name}": found[name] for name in names if name in found
            }
        return out

    def note(self, task: Task, ended: Ended) -> None:
        """Take over what a trial that has just ended has written."""
        trial_id = task.experiment.trial_id
        self.busy.discard(trial_id)
        self._tried.add(trial_id)
        before = self._records.get(trial_id)
        kept = before if before is not None and before.completed else None
        if ended.reason is not None and ended.trained is None and (task.train or kept is None):
            nothing = Record(ended.outcome, ended.reason, {}, {}, {}, frozenset())
            self._records[trial_id] = nothing
            return
        # What is trained stays trained, though its worker died or its weights could not be read.
        found = kept or Record(Outcome.COMPLETED, None, {}, {}, {}, frozenset())
        alone = {fingerprint(each) for each in task.evaluations if not each.across}
        measured = {e.evaluation_id: e for e in ended.measured if e.evaluation_id in alone}
        failures = {each: e.reason for each, e in measured.items() if e.reason is not None}
        if ended.reason is not None:
            failures |= dict.fromkeys(alone - measured.keys(), ended.reason)
        if ended.reason is None or ended.trained is not None:
            self._weights.add(weights_file(trial_id))
        earlier = {key: why for key, why in found.failed.items() if key not in alone}
        self._records[trial_id] = found._replace(
            accuracies=found.accuracies | (ended.trained.metrics if ended.trained else {}),
            device=ended.trained.device if ended.trained else found.device,
            metrics=found.metrics | {each: e.metrics for each, e in measured.items() if e.metrics},
            failed=earlier | failures,
            measured=found.measured | measured.keys() | failures.keys(),
        )

    def _tries_again(self, reason: Reason | None) -> bool:
        return self._retry_failed or (reason is not None and reason.is_transient)

    def _open(self, record: Record, evaluation: Evaluation) -> bool:
        evaluation_id = fingerprint(evaluation)
        if evaluation_id in record.failed:
            return self._tries_again(record.failed[evaluation_id])
        return evaluation_id not in record.measured


def chosen_by(choice: TeacherChoice) -> str:
    """The accuracy by which a teacher is chosen."""
    return "test_accuracy" if choice.select == "best_test" else "val_accuracy"


def considered(
    candidates: Sequence[AnyTrial], choice: TeacherChoice, seed: int
) -> Sequence[AnyTrial]:
    """Those that the student with ``seed`` may have as its teacher."""
    if choice.select != "each":
        return candidates
    return [t for t in candidates if t.seed == seed or isinstance(t, Pretrained)]


def _reason(error: Any, kind: Any) -> Reason | None:
    """Return the reason in a row of the tables; none where it has none."""
    if pd.isna(error):
        return None
    return Reason(kind=_kind_in_version_1(error) if pd.isna(kind) else kind, text=error)


def _kind_in_version_1(error: str) -> ReasonKind:
    """Tell from a stored error what it was of: results of schema version 1 do not say."""
    name = error.partition(":")[0]
    known = getattr(builtins, name, None)
    on_gpu = "CUDA error" in error or "torch finds no CUDA device" in error
    if (name == "RuntimeError" and on_gpu) or name in VERSION_1_FAULTS:
        return ReasonKind.MACHINE
    is_fault = isinstance(known, type) and issubclass(known, OSError | MemoryError)
    return ReasonKind.MACHINE if is_fault else ReasonKind.EXPERIMENT


def _cells(between: pd.DataFrame) -> dict[tuple[str, str], dict[str, Reason | None]]:
    """By source and evaluation: the targets that were measured, and why one could not be."""
    cells: dict[tuple[str, str], dict[str, Reason | None]] = {}
    columns = ["source_trial_id", "evaluation_id", "trial_id", "error", "reason_kind"]
    for source, evaluation_id, target, *why in between[columns].itertuples(index=False, name=None):
        cells.setdefault((source, evaluation_id), {})[target] = _reason(*why)
    return cells


def _records(trials: pd.DataFrame, robustness: pd.DataFrame) -> dict[str, Record]:
    """The records of all trials with a row, by trial id."""
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    failed: dict[str, dict[str, Reason]] = {}
    measured: dict[str, set[str]] = {}
    columns = ["trial_id", "evaluation_id", "metric", "value", "error", "reason_kind"]
    several = robustness.duplicated(["trial_id", "evaluation_id", "metric"], keep=False)
    for (trial_id, evaluation_id, metric, value, *why), many in zip(
        robustness[columns].itertuples(index=False, name=None), several, strict=True
    ):
        measured.setdefault(trial_id, set()).add(evaluation_id)
        if (reason := _reason(*why)) is not None:
            failed.setdefault(trial_id, {})[evaluation_id] = reason
        elif not many:
            metrics.setdefault(trial_id, {}).setdefault(evaluation_id, {})[metric] = value
    return {
        trial_id: Record(
            Outcome(status),
            _reason(error, kind),
            {
                name: float(value)
                for name, value in zip((*ACCURACIES, *SIZES), values, strict=True)
                if not pd.isna(value)
            },
            metrics.get(trial_id, {}),
            failed.get(trial_id, {}),
            frozenset(measured.get(trial_id, ())),
            # Only what is trained has numbers that seeds could be paired by.
            device if pd.isna(error) and not pd.isna(device) else None,
        )
        for trial_id, status, error, kind, device, *values in trials[TRAINED].itertuples(
            index=False, name=None
        )
    }
