"""What a sweep would do: which trials are there, which are to be trained or measured, how many at
once, for how long."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kdray.core import InputError, canonical
from kdray.results import Results
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.execution.resources import (
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
from kdray.sweep.inventory.students import Counts, students
from kdray.sweep.inventory.trials import TrialIndex, considered
from kdray.sweep.scheduling.idle import idle_text
from kdray.sweep.search.history import points_asked
from kdray.trials.task import Task


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
) -> Plan:
    """What :func:`kdray.run` would do on this machine; trains and writes nothing."""
    found = Results(results)
    found.store.check_version()
    index, trials = TrialIndex(found, retry_failed=retry_failed), found.trials()
    out, work = Plan(sweep.name, cautions=list(sweep.cautions())), Speeds(trials)
    teaching: dict[str, TrainedTrial] = {}
    measured: dict[str, TrainedTrial] = {}
    search, members = sweep.file.search, SweepMembers(sweep, found, index)
    asked_trials = AskedTrials(sweep, index, members.earlier())
    competing = search.racing is not None or search.early_stopping is not None
    if search.enumerates:
        for point in sweep.grid():
            given_up, known = False, None
            for seed, student in students(sweep, index, point):
                if student is None:
                    may_teach = considered(sweep.candidates(point), sweep.choice(point), seed)
                    out.students.add_untaught(index.all_settled(may_teach))
                    continue
                known = student
                if competing and not given_up:  # then no later seed of the point is begun either
                    given_up = members.given_up(members.row("student", student, point)) is not None
                task = None if given_up else index.task("student", student, sweep.suite("student"))
                out.students.add(task)
                work.add("student", task)
                if student.teacher is not None:
                    teaching.setdefault(student.teacher.trial_id, ("teacher", student.teacher))
                if (
                    sweep.file.evaluate.across
                ):  # else only counted: there may be a hundred thousand of them
                    measured.setdefault(student.trial_id, ("student", student))
            asked_trials.add(point, known)
    else:
        for point in points_asked(sweep, index, found) if members.earlier() else ():
            asked_trials.add(point)
        out.searched, out.students.pending = (
            True,
            (search.count or 0) * len(sweep.strata) * sweep.file.seeds,
        )
    gone = left_behind_text(sweep.name, asked_trials.left_behind())
    out.notes += [] if gone is None else [gone]
    asked = teacher_variants(sweep)
    for teacher in chain(sweep):
        suite = (
            in_variants(sweep.suite("teacher"), asked.get(teacher.trial_id, ()))
            if teacher.trial_id in teaching
            else ()
        )
        task = index.task("teacher", teacher, suite, weights_needed=True)
        out.teachers.add(task)
        work.add("teacher", task)
    together = [
        trained
        for trained in (measured | teaching).values()
        if trained[0] in sweep.file.evaluate.roles
    ]
    tasks = [
        task
        for evaluation in sweep.file.evaluate.across
        for task in missing_cells(together, evaluation, index)
    ]
    out.across = len({task.experiment.trial_id for task in tasks})
    node = this_machine(cpus, gpus)
    for role in sweep.roles:
        request: Request = getattr(sweep.file.resources, role)
        share = suggested(trials, role)
        if request.gpu == "auto" and share is not None:
            request = request.model_copy(update={"gpu": share})
        try:
            check(role, request, [node])
        except InputError as error:
            out.at_once[role], out.room[role] = None, f"cannot run here: {error}"
            continue
        out.at_once[role] = width = at_once(request, [node], max_concurrent)
        counts: Counts = getattr(out, f"{role}s")
        left = min(width, counts.train + counts.measure + counts.pending)
        idle = idle_text(role, request, left, node.cpu)
        out.notes += [] if idle is None else [idle]
        out.room[role] = concurrency(request, [node], max_concurrent)
        if request.gpu == "auto":
            out.room[role] += " until the hungriest trial is measured (gpu: auto)"
        elif share is not None and share < 0.9 * gpus_of(request):
            out.room[role] += (
                f" (gpu {share:.3g} would do, by the memory that trials here have taken)"
            )
    out.seconds = None if out.students.pending else work.seconds(out.at_once)
    return out


class Speeds:
    """How long work takes, from the seconds per epoch of the trials that are there, by what they
    cost depends on."""

    def __init__(self, trials: pd.DataFrame) -> None:
        done = trials[trials["status"] == "completed"]
        seen: dict[str, list[float]] = {}
        for text, seconds in zip(done["experiment"], done["train_seconds"], strict=True):
            described = json.loads(text)
            seen.setdefault(_costs(described), []).append(seconds / described["training"]["epochs"])
        self._seconds = {key: sum(values) / len(values) for key, values in seen.items()}
        self._epochs: Counter[tuple[str, float | None]] = Counter()
        """To be trained, by role and seconds of each."""

    def add(self, role: Role, task: Task | None) -> None:
        """Work that is left to do, if it is."""
        if task is not None and task.train:
            each = self._seconds.get(_costs(canonical(task.experiment))) if self._seconds else None
            self._epochs[role, each] += task.experiment.training.epochs

    def seconds(self, at_once: Mapping[str, int | None]) -> float | None:
        """Of all that was added, so many at once; none if nothing like some of it is there, or none
        can run."""
        total = 0.0
        for (role, each), epochs in self._epochs.items():
            width = at_once.get(role)
            if each is None or not width:
                return None
            total += each * epochs / width
        return total


def _costs(described: dict[str, Any]) -> str:
    teacher = (described.get("teacher") or {}).get("model")
    method, smoothing = (
        described.get("method", {}),
        described.get("supervision", {}).get("smoothing"),
    )
    asked = [
        method.get("name"),
        method.get("attack"),
        smoothing,
    ]  # what a step costs, not how it weighs
    return json.dumps([described["data"], described["model"], teacher, *asked], sort_keys=True)
