"""One source of jobs after the other, on a runner that starts with the first job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from kdray.sweep.definition.file import Request, Role
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.idle import idle_text
from kdray.sweep.scheduling.jobs import JobBatch, JobSource, Phase
from kdray.sweep.scheduling.queue import JobQueue
from kdray.trials.grant import Grant
from kdray.trials.task import Task


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

    def allocate(
        self, phase: str, role: Role, request: Request, candidates: Sequence[Task]
    ) -> Allocation:
        """Start, if need be, and say what each trial gets; :class:`kdray.InputError` if none can
        run. The hungriest of ``candidates`` is measured where the request says ``gpu: auto``."""

    def run(self, queue: JobQueue, allocation: Allocation) -> None:
        """Run every job of ``queue``."""


class Scheduler:
    """Runs sources of jobs."""

    def __init__(self, runner: Runner, account: Account, cpus: float | None = None) -> None:
        """``cpus``: of this machine, if all trials run on it."""
        self._runner, self._account, self._progress = runner, account, account.progress
        self._cpus = cpus

    def run(self, source: JobSource) -> None:
        """Run every job of ``source``; nothing starts where it has none."""
        first = _first_with_jobs(source)
        if first is None:
            return
        name, role, request, planned, cached = source.phase
        tasks = source.candidates(first) if request.gpu == "auto" else ()
        allocation = self._runner.allocate(name, role, request, tasks)
        for note in allocation.notes:
            self._progress.say(note)
        self._tell_idle(source.phase, allocation)
        queue = JobQueue(source, allocation.grant, self._account, self._progress, first=first)
        with self._progress.phase(name, planned=planned, there=cached):
            self._runner.run(queue, allocation)

    def _tell_idle(self, phase: Phase, allocation: Allocation) -> None:
        """Say where the trials of a phase are too few for the machine."""
        if self._cpus is None or phase.planned is None:
            return
        trials = min(phase.planned, allocation.width or phase.planned)
        if (text := idle_text(phase.role, phase.request, trials, self._cpus)) is not None:
            self._progress.say(f"{phase.name}: {text}")


def _first_with_jobs(source: JobSource) -> JobBatch | None:
    """Return the first batch that has jobs; those before it have ended."""
    while (batch := source.next_batch()) is not None:
        if batch.jobs:
            return batch
        source.batch_ended(batch)
    return None
