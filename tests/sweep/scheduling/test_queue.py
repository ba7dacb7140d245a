"""Trials given one by one, run again after a fault, and stopped, without running any."""

from __future__ import annotations

import io
from typing import Any

import pytest

from kdray.sweep.definition.file import Request
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.queue import DIED, MAX_DEATHS, Assignment, Dispatcher, Group, in_turn
from kdray.trials.task import Ended, EpochDone, Measured, Outcome, Reason, ReasonKind, Task
from tests.sweep.fakes import ALONE, sweep_of

SWEEP = sweep_of(ALONE)
TASKS = [Task(role="student", experiment=SWEEP.student(point, 0, None)) for point in SWEEP.grid()]
OOM = Reason(
    kind=ReasonKind.MEMORY, text="OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"
)


class Told:
    """What a dispatcher tells of the trials of its groups."""

    def __init__(self, *groups: Group, request: Request | None = None) -> None:
        self.ended: list[tuple[str, Outcome, Reason | None, bool]] = []
        self.shared: list[str] = []
        self.said = io.StringIO()
        self.dispatcher = Dispatcher(
            in_turn(groups),
            Progress(self.said),
            request or Request(),
            trial_ended=self._ended,
            shared_trial_ended=lambda a, _last: self.shared.append(a.trial_id),
        )

    def _ended(self, assignment: Assignment, last: Ended) -> None:
        self.ended.append((assignment.trial_id, last.outcome, last.reason, last.recorded))

    def next(self) -> Assignment:
        found = self.dispatcher.next()
        assert found is not None
        return found


def group(*tasks: Task, **options: Any) -> Group:
    return Group([Assignment(task, None) for task in tasks], **options)


def end(reason: Reason | None = None) -> Ended:
    return Ended(outcome=Outcome.FAILED if reason else Outcome.COMPLETED, reason=reason)


def epoch(done: int = 1) -> EpochDone:
    metrics = {"val_accuracy": 0.5}
    return EpochDone(stage="main", epoch=done, epochs=4, done=done, metrics=metrics)


def test_a_trial_whose_worker_died_is_given_again_before_others_and_not_for_ever() -> None:
    over: list[bool] = []
    told = Told(group(*TASKS, ended=lambda: over.append(True)))
    first = told.next()
    for _ in range(MAX_DEATHS):
        told.dispatcher.ended(first, None)
        assert told.ended == []
        assert told.next() == first
    told.dispatcher.ended(first, None)
    assert told.ended == [(first.trial_id, "failed", DIED, False)]
    second = told.next()
    assert second.task == TASKS[1]
    told.dispatcher.ended(second, end())
    assert told.ended[1:] == [(second.trial_id, "completed", None, True)]
    assert over == [True]
    assert told.dispatcher.next() is None


def test_deaths_are_counted_trial_by_trial() -> None:
    told = Told(group(*TASKS))
    first, second = told.next(), told.next()
    for _ in range(MAX_DEATHS):
        told.dispatcher.ended(first, None)
        told.dispatcher.ended(second, None)
        assert {told.next(), told.next()} == {first, second}
    assert told.ended == []


def test_out_of_memory_is_tried_once_more_with_twice_the_share() -> None:
    told = Told(group(TASKS[0]), request=Request(gpu=0.3))
    told.dispatcher.ended(told.next(), end(OOM))
    again = told.next()
    assert again.request.gpu == 0.6
    assert again.retried == "out of memory with 0.3 of a GPU, run again with 0.6"
    assert again.retried in told.said.getvalue()
    told.dispatcher.ended(again, end(OOM))
    assert told.ended == [(again.trial_id, "failed", OOM, True)]
    assert told.dispatcher.next() is None


def test_out_of_memory_of_an_evaluation_counts_too() -> None:
    told = Told(group(TASKS[0]), request=Request(gpu=0.5))
    measured = Measured(evaluation_id="0", label="pgd", done=1, metrics={}, reason=OOM)
    last = Ended(outcome=Outcome.FAILED, measured=(measured,))
    told.dispatcher.ended(told.next(), last)
    assert told.next().request.gpu == 1


@pytest.mark.parametrize(
    ("gpu", "kind"),
    [(1, "memory"), (0, "memory"), (0.5, "machine"), (0.5, "input"), (0.5, "experiment")],
)
def test_what_more_of_a_gpu_would_not_help_is_not_tried_again(gpu: float, kind: ReasonKind) -> None:
    reason = Reason(kind=kind, text="why")
    told = Told(group(TASKS[0]), request=Request(gpu=gpu))
    told.dispatcher.ended(told.next(), end(reason))
    assert told.dispatcher.next() is None
    assert told.ended[0][2] == reason


def test_a_trial_that_dies_beyond_its_time_has_failed_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("kdray.sweep.scheduling.queue.monotonic", lambda: now)
    told = Told(group(TASKS[0]), request=Request(hours=0.5))
    first = told.next()
    now = 500
    told.dispatcher.begun(first)  # it had waited for room
    now += 1799
    told.dispatcher.ended(first, None)
    assert told.next() == first, "there was time left"
    now += 700
    told.dispatcher.begun(first)  # and waited again: each worker has the whole time
    now += 1800
    told.dispatcher.ended(first, None)
    reason = "TimeLimit: it had not ended after 0.5 hours (resources.student.hours)"
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("failed", reason, False)
    ]


def test_a_trial_is_stopped_where_everybody_who_asked_for_it_says_so() -> None:
    stops = {"after": 2}
    told = Told(
        group(TASKS[0], stops=lambda _, step: "bad" if step.done >= stops["after"] else None)
    )
    running = told.next()
    assert not told.dispatcher.reported(running, epoch(1))
    assert told.dispatcher.reported(running, epoch(2))
    told.dispatcher.ended(running, None)
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("pruned", "bad", False)
    ]
    # Another group wants the same trial, and whole.
    told = Told(group(TASKS[0], stops=lambda *_: "bad"), group(TASKS[0]))
    running = told.next()
    assert told.dispatcher.next() is None
    assert not told.dispatcher.reported(running, epoch(2))
    told.dispatcher.ended(running, end())
    assert told.shared == [running.trial_id]


def test_a_trial_that_dies_while_it_is_to_stop_is_stopped() -> None:
    told = Told(group(TASKS[0], stops=lambda *_: "bad"))
    running = told.next()
    assert told.dispatcher.reported(running, epoch())
    told.dispatcher.ended(running, None)
    assert [(ended[1], str(ended[2]), ended[3]) for ended in told.ended] == [
        ("pruned", "bad", False)
    ]


def test_groups_without_work_end_at_once() -> None:
    over: list[str] = []
    told = Told(
        group(ended=lambda: over.append("first")),
        group(TASKS[0], ended=lambda: over.append("second")),
    )
    running = told.next()
    assert over == ["first"]
    told.dispatcher.ended(running, end())
    assert over == ["first", "second"]
