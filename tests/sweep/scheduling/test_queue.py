"""Trials given one by one, run again after a fault, and stopped, without running any."""

from __future__ import annotations

import io

import pytest

from kdray.core import fingerprint
from kdray.robustness import Clean, GaussianNoise
from kdray.sweep.definition.file import Request
from kdray.sweep.scheduling.jobs import Job, JobBatch, Phase
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.queue import DIED, MAX_DEATHS, JobQueue
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, EpochDone, Measured, Outcome, Reason, ReasonKind, Task, Trained
from tests.sweep.fakes import ALONE, sweep_of

SWEEP = sweep_of(ALONE)
TASKS = [Task(role="student", experiment=SWEEP.student(point, 0, None)) for point in SWEEP.grid()]
OOM = Reason(
    kind=ReasonKind.MEMORY, text="OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
)


class Batches:
    """A source of batches that are known beforehand, each with the epoch after which it stops."""

    phase = Phase("tests", "student", Request(), None)

    def __init__(self, *batches: JobBatch, stops_after: dict[JobBatch, int] | None = None) -> None:
        self._waiting, self._stops_after = list(batches), stops_after or {}
        self.ended: list[JobBatch] = []

    def next_batch(self) -> JobBatch | None:
        return self._waiting.pop(0) if self._waiting else None

    def batch_ended(self, batch: JobBatch) -> None:
        self.ended.append(batch)

    def stop_reason(self, batch: JobBatch, job: Job, event: EpochDone) -> str | None:
        return "bad" if event.done >= self._stops_after.get(batch, 99) else None

    def candidates(self, first: JobBatch) -> list[Task]:
        return [job.task for job in first.jobs]


class Told:
    """What a queue tells of the jobs of its batches."""

    def __init__(
        self,
        *batches: JobBatch,
        grant: Grant | None = None,
        width: int | None = None,
        stops_after: dict[JobBatch, int] | None = None,
    ) -> None:
        self.ended: list[tuple[str, Outcome, Reason | None, bool]] = []
        self.tasks: list[Task] = []
        self.lasts: list[Ended] = []
        self.gpu_seconds: list[float] = []
        self.shared: list[str] = []
        self.said = io.StringIO()
        self.source = Batches(*batches, stops_after=stops_after)
        self.queue = JobQueue(self.source, grant or Grant(), self, Progress(self.said), width=width)

    def job_ended(self, job: Job, ended: Ended, gpu_seconds: float) -> None:
        self.ended.append((job.trial_id, ended.outcome, ended.reason, ended.recorded))
        self.tasks.append(job.task)
        self.lasts.append(ended)
        self.gpu_seconds.append(gpu_seconds)

    def shared_job_ended(self, job: Job, ended: Ended) -> None:
        self.shared.append(job.trial_id)

    def next(self) -> Job:
        found = self.queue.next_job()
        assert found is not None
        return found


def group(*tasks: Task) -> JobBatch:
    return JobBatch([Job(task) for task in tasks])


def end(reason: Reason | None = None) -> Ended:
    return Ended(outcome=Outcome.FAILED if reason else Outcome.COMPLETED, reason=reason)


def epoch(done: int = 1) -> EpochDone:
    metrics = {"val_accuracy": 0.5}
    return EpochDone(stage="main", epoch=done, epochs=4, done=done, metrics=metrics)


def test_a_trial_whose_worker_died_is_given_again_before_others_and_not_for_ever() -> None:
    batch = group(*TASKS)
    told = Told(batch)
    first = told.next()
    for _ in range(MAX_DEATHS):
        told.queue.ended(first, None)
        assert told.ended == []
        assert told.next() == first
    told.queue.ended(first, None)
    assert told.ended == [(first.trial_id, "failed", DIED, False)]
    second = told.next()
    assert second.task == TASKS[1]
    told.queue.ended(second, end())
    assert told.ended[1:] == [(second.trial_id, "completed", None, True)]
    assert told.source.ended == [batch]
    assert told.queue.next_job() is None


def test_deaths_are_counted_trial_by_trial() -> None:
    told = Told(group(*TASKS))
    first, second = told.next(), told.next()
    for _ in range(MAX_DEATHS):
        told.queue.ended(first, None)
        told.queue.ended(second, None)
        assert {told.next(), told.next()} == {first, second}
    assert told.ended == []


def test_out_of_memory_is_tried_once_more_with_twice_the_share() -> None:
    told = Told(group(TASKS[0]), grant=Grant(gpu=0.3))
    told.queue.ended(told.next(), end(OOM))
    again = told.next()
    assert again.grant.gpu == 0.6
    assert again.grant.retried == "out of memory with 0.3 of a GPU, run again with 0.6"
    assert again.grant.retried in told.said.getvalue()
    told.queue.ended(again, end(OOM))
    assert told.ended == [(again.trial_id, "failed", OOM, True)]
    assert told.queue.next_job() is None


SUITE = (Clean(), GaussianNoise(sigmas=(0.1,)))
MEASURED = TASKS[0].model_copy(update={"evaluations": SUITE})
TRAINED = Trained(done=3, metrics={"val_accuracy": 0.5, "parameters": 7.0}, device="NVIDIA L4")


def measured(number: int, reason: Reason | None = None) -> Measured:
    evaluation = SUITE[number]
    metrics = {} if reason else {"accuracy": number / 10}
    return Measured(
        evaluation_id=fingerprint(evaluation),
        label=evaluation.name,
        done=4,
        metrics=metrics,
        reason=reason,
    )


def test_what_a_worker_that_died_has_done_is_not_done_again() -> None:
    told = Told(group(MEASURED))
    first = told.next()
    told.queue.reported(first, epoch())
    told.queue.ended(first, None)
    second = told.next()
    assert second.task == MEASURED, "it is not trained yet"
    for event in (TRAINED, measured(0)):
        told.queue.reported(second, event)
    told.queue.ended(second, None)
    third = told.next()
    assert third.task == MEASURED.model_copy(update={"train": False, "evaluations": SUITE[1:]})
    told.queue.reported(third, measured(1))
    told.queue.ended(third, Ended(outcome=Outcome.COMPLETED, measured=(measured(1),)))
    assert told.tasks == [MEASURED]
    (last,) = told.lasts
    assert (last.trained, last.measured) == (TRAINED, (measured(0), measured(1)))


def test_what_was_measured_before_the_memory_ran_out_is_not_measured_again() -> None:
    told = Told(group(MEASURED), grant=Grant(gpu=0.3))
    first, failed = told.next(), measured(1, OOM)
    for event in (TRAINED, measured(0), failed):
        told.queue.reported(first, event)
    last = Ended(outcome=Outcome.FAILED, trained=TRAINED, measured=(measured(0), failed))
    told.queue.ended(first, last)
    again = told.next()
    assert again.task == MEASURED.model_copy(update={"train": False, "evaluations": SUITE[1:]})
    told.queue.reported(again, failed)
    told.queue.ended(again, Ended(outcome=Outcome.FAILED, measured=(failed,)))
    assert told.lasts == [last]


def test_of_a_worker_that_dies_for_good_it_is_known_what_it_has_done() -> None:
    told = Told(group(MEASURED))
    for _ in range(MAX_DEATHS + 1):
        job = told.next()
        for event in (TRAINED, measured(0)):
            told.queue.reported(job, event)
        told.queue.ended(job, None)
    (last,) = told.lasts
    assert (last.reason, last.recorded) == (DIED, False)
    assert (last.trained, last.measured) == (TRAINED, (measured(0),))


def test_each_worker_takes_of_a_gpu_what_it_was_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("kdray.sweep.scheduling.attempts.monotonic", lambda: now)
    told = Told(group(TASKS[0]), grant=Grant(gpu=0.25))
    for seconds, last in ((100, None), (40, end(OOM)), (10, end())):
        job = told.next()
        told.queue.begun(job)
        now += seconds
        told.queue.ended(job, last)
    assert told.gpu_seconds == [0.25 * 100 + 0.25 * 40 + 0.5 * 10]


def test_out_of_memory_of_an_evaluation_counts_too() -> None:
    told = Told(group(TASKS[0]), grant=Grant(gpu=0.5))
    measured = Measured(evaluation_id="0", label="pgd", done=1, metrics={}, reason=OOM)
    last = Ended(outcome=Outcome.FAILED, measured=(measured,))
    told.queue.ended(told.next(), last)
    assert told.next().grant.gpu == 1


@pytest.mark.parametrize(
    ("gpu", "kind"),
    [(1, "memory"), (0, "memory"), (0.5, "machine"), (0.5, "input"), (0.5, "experiment")],
)
def test_what_more_of_a_gpu_would_not_help_is_not_tried_again(gpu: float, kind: ReasonKind) -> None:
    reason = Reason(kind=kind, text="why")
    told = Told(group(TASKS[0]), grant=Grant(gpu=gpu))
    told.queue.ended(told.next(), end(reason))
    assert told.queue.next_job() is None
    assert told.ended[0][2] == reason


def test_a_trial_that_dies_beyond_its_time_has_failed_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("kdray.sweep.scheduling.attempts.monotonic", lambda: now)
    told = Told(group(TASKS[0]), grant=Grant(hours=0.5))
    first = told.next()
    now = 500
    told.queue.begun(first)  # it had waited for room
    now += 1799
    told.queue.ended(first, None)
    assert told.next() == first, "there was time left"
    now += 700
    told.queue.begun(first)  # and waited again: each worker has the whole time
    now += 1800
    told.queue.ended(first, None)
    reason = "TimeLimit: it had not ended after 0.5 hours (resources.student.hours)"
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("failed", reason, False)
    ]


def test_the_time_limit_is_that_of_the_resources_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A teacher that is measured among the best points has a student's."""
    now = 0.0
    monkeypatch.setattr("kdray.sweep.scheduling.attempts.monotonic", lambda: now)
    told = Told(group(TASKS[0].model_copy(update={"role": "teacher"})), grant=Grant(hours=0.5))
    job = told.next()
    told.queue.begun(job)
    now = 1800
    told.queue.ended(job, None)
    assert str(told.ended[0][2]).endswith("(resources.student.hours)")


def test_a_trial_is_stopped_where_everybody_who_asked_for_it_says_so() -> None:
    batch = group(TASKS[0])
    told = Told(batch, stops_after={batch: 2})
    running = told.next()
    assert not told.queue.reported(running, epoch(1))
    assert told.queue.reported(running, epoch(2))
    told.queue.ended(running, None)
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("pruned", "bad", False)
    ]
    # Another batch wants the same trial, and whole.
    batch = group(TASKS[0])
    told = Told(batch, group(TASKS[0]), stops_after={batch: 1})
    running = told.next()
    assert told.queue.next_job() is None
    assert not told.queue.reported(running, epoch(2))
    told.queue.ended(running, end())
    assert told.shared == [running.trial_id]


def test_a_trial_that_dies_while_it_is_to_stop_is_stopped() -> None:
    batch = group(TASKS[0])
    told = Told(batch, stops_after={batch: 1})
    running = told.next()
    assert told.queue.reported(running, epoch())
    told.queue.ended(running, None)
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("pruned", "bad", False)
    ]


def test_batches_without_jobs_end_at_once() -> None:
    empty, batch = group(), group(TASKS[0])
    told = Told(empty, batch)
    running = told.next()
    assert told.source.ended == [empty]
    told.queue.ended(running, end())
    assert told.source.ended == [empty, batch]


def test_a_batch_that_was_looked_at_before_is_given_first() -> None:
    source = Batches(group(TASKS[1]))
    told = Told()
    queue = JobQueue(source, Grant(), told, Progress(told.said), first=group(TASKS[0]))
    given = [queue.next_job(), queue.next_job()]
    assert [job and job.task for job in given] == TASKS[:2]
