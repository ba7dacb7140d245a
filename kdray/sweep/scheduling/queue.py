"""A queue of jobs: gives them one by one, hears how each ended, and runs again what the machine has
failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

from kdray.core import fingerprint
from kdray.sweep.scheduling.jobs import Job, JobBatch, JobSource
from kdray.sweep.scheduling.progress import Progress
from kdray.trials.grant import Grant
from kdray.trials.task import (
    Ended,
    EpochDone,
    Measured,
    Outcome,
    Reason,
    ReasonKind,
    Task,
    Trained,
    TrialEvent,
)

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
        self._began: dict[str, float] = {}
        """When the workers of trials began them."""
        self._spent: dict[str, float] = {}
        """Seconds of whole GPUs that earlier workers took, each with the share that it had."""
        self._deaths: dict[str, int] = {}
        self._trained: dict[str, Trained] = {}
        self._measured: dict[str, dict[str, Measured]] = {}
        """By trial, and evaluation: what workers have done that no other need do again."""
        self._stopped: dict[str, str] = {}
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
        self._began[job.trial_id] = monotonic()

    def reported(self, job: Job, event: TrialEvent, warnings: Sequence[str] = ()) -> bool:
        """A running job reported an event. Whether it is to stop here: then :meth:`ended`
        follows."""
        for text in warnings:
            self._progress.warn(text)
        match event:
            case Ended():
                return False
            case Trained():
                self._trained[job.trial_id] = event
            case Measured(reason=None):
                its = self._measured.setdefault(job.trial_id, {})
                its[event.evaluation_id] = event
        accuracy = None if isinstance(event, Measured) else event.metrics.get("val_accuracy")
        share = event.done / job.task.steps
        self._progress.stepped(job.trial_id, share, event.text, accuracy)
        if isinstance(event, EpochDone) and job.trial_id not in self._stopped:
            asking = self._asking[job.trial_id]
            reasons = [self._source.stop_reason(batch, other, event) for batch, other in asking]
            if all(reasons):
                self._stopped[job.trial_id] = str(reasons[0])
        return job.trial_id in self._stopped

    def ended(self, job: Job, last: Ended | None) -> None:
        """A running job reported its end, was stopped, or (none) its worker died."""
        trial_id = job.trial_id
        if trial_id in self._stopped:
            reason = Reason(kind=ReasonKind.EXPERIMENT, text=self._stopped.pop(trial_id))
            last = Ended(outcome=Outcome.PRUNED, reason=reason, recorded=False)
        elif (again := self._again(job, last)) is not None:
            self._spent[trial_id] = self._gpu_seconds(job)
            self._began.pop(trial_id, None)
            self._waiting.appendleft(again)
            return
        elif last is None:
            reason = self._cause_of_death(job)
            last = Ended(outcome=Outcome.FAILED, reason=reason, recorded=False)
        last, asked = self._of_all_workers(trial_id, last), self._asking[trial_id][0][1]
        whole = job._replace(task=asked.task)
        self._account.job_ended(whole, last, self._gpu_seconds(job))
        self._began.pop(trial_id, None)
        self._spent.pop(trial_id, None)
        pruned = last.outcome is Outcome.PRUNED
        self._progress.ended(trial_id, "pruned" if pruned else "failed" if last.failed else "done")
        self._tell_who_asked(trial_id, last)

    def _take(self, batch: JobBatch) -> None:
        """Let the jobs of a batch wait, those but once that others have asked for."""
        if not batch.jobs:
            self._source.batch_ended(batch)
        for job in batch.jobs:
            asking = self._asking.setdefault(job.trial_id, [])
            asking.append((batch, job))
            if len(asking) == 1:
                self._waiting.append(job._replace(grant=self._grant))

    def _tell_who_asked(self, trial_id: str, last: Ended) -> None:
        asking = self._asking.pop(trial_id)
        for _, other in asking[1:]:
            self._account.shared_job_ended(other, last)
        for batch, _ in asking:
            batch.open -= 1
            if not batch.open:
                self._source.batch_ended(batch)

    def _again(self, job: Job, last: Ended | None) -> Job | None:
        """How what is left of a job is run once more, if it is."""
        left = job._replace(task=self._left(job.task))
        if last is None:
            self._deaths[job.trial_id] = deaths = self._deaths.get(job.trial_id, 0) + 1
            return left if deaths <= MAX_DEATHS and not self._overdue(job) else None
        more = job.grant.doubled()
        if more is None or not last.out_of_memory:
            return None
        self._progress.warn(f"{job.trial_id}: {more.retried}")
        return left._replace(grant=more)

    def _left(self, task: Task) -> Task:
        """``task`` without what its workers have done."""
        trial_id = task.experiment.trial_id
        measured = self._measured.get(trial_id, {})
        evaluations = tuple(e for e in task.evaluations if fingerprint(e) not in measured)
        train = task.train and trial_id not in self._trained
        return task.model_copy(update={"train": train, "evaluations": evaluations})

    def _of_all_workers(self, trial_id: str, last: Ended) -> Ended:
        """How a trial ended, with what its earlier workers have done."""
        trained = self._trained.pop(trial_id, last.trained)
        measured = self._measured.pop(trial_id, {})
        measured |= {each.evaluation_id: each for each in last.measured}
        return last.model_copy(update={"trained": trained, "measured": tuple(measured.values())})

    def _gpu_seconds(self, job: Job) -> float:
        """What the workers of a trial have taken of GPUs, the last one with the job's grant."""
        return self._spent.get(job.trial_id, 0.0) + self._lasted(job.trial_id) * job.grant.gpu

    def _lasted(self, trial_id: str) -> float:
        """How long its last worker has run."""
        return monotonic() - self._began[trial_id] if trial_id in self._began else 0.0

    def _overdue(self, job: Job) -> bool:
        limit = job.grant.seconds
        return limit is not None and self._lasted(job.trial_id) >= limit

    def _cause_of_death(self, job: Job) -> Reason:
        if not self._overdue(job):
            return DIED
        field = f"resources.{self._source.phase.role}.hours"  # of teachers among the best: student
        text = f"TimeLimit: it had not ended after {job.grant.hours:g} hours ({field})"
        # It would take as long again: the user says when it has more time, or is to be tried again.
        return Reason(kind=ReasonKind.EXPERIMENT, text=text)
