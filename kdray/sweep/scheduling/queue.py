"""Getting groups of trials done on Ray, and keeping account of what became of them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from kdray.core import describe
from kdray.data import data_root
from kdray.machine.checked_file import Damaged, unpack
from kdray.results import Store, has_completed
from kdray.sweep.definition.file import Budget, Request, Role
from kdray.sweep.execution.resources import (
    Node,
    at_once,
    check,
    concurrency,
    doubled,
    gpus_of,
    this_machine,
)
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.scheduling.progress import Progress, trial_name
from kdray.trials.files import weights_file
from kdray.trials.rows import write_member, write_trial_row, write_unmeasured
from kdray.trials.task import (
    Ended,
    EpochDone,
    Measured,
    Outcome,
    Reason,
    ReasonKind,
    Task,
    TrialEvent,
    joined,
    outcome_columns,
    reason_columns,
    reason_of,
)

if TYPE_CHECKING:
    from kdray.sweep.execution.callback_adapter import Adapter  # which imports ray

MAX_DEATHS = 2
"""So many times a trial whose worker died goes on from its checkpoint; then it has failed."""
DIED = Reason(
    kind=ReasonKind.MACHINE,
    text="WorkerDied: its process ended again and again (killed, out of memory, or its node was "
    "lost)",
)


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
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    """What Ray prepares for every worker."""


@dataclass
class Summary:
    """What a run did."""

    ran: set[str] = field(default_factory=set)
    """Trials that were trained or measured now."""
    there: set[str] = field(default_factory=set)
    """Trials that were there already; one that was trained before and measured now is in both."""
    failures: dict[str, Reason] = field(default_factory=dict)
    """Trial (or point without a teacher) to reason, of everything that was asked for."""
    given_up: dict[str, str] = field(default_factory=dict)
    """Trials that were stopped early or not begun, because their point does badly, to reason."""
    saved: float = 0.0
    """Trainings, in fractions of a whole one, that this spared now."""
    stopped: str | None = None
    """Why the run ended before it had done everything."""

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0


class Assignment(NamedTuple):
    """One task to run, and its row in members (but for the outcome)."""

    task: Task
    member: dict[str, Any] | None
    request: Request = Request()
    """What it is given; the dispatcher says."""
    retried: str | None = None
    """Why it is run again."""

    @property
    def trial_id(self) -> str:
        return self.task.experiment.trial_id

    @property
    def name(self) -> str | None:
        """What people call it: its point and seed; none if it has no place in the sweep."""
        if self.member is None:
            return None
        swept = json.loads(self.member.get("swept") or "{}")
        seed = self.task.experiment.seed
        return trial_name(self.task.role, seed, swept, self.member.get("case"))


@dataclass
class Group:
    """Trials that are told of together: the seeds of a point, the candidates for a teacher."""

    assignments: list[Assignment]
    ended: Callable[[], None] = lambda: None
    """Called once, when every trial of the group has ended."""
    stops: Callable[[Task, EpochDone], str | None] = lambda task, event: None  # noqa: ARG005
    """Asked after every epoch: why the trial is to stop here, if it is."""
    open: int = field(init=False)

    def __post_init__(self) -> None:
        self.open = len(self.assignments)


Groups = Callable[[], Group | None]
"""The next group; none when there is none, or none until a running one has ended."""
TrialEnded = Callable[[Assignment, Ended], None]
"""Told how a trial ended."""


class Dispatcher:
    """Gives the trials of groups one by one and hears how each ended.

    A trial that several groups ask for runs once. One whose worker died goes on from its
    checkpoint, and one that ran out of a GPU's memory is run once more with twice the share.
    """

    def __init__(
        self,
        groups: Groups,
        progress: Progress,
        request: Request,
        *,
        trial_ended: TrialEnded,
        shared_trial_ended: TrialEnded,
    ) -> None:
        self._groups, self._progress, self._request = groups, progress, request
        self._trial_ended, self._shared_trial_ended = trial_ended, shared_trial_ended
        self._waiting: deque[Assignment] = deque()
        self._asking: dict[str, list[tuple[Group, Assignment]]] = {}
        """By trial that waits or runs: who asked for it, the first to do so first."""
        self._began: dict[str, float] = {}
        """When the workers of trials began them."""
        self._spent: dict[str, float] = {}
        """Seconds of earlier workers."""
        self._deaths: dict[str, int] = {}
        self._stopped: dict[str, str] = {}

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
                    self._waiting.append(assignment._replace(request=self._request))
        assignment = self._waiting.popleft()
        self._progress.started(assignment.trial_id, assignment.name)
        return assignment

    def begun(self, assignment: Assignment) -> None:
        """A trial that was given has its worker: it may have waited for room."""
        self._began[assignment.trial_id] = monotonic()

    def seconds(self, trial_id: str) -> float:
        """How long the workers of a trial have run."""
        return self._spent.get(trial_id, 0.0) + self._lasted(trial_id)

    def _lasted(self, trial_id: str) -> float:
        """How long its worker has run."""
        return monotonic() - self._began[trial_id] if trial_id in self._began else 0.0

    def reported(
        self, assignment: Assignment, event: TrialEvent, warnings: Sequence[str] = ()
    ) -> bool:
        """A running trial reported an event. Whether it is to stop here: then :meth:`ended`
        follows."""
        for text in warnings:
            self._progress.warn(text)
        if isinstance(event, Ended):
            return False
        trial_id = assignment.trial_id
        share = event.done / assignment.task.steps
        accuracy = None if isinstance(event, Measured) else event.metrics.get("val_accuracy")
        self._progress.stepped(trial_id, share, event.text, accuracy)
        if isinstance(event, EpochDone) and trial_id not in self._stopped:
            reasons = [group.stops(assignment.task, event) for group, _ in self._asking[trial_id]]
            if all(reasons):
                self._stopped[trial_id] = str(reasons[0])
        return trial_id in self._stopped

    def ended(self, assignment: Assignment, last: Ended | None) -> None:
        """A running trial reported its end, was stopped, or (none) its worker died."""
        trial_id = assignment.trial_id
        if trial_id in self._stopped:
            reason = Reason(kind=ReasonKind.EXPERIMENT, text=self._stopped.pop(trial_id))
            last = Ended(outcome=Outcome.PRUNED, reason=reason, recorded=False)
        elif (again := self._again(assignment, last)) is not None:
            self._spent[trial_id] = self.seconds(trial_id)
            self._began.pop(trial_id, None)
            self._waiting.appendleft(again)
            return
        elif last is None:
            reason = self._cause_of_death(assignment)
            last = Ended(outcome=Outcome.FAILED, reason=reason, recorded=False)
        self._trial_ended(assignment, last)
        self._began.pop(trial_id, None)
        self._spent.pop(trial_id, None)
        self._progress.ended(trial_id, failed=last.failed)
        asking = self._asking.pop(trial_id)
        for _, other in asking[1:]:
            self._shared_trial_ended(other, last)
        for group, _ in asking:
            group.open -= 1
            if not group.open:
                group.ended()

    def _again(self, assignment: Assignment, last: Ended | None) -> Assignment | None:
        """How a trial is run once more, if it is."""
        trial_id = assignment.trial_id
        if last is None:
            self._deaths[trial_id] = deaths = self._deaths.get(trial_id, 0) + 1
            return assignment if deaths <= MAX_DEATHS and not self._overdue(assignment) else None
        more = doubled(assignment.request)
        if assignment.retried is not None or more is None or not last.out_of_memory:
            return None
        text = (
            f"out of memory with {gpus_of(assignment.request):g} of a GPU, run again with "
            f"{gpus_of(more):g}"
        )
        self._progress.warn(f"{trial_id}: {text}")
        return assignment._replace(request=more, retried=text)

    def _overdue(self, assignment: Assignment) -> bool:
        hours = assignment.request.hours
        return hours is not None and self._lasted(assignment.trial_id) >= hours * 3600

    def _cause_of_death(self, assignment: Assignment) -> Reason:
        if not self._overdue(assignment):
            return DIED
        field = f"resources.{assignment.task.role}.hours"
        text = f"TimeLimit: it had not ended after {assignment.request.hours:g} hours ({field})"
        # It would take as long again: the user says when it has more time, or is to be tried again.
        return Reason(kind=ReasonKind.EXPERIMENT, text=text)


class Work:
    """Runs groups; Ray starts with the first one that has something to do and stops with the
    block."""

    def __init__(
        self,
        store: Store,
        ledger: TrialIndex,
        options: Options,
        progress: Progress,
        callbacks: Sequence[Callable[[], Adapter]] = (),
    ) -> None:
        self.store, self.ledger, self.options, self.progress, self._callbacks = (
            store,
            ledger,
            options,
            progress,
            callbacks,
        )
        self._measured: dict[str, Request] = {}
        """By role: its request, with the measured share of a GPU."""
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
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def do(
        self,
        name: str,
        role: Role,
        request: Request,
        groups: Groups,
        *,
        planned: int | None,
        there: Sized,
        candidates: Callable[[], Sequence[Task]] | None = None,
    ) -> None:
        """Run every group of ``groups``, each trial with ``request``.

        ``candidates`` are those that there may be, of which the hungriest is measured where the
        request says ``gpu: auto``; without them the first group's.
        """
        first = groups()
        while first is not None and not first.assignments:
            first.ended()
            first = groups()
        if first is None:
            return
        from kdray.sweep.execution.runner import run_trials  # ray takes seconds to import

        nodes = self._cluster()
        check(role, request, nodes)
        if request.gpu == "auto":
            request = self._with_share(
                request, role, candidates() if candidates else [a.task for a in first.assignments]
            )
        limit = self.options.max_concurrent
        self.progress.say(f"{name}: {concurrency(request, nodes, limit)}")
        # In a cluster, nodes that join later are used: as many run at once as Ray finds room for.
        width = at_once(request, nodes, limit) if self.options.address is None else limit
        started = deque([first])

        def ended(assignment: Assignment, last: Ended) -> None:
            self._gpu_seconds += dispatcher.seconds(assignment.trial_id) * gpus_of(
                assignment.request
            )
            self._trial_ended(assignment, last)

        dispatcher = Dispatcher(
            lambda: started.popleft() if started else groups(),
            self.progress,
            request,
            trial_ended=ended,
            shared_trial_ended=self._shared,
        )
        with self.progress.phase(name, planned=planned, there=there):
            run_trials(
                dispatcher,
                width=width,
                store=self.store,
                data_root=self.options.data,
                callbacks=self._callbacks,
            )

    def _with_share(self, request: Request, role: Role, candidates: Sequence[Task]) -> Request:
        """``request`` with a measured share of a GPU, once a run."""
        if role not in self._measured:
            from kdray.sweep.execution.probe import measured

            self._measured[role], text = measured(request, role, candidates, self.options.data)
            self.progress.say(text)
        return self._measured[role]

    def check_weights(self, trial_id: str) -> None:
        """Plan to train again what has weights that are damaged; students must not fail on them one
        by one."""
        if not self.ledger.has_weights(trial_id):
            return
        try:
            unpack(self.store.read(weights_file(trial_id)))
        except (Damaged, OSError) as error:
            if isinstance(error, ConnectionError):
                raise  # not damaged, but out of reach
            self.progress.warn(
                f"{self.store.place}/{weights_file(trial_id)} is damaged ({error}): training again"
            )
            self.ledger.lose_weights(trial_id)

    def _cluster(self) -> list[Node]:
        if self._nodes is None:
            from kdray.sweep.execution.runner import cluster

            local = this_machine(self.options.cpus, self.options.gpus)
            found = cluster(self.options.address, local, self.options.runtime_env)
            self._nodes = self._stack.enter_context(found)
        return self._nodes

    def _trial_ended(self, assignment: Assignment, last: Ended) -> None:
        task, member, trial_id = assignment.task, assignment.member, assignment.trial_id
        self.summary.ran.add(trial_id)
        if not last.recorded:
            self._write_for(task, member, last)
        if last.outcome is Outcome.PRUNED:
            self.summary.given_up[trial_id] = str(last.reason)
            return
        self.ledger.note(task, last)
        # What is measured later, of the best or across trials, says nothing of what else the trial
        # was asked for.
        before = self.summary.failures.pop(trial_id, None) if member is None else None
        if (reason := joined(before, last.problem)) is not None:
            self.summary.failures[trial_id] = reason
        elif member is not None:
            self.summary.failures.pop(trial_id, None)

    def _shared(self, assignment: Assignment, last: Ended) -> None:
        """A trial that is in the sweep twice has ended: the row of its second place."""
        if assignment.member is not None:
            with self._room_or_not(assignment.trial_id):
                columns = outcome_columns(last.outcome, last.problem)
                write_member(self.store, assignment.member | columns)

    def _write_for(self, task: Task, member: dict[str, Any] | None, last: Ended) -> None:
        """The rows that a worker could not write: never over a trained trial's row, and none of a
        trial stopped early."""
        trial_id = task.experiment.trial_id
        with self._room_or_not(trial_id):
            if last.failed and last.reason is not None:
                if not task.train:
                    write_unmeasured(self.store, task, task.evaluations, last.reason)
                elif not has_completed(self.store, trial_id):
                    row = {"status": str(last.outcome), **reason_columns(last.reason)}
                    write_trial_row(self.store, task, row)
            if member is not None:
                write_member(self.store, member | outcome_columns(last.outcome, last.problem))

    @contextmanager
    def _room_or_not(self, trial_id: str) -> Iterator[None]:
        """Rows for which the disk has no room are written by the same command some other time; the
        sweep goes on."""
        try:
            yield
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            self.progress.warn(f"{trial_id}: its rows cannot be written ({describe(error)})")
            self.summary.failures.setdefault(trial_id, reason_of(error))


def in_turn(groups: Sequence[Group], later: deque[Group] | None = None) -> Groups:
    """``groups`` one after the other, then what has come into ``later`` meanwhile."""
    waiting = deque(groups)

    def following() -> Group | None:
        if waiting:
            return waiting.popleft()
        return later.popleft() if later else None

    return following
