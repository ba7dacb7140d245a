"""One source of jobs after the other, without running any."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from kdray.sweep.definition.file import Request, Role
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.jobs import Job, JobBatch, Jobs, ListedJobs, Phase
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.scheduler import Allocation, Scheduler, Sources
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, Outcome, Task
from tests.sweep.scheduling.test_queue import TASKS

ENDED = Ended(outcome=Outcome.COMPLETED)


class Everybody:
    """The runner and the account: notes in order what it is asked for."""

    def __init__(self, *, measured: Sequence[str] = ()) -> None:
        """``measured``: requests by CPU, of which the share of a GPU is to be measured."""
        self.heard: list[str] = []
        self.said = io.StringIO()
        self.progress = Progress(self.said)
        self._measured = list(measured)

    def must_measure(self, role: Role, request: Request) -> bool:
        return f"{request.cpu:g}" in self._measured

    def allocate(
        self, phase: str, role: Role, request: Request, candidates: Sequence[Task]
    ) -> Allocation:
        if self.must_measure(role, request):
            self._measured.remove(f"{request.cpu:g}")
            self.heard.append("measured")
        self.heard.append(phase)
        return Allocation(Grant(cpu=request.cpu), int(request.cpu), (f"{phase}: noted",))

    def run(self, jobs: Jobs) -> None:
        self.heard.append("begin")
        while (job := jobs.next_job()) is not None:
            self.heard.append(f"{job.task.experiment.seed} of {jobs.width}")
            jobs.begun(job)
            assert jobs.next_job() is None, "the next source waits for the last job"
            jobs.ended(job, ENDED)
        self.heard.append("end")

    def job_ended(self, job: Job, ended: Ended, gpu_seconds: float) -> None:
        """As an account would."""

    def schedule(self, sources: Sources) -> None:
        Scheduler(self, cast("Account", self)).run(sources)


def listed(name: str, *tasks: Task, cpu: float = 1) -> ListedJobs:
    request = Request(cpu=cpu)
    return ListedJobs(Phase(name, "student", request, len(tasks)), [Job(task) for task in tasks])


def test_processes_stay_while_one_source_follows_another() -> None:
    everybody = Everybody()

    def sources() -> Sources:
        yield listed("first", TASKS[0], cpu=3)
        everybody.heard.append("between")
        yield listed("nothing")
        yield listed("second", TASKS[1], cpu=2)
        everybody.heard.append("last")

    everybody.schedule(sources())
    assert everybody.heard == [
        *("first", "begin", "0 of 3", "between"),
        *("second", "0 of 2", "last", "end"),
    ]
    lines = [line.split(" |")[0] for line in everybody.said.getvalue().splitlines()]
    assert lines == ["first: noted", "first: 1 done", "second: noted", "second: 1 done"]


def test_nothing_runs_where_nothing_is_left() -> None:
    everybody = Everybody()

    def sources() -> Sources:
        yield listed("first")
        everybody.heard.append("last")

    everybody.schedule(sources())
    assert everybody.heard == ["last"]


def test_no_process_is_left_while_a_trial_is_measured() -> None:
    everybody = Everybody(measured=["1", "2"])

    def sources() -> Sources:
        yield listed("first", TASKS[0])
        yield listed("second", TASKS[1], cpu=2)
        yield listed("third", TASKS[1], cpu=2)

    everybody.schedule(sources())
    assert everybody.heard == [
        *("measured", "first", "begin", "0 of 1", "end"),
        *("measured", "second", "begin", "0 of 2", "third", "0 of 2", "end"),
    ]


def fails_to_run(everybody: Everybody) -> None:
    def run(_: Any) -> None:
        raise KeyboardInterrupt

    everybody.run = run  # type: ignore[method-assign]


def fails_to_allocate(everybody: Everybody) -> None:
    def allocate(*_: Any) -> Allocation:
        raise KeyboardInterrupt

    everybody.allocate = allocate  # type: ignore[method-assign]


@pytest.mark.parametrize("fails", [fails_to_run, fails_to_allocate])
def test_whatever_ends_a_run_early_sources_end_what_they_have_begun(
    fails: Callable[[Everybody], None],
) -> None:
    everybody = Everybody()
    fails(everybody)

    def sources() -> Sources:
        try:
            yield listed("first", TASKS[0])
        finally:
            everybody.heard.append("ended")

    with pytest.raises(KeyboardInterrupt):
        everybody.schedule(sources())
    assert everybody.heard[-1] == "ended"
    assert "done" not in everybody.said.getvalue(), "no phase has ended"


class Careful(ListedJobs):
    """Notes what has ended."""

    ended: list[int]

    def batch_ended(self, batch: JobBatch) -> None:
        self.ended.append(len(batch.jobs))


def test_batches_without_jobs_end_before_the_source_begins() -> None:
    everybody, source = Everybody(), Careful(Phase("late", "student", Request(), None), [])
    source.ended = []
    batches = [JobBatch([]), JobBatch([Job(TASKS[0])])]
    source.next_batch = lambda: batches.pop(0) if batches else None  # type: ignore[method-assign]

    def sources() -> Sources:
        yield source

    everybody.schedule(sources())
    assert source.ended == [0, 1]
