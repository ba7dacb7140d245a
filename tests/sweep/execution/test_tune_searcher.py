"""What Tune is told: the next job, and when the trial of a worker that has none is to end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kdray.trials.task import Ended, EpochDone, Outcome, Reason, ReasonKind, TrialEvent
from tests.sweep.scheduling.test_queue import TASKS, Told, group

pytest.importorskip("ray")
from kdray.sweep.execution import tune_searcher
from kdray.sweep.execution.tune_searcher import JobSearcher, Listener

FINISHED = "FINISHED"
WAITS: dict[str, Any] = {}
"""What a worker reports that has nothing to do."""


def told_of(*batches: int, width: int | None) -> Told:
    """A queue of jobs, so many in each batch."""
    tasks = iter(TASKS)
    return Told(*(group(*(next(tasks) for _ in range(size))) for size in batches), width=width)


def searcher_of(told: Told) -> JobSearcher:
    return JobSearcher(told.queue, lambda job: {"trial": job.trial_id})


def begin(searcher: JobSearcher, workers: str = "ab") -> None:
    """Ask for the jobs of two trials, of which ``workers`` have one."""
    for name in "ab":
        assert searcher.suggest(name) is not None
    for name in workers:
        searcher.begun(name)


def report(event: TrialEvent) -> dict[str, Any]:
    return {"event": event.model_dump_json()}


def ended(reason: Reason | None = None) -> dict[str, Any]:
    outcome = Outcome.FAILED if reason else Outcome.COMPLETED
    return report(Ended(outcome=outcome, reason=reason))


EPOCH = report(EpochDone(stage="main", epoch=1, epochs=2, done=1, metrics={}))


def test_as_many_run_at_once_as_the_jobs_say() -> None:
    told = told_of(1, 1, width=1)
    searcher = searcher_of(told)
    assert searcher.suggest("a") == {"trial": TASKS[0].experiment.trial_id}
    assert searcher.suggest("b") is None
    assert not searcher.hear("a", EPOCH)
    assert searcher.hear("a", ended()), "there is another job for its worker"
    assert searcher.suggest("b") is None, "its worker is about to be free"
    searcher.on_trial_complete("a")
    assert searcher.suggest("b") == {"trial": TASKS[1].experiment.trial_id}
    assert searcher.hear("b", ended())
    assert searcher.suggest("c") is None, "the last trial has not ended"
    searcher.on_trial_complete("b")
    assert searcher.suggest("c") == FINISHED
    assert len(told.ended) == 2


def test_without_a_limit_one_waits_for_room_at_a_time() -> None:
    searcher = searcher_of(told_of(1, 1, width=None))
    assert searcher.suggest("a") is not None
    assert searcher.suggest("b") is None
    searcher.begun("a")
    assert searcher.suggest("b") is not None


def test_a_worker_waits_while_another_may_give_it_something_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(tune_searcher, "monotonic", lambda: now)
    searcher = searcher_of(told_of(2, width=3))
    assert searcher.suggest("a") is not None
    assert searcher.suggest("b") is not None
    assert searcher.suggest("c") is None
    searcher.begun("b")
    assert not searcher.hear("a", ended())
    now = tune_searcher.MAX_IDLE_SECONDS - 1
    assert not searcher.hear("a", WAITS)
    assert searcher.suggest("c") is None
    now += 1
    assert searcher.hear("a", WAITS), "for ever it does not"
    searcher.on_trial_complete("a")
    assert searcher.hear("b", ended())
    searcher.on_trial_complete("b")
    assert searcher.suggest("c") == FINISHED


def test_all_that_wait_go_on_once_a_next_job_is_there() -> None:
    told = told_of(2, width=2)
    later = [group(TASKS[0]), group(TASKS[1])]
    told.source.batch_ended = lambda _: told.source._waiting.extend(later)  # type: ignore[method-assign]
    searcher = searcher_of(told)
    begin(searcher)
    assert not searcher.hear("a", ended())
    assert searcher.hear("b", ended()), "the phase is over, and the next begins"
    searcher.on_trial_complete("b")
    assert searcher.suggest("c") is not None
    assert searcher.hear("a", WAITS)
    searcher.on_trial_complete("a")
    assert searcher.suggest("d") is not None


def test_few_wait_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_searcher, "MAX_IDLE_WORKERS", 0)
    searcher = searcher_of(told_of(2, width=2))
    begin(searcher)
    assert searcher.hear("a", ended())


def test_a_worker_that_is_free_does_the_job_of_one_that_has_not_started() -> None:
    searcher = searcher_of(told_of(2, width=2))
    begin(searcher, workers="a")
    assert searcher.hear("a", ended())


def test_a_worker_that_ran_out_of_memory_is_asked_on_so_that_it_ends() -> None:
    told = told_of(1, width=1)
    searcher = searcher_of(told)
    assert searcher.suggest("a") is not None
    assert not searcher.hear("a", ended(Reason(kind=ReasonKind.MEMORY, text="no more")))
    assert told.ended == []
    searcher.on_trial_complete("a", error=True)
    assert [each[1] for each in told.ended] == ["failed"]


def test_an_error_of_our_own_ends_what_waits_and_begins_nothing() -> None:
    told = told_of(2, width=2)
    searcher = searcher_of(told)
    begin(searcher)
    assert not searcher.hear("a", ended())
    searcher.error = ValueError("why")
    assert searcher.hear("a", WAITS)
    searcher.on_trial_complete("a")
    assert searcher.suggest("c") is None, "the other one ends as it would"
    assert searcher.hear("b", ended())
    searcher.on_trial_complete("b")
    assert searcher.suggest("c") == FINISHED


def test_a_trial_begins_when_it_has_its_worker() -> None:
    begun: list[str] = []
    listener = Listener(SimpleNamespace(begun=begun.append))  # type: ignore[arg-type]
    trials = [SimpleNamespace(trial_id=name, status="PENDING") for name in "ab"]
    for trial in trials:
        listener.on_trial_add(None, trial)
    assert listener.choose_trial_to_run(None) is None  # type: ignore[func-returns-value]
    trials[1].status = "RUNNING"
    listener.choose_trial_to_run(None)
    listener.choose_trial_to_run(None)
    trials[0].status = "ERROR"
    listener.choose_trial_to_run(None)
    assert begun == ["b", "a"]
