"""A queue of jobs: gives them one by one, hears how each ended, and runs again what the machine has
failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from kdray.sweep.scheduling.attempts import Attempts
from kdray.sweep.scheduling.jobs import Job, JobBatch, JobSource
from kdray.sweep.scheduling.progress import Ending, Progress
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, EpochDone, Measured, Outcome, Reason, ReasonKind, TrialEvent

MAX_DEATHS = 2
"""So many times a trial whose worker died goes on from its checkpoint; then it has failed."""
DIED = Reason(
    kind=ReasonKind.MACHINE,
    text="WorkerDied: its process ended again and again (killed, out of memory, or its node was "
    "lost)",
)


class JobAccount(Protocol):
    """Hears of every job that has ended."""

    def job_ended(self, job: Job, ended: Ended, gpu_seconds: float) -> None:
        """A job ended; its workers took ``gpu_seconds`` of whole GPUs."""

    def shared_job_ended(self, job: Job, ended: Ended) -> None:
        """A trial ended that ``job`` asks for too, in another place of the sweep."""


class JobQueue:
    """Gives the jobs of a source one by one and hears how each ended.

    A trial that several batches ask for runs once. One whose worker died goes on from its
    checkpoint, and one that ran out of a GPU's memory is run once more with twice the share;
    neither is measured again where it was measured.
    """

    def __init__(
        self,
        source: JobSource,
        grant: Grant,
        account: JobAccount,
        progress: Progress,
        *,
        width: int | None = None,
        first: JobBatch | None = None,
    ) -> None:
        """``width``: how many may run at once; ``first``: a batch that the source has given
        already."""
        self.width = width
        self._source, self._grant = source, grant
        self._account, self._progress = account, progress
        self._waiting: deque[Job] = deque()
        self._asking: dict[str, list[tuple[JobBatch, Job]]] = {}
        """By trial that waits or runs: who asked for it, the first to do so first."""
        self._attempts: dict[str, Attempts] = {}
        """At each trial that waits or runs."""
        self._deaths: dict[str, int] = {}
        """Of workers, by trial."""
        if first is not None:
            self._take(first)

    def next_job(self) -> Job | None:
        """The next job to run; none when there is none, or none until a running one has ended."""
        while not self._waiting:
            batch = self._source.next_batch()
            if batch is None:
                return None
            self._take(batch)
        job = self._waiting.popleft()
        self._progress.started(job.trial_id, job.name)
        return job

    def begun(self, job: Job) -> None:
        """A job that was given has its worker: it may have waited for room."""
        self._attempts[job.trial_id].begun()

    def reported(self, job: Job, event: TrialEvent, warnings: Sequence[str] = ()) -> bool:
        """A running job reported an event. Whether it is to stop here: then :meth:`ended`
        follows."""
        for text in warnings:
            self._progress.warn(text)
        if isinstance(event, Ended):
            return False
        attempts = self._attempts[job.trial_id]
        attempts.reported(event)
        accuracy = None if isinstance(event, Measured) else event.metrics.get("val_accuracy")
        share = event.done / job.task.steps
        self._progress.stepped(job.trial_id, share, event.text, accuracy)
        if isinstance(event, EpochDone) and attempts.stop_reason is None:
            asking = self._asking[job.trial_id]
            reasons = [self._source.stop_reason(batch, other, event) for batch, other in asking]
            if all(reasons):
                attempts.stop_reason = reasons[0]
        return attempts.stop_reason is not None

    def ended(self, job: Job, last: Ended | None) -> None:
        """A running job reported its end, was stopped, or (none) its worker died."""
        attempts = self._attempts[job.trial_id]
        if attempts.stop_reason is not None:
            reason = Reason(kind=ReasonKind.EXPERIMENT, text=attempts.stop_reason)
            last = Ended(outcome=Outcome.PRUNED, reason=reason, recorded=False)
        elif (again := self._again(job, last)) is not None:
            attempts.ended(job.grant)
            self._waiting.appendleft(again)
            return
        elif last is None:
            reason = self._cause_of_death(job)
            last = Ended(outcome=Outcome.FAILED, reason=reason, recorded=False)
        last, (_, asked) = attempts.joined(last), self._asking[job.trial_id][0]
        whole = job._replace(task=asked.task)
        self._account.job_ended(whole, last, attempts.gpu_seconds(job.grant))
        pruned = last.outcome is Outcome.PRUNED
        ending: Ending = "pruned" if pruned else "failed" if last.failed else "done"
        self._progress.ended(job.trial_id, ending)
        self._tell_who_asked(job.trial_id, last)

    def _take(self, batch: JobBatch) -> None:
        """Let the jobs of a batch wait, those but once that others have asked for."""
        if not batch.jobs:
            self._source.batch_ended(batch)
        for job in batch.jobs:
            asking = self._asking.setdefault(job.trial_id, [])
            asking.append((batch, job))
            if len(asking) == 1:
                self._attempts[job.trial_id] = Attempts()
                self._waiting.append(job._replace(grant=self._grant))

    def _tell_who_asked(self, trial_id: str, last: Ended) -> None:
        asking = self._asking.pop(trial_id)
        del self._attempts[trial_id]
        for _, other in asking[1:]:
            self._account.shared_job_ended(other, last)
        for batch, _ in asking:
            batch.open -= 1
            if not batch.open:
                self._source.batch_ended(batch)

    def _again(self, job: Job, last: Ended | None) -> Job | None:
        """How what is left of a job is run once more, if it is."""
        left = job._replace(task=self._attempts[job.trial_id].left(job.task))
        if last is None:
            self._deaths[job.trial_id] = deaths = self._deaths.get(job.trial_id, 0) + 1
            return left if deaths <= MAX_DEATHS and not self._overdue(job) else None
        more = job.grant.doubled()
        if more is None or not last.out_of_memory:
            return None
        self._progress.warn(f"{job.trial_id}: {more.retried}")
        return left._replace(grant=more)

    def _overdue(self, job: Job) -> bool:
        limit = job.grant.seconds
        return limit is not None and self._attempts[job.trial_id].lasted() >= limit

    def _cause_of_death(self, job: Job) -> Reason:
        if not self._overdue(job):
            return DIED
        field = f"resources.{self._source.phase.role}.hours"  # of teachers among the best: student
        text = f"TimeLimit: it had not ended after {job.grant.hours:g} hours ({field})"
        # It would take as long again: the user says when it has more time, or is to be tried again.
        return Reason(kind=ReasonKind.EXPERIMENT, text=text)
