"""Running a sweep: what it describes less what the results hold, teachers first."""

from __future__ import annotations

import json
import os
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kdray.core import InputError, fingerprint
from kdray.data import data_root
from kdray.experiment import Experiment
from kdray.results import Results, Store, write_rows
from kdray.sweep.definition import Role, Sweep, TeacherChoice, data_of
from kdray.sweep.ledger import Ledger
from kdray.sweep.lock import only_driver
from kdray.sweep.progress import Progress
from kdray.sweep.resources import check, this_machine
from kdray.sweep.space import Point
from kdray.trial import Step, Task, write_trial_row

if TYPE_CHECKING:
    from kdray.sweep.engine import Assignment, Group, Groups
    from kdray.sweep.sources import Source

DIED = "WorkerDied: its process ended again and again (killed, out of memory, or its node was lost)"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a sweep is run; nothing here changes a number."""

    address: str | None = None
    retry_failed: bool = False
    max_concurrent: int | None = None
    cpus: int | None = None
    gpus: int | None = None
    data: Path = field(default_factory=data_root)


@dataclass
class Summary:
    """What a run did."""

    ran: int = 0
    """Trials that were trained or measured now."""
    there: int = 0
    """Trials that had nothing left to do."""
    failures: dict[str, str] = field(default_factory=dict)
    """Trial (or point without a teacher) to reason, of everything that the sweep describes."""

    @property
    def exit_status(self) -> int:
        return 1 if self.failures else 0


def run(
    sweep: Sweep, results: str | os.PathLike[str] = "results", *, address: str | None = None, retry_failed: bool = False,
    max_concurrent: int | None = None, cpus: int | None = None, gpus: int | None = None,
    data: str | os.PathLike[str] | None = None, progress: Progress | None = None,
) -> Summary:  # fmt: skip
    """Make ``results`` hold every trial and evaluation that ``sweep`` describes; what is there already is not done again.

    ``address`` joins a running Ray cluster; otherwise a local Ray with ``cpus`` and ``gpus`` starts and stops by itself.
    Raises :class:`kdray.InputError` before any work if the sweep cannot run here.
    """
    options = Options(
        address=address, retry_failed=retry_failed, max_concurrent=max_concurrent, cpus=cpus, gpus=gpus,
        data=data_root(data),
    )  # fmt: skip
    store = Store(results)
    check_data(sweep, options.data)
    local = this_machine(cpus, gpus)
    if address is None:
        for role in roles(sweep):
            check(role, getattr(sweep.file.resources, role), [local])
    store.create()
    with only_driver(store, sweep.name):
        return Driver(sweep, store, options, progress or Progress()).run()


def check_data(sweep: Sweep, root: Path) -> None:
    """:class:`InputError` unless every data set of the sweep is below ``root`` and its split can be made."""
    for data in data_of(sweep):
        data.check(root)


def roles(sweep: Sweep) -> list[Role]:
    """The roles that the sweep has trials for."""
    return ["teacher", "student"] if any(space.tree.get("teacher") for space in sweep.spaces) else ["student"]


class Driver:
    """One run of one sweep."""

    def __init__(self, sweep: Sweep, store: Store, options: Options, progress: Progress) -> None:
        self._sweep, self._store, self._options, self._progress = sweep, store, options, progress
        results = Results(store.location)
        self._ledger = Ledger(results, retry_failed=options.retry_failed)
        known = results.members()
        self._members = {
            (row.trial_id, row.point): row.outcome
            for row in known[known["sweep"] == sweep.name].itertuples()
        }  # fmt: skip
        self._reused: list[dict[str, Any]] = []
        self._summary = Summary()
        self._stack = ExitStack()
        self._nodes: list[Any] | None = None

    def run(self) -> Summary:
        with self._stack:
            try:
                self._teachers()
                self._students()
            finally:
                self._write_reused()
        return self._summary

    # Teachers

    def _teachers(self) -> None:
        """Train what teaches, the teachers' own teachers first, and measure the chosen ones."""
        direct = list(self._sweep.teachers())
        if not direct:
            return
        above = {t.trial_id: t for teacher in direct for t in ancestors(teacher)}
        waves: dict[int, list[Experiment]] = {}
        for teacher in above.values():
            if teacher.trial_id not in {t.trial_id for t in direct}:
                waves.setdefault(len(list(ancestors(teacher))), []).append(teacher)
        order = iter(range(1_000_000))
        for depth in sorted(waves):
            groups = [self._group([(teacher, False)], order) for teacher in waves[depth]]
            self._work("teacher", "teachers of teachers", groups)
        self._work("teacher", "teachers", [self._candidates(sorted(c, key=_seed), choice, order)
                                           for c, choice in self._choices()])  # fmt: skip

    def _choices(self) -> Iterator[tuple[list[Experiment], TeacherChoice]]:
        """Every set of candidates that some point chooses its teacher from, each once."""
        seen: set[tuple[str, str]] = set()
        for space in self._sweep.spaces:
            for values in space.grid(space.teacher_paths):
                point = Point(-1, space, values)
                candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
                if candidates and (key := (candidates[0].trial_id, choice.model_dump_json())) not in seen:
                    seen.add(key)
                    yield candidates, choice

    def _candidates(self, candidates: list[Experiment], choice: TeacherChoice, order: Iterator[int]) -> Group:
        """Train all candidates; then measure those that teach."""

        def measure() -> None:
            taught = candidates if choice.select == "each" else [best] if (best := self._best(candidates)) else []
            self._later.append(self._group([(teacher, True) for teacher in taught], order))

        # With select: each every candidate teaches, so it is measured in the same breath.
        return self._group([(c, choice.select == "each") for c in candidates], order, then=measure)

    def _group(self, teachers: list[tuple[Experiment, bool]], order: Iterator[int], then: Any = None) -> Group:
        from kdray.sweep.engine import Assignment, Group

        assignments = []
        for teacher, measured in teachers:
            suite = self._sweep.suite("teacher") if measured else ()
            member = self._member(teacher, "teacher", order=next(order))
            task = self._ledger.task("teacher", teacher, suite, weights_needed=True)
            if task is None:
                self._reuse(teacher, member, "teacher", suite)
            else:
                assignments.append(Assignment(task, member))
        return Group(assignments, then or (lambda: None))

    def _best(self, candidates: Sequence[Experiment]) -> Experiment | None:
        """The candidate with the highest val_accuracy, ties to the lowest seed; none until all are there."""
        records = [self._ledger.get(candidate.trial_id) for candidate in candidates]
        accuracies = [r.val_accuracy if r is not None and r.status == "completed" else None for r in records]
        if any(accuracy is None for accuracy in accuracies):
            return None
        best = max(range(len(candidates)), key=lambda i: (accuracies[i], -candidates[i].seed))
        return candidates[best]

    # Students

    def _students(self) -> None:
        from kdray.sweep.sources import open_study, source_of

        study = open_study(self._store, self._sweep)
        source = source_of(self._sweep, study)
        orders = iter(range(10**9))

        def groups() -> Group | None:
            point = source.next()
            return None if point is None else self._point(point, source, orders)

        self._work("student", "students", groups)

    def _point(self, point: Point, source: Source, orders: Iterator[int]) -> Group:
        """Every seed of a point that has something left to do."""
        from kdray.sweep.engine import Assignment, Group

        suite, choice = self._sweep.suite("student"), self._sweep.choice(point)
        candidates = self._sweep.candidates(point)
        best = self._best(candidates) if choice.select == "best_validation" else None
        assignments: list[Assignment] = []
        students: list[Experiment] = []
        problem: str | None = None
        for seed in range(self._sweep.file.seeds):
            order = next(orders)
            teacher = None
            if candidates:
                teacher = best if choice.select == "best_validation" else self._best([candidates[seed]])
                if teacher is None:
                    problem = "its teacher failed: " + self._teacher_problem(candidates)
                    self._summary.failures[f"point {point.number}, seed {seed}"] = problem
                    continue
            student = self._sweep.student(point, seed, teacher)
            students.append(student)
            member = self._member(student, "student", order=order, point=point, candidates=candidates, choice=choice)
            task = self._ledger.task("student", student, suite)
            if task is None:
                self._reuse(student, member, "student", suite)
            else:
                assignments.append(Assignment(task, member))

        def ended() -> None:
            failed = [o for s in students if (o := self._ledger.outcome(s.trial_id, suite))[0] == "failed"]
            numbers = [self._ledger.numbers(student.trial_id, suite) for student in students]
            metric = self._sweep.file.objective.metric
            wrong = problem or (failed[0][1] if failed else None)
            if wrong is None and not all(metric in each for each in numbers):
                wrong = f"no {metric}"
            source.tell(point, numbers, wrong)
            if wrong is None:
                self._progress.point(statistics.fmean(each[metric] for each in numbers), parameters_of(point))

        return Group(assignments, ended)

    def _teacher_problem(self, candidates: Sequence[Experiment]) -> str:
        for candidate in candidates:
            outcome, reason = self._ledger.outcome(candidate.trial_id, ())
            if outcome == "failed":
                return f"{candidate.trial_id} ({reason})"
        return "not all of its candidates are there"

    # Both

    def _work(self, role: Role, name: str, groups: Sequence[Group] | Groups) -> None:
        """Run groups on Ray, which starts only if one of them has something to do."""
        self._later: deque[Group] = deque()
        waiting = deque() if callable(groups) else deque(groups)

        def following() -> Group | None:
            if waiting:
                return waiting.popleft()
            if self._later:
                return self._later.popleft()
            return groups() if callable(groups) else None

        first: list[Group] = []
        while (group := following()) is not None and not group.assignments:
            group.ended()
        if group is None:
            return
        first.append(group)
        from kdray.sweep.engine import run_groups

        request, nodes = getattr(self._sweep.file.resources, role), self._cluster()
        check(role, request, nodes)
        objective = self._sweep.file.objective
        planned, there = self._counts(role, group, waiting)
        with self._progress.phase(
            name, planned=planned, there=there,
            objective=(objective.metric, objective.mode) if role == "student" else None,
        ):  # fmt: skip
            run_groups(
                lambda: first.pop() if first else following(), request=request, nodes=nodes,
                limit=self._options.max_concurrent, store=self._store, data_root=self._options.data,
                progress=self._progress, trial_ended=self._trial_ended,
            )  # fmt: skip

    def _counts(self, role: Role, first: Group, waiting: Sequence[Group]) -> tuple[int | None, int]:
        """How many trials will run in this phase, as far as that is known, and how many are there already."""
        if role == "teacher":
            return len(first.assignments) + sum(len(group.assignments) for group in waiting), self._summary.there
        search, seeds = self._sweep.file.search, self._sweep.file.seeds
        total = sum(1 for _ in self._sweep.grid()) if search.sampler == "grid" else search.points or 0
        there = 0
        if search.sampler == "grid":
            there = sum(
                self._ledger.task("student", student, self._sweep.suite("student")) is None
                for point in self._sweep.grid()
                for student in self._known_students(point)
            )
        return total * seeds - there, there

    def _known_students(self, point: Point) -> Iterator[Experiment]:
        candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
        best = self._best(candidates) if choice.select == "best_validation" else None
        for seed in range(self._sweep.file.seeds):
            teacher = best if best or not candidates else self._best([candidates[min(seed, len(candidates) - 1)]])
            if teacher is not None or not candidates:
                yield self._sweep.student(point, seed, teacher)

    def _cluster(self) -> list[Any]:
        if self._nodes is None:
            from kdray.sweep.engine import cluster

            local = this_machine(self._options.cpus, self._options.gpus)
            self._nodes = self._stack.enter_context(cluster(self._options.address, local))
        return self._nodes

    def _trial_ended(self, assignment: Assignment, last: Step | None) -> None:
        task, member = assignment
        trial_id = task.experiment.trial_id
        self._summary.ran += 1
        if last is None:
            self._died(task, member)
            last = Step(kind="end", text="failed", done=0, total=1, outcome="failed", error=DIED)
        self._ledger.note(task, last)
        if last.reasons is not None:
            self._summary.failures[trial_id] = last.reasons
        else:
            self._summary.failures.pop(trial_id, None)

    def _died(self, task: Task, member: dict[str, Any] | None) -> None:
        """The worker could not write its own rows: write them here, but never over a trained trial's row."""
        trial_id = task.experiment.trial_id
        if task.train and not self._store.exists(f"trials/{trial_id}.parquet"):
            write_trial_row(self._store, task, {"status": "failed", "error": DIED}, torch.device("cpu"), 1)
        if member is not None:
            from kdray.sweep.trainable import member_file

            row = {**member, "outcome": "failed", "error": DIED}
            write_rows(self._store, "members", member_file(member), [row], {})

    def _member(
        self, experiment: Experiment, role: Role, *, order: int, point: Point | None = None,
        candidates: Sequence[Experiment] = (), choice: TeacherChoice | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The trial's row in members, but for its outcome."""
        row: dict[str, Any] = {
            "sweep": self._sweep.name, "trial_id": experiment.trial_id, "role": role, "order": order, "point": None,
        }  # fmt: skip
        if point is not None:
            row |= {"point": point.number, "case": point.space.case, "parameters": json.dumps(point.values)}
        if candidates and choice is not None:
            known = [(c, self._ledger.get(c.trial_id)) for c in candidates]
            row |= {"teacher_selection": choice.select, "teacher_candidates": json.dumps([
                {"trial_id": c.trial_id, "seed": c.seed, "val_accuracy": r.val_accuracy if r else None} for c, r in known
            ])}  # fmt: skip
        return row

    def _reuse(self, experiment: Experiment, member: dict[str, Any], role: Role, suite: Sequence[Any]) -> None:  # noqa: ARG002
        """Note a trial that has nothing left to do."""
        outcome, reason = self._ledger.outcome(experiment.trial_id, suite)
        self._summary.there += 1
        self._progress.reused()
        if outcome == "failed":
            self._summary.failures[experiment.trial_id] = reason or "failed"
        if self._members.get((experiment.trial_id, member["point"])) != outcome:
            self._reused.append({**member, "outcome": outcome, "error": reason})

    def _write_reused(self) -> None:
        if self._reused:
            name = fingerprint_of(self._reused)
            write_rows(self._store, "members", f"{self._sweep.name}-reused-{name}", self._reused, {})
            self._reused = []


def fingerprint_of(rows: Sequence[dict[str, Any]]) -> str:
    """A name for some rows of members."""
    import hashlib

    return hashlib.sha256(json.dumps([[r["trial_id"], r["point"]] for r in rows]).encode()).hexdigest()[:16]


def ancestors(teacher: Experiment) -> Iterator[Experiment]:
    """``teacher``, its teacher, and so on."""
    yield teacher
    if teacher.teacher is not None:
        yield from ancestors(teacher.teacher)


def parameters_of(point: Point) -> dict[str, Any]:
    """What distinguishes a point, for people."""
    return ({"case": point.space.case} if point.space.case else {}) | point.values


def _seed(experiment: Experiment) -> int:
    return experiment.seed


__all__ = ["Driver", "InputError", "Options", "Summary", "ancestors", "fingerprint", "run"]
