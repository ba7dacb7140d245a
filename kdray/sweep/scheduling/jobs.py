"""Jobs, and who gives them: values and a protocol, without a word of what they run on.

A :class:`JobSource` is one kind of work (teachers, students, best points, measurements across
trials). :class:`kdray.sweep.scheduling.queue.JobQueue` asks it for batches, gives their jobs to a
runner one by one, and tells the source what became of them;
:class:`kdray.sweep.scheduling.scheduler.Scheduler` does so for one source after the other. To a
runner both are :class:`Jobs`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from kdray.sweep.definition.file import Request, Role
from kdray.sweep.scheduling.progress import trial_name
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, EpochDone, Task, TrialEvent


class Job(NamedTuple):
    """One task to run, its row in members (but for the outcome), and what it is granted."""

    task: Task
    member: dict[str, Any] | None = None
    grant: Grant = Grant()

    @property
    def trial_id(self) -> str:
        return self.task.experiment.trial_id

    @property
    def name(self) -> str | None:
        """What people call the trial: its point and its seed; none where its place is not known."""
        if self.member is None:
            return None
        seed, swept = self.task.experiment.seed, json.loads(self.member.get("swept") or "{}")
        return trial_name(self.task.role, seed, swept, self.member.get("case"))


@dataclass(eq=False)
class JobBatch:
    """Jobs whose source hears when all of them have ended: the seeds of a point, the candidates for
    a teacher."""

    jobs: list[Job]
    open: int = field(init=False)
    """Jobs that have not ended."""

    def __post_init__(self) -> None:
        self.open = len(self.jobs)


class Phase(NamedTuple):
    """What a source's work is called, and what each of its trials asks for."""

    name: str
    role: Role
    """Whose resources the trials ask for."""
    request: Request
    planned: int | None
    """Trials that are to run, as far as that is known."""
    cached: Sized = ()
    """Trials that are in the results already."""


class JobSource(Protocol):
    """Gives jobs of one kind and hears what became of them."""

    @property
    def phase(self) -> Phase:
        """What the work is called and asks for."""

    def next_batch(self) -> JobBatch | None:
        """The next jobs; none when there are none, or none until a batch that runs has ended."""

    def batch_ended(self, batch: JobBatch) -> None:
        """Every job of ``batch`` has ended; at once, where it has none."""

    def stop_reason(self, batch: JobBatch, job: Job, event: EpochDone) -> str | None:
        """Why a job that runs is to stop after this epoch, if ``batch`` needs no more of it."""

    def candidates(self, first: JobBatch) -> Sequence[Task]:
        """The tasks that there may be, of which the hungriest is measured where the request says
        ``gpu: auto``."""


class Jobs(Protocol):
    """Gives a runner jobs one by one and hears how each goes on."""

    @property
    def width(self) -> int | None:
        """How many may run at once now; none: as many as there is room for."""

    def next_job(self) -> Job | None:
        """The next job to run; none when there is none, or none until a running one has ended."""

    def begun(self, job: Job) -> None:
        """A job that was given has its worker: it may have waited for room."""

    def reported(self, job: Job, event: TrialEvent, warnings: Sequence[str] = ()) -> bool:
        """A running job reported an event. Whether it is to stop here: then :meth:`ended`
        follows."""

    def ended(self, job: Job, last: Ended | None) -> None:
        """A running job reported its end, was stopped, or (none) its worker died."""


class ListedJobs:
    """A source of jobs that are known beforehand: each ends by itself, and none is stopped."""

    def __init__(self, phase: Phase, jobs: Sequence[Job]) -> None:
        self.phase = phase
        self._waiting = deque(jobs)

    def next_batch(self) -> JobBatch | None:
        return JobBatch([self._waiting.popleft()]) if self._waiting else None

    def batch_ended(self, batch: JobBatch) -> None:
        """Nothing follows from it."""

    def stop_reason(self, batch: JobBatch, job: Job, event: EpochDone) -> str | None:  # noqa: ARG002
        return None

    def candidates(self, first: JobBatch) -> Sequence[Task]:
        return [job.task for job in (*first.jobs, *self._waiting)]
