"""The students of a sweep: point by point as the search asks for them, seed by seed where points
compete."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from kdray.results import Results
from kdray.results.points.objective import Score
from kdray.results.points.pareto import fronts
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Role
from kdray.sweep.definition.read import Sweep
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.teacher_variants import forms, in_forms
from kdray.sweep.inventory.members import Row, SweepMembers
from kdray.sweep.inventory.students import students
from kdray.sweep.plan import Counts
from kdray.sweep.scheduling.queue import Assignment, Group, Work, in_turn
from kdray.sweep.search.early_stopping import Race, Stopper
from kdray.sweep.search.history import PastPoints
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import PointSource, source_of
from kdray.trials.experiment import Experiment
from kdray.trials.task import EpochDone, Outcome, Reason, ReasonKind, Task, epochs_of, joined


@dataclass
class PointState:
    """A point and how far it has come."""

    point: Point
    students: list[Experiment]
    """Those of its seeds that have a teacher, in order."""
    problem: str | None
    """Why others have none."""
    begun: int = 0
    """So many of them have been given work."""
    given_up: str | None = None
    seen: tuple[int, float] | None = None
    race: Race | None = None
    stopper: Stopper | None = None


class Students:
    """Trains and measures what the search asks for, and tells it what came out."""

    def __init__(self, sweep: Sweep, work: Work, members: SweepMembers, found: Results) -> None:
        self._sweep, self._work, self._members, self._found = sweep, work, members, found
        self._ledger, self._aims, self._suite = work.ledger, sweep.file.aims, sweep.suite("student")
        search = sweep.file.search
        self._racing, self._early = search.racing, search.early_stopping
        self._races: dict[str, Race] = {}
        self._stoppers: dict[str, Stopper] = {}
        """By what competes: each search of its own."""
        self._next: deque[Group] = deque()
        """The next seeds of points that have come through so far."""
        self._curves: dict[str, dict[tuple[str, int], float]] | None = None
        self._complete: list[tuple[PointState, Score]] = []
        self.trained: list[Experiment] = []
        """Every student of this run's points that was not given up, in order."""
        self.there: set[str] = set()

    def run(self) -> None:
        """Everything but the last look at the best."""
        search, store = self._sweep.file.search, self._work.store
        past = None if search.enumerates else PastPoints(self._sweep, self._ledger, self._found)
        with Mirror(store, self._sweep.name, self._aims, self._work.progress.warn) as mirror:
            self._search(source_of(self._sweep, past, mirror))

    def _search(self, source: PointSource) -> None:
        objective = self._aims.objectives[0]
        self._work.progress.aim(objective.metric, objective.mode)
        counts = self._count(source)
        self._work.do(
            "students",
            "student",
            self._sweep.file.resources.student,
            lambda: self._group(source),
            planned=counts.total - counts.there,
            there=self.there,
            candidates=self._candidates,
        )

    def _count(self, source: PointSource) -> Counts:
        """What there is to do, as far as that is known before it is asked for."""
        search, counts = self._sweep.file.search, Counts()
        gone_through = search.enumerates
        for point in self._sweep.grid() if gone_through else source.begun:
            given_up = False
            for _, student in students(self._sweep, self._ledger, point):
                if student is None:
                    self._members.keep_failed(point)
                    continue
                row = self._members.row("student", student, point)  # takes its place in order
                given_up = given_up or self._given_up(row) is not None
                counts.add(None if given_up else self._ledger.task("student", student, self._suite))
        if not gone_through:
            wanted = (search.count or 0) * len(self._sweep.strata) * self._sweep.file.seeds
            counts.pending = max(0, wanted - counts.total)
            return counts
        # before the first trial, so that a look at the table never mixes the old with the new
        self._members.drop_the_rest()
        self._members.write()
        return counts

    def _group(self, source: PointSource) -> Group | None:
        """The next seeds of a point that goes on, else those of a new point while the budget
        lasts."""
        if self._next:
            return self._next.popleft()
        used_up = self._work.used_up(self._sweep.file.budget)
        if used_up and source.fresh:
            self._work.summary.stopped = used_up
            return None
        point = source.next()
        if point is None:
            return None
        group = self._seeds(self._tried(point), source)
        if used_up and group.assignments:
            self._work.summary.stopped = used_up
            return None
        return group

    def _candidates(self) -> list[Task]:
        """The first seed of every point there is, or of the ends of what is searched."""
        points = (
            self._sweep.grid()
            if self._sweep.file.search.enumerates
            else (
                Point(-1, space, values)
                for space in self._sweep.spaces
                for _, values in space.corners()
            )
        )
        found = (next(students(self._sweep, self._ledger, point))[1] for point in points)
        return [
            Task(role="student", experiment=student, evaluations=self._suite)
            for student in found
            if student is not None
        ]

    def _tried(self, point: Point) -> PointState:
        """A new point, with what is known of it."""
        found = list(students(self._sweep, self._ledger, point))
        lacking = [seed for seed, student in found if student is None]
        problem: str | None = None
        for seed in lacking:
            reason = self._teacher_problem(point, seed)
            problem = problem or reason.text
            self._work.summary.failures[f"point {point.number}, seed {seed}"] = reason
            self._members.point_failed(point, reason)
        taught = [student for _, student in found if student is not None]
        rivals = point.space.stratum(point.values) if not self._sweep.file.search.enumerates else ""
        if self._racing is not None and rivals not in self._races:
            self._races[rivals] = Race(self._racing, self._aims.objectives[0])
        if self._early is not None and rivals not in self._stoppers:
            self._stoppers[rivals] = Stopper(self._early)
        return PointState(
            point, taught, problem, race=self._races.get(rivals), stopper=self._stoppers.get(rivals)
        )

    def _seeds(self, tried: PointState, source: PointSource) -> Group:
        """The seeds that a point is given next: all that are left, the first alone where it
        competes, one by one in a race."""
        first = tried.begun == 0
        alone = tried.race is not None or (tried.stopper is not None and first)
        batch = tried.students[tried.begun :][: 1 if alone else None]
        tried.begun += len(batch)
        assignments = []
        for student in batch:
            row = self._members.row("student", student, tried.point)
            # Also by an equal point.
            if (
                reason := self._given_up(row) or self._work.summary.given_up.get(student.trial_id)
            ) is not None:
                self._give_up(tried, student, row, reason)
                if first and tried.stopper is not None:
                    tried.stopper.replay(student.trial_id, self._curve(student), completed=False)
                continue
            task = self._ledger.task("student", student, self._suite)
            self.trained.append(student)
            if task is not None:
                assignments.append(Assignment(task, row))
                continue
            completed = self._is_there(student, row)
            if first and tried.stopper is not None:
                tried.stopper.replay(student.trial_id, self._curve(student), completed=completed)
        group = Group(assignments)
        group.ended = lambda: self._ended(tried, assignments, source)
        if first and tried.stopper is not None:
            group.stops = partial(self._stops, tried.stopper)
        return group

    def _is_there(self, student: Experiment, row: Row) -> bool:
        """Note a student that has nothing left to do; whether it has completed."""
        outcome, why = self._ledger.outcome(student.trial_id, self._suite)
        self._work.summary.there.add(student.trial_id)
        self.there.add(student.trial_id)
        if why is not None:
            self._work.summary.failures[student.trial_id] = why
        self._members.there(row, outcome, why)
        return outcome is Outcome.COMPLETED

    def _given_up(self, row: Row) -> str | None:
        """Why a trial was given up before; nobody is, where nothing competes (any more)."""
        return (
            self._members.given_up(row)
            if self._racing is not None or self._early is not None
            else None
        )

    def _give_up(self, tried: PointState, student: Experiment, row: Row, reason: str) -> None:
        tried.given_up = tried.given_up or reason
        self._work.summary.given_up[student.trial_id] = reason
        why = Reason(kind=ReasonKind.EXPERIMENT, text=reason)
        self._members.there(row, Outcome.PRUNED, why)

    def _stops(self, stopper: Stopper, task: Task, event: EpochDone) -> str | None:
        """Whether early stopping ends a trial here."""
        assert self._early is not None
        share = event.done / epochs_of(task.experiment)
        value = event.metrics.get(self._early.metric)
        return stopper.report(task.experiment.trial_id, share, value)

    def _ended(self, tried: PointState, ran: list[Assignment], source: PointSource) -> None:
        """Some seeds of a point have ended: it goes on, or the search is told."""
        for trial_id in (assignment.trial_id for assignment in ran):
            if (reason := self._work.summary.given_up.get(trial_id)) is not None:
                tried.given_up = tried.given_up or reason
                if tried.stopper is not None:
                    self._work.summary.saved += (
                        tried.stopper.left(trial_id) + len(tried.students) - 1
                    )
                self.trained = [other for other in self.trained if other.trial_id != trial_id]
            if tried.stopper is not None and tried.begun == 1:
                completed = reason is None and self._ledger.completed(trial_id)
                tried.stopper.ended(trial_id, completed=completed)
        rest = tried.students[tried.begun :]
        if tried.given_up is None and rest and tried.race is not None:
            self._compare(tried, rest, tried.race)
        if tried.given_up is None and rest:
            self._next.append(self._seeds(tried, source))
        else:
            self._tell(tried, source)

    def _compare(self, tried: PointState, rest: list[Experiment], race: Race) -> None:
        """Give a point up that has lost against the best, if that spares anything."""
        values = self._values(tried.students[: tried.begun])
        missing = {
            s.trial_id for s in rest if self._ledger.task("student", s, self._suite) is not None
        }
        lost = race.lost(values) if values is not None and missing else None
        if values is None or lost is None:
            return
        tried.seen = (len(values), fmean(values))
        for student in rest:
            row = self._members.row("student", student, tried.point)
            if student.trial_id not in missing:
                self._is_there(student, row)
                continue
            self._work.summary.saved += self._given_up(row) is None
            self._give_up(tried, student, row, lost)
        self._members.write()

    def _values(self, trained: list[Experiment]) -> list[float] | None:
        """The objective's metric of each; none if one is missing or not finite."""
        metric = self._aims.objectives[0].metric
        numbers = [self._ledger.numbers(student.trial_id, self._suite) for student in trained]
        values = [each.get(metric, math.nan) for each in numbers]
        return values if all(map(math.isfinite, values)) else None

    def _tell(self, tried: PointState, source: PointSource) -> None:
        """Tell the search what a point gave, once: the numbers of all its seeds, or why there are
        none."""
        numbers: list[dict[str, float]] = []
        problem = tried.problem
        for student in tried.students[: tried.begun]:
            if student.trial_id in self._work.summary.given_up:
                continue
            outcome, reason = self._ledger.outcome(student.trial_id, self._suite)
            numbers.append(self._ledger.numbers(student.trial_id, self._suite))
            lacking = self._aims.lacking(numbers[-1])
            if outcome is Outcome.FAILED or lacking:
                problem = problem or (reason and reason.text) or f"no {lacking}"
        source.tell(
            tried.point,
            PointResult(numbers, problem, None if problem else tried.given_up, tried.seen),
        )
        if problem is not None or tried.given_up is not None:
            return
        worth = self._aims.worth(numbers)
        self._complete.append((tried, worth))
        if worth.feasible:
            if tried.race is not None and (values := self._values(tried.students)) is not None:
                tried.race.complete(values, tried.point.number)
            case = {"case": tried.point.space.case} if tried.point.space.case else {}
            self._work.progress.point(worth.values[0], case | tried.point.values)

    def finals(self) -> None:
        """Measure of the best points, and of their teachers, what is measured of them only."""
        best, suite = self._sweep.file.evaluate.best, self._sweep.finals
        if best is None:
            return
        asked = forms(self._sweep)
        groups: list[Group] = []
        chosen = self._best(best.points)
        wanted: dict[str, tuple[Role, Experiment, Sequence[AnyEvaluation]]] = {
            student.trial_id: ("student", student, suite)
            for tried in chosen
            for student in tried.students
        }
        if "teacher" in self._sweep.file.evaluate.roles:
            teachers = [
                s.teacher for tried in chosen for s in tried.students if s.teacher is not None
            ]
            for t in teachers:
                wanted.setdefault(
                    t.trial_id, ("teacher", t, in_forms(suite, asked.get(t.trial_id, ())))
                )
        for trial_id, (role, experiment, evaluations) in wanted.items():
            task = self._ledger.task(role, experiment, evaluations)
            if task is not None:
                groups.append(Group([Assignment(task, None)]))
            elif (reason := self._ledger.outcome(trial_id, evaluations)[1]) is not None:
                failures = self._work.summary.failures
                failures[trial_id] = joined(failures.get(trial_id), reason) or reason
        self._work.do(
            "best points",
            "student",
            self._sweep.file.resources.student,
            in_turn(groups),
            planned=len(groups),
            there=(),
        )

    def _best(self, count: int) -> list[PointState]:
        """The best points: front by front, in each by the first objective, ties to the lower
        number."""
        able = [(tried, worth) for tried, worth in self._complete if worth.feasible]
        modes = [objective.mode for objective in self._aims.objectives]
        numbers = fronts([worth.values for _, worth in able], modes)
        sign = -1 if modes[0] == "max" else 1
        ranked = sorted(
            zip(numbers, able, strict=True),
            key=lambda one: (one[0], sign * one[1][1].values[0], one[1][0].point.number),
        )
        return [tried for _, (tried, _) in ranked[:count]]

    def _teacher_problem(self, point: Point, seed: int) -> Reason:
        """Why a student has no teacher."""
        candidates, choice = self._sweep.candidates(point), self._sweep.choice(point)
        for candidate in [candidates[seed]] if choice.select == "each" else candidates:
            outcome, reason = self._ledger.outcome(candidate.trial_id, ())
            if outcome is Outcome.FAILED and reason is not None:
                return reason.prefixed(f"its teacher {candidate.trial_id} failed")
        return Reason(kind=ReasonKind.MACHINE, text="its teacher is not there")

    def _curve(self, student: Experiment) -> Iterator[tuple[float, float]]:
        """Of a trial of an earlier run: (share of its schedule, metric) after its epochs, as far as
        the tables have them."""
        assert self._early is not None
        if self._curves is None:
            self._curves = curves(self._found, self._early.metric)
        seen, before = self._curves.get(student.trial_id, {}), 0
        for stage in student.method.stages(student.training.epochs):
            for epoch in range(1, stage.epochs + 1):
                if (stage.name, epoch) in seen:
                    yield (before + epoch) / epochs_of(student), seen[stage.name, epoch]
            before += stage.epochs


def curves(found: Results, metric: str) -> dict[str, dict[tuple[str, int], float]]:
    """By trial: a metric after each epoch (stage and number) in the tables, as of training.monitor
    (of its last stage)."""
    label, dot, name = metric.rpartition(".")
    if dot:
        rows = found.robustness()
        rows = rows[
            rows["epoch"].notna() & (rows["label"] == label) & (rows["metric"] == name)
        ].assign(stage="main")
        metric = "value"
    else:
        rows = found.epochs()
    out: dict[str, dict[tuple[str, int], float]] = {}
    for trial_id, stage, epoch, value in rows[["trial_id", "stage", "epoch", metric]].itertuples(
        index=False, name=None
    ):
        out.setdefault(trial_id, {})[stage, int(epoch)] = float(value)
    return out
