"""Getting groups of trials done on Ray, and keeping account of what became of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence, Sized
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch

from kdray.data import data_root
from kdray.results import Store, has_completed, write_rows
from kdray.sweep.file import Budget, Request
from kdray.sweep.ledger import Ledger
from kdray.sweep.progress import Progress
from kdray.sweep.resources import Node, check, this_machine
from kdray.trial import Step, Task, weights_file, write_trial_row, write_unmeasured
from kdray.weights import Damaged, unpack

DIED = "WorkerDied: its process ended again and again (killed, out of memory, or its node was lost)"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How trials are run; nothing here changes a number."""

    address: str | None = None
    """Of a running Ray cluster; none: a local Ray."""
    retry_failed: bool = False
    max_concurrent: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    data: Path = field(default_factory=data_root)


@dataclass
class Summary:
    """What a run did."""

    ran: set[str] = field(default_factory=set)
    """Trials that were trained or measured now."""
    there: set[str] = field(default_factory=set)
    """Trials that were there already; one that was trained before and measured now is in both."""
    failures: dict[str, str] = field(default_factory=dict)
    """Trial (or point without a teacher) to reason, of everything that was asked for."""
    stopped: str | None = None
    """Why the run ended before it had done everything."""

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0


class Assignment(NamedTuple):
    """One task to run, and its row in members (but for the outcome)."""

    task: Task
    member: dict[str, Any] | None

    @property
    def trial_id(self) -> str:
        return self.task.experiment.trial_id


@dataclass
class Group:
    """Trials that are told of together: the seeds of a point, the candidates for a teacher."""

    assignments: list[Assignment]
    ended: Callable[[], None] = lambda: None
    """Called once, when every trial of the group has ended."""
    open: int = field(init=False)

    def __post_init__(self) -> None:
        self.open = len(self.assignments)


Groups = Callable[[], Group | None]
"""The next group; none when there is none, or none until a running one has ended."""
Ended = Callable[[Assignment, Step | None], None]
"""Told how a trial ended; without a step if its worker died."""


class Dispatcher:
    """Gives the trials of groups one by one and hears how each ended; a trial that several groups ask for runs once."""

    def __init__(
        self, groups: Groups, progress: Progress, *, trial_ended: Ended, shared_trial_ended: Ended
    ) -> None:  # fmt: skip
        self._groups, self._progress = groups, progress
        self._trial_ended, self._shared_trial_ended = trial_ended, shared_trial_ended
        self._waiting: deque[Assignment] = deque()
        self._asking: dict[str, list[tuple[Group, Assignment]]] = {}
        """By trial that waits or runs: who asked for it, the first to do so first."""
        self._began: dict[str, float] = {}

    def next(self) -> Assignment | None:
        """The next trial to run; none when there is none, or none until a running one has ended."""
        while not self._waiting:
            group = self._groups()
            if group is None:
                return None
            if not group.assignments:
                group.ended()
            for assignment in group.assignments:
                asking = self._asking.setdefault(assignment.trial_id, [])
                asking.append((group, assignment))
                if len(asking) == 1:
                    self._waiting.append(assignment)
        assignment = self._waiting.popleft()
        self._progress.started(assignment.trial_id)
        self._began[assignment.trial_id] = monotonic()
        return assignment

    def seconds(self, trial_id: str) -> float:
        """How long a trial has been running."""
        return monotonic() - self._began[trial_id]

    def stepped(self, assignment: Assignment, step: Step, warnings: Sequence[str] = ()) -> None:
        """A running trial did a step."""
        for text in warnings:
            self._progress.warn(text)
        if step.outcome is None:
            self._progress.stepped(assignment.trial_id, step.done / step.total, step.text)

    def ended(self, assignment: Assignment, last: Step | None) -> None:
        """A running trial did its last step, or (none) its worker died once too often."""
        self._trial_ended(assignment, last)
        self._progress.ended(assignment.trial_id, failed=last is None or last.outcome != "completed")
        asking = self._asking.pop(assignment.trial_id)
        for _, other in asking[1:]:
            self._shared_trial_ended(other, last)
        for group, _ in asking:
            group.open -= 1
            if not group.open:
                group.ended()


class Work:
    """Runs groups; Ray starts with the first one that has something to do and stops with the block."""

    def __init__(self, store: Store, ledger: Ledger, options: Options, progress: Progress) -> None:
        self.store, self.ledger, self.options, self.progress = store, ledger, options, progress
        self.summary = Summary()
        self._stack = ExitStack()
        self._nodes: list[Node] | None = None
        self._began, self._gpu_seconds = monotonic(), 0.0

    def used_up(self, budget: Budget) -> str | None:
        """What of ``budget`` this run has used up, if anything."""
        if budget.hours is not None and monotonic() - self._began >= budget.hours * 3600:
            return f"{budget.hours:g} hours are used up"
        if budget.gpu_hours is not None and self._gpu_seconds >= budget.gpu_hours * 3600:
            return f"{budget.gpu_hours:g} GPU-hours are used up"
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def do(
        self, name: str, role: str, request: Request, groups: Groups, *, planned: int | None, there: Sized
    ) -> None:  # fmt: skip
        """Run every group of ``groups``, each trial with ``request``."""
        first = groups()
        while first is not None and not first.assignments:
            first.ended()
            first = groups()
        if first is None:
            return
        from kdray.sweep.engine import run_trials  # ray takes seconds to import

        nodes = self._cluster()
        check(role, request, nodes)
        started = deque([first])

        def ended(assignment: Assignment, last: Step | None) -> None:
            self._gpu_seconds += dispatcher.seconds(assignment.trial_id) * request.gpu
            self._trial_ended(assignment, last)

        dispatcher = Dispatcher(
            lambda: started.popleft() if started else groups(), self.progress, trial_ended=ended,
            shared_trial_ended=self._shared,
        )  # fmt: skip
        with self.progress.phase(name, planned=planned, there=there):
            run_trials(
                dispatcher, request=request, nodes=nodes, limit=self.options.max_concurrent, store=self.store,
                data_root=self.options.data,
            )  # fmt: skip

    def check_weights(self, trial_id: str) -> None:
        """Plan to train again what has weights that are damaged; students must not fail on them one by one."""
        if not self.ledger.has_weights(trial_id):
            return
        try:
            unpack(self.store.read(weights_file(trial_id)))
        except (Damaged, OSError) as error:
            self.progress.warn(f"{self.store.location}/{weights_file(trial_id)} is damaged ({error}): training again")
            self.ledger.lose_weights(trial_id)

    def _cluster(self) -> list[Node]:
        if self._nodes is None:
            from kdray.sweep.engine import cluster

            local = this_machine(self.options.cpus, self.options.gpus)
            self._nodes = self._stack.enter_context(cluster(self.options.address, local))
        return self._nodes

    def _trial_ended(self, assignment: Assignment, last: Step | None) -> None:
        (task, member), trial_id = assignment, assignment.trial_id
        self.summary.ran.add(trial_id)
        if last is None:
            self._died(task, member)
            last = Step(kind="end", text="failed", done=0, total=1, outcome="failed", error=DIED)
        self.ledger.note(task, last)
        # What is measured across trials says nothing of what else the trial was asked for.
        before = self.summary.failures.pop(trial_id, None) if task.others else None
        if reasons := "; ".join(text for text in (before, last.reasons) if text):
            self.summary.failures[trial_id] = reasons
        elif not task.others:
            self.summary.failures.pop(trial_id, None)

    def _shared(self, assignment: Assignment, last: Step | None) -> None:
        """A trial that is in the sweep twice has ended: the row of its second place."""
        if assignment.member is not None:
            outcome, reason = ("failed", DIED) if last is None else (last.outcome, last.reasons)
            write_member(self.store, {**assignment.member, "outcome": outcome, "error": reason})

    def _died(self, task: Task, member: dict[str, Any] | None) -> None:
        """The worker could not write its own rows: write them here, but never over a trained trial's row."""
        trial_id = task.experiment.trial_id
        if task.train and not has_completed(self.store, trial_id):
            write_trial_row(self.store, task, {"status": "failed", "error": DIED}, torch.device("cpu"), 1)
        if not task.train:
            write_unmeasured(self.store, task, task.evaluations, DIED)
        if member is not None:
            write_member(self.store, {**member, "outcome": "failed", "error": DIED})


def in_turn(groups: Sequence[Group], later: deque[Group] | None = None) -> Groups:
    """``groups`` one after the other, then what has come into ``later`` meanwhile."""
    waiting = deque(groups)

    def following() -> Group | None:
        if waiting:
            return waiting.popleft()
        return later.popleft() if later else None

    return following


def write_member(store: Store, member: dict[str, Any]) -> None:
    """Write one row of members, into the file that is its own."""
    point = "teacher" if member["point"] is None else member["point"]
    write_rows(store, "members", f"{member['sweep']}-{point}-{member['trial_id']}", [member], {})
