"""Running a sweep: what it describes less what the results hold, teachers first."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdray.data import data_root
from kdray.experiment import Experiment
from kdray.results import Results, Store, write_rows
from kdray.results.points import NOT_NEEDED
from kdray.results.schema import KEYS
from kdray.robustness import AnyEvaluation
from kdray.sweep import across
from kdray.sweep.definition import Sweep, data_of
from kdray.sweep.file import Role, TeacherChoice
from kdray.sweep.forms import forms, in_forms
from kdray.sweep.ledger import Ledger
from kdray.sweep.lock import only_driver
from kdray.sweep.planning import Counts, ancestors, chain, roles, students
from kdray.sweep.progress import Progress
from kdray.sweep.resources import check, this_machine
from kdray.sweep.space import Point
from kdray.sweep.work import Assignment, Group, Options, Summary, Work, in_turn


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
    if address is None:
        for role in roles(sweep):
            check(role, getattr(sweep.file.resources, role), [this_machine(cpus, gpus)])
    store.create()
    progress = progress or Progress()
    for caution in sweep.cautions():
        progress.warn(caution)
    with only_driver(store, sweep.name):
        found = Results(store.location)
        with Work(store, Ledger(found, retry_failed=retry_failed), options, progress) as work:
            progress.publish(store, sweep.name)
            Driver(sweep, work, found).run()
        return work.summary


def check_data(sweep: Sweep, root: Path) -> None:
    """:class:`InputError` unless every data set of the sweep, and what its evaluations need, is below ``root``."""
    for data in data_of(sweep):
        data.check(root)
        for evaluation in sweep.file.evaluate.suite:
            evaluation.check(data, root)


class Driver:
    """One run of one sweep."""

    def __init__(self, sweep: Sweep, work: Work, found: Results) -> None:
        self._sweep, self._work, self._ledger = sweep, work, work.ledger
        known = found.members()
        known = known[known["sweep"] == sweep.name].astype(object).where(lambda frame: frame.notna(), None)
        rows: list[dict[str, Any]] = known.to_dict("records")  # type: ignore[assignment]  # columns are named by text
        self._known = {_place(row): row for row in rows}
        self._unwritten: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._orders: dict[tuple[Any, ...], int] = {}
        self._counters: dict[Role, Iterator[int]] = {"teacher": itertools.count(), "student": itertools.count()}
        self._there: dict[Role, set[str]] = {"teacher": set(), "student": set()}
        self._measured: list[across.Trained] = []
        """Who is measured, teachers first, in order."""

    def run(self) -> None:
        try:
            self._teachers()
            self._students()
            if not self._work.summary.stopped:
                self._across()
                self._drop_the_rest()
        finally:
            self._write_members()

    def _teachers(self) -> None:
        """Train what teaches, the teachers' own teachers first; once all are there, measure the chosen ones."""
        suite, asked, choices = self._sweep.suite("teacher"), forms(self._sweep), list(self._choices())
        each = {c.trial_id for candidates, choice in choices if choice.select == "each" for c in candidates}
        generations = [list(g) for _, g in itertools.groupby(chain(self._sweep), key=lambda t: len(list(ancestors(t))))]
        later: deque[Group] = deque()

        def suite_of(teacher: Experiment) -> tuple[AnyEvaluation, ...]:
            return in_forms(suite, asked.get(teacher.trial_id, ()))

        def measure() -> None:
            best = [self._ledger.choose(c, choice, 0) for c, choice in choices if choice.select != "each"]
            chosen = {teacher.trial_id: teacher for teacher in best if teacher is not None}
            self._measured += [("teacher", teacher) for teacher in chosen.values()]
            if suite and chosen:
                later.append(self._group("teacher", [(teacher, suite_of(teacher)) for teacher in chosen.values()]))

        for teachers in generations:
            taught = [t for t in teachers if self._may_train(t)]
            self._measured += [("teacher", teacher) for teacher in taught if teacher.trial_id in each]
            group = self._group("teacher", [(t, suite_of(t) if t.trial_id in each else ()) for t in taught])
            if teachers is generations[-1]:
                group.ended = measure
            self._work.do(
                "teachers", "teacher", self._sweep.file.resources.teacher, in_turn([group], later),
                planned=len(group.assignments), there=self._there["teacher"],
            )  # fmt: skip

    def _may_train(self, teacher: Experiment) -> bool:
        """Whether the teacher's own teacher, if it needs one, is there; if not, its member row says why it is not trained."""
        above = teacher.teacher
        if above is None or self._ledger.outcome(above.trial_id, ())[0] == "completed":
            return True
        problem = f"its teacher {above.trial_id} failed: {self._ledger.outcome(above.trial_id, ())[1]}"
        self._not_run(self._member("teacher", teacher, None), problem)
        self._work.summary.failures[teacher.trial_id] = problem
        return False

    def _not_run(self, member: dict[str, Any], problem: str) -> None:
        """The row of what could not be tried."""
        place = _place(member)
        self._orders.setdefault(place, member["order"])
        known = self._known.get(place, {})
        if (known.get("outcome"), known.get("error")) != ("failed", problem):
            self._unwritten[place] = {**member, "outcome": "failed", "error": problem}

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

    def _students(self) -> None:
        from kdray.sweep.sources import open_study, source_of  # optuna takes a second to import

        source = source_of(self._sweep, open_study(self._work.store, self._sweep))
        objective = self._sweep.file.objective
        self._work.progress.aim(objective.metric, objective.mode)

        def groups() -> Group | None:
            self._work.summary.stopped = self._work.used_up(self._sweep.file.budget)
            point = None if self._work.summary.stopped else source.next()
            if point is None:
                return None
            group = self._students_of(point)
            group.ended = lambda: self._tell(point, source.tell)
            return group

        counts = self._count_students()
        self._work.do(
            "students", "student", self._sweep.file.resources.student, groups, planned=counts.total - counts.there,
            there=self._there["student"],
        )  # fmt: skip

    def _count_students(self) -> Counts:
        search, counts = self._sweep.file.search, Counts()
        if search.sampler != "grid":
            counts.pending = (search.points or 0) * self._sweep.file.seeds
            return counts
        for point in self._sweep.grid():
            for _, student in students(self._sweep, self._ledger, point):
                if student is None:
                    self._orders.setdefault(_place(self._place_of("student", None, point)), -1)  # stays a failed member
                else:
                    counts.add(self._ledger.task("student", student, self._sweep.suite("student")))
                    self._member("student", student, point)  # takes its place in order
        self._drop_the_rest()  # before the first trial, so that a look at the table never mixes the old with the new
        self._write_members()
        return counts

    def _students_of(self, point: Point) -> Group:
        """Every seed of a point that has something left to do."""
        wanted = []
        for seed, student in students(self._sweep, self._ledger, point):
            if student is None:
                problem = self._teacher_problem(point, seed)
                self._work.summary.failures[f"point {point.number}, seed {seed}"] = problem
                # Its id would tell the teacher that it does not have: one row stands for all seeds of the point.
                self._not_run({**self._place_of("student", None, point), "order": None}, problem)
            else:
                wanted.append((student, self._sweep.suite("student")))
        self._measured += [("student", student) for student, _ in wanted]
        return self._group("student", wanted, point)

    def _tell(self, point: Point, tell: Any) -> None:
        """Tell the search what a point gave, once: the numbers of all its seeds, or why there are none."""
        suite, metric = self._sweep.suite("student"), self._sweep.file.objective.metric
        numbers: list[dict[str, float]] = []
        problem: str | None = None
        for seed, student in students(self._sweep, self._ledger, point):
            if student is None:
                problem = problem or self._teacher_problem(point, seed)
                continue
            outcome, reason = self._ledger.outcome(student.trial_id, suite)
            numbers.append(self._ledger.numbers(student.trial_id, suite))
            if outcome == "failed" or metric not in numbers[-1]:
                problem = problem or reason or f"no {metric}"
        tell(point, numbers, problem)
        if problem is None:
            parameters = ({"case": point.space.case} if point.space.case else {}) | point.values
            self._work.progress.point(self._sweep.file.objective.of(numbers), parameters)

    def _across(self) -> None:
        """Measure with each other what has been trained."""
        evaluate = self._sweep.file.evaluate
        trained = [(role, trial) for role, trial in self._measured
                   if role in evaluate.roles and self._ledger.outcome(trial.trial_id, ())[0] == "completed"]  # fmt: skip
        across.measure(self._work, trained, evaluate.across, self._sweep.file.resources.student, retrain=True)

    def _teacher_problem(self, point: Point, seed: int) -> str:
        """Why a student has no teacher."""
        candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
        for candidate in [candidates[seed]] if choice.select == "each" else candidates:
            outcome, reason = self._ledger.outcome(candidate.trial_id, ())
            if outcome == "failed":
                return f"its teacher {candidate.trial_id} failed: {reason}"
        return "its teacher is not there"

    def _group(
        self, role: Role, wanted: Sequence[tuple[Experiment, Sequence[AnyEvaluation]]], point: Point | None = None
    ) -> Group:
        """What is left to do for some trials."""
        assignments = []
        for experiment, suite in wanted:
            member = self._member(role, experiment, point)
            if role == "teacher":
                self._work.check_weights(experiment.trial_id)
            task = self._ledger.task(role, experiment, suite, weights_needed=role == "teacher")
            if task is not None:
                assignments.append(Assignment(task, member))
            else:
                self._reuse(experiment.trial_id, member, suite)
        return Group(assignments)

    def _member(self, role: Role, experiment: Experiment, point: Point | None) -> dict[str, Any]:
        """The trial's row in members, but for its outcome."""
        row = self._place_of(role, experiment.trial_id, point)
        place = _place(row)
        if place not in self._orders:
            self._orders[place] = next(self._counters[role])
        row["order"] = self._orders[place]
        if point is None:
            return row
        if candidates := self._sweep.candidates(point):
            known = [(candidate, self._ledger.get(candidate.trial_id)) for candidate in candidates]
            select = self._sweep.choice(point).select
            by = "test_accuracy" if select == "best_test" else "val_accuracy"
            listed = [{"trial_id": c.trial_id, "seed": c.seed, by: r and r.accuracies.get(by)} for c, r in known]
            row |= {"teacher_selection": select, "teacher_candidates": json.dumps(listed)}
        return row

    def _place_of(self, role: Role, trial_id: str | None, point: Point | None) -> dict[str, Any]:
        """Where in the sweep a trial stands."""
        row: dict[str, Any] = {"sweep": self._sweep.name, "trial_id": trial_id, "role": role, "point": None}
        if point is not None:
            row |= {"point": point.number, "case": point.space.case, "parameters": json.dumps(point.values)}
        return row

    def _reuse(self, trial_id: str, member: dict[str, Any], suite: Sequence[AnyEvaluation]) -> None:
        """Note a trial that has nothing left to do."""
        outcome, reason = self._ledger.outcome(trial_id, suite)
        self._work.summary.there.add(trial_id)
        self._there[member["role"]].add(trial_id)
        if outcome == "failed":
            self._work.summary.failures[trial_id] = reason or "failed"
        place, row = _place(member), {**member, "outcome": outcome, "error": reason}
        known = self._known.get(place, {})
        self._unwritten.pop(place, None)  # a teacher is looked at twice: trained, and measured
        if any(known.get(name) != row.get(name) for name in ("outcome", "point", "teacher_candidates")):
            self._unwritten[place] = row

    def _drop_the_rest(self) -> None:
        """Members that the sweep no longer asks for, because its file has changed, are not needed in it any more."""
        for place, row in self._known.items():
            if place not in self._orders and row["outcome"] != NOT_NEEDED:
                self._unwritten[place] = {**row, "outcome": NOT_NEEDED}

    def _write_members(self) -> None:
        """The rows in members that no worker writes."""
        if self._unwritten:
            rows = list(self._unwritten.values())
            text = json.dumps([[row["trial_id"], row["point"], row["outcome"]] for row in rows])
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            write_rows(self._work.store, "members", f"{self._sweep.name}-driver-{name}", rows, {})
            self._known |= self._unwritten
            self._unwritten = {}


def _place(member: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a trial is in a sweep: the same trial may be there as a teacher and at several points."""
    return tuple(member.get(name) for name in KEYS["members"])
