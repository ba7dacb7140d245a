"""Running a sweep: what it describes less what the results hold, teachers first."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from kdray.core.garbage import gc_threshold
from kdray.data import data_root
from kdray.results import Results, Store
from kdray.results.record import write_labels, write_objectives
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.definition.read import Sweep, data_of
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_variants import forms, in_forms
from kdray.sweep.execution.resources import check, this_machine
from kdray.sweep.inventory.labels import evaluation_labels
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.plan import ancestors, chain
from kdray.sweep.scheduling import across
from kdray.sweep.scheduling.lock import only_driver
from kdray.sweep.scheduling.merging import Merging
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.queue import Assignment, Group, Options, Summary, Work, in_turn
from kdray.trials.experiment import Experiment


def run(
    sweep: Sweep,
    results: str | os.PathLike[str] = "results",
    *,
    address: str | None = None,
    retry_failed: bool = False,
    max_concurrent: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    data: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make ``results`` hold every trial and evaluation that ``sweep`` describes; what is there
    already is not done again.

    ``address`` joins a running Ray cluster; otherwise a local Ray with ``cpus`` and ``gpus`` starts
    and stops by itself. Raises :class:`kdray.InputError` before any work if the sweep cannot run
    here.
    """
    options = Options(
        address=address,
        retry_failed=retry_failed,
        max_concurrent=max_concurrent,
        cpus=cpus,
        gpus=gpus,
        data=data_root(data),
        runtime_env=sweep.file.resources.runtime_env,
    )
    store = Store(results)
    check_data(sweep, options.data)
    if address is None:
        for role in sweep.roles:
            check(role, getattr(sweep.file.resources, role), [this_machine(cpus, gpus)])
    for callback in sweep.file.callbacks:
        callback.check(store)
    store.create()
    progress = progress or Progress()
    callbacks = [
        partial(callback.build, store, sweep.name, progress.warn)
        for callback in sweep.file.callbacks
    ]
    for caution in sweep.cautions():
        progress.warn(caution)
    with only_driver(store, sweep.name), gc_threshold():
        write_objectives(store, sweep.name, sweep.file.aims)
        write_labels(store, sweep.name, evaluation_labels(sweep))
        found = Results(store.location)
        ledger = TrialIndex(found, retry_failed=retry_failed)
        with (
            Merging(store, ledger, progress.warn),
            Work(store, ledger, options, progress, callbacks) as work,
        ):
            progress.publish(store, sweep.name)
            Driver(sweep, work, found).run()
        return work.summary


def check_data(sweep: Sweep, root: Path) -> None:
    """:class:`InputError` unless every data set of the sweep, and what its evaluations need, is
    below ``root``."""
    for data in data_of(sweep):
        data.check(root)
        for evaluation in (*sweep.file.evaluate.suite, *sweep.finals):
            evaluation.check(data, root)


class Driver:
    """One run of one sweep."""

    def __init__(self, sweep: Sweep, work: Work, found: Results) -> None:
        self._sweep, self._work, self._ledger = sweep, work, work.ledger
        from kdray.sweep.scheduling.students import Students  # optuna takes a second to import

        self._members = SweepMembers(sweep, found, work.ledger)
        self._students = Students(sweep, work, self._members, found)
        self._there: set[str] = set()
        self._measured: list[Experiment] = []
        """The teachers that are measured, in order."""

    def run(self) -> None:
        try:
            self._teach()
            self._students.run()
            if not self._work.summary.stopped:
                self._students.finals()
                self._across()
                self._members.drop_the_rest()
        finally:
            self._members.write()

    def _teach(self) -> None:
        """Train what teaches, the teachers' own teachers first; once all are there, measure the
        chosen ones."""
        suite, asked, choices = (
            self._sweep.suite("teacher"),
            forms(self._sweep),
            list(self._choices()),
        )
        each = {
            c.trial_id
            for candidates, choice in choices
            if choice.select == "each"
            for c in candidates
        }
        generations = [
            list(g)
            for _, g in itertools.groupby(chain(self._sweep), key=lambda t: len(list(ancestors(t))))
        ]
        later: deque[Group] = deque()

        def suite_of(teacher: Experiment) -> tuple[AnyEvaluation, ...]:
            return in_forms(suite, asked.get(teacher.trial_id, ()))

        def measure() -> None:
            best = [
                self._ledger.choose(c, choice, 0)
                for c, choice in choices
                if choice.select != "each"
            ]
            chosen = {teacher.trial_id: teacher for teacher in best if teacher is not None}
            self._measured += chosen.values()
            if suite and chosen:
                later.append(
                    self._group([(teacher, suite_of(teacher)) for teacher in chosen.values()])
                )

        for teachers in generations:
            taught = [t for t in teachers if self._may_train(t)]
            self._measured += [teacher for teacher in taught if teacher.trial_id in each]
            group = self._group([(t, suite_of(t) if t.trial_id in each else ()) for t in taught])
            if teachers is generations[-1]:
                group.ended = measure
            self._work.do(
                "teachers",
                "teacher",
                self._sweep.file.resources.teacher,
                in_turn([group], later),
                planned=len(group.assignments),
                there=self._there,
            )

    def _may_train(self, teacher: Experiment) -> bool:
        """Whether the teacher's own teacher, if it needs one, is there; if not, its member row says
        why it is not trained."""
        above = teacher.teacher
        if above is None or self._ledger.completed(above.trial_id):
            return True
        reason = self._ledger.outcome(above.trial_id, ())[1]
        assert reason is not None
        problem = reason.prefixed(f"its teacher {above.trial_id} failed")
        self._members.failed(self._members.row("teacher", teacher), problem)
        self._work.summary.failures[teacher.trial_id] = problem
        return False

    def _choices(self) -> Iterator[tuple[list[Experiment], TeacherChoice]]:
        """Every set of candidates that some point chooses its teacher from, each once."""
        seen: set[tuple[str, str]] = set()
        for space in self._sweep.spaces:
            for values in space.grid(space.teacher_paths):
                point = Point(-1, space, values)
                candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
                if (
                    candidates
                    and (key := (candidates[0].trial_id, choice.model_dump_json())) not in seen
                ):
                    seen.add(key)
                    yield candidates, choice

    def _group(self, wanted: Sequence[tuple[Experiment, Sequence[AnyEvaluation]]]) -> Group:
        """What is left to do for some teachers."""
        assignments = []
        for teacher, suite in wanted:
            row, trial_id = self._members.row("teacher", teacher), teacher.trial_id
            self._work.check_weights(trial_id)
            task = self._ledger.task("teacher", teacher, suite, weights_needed=True)
            if task is not None:
                assignments.append(Assignment(task, row))
                continue
            outcome, reason = self._ledger.outcome(trial_id, suite)
            self._work.summary.there.add(trial_id)
            self._there.add(trial_id)
            if reason is not None:
                self._work.summary.failures[trial_id] = reason
            self._members.there(row, outcome, reason)
        return Group(assignments)

    def _across(self) -> None:
        """Measure with each other what has been trained."""
        evaluate = self._sweep.file.evaluate
        measured: list[across.Trained] = [("teacher", teacher) for teacher in self._measured]
        measured += [("student", student) for student in self._students.trained]
        trained = [
            (role, trial)
            for role, trial in measured
            if role in evaluate.roles and self._ledger.completed(trial.trial_id)
        ]
        across.measure(
            self._work, trained, evaluate.across, self._sweep.file.resources.student, retrain=True
        )
