"""One source of jobs after the other, on a runner that starts with the first job and keeps its
processes from source to source."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import NamedTuple, Protocol

from kdray.sweep.definition.file import Request, Role
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.idle_cpus import idle_text
from kdray.sweep.scheduling.jobs import Job, JobBatch, Jobs, JobSource, Phase
from kdray.sweep.scheduling.queue import JobQueue
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, Task, TrialEvent

Sources = Generator[JobSource, None, None]
"""The next one is asked for when every job of the one before has ended; closed where a run ends
early."""


class Allocation(NamedTuple):
    """What a runner has for the trials of one source."""

    grant: Grant
    """Of each."""
    width: int | None
    """How many run at once; none: as many as there is room for, which may change."""
    notes: tuple[str, ...]
    """For people: how it was found, how many run at once, and what limits them."""


class Runner(Protocol):
    """Runs jobs; :class:`kdray.sweep.execution.runner.RayRunner` does so on Ray."""

    def must_measure(self, role: Role, request: Request) -> bool:
        """Whether :meth:`allocate` would measure a trial, beside which nothing may run."""

    def allocate(
        self, phase: str, role: Role, request: Request, candidates: Sequence[Task]
    ) -> Allocation:
        """Start, if need be, and say what each trial gets; :class:`kdray.InputError` if none can
        run. The hungriest of ``candidates`` is measured where the request says ``gpu: auto``."""

    def run(self, jobs: Jobs) -> None:
        """Run every job; no process outlives the call."""


class Scheduler:
    """Gives a runner the jobs of one source after the other, and tells each source what became of
    its own."""

    def __init__(self, runner: Runner, account: Account, cpus: float | None = None) -> None:
        """``cpus``: of this machine, if all trials run on it."""
        self._runner, self._account, self._progress = runner, account, account.progress
        self._cpus = cpus
        self._ahead: Iterator[tuple[JobSource, JobBatch]] = iter(())
        self._upcoming: tuple[JobSource, JobBatch] | None = None
        """The next source that has jobs, and its first batch that has some."""
        self._queue: JobQueue | None = None
        """Of the source whose jobs are given now."""
        self._running = 0
        self._shown = ExitStack()

    def run(self, sources: Sources) -> None:
        """Run every job of ``sources``; nothing starts where they have none."""
        # Sources are closed last: what they end with belongs to a run that is over.
        with closing(sources), self._shown:
            self._ahead = _with_jobs(sources)
            self._upcoming = next(self._ahead, None)
            while self._upcoming is not None:
                self._begin(*self._upcoming)
                self._runner.run(self)

    @property
    def width(self) -> int | None:
        return None if self._queue is None else self._queue.width

    def next_job(self) -> Job | None:
        """The next job of this source, or of the next ones when all of this have ended; none also
        where something has to be measured before a source begins."""
        while self._queue is not None:
            job = self._queue.next_job()
            if job is not None:
                self._running += 1
                return job
            if self._running:
                return None
            self._end()
            if self._upcoming is not None and not self._must_measure(self._upcoming[0].phase):
                self._begin(*self._upcoming)
        return None

    def begun(self, job: Job) -> None:
        self._current.begun(job)

    def reported(self, job: Job, event: TrialEvent, warnings: Sequence[str] = ()) -> bool:
        return self._current.reported(job, event, warnings)

    def ended(self, job: Job, last: Ended | None) -> None:
        self._running -= 1
        self._current.ended(job, last)

    @property
    def _current(self) -> JobQueue:
        assert self._queue is not None
        return self._queue

    def _must_measure(self, phase: Phase) -> bool:
        return self._runner.must_measure(phase.role, phase.request)

    def _begin(self, source: JobSource, first: JobBatch) -> None:
        """Let the jobs of ``source`` be given from now on, and show how they do."""
        name, role, request, planned, cached = source.phase
        tasks = source.candidates(first) if request.gpu == "auto" else ()
        allocation = self._runner.allocate(name, role, request, tasks)
        for note in allocation.notes:
            self._progress.say(note)
        self._tell_idle(source.phase, allocation)
        self._queue = JobQueue(
            source,
            allocation.grant,
            self._account,
            self._progress,
            width=allocation.width,
            first=first,
        )
        self._shown.enter_context(self._progress.phase(name, planned=planned, there=cached))

    def _end(self) -> None:
        """Every job of the source has ended: show so, and find the next."""
        self._queue = None
        self._shown.close()
        self._upcoming = next(self._ahead, None)

    def _tell_idle(self, phase: Phase, allocation: Allocation) -> None:
        """Say where the trials of a phase are too few for the machine."""
        if self._cpus is None or phase.planned is None:
            return
        trials = min(phase.planned, allocation.width or phase.planned)
        if (text := idle_text(phase.role, phase.request, trials, self._cpus)) is not None:
            self._progress.say(f"{phase.name}: {text}")


def _with_jobs(sources: Sources) -> Iterator[tuple[JobSource, JobBatch]]:
    """Yield the sources that have jobs, each with its first batch that has some; those before it
    have ended."""
    for source in sources:
        while (batch := source.next_batch()) is not None:
            if batch.jobs:
                yield source, batch
                break
            source.batch_ended(batch)
