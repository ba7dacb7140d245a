"""What became of the jobs of a run: the rows that their workers could not write, the index of
trials, and a summary for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from kdray.core import describe, fingerprint
from kdray.machine.checked_file import Damaged, require_trial, unpack
from kdray.results import Store
from kdray.sweep.definition.file import Budget
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.scheduling.jobs import Job
from kdray.sweep.scheduling.progress import Progress
from kdray.trials.files import weights_file
from kdray.trials.rows import write_failure, write_member
from kdray.trials.task import Ended, Outcome, Reason, Task, joined, outcome_columns, reason_of


@dataclass
class Summary:
    """What a run did."""

    ran: set[str] = field(default_factory=set)
    """Trials that were trained or measured now."""
    there: set[str] = field(default_factory=set)
    """Trials that were there already; one that was trained before and measured now is in both."""
    failures: dict[str, Reason] = field(default_factory=dict)
    """Trial (or point without a teacher) to reason, of everything that was asked for."""
    unfit: set[str] = field(default_factory=set)
    """Of the failures, points that cannot be built: no retry mends them."""
    given_up: dict[str, str] = field(default_factory=dict)
    """Trials that were stopped early or not begun, because their point does badly, to reason."""
    saved: float = 0.0
    """Trainings, in fractions of a whole one, that this spared now."""
    stopped: str | None = None
    """Why the run ended before it had done everything."""
    remarks: list[str] = field(default_factory=list)
    """What else a user should know at the end, a line each."""

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0

    @property
    def retry_may_help(self) -> bool:
        """Whether something failed that is tried again only where the user asks."""
        return any(
            not reason.is_transient and name not in self.unfit
            for name, reason in self.failures.items()
        )


class Account:
    """Keeps the summary of a run, its index of trials and its budget up to date, and writes what
    workers could not."""

    def __init__(self, store: Store, index: TrialIndex, progress: Progress) -> None:
        self.store, self.index, self.progress = store, index, progress
        self.summary = Summary()
        self._began, self._gpu_seconds = monotonic(), 0.0

    def used_up(self, budget: Budget) -> str | None:
        """What of ``budget`` this run has used up, if anything."""
        if budget.hours is not None and monotonic() - self._began >= budget.hours * 3600:
            return f"{budget.hours:g} hours are used up"
        if budget.gpu_hours is not None and self._gpu_seconds >= budget.gpu_hours * 3600:
            return f"{budget.gpu_hours:g} GPU-hours are used up"
        return None

    def job_ended(self, job: Job, ended: Ended, gpu_seconds: float) -> None:
        """Take over how a job ended; its workers took ``gpu_seconds`` of whole GPUs."""
        self._gpu_seconds += gpu_seconds
        self.summary.ran.add(job.trial_id)
        if not ended.recorded:
            self._write_for(job.task, job.member, ended)
        if ended.outcome is Outcome.PRUNED:
            self.summary.given_up[job.trial_id] = str(ended.reason)
            return
        self.index.note(job.task, ended)
        # What is measured later, of the best or across trials, says nothing of what else the trial
        # was asked for.
        before = self.summary.failures.pop(job.trial_id, None) if job.member is None else None
        if (reason := joined(before, ended.problem)) is not None:
            self.summary.failures[job.trial_id] = reason
        elif job.member is not None:
            self.summary.failures.pop(job.trial_id, None)

    def shared_job_ended(self, job: Job, ended: Ended) -> None:
        """Write the row of the second place of a trial that is in the sweep twice."""
        if job.member is not None:
            with self._room_or_not(job.trial_id):
                write_member(self.store, job.member | outcome_columns(ended.outcome, ended.problem))

    def spared(self, trial_id: str) -> None:
        """Take over a trial that is given up before it has begun, if it is not trained already."""
        if not self.index.completed(trial_id):
            self.summary.saved += 1
            self.progress.ended(trial_id, "pruned")

    def nothing_left(self, trial_id: str, reason: Reason | None) -> None:
        """Take over a trial that is in the results already, and why it failed there."""
        self.summary.there.add(trial_id)
        if reason is not None:
            self.summary.failures[trial_id] = reason

    def add_failure(self, trial_id: str, reason: Reason) -> None:
        """Add to what went wrong with a trial."""
        self.summary.failures[trial_id] = (
            joined(self.summary.failures.get(trial_id), reason) or reason
        )

    def check_weights(self, trial_id: str) -> None:
        """Plan to train again what has weights that are damaged; students must not fail on them one
        by one."""
        if not self.index.has_weights(trial_id):
            return
        try:
            packed = self.store.read(weights_file(trial_id))
            unpack(packed)
            require_trial(packed, trial_id)
        except (Damaged, OSError) as error:
            if isinstance(error, ConnectionError):
                raise  # not damaged, but out of reach
            self.progress.warn(
                f"{self.store.place}/{weights_file(trial_id)} is damaged ({error}): training again"
            )
            self.index.lose_weights(trial_id)

    def _write_for(self, task: Task, member: dict[str, Any] | None, ended: Ended) -> None:
        """Write the rows that a worker could not: never over a trained trial's row, and none of a
        trial stopped early."""
        measured = {each.evaluation_id for each in ended.measured}
        missing = [each for each in task.evaluations if fingerprint(each) not in measured]
        trained = ended.trained is not None or not task.train
        with self._room_or_not(task.experiment.trial_id):
            if ended.failed and (why := ended.reason) is not None:
                write_failure(self.store, task, ended.outcome, why, missing, trained=trained)
            if member is not None:
                write_member(self.store, member | outcome_columns(ended.outcome, ended.problem))

    @contextmanager
    def _room_or_not(self, trial_id: str) -> Iterator[None]:
        """Rows for which the disk has no room are written by the same command some other time; the
        sweep goes on."""
        try:
            yield
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            self.progress.warn(f"{trial_id}: its rows cannot be written ({describe(error)})")
            self.summary.failures.setdefault(trial_id, reason_of(error))
