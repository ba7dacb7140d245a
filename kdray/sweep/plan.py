"""What a sweep would do: which trials are there, which are to be trained or measured, how many at
once, for how long."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from kdray.core import InputError
from kdray.core.wording import listed
from kdray.data import data_root
from kdray.machine.gpus import cautions, visible_gpus
from kdray.results import Results
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.trials import Sweep, asking_remarks, data_remarks
from kdray.sweep.execution.resources import (
    Node,
    at_once,
    check,
    concurrency,
    gpus_of,
    suggested,
    this_machine,
)
from kdray.sweep.inventory.across import TrainedTrial, missing_cells
from kdray.sweep.inventory.left_behind import AskedTrials, left_behind_text
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.inventory.outside_weights import check_outside_weights
from kdray.sweep.inventory.speeds import Speeds
from kdray.sweep.inventory.students import Counts, students
from kdray.sweep.inventory.trials import TrialIndex, considered
from kdray.sweep.inventory.verdicts import overruled_text
from kdray.sweep.scheduling.idle_cpus import idle_text
from kdray.sweep.search.history import points_asked
from kdray.trials.experiment import Experiment


@dataclass
class Plan:
    """What ``kdray run`` would do now."""

    sweep: str
    teachers: Counts = field(default_factory=Counts)
    students: Counts = field(default_factory=Counts)
    searched: bool = False
    """The students come from a search: how many are there already shows only when it asks for
    them."""
    across: int = 0
    """Trials, of those that are known by now, that are still to be measured with others."""
    cautions: list[str] = field(default_factory=list)
    """What a user is warned of."""
    notes: list[str] = field(default_factory=list)
    """What a user may want to know, a line each."""
    at_once: dict[str, int | None] = field(default_factory=dict)
    """By role: how many trials run at once; none if none can."""
    room: dict[str, str] = field(default_factory=dict)
    """By role, for people: how many, where, and what limits them, or why none can."""
    seconds: float | None = None
    """Estimated from the trials that are there; none where they say nothing about those to come."""


def plan(
    sweep: Sweep,
    results: str | os.PathLike[str] = "results",
    *,
    cpus: int | None = None,
    gpus: int | None = None,
    max_concurrent: int | None = None,
    retry_failed: bool = False,
    data: str | os.PathLike[str] | None = None,
) -> Plan:
    """Return what :func:`kdray.run` would do on this machine; trains and writes nothing."""
    found = Results(results)
    found.store.check_version()
    check_outside_weights(sweep, found.store)
    planner = _Planner(sweep, found, retry_failed=retry_failed)
    if sweep.file.search.enumerates:
        planner.count_grid()
    else:
        planner.count_search()
    planner.count_teachers()
    planner.count_across()
    planner.look_at_data(data_root(data))
    node = this_machine(cpus, gpus)
    planner.look_at_gpus()
    for role in sweep.roles:
        planner.find_room(role, node, max_concurrent)
    return planner.finished()


class _Planner:
    """A plan in the making."""

    def __init__(self, sweep: Sweep, found: Results, *, retry_failed: bool) -> None:
        self._sweep, self._found = sweep, found
        self._plan = Plan(sweep.name, cautions=list(sweep.cautions()))
        self._index, self._trials = TrialIndex(found, retry_failed=retry_failed), found.trials()
        self._speeds, self._members = Speeds(self._trials), SweepMembers(sweep, found, self._index)
        self._asked = AskedTrials(sweep, self._index, self._members.earlier())
        self._teaching: dict[str, TrainedTrial] = {}
        self._measured: dict[str, TrainedTrial] = {}

    def count_grid(self) -> None:
        """Count the students of every point."""
        for point in self._sweep.grid():
            self._asked.add(point, self._count_point(point))

    def _count_point(self, point: Point) -> Experiment | None:
        """Count the students of a point; one of them, if any has a teacher."""
        search, counts = self._sweep.file.search, self._plan.students
        competing = search.racing is not None or search.early_stopping is not None
        given_up, last = False, None
        for seed, student in students(self._sweep, self._index, point):
            if student is None:
                counts.add_untaught(self._is_final(point, seed))
                continue
            last = student
            if competing and not given_up:  # then no later seed of the point is begun either
                row = self._members.row("student", student, point)
                given_up = self._members.given_up(row) is not None
            suite = self._sweep.suite("student")
            task = None if given_up else self._index.task("student", student, suite)
            counts.add(task)
            self._speeds.add("student", task)
            if student.teacher is not None:
                self._teaching.setdefault(student.teacher.trial_id, ("teacher", student.teacher))
            if self._sweep.file.evaluate.across:  # there may be a hundred thousand of them
                self._measured.setdefault(student.trial_id, ("student", student))
        return last

    def _is_final(self, point: Point, seed: int) -> bool:
        """Whether a student that is not there yet will never be: it waits for no teacher."""
        try:
            candidates = self._sweep.candidates(point)
        except InputError:
            return True
        choice = self._sweep.choice(point)
        return self._index.all_settled(considered(candidates, choice, seed))

    def count_search(self) -> None:
        """Count what a search may ask for; what it has asked for is known only when it runs."""
        asked = points_asked(self._sweep, self._index, self._found)
        for point in asked if self._members.earlier() else ():
            self._asked.add(point)
        count, file = self._sweep.file.search.count or 0, self._sweep.file
        self._plan.searched = True
        self._plan.students.pending = count * len(self._sweep.strata) * len(file.seed_numbers)

    def count_teachers(self) -> None:
        """Count the teachers; those that teach already known students are measured as well."""
        variants = teacher_variants(self._sweep)
        for teacher in chain(self._sweep):
            suite: tuple[AnyEvaluation, ...] = ()
            if teacher.trial_id in self._teaching:
                of_teacher = variants.get(teacher.trial_id, ())
                suite = in_variants(self._sweep.suite("teacher"), of_teacher)
            task = self._index.task("teacher", teacher, suite, weights_needed=True)
            if self._index.problem(teacher) is not None and self._index.all_settled([teacher]):
                task = None  # also where a teacher of its own has failed
            self._plan.teachers.add(task)
            self._speeds.add("teacher", task)

    def count_across(self) -> None:
        """Count the trials that are still to be measured with others."""
        evaluate, known = self._sweep.file.evaluate, self._measured | self._teaching
        together = [trained for trained in known.values() if trained[0] in evaluate.roles]
        lacking = {
            task.experiment.trial_id
            for evaluation in evaluate.across
            for task in missing_cells(together, evaluation, self._index)
        }
        self._plan.across = len(lacking)

    def look_at_data(self, root: Path) -> None:
        """Say what a user may not know of the data, if they are there."""
        self._plan.cautions += data_remarks(self._sweep, root)
        self._plan.notes += asking_remarks(self._sweep)

    def look_at_gpus(self) -> None:
        """Say what is wrong with this machine's GPUs, if any trial is to have one, and of which
        other kinds those were that trained what is there."""
        if not any(gpus_of(self._request(role)) for role in self._sweep.roles):
            return
        seen = visible_gpus()
        self._plan.cautions += [text for _, text in cautions(seen)]
        members = self._found.members(["trial_id"], [("sweep", "==", self._sweep.name)])
        its = self._trials["trial_id"].isin(members["trial_id"])
        before = set(self._trials.loc[its, "device"].dropna())
        here = {gpu.name for gpu in seen if not gpu.mig}
        if here and (other := sorted(before - here)):
            self._plan.notes.append(
                f"trials that are there ran on {listed(other)}, others would on "
                f"{listed(sorted(here))}: equal seeds are paired on one kind of device only"
            )

    def find_room(self, role: Role, node: Node, max_concurrent: int | None) -> None:
        """Say how many trials of ``role`` run at once on ``node``, and what limits them."""
        plan, request = self._plan, self._request(role)
        try:
            check(role, request, [node])
        except InputError as error:
            plan.at_once[role], plan.room[role] = None, f"cannot run here: {error}"
            return
        plan.at_once[role] = width = at_once(request, [node], max_concurrent)
        counts = plan.teachers if role == "teacher" else plan.students
        left = min(width, counts.train + counts.measure + counts.pending)
        idle = idle_text(role, request, left, node.cpu)
        plan.notes += [] if idle is None else [idle]
        plan.room[role] = concurrency(request, [node], max_concurrent) + self._gpu_text(role)

    def _request(self, role: Role) -> Request:
        """What a trial asks for, ``gpu: auto`` as the trials that are there suggest."""
        request: Request = getattr(self._sweep.file.resources, role)
        suggestion = suggested(self._trials, role)
        if request.gpu != "auto" or suggestion is None:
            return request
        return request.model_copy(update={"gpu": suggestion.share})

    def _gpu_text(self, role: Role) -> str:
        """What trials that are there say of the share of a GPU, by memory or by time."""
        asked: Request = getattr(self._sweep.file.resources, role)
        suggestion = suggested(self._trials, role)
        if asked.gpu == "auto":
            if suggestion is None:
                return " until the hungriest trial is measured (gpu: auto)"
            return f" (gpu: auto by the GPU's {suggestion.limit})"
        if suggestion is None or suggestion.share >= 0.9 * gpus_of(asked):
            return ""
        by = {
            "memory": "the memory that trials here have taken",
            "time": "the time that one keeps the GPU busy",
        }
        return f" (gpu {suggestion.share:.3g} would do, by {by[suggestion.limit]})"

    def finished(self) -> Plan:
        """Return the plan, with what the file no longer asks for and the time that is left."""
        plan, left = self._plan, self._asked.left_behind()
        gone = {row["trial_id"] for row in left}
        overruled = [row for row in self._members.overruled() if row["trial_id"] not in gone]
        said = (
            left_behind_text(self._sweep.name, left),
            overruled_text(self._sweep.name, overruled),
        )
        plan.notes[:0] = [text for text in said if text is not None]
        plan.seconds = None if plan.students.pending else self._speeds.seconds(plan.at_once)
        return plan
