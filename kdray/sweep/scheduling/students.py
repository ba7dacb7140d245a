"""The students of a sweep: point by point as the search asks for them, seed by seed where points
compete."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from statistics import fmean

from kdray.results import Results
from kdray.results.points.objective import Score
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.across import images
from kdray.sweep.inventory.curves import LearningCurves
from kdray.sweep.inventory.left_behind import CHOICE_CHANGED, AskedTrials, left_behind_text
from kdray.sweep.inventory.members import Row, SweepMembers
from kdray.sweep.inventory.students import Counts, students
from kdray.sweep.inventory.trials import considered
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.jobs import Job, JobBatch, Phase
from kdray.sweep.scheduling.point_state import PointState
from kdray.sweep.search.early_stopping import Race, Stopper
from kdray.sweep.search.history import PastPoints
from kdray.sweep.search.mirror import Mirror
from kdray.sweep.search.point_result import PointResult
from kdray.sweep.search.propose import PointSource, source_of
from kdray.trials.experiment import Experiment
from kdray.trials.task import EpochDone, Outcome, Reason, ReasonKind, Task, epochs_of


class Students:
    """The source of the jobs of students: it trains and measures what the search asks for, and
    tells the search what came out."""

    def __init__(
        self, sweep: Sweep, account: Account, members: SweepMembers, found: Results
    ) -> None:
        self._sweep, self._account, self._members, self._found = sweep, account, members, found
        self._index, self._objectives = account.index, sweep.file.objectives
        self._suite = sweep.suite("student")
        search = sweep.file.search
        self._racing, self._early = search.racing, search.early_stopping
        self._races: dict[str, Race] = {}
        self._stoppers: dict[str, Stopper] = {}
        """By what competes: each search of its own."""
        self._next: deque[JobBatch] = deque()
        """The next seeds of points that have come through so far."""
        self._points: dict[JobBatch, PointState] = {}
        """Of the batches that have been given."""
        self._curves: LearningCurves | None = None
        self._source: PointSource | None = None
        self._counts = Counts()
        self.complete: list[tuple[PointState, Score]] = []
        """The points whose seeds are all there, with what they are compared by."""
        self.trained: list[Experiment] = []
        """Every student of this run's points that was not given up, in order."""
        self.cached: set[str] = set()

    def sources(self) -> Iterator[Students]:
        """Yield itself, once, with a search that is there until every job has ended."""
        search, store, progress = (
            self._sweep.file.search,
            self._account.store,
            self._account.progress,
        )
        past = None if search.enumerates else PastPoints(self._sweep, self._index, self._found)
        with Mirror(store, self._sweep.name, self._objectives, progress.warn) as mirror:
            self._source = source_of(self._sweep, past, mirror)
            if past is not None and past.unreadable_text is not None:
                progress.warn(past.unreadable_text)
            objective = self._objectives.objectives[0]
            progress.aim(objective.metric, objective.mode)
            self._counts = self._count(self._source)
            yield self

    @property
    def phase(self) -> Phase:
        request, counts = self._sweep.file.resources.student, self._counts
        return Phase("students", "student", request, counts.total - counts.there, self.cached)

    def next_batch(self) -> JobBatch | None:
        """The next seeds of a point that goes on, else those of a new point while the budget
        lasts."""
        assert self._source is not None
        if self._next:
            return self._next.popleft()
        used_up = self._account.used_up(self._sweep.file.budget)
        if used_up and self._source.fresh:
            self._account.summary.stopped = used_up
            return None
        point = self._source.next()
        if point is None:
            return None
        batch = self._batch(self._state(point))
        if used_up and batch.jobs:
            self._account.summary.stopped = used_up
            return None
        return batch

    def batch_ended(self, batch: JobBatch) -> None:
        """Some seeds of a point have ended: it goes on, or the search is told."""
        state = self._points.pop(batch)
        for job in batch.jobs:
            self._job_ended(job.trial_id, state)
        rest = state.students[state.begun :]
        if state.given_up is None and rest and state.race is not None:
            self._compare(state, rest, state.race)
        if state.given_up is None and rest:
            self._next.append(self._batch(state))
        else:
            self._tell(state)

    def stop_reason(self, batch: JobBatch, job: Job, event: EpochDone) -> str | None:
        """Whether early stopping ends the first seed of a point here."""
        stopper = self._points[batch].stopper
        if stopper is None or self._early is None or self._points[batch].begun > 1:
            return None
        share = event.done / epochs_of(job.task.experiment)
        return stopper.report(job.trial_id, share, event.metrics.get(self._early.metric))

    def candidates(self, first: JobBatch) -> Sequence[Task]:  # noqa: ARG002
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
        found = (next(students(self._sweep, self._index, point))[1] for point in points)
        return [
            Task(role="student", experiment=student, evaluations=self._suite)
            for student in found
            if student is not None
        ]

    def _count(self, source: PointSource) -> Counts:
        """What there is to do, as far as that is known before it is asked for. What the sweep no
        longer asks for now that its teachers are chosen leaves it here."""
        search, counts = self._sweep.file.search, Counts()
        asked = AskedTrials(self._sweep, self._index, self._members.earlier())
        for point in self._sweep.grid() if search.enumerates else source.begun:
            given_up, last = False, None
            for _, student in students(self._sweep, self._index, point):
                if student is None:
                    continue
                last = student
                row = self._members.row("student", student, point)  # takes its place in order
                given_up = given_up or self._members.given_up(row) is not None
                counts.add(None if given_up else self._index.task("student", student, self._suite))
            asked.add(point, last)
        if not search.enumerates:
            points = (search.count or 0) * len(self._sweep.strata)
            wanted = points * len(self._sweep.file.seed_numbers)
            counts.pending = max(0, wanted - counts.total)
        # before the first trial, so that a look at the tables never mixes the old with the new
        dropped = self._members.drop(asked.left_behind())
        if (text := left_behind_text(self._sweep.name, dropped, CHOICE_CHANGED)) is not None:
            self._account.progress.say(text)
        return counts

    def _state(self, point: Point) -> PointState:
        """A new point, with what is known of it."""
        found = list(students(self._sweep, self._index, point))
        lacking = [seed for seed, student in found if student is None]
        problem: str | None = None
        text = self._sweep.problem(point) if lacking else None
        unfit = None if text is None else Reason(kind=ReasonKind.EXPERIMENT, text=text)
        for seed in lacking:
            reason = unfit or self._teacher_problem(point, seed)
            problem = problem or reason.text
            called = f"point {point.number}" if unfit else self._without_teacher(point, seed)
            self._account.summary.failures[called] = reason
            self._account.summary.unfit |= {called} if unfit else set()
            self._members.point_failed(point, reason)
        taught = [student for _, student in found if student is not None]
        stratum = (
            point.space.stratum(point.values) if not self._sweep.file.search.enumerates else ""
        )
        # Numbers of other images say nothing of these.
        rivals = f"{stratum}\n{images(taught[0].data) if taught else ''}"
        if self._racing is not None and rivals not in self._races:
            self._races[rivals] = Race(self._racing, self._objectives.objectives[0])
        if self._early is not None and rivals not in self._stoppers:
            self._stoppers[rivals] = Stopper(self._early)
        return PointState(
            point, taught, problem, race=self._races.get(rivals), stopper=self._stoppers.get(rivals)
        )

    def _batch(self, state: PointState) -> JobBatch:
        """The seeds that a point is given next: all that are left, the first alone where it
        competes, one by one in a race."""
        first = state.begun == 0
        alone = state.race is not None or (state.stopper is not None and first)
        seeds = state.students[state.begun :][: 1 if alone else None]
        state.begun += len(seeds)
        jobs = [self._job(state, student, first=first) for student in seeds]
        batch = JobBatch([job for job in jobs if job is not None])
        self._points[batch] = state
        return batch

    def _job(self, state: PointState, student: Experiment, *, first: bool) -> Job | None:
        """What is left to do for a seed of a point; none if it was given up, also by an equal
        point, or is there."""
        row = self._members.row("student", student, state.point)
        given_up = self._account.summary.given_up.get(student.trial_id)
        if (reason := self._members.given_up(row) or given_up) is not None:
            self._give_up(state, student, row, reason)
            completed = False
        else:
            task = self._index.task("student", student, self._suite)
            self.trained.append(student)
            if task is not None:
                return Job(task, row)
            completed = self._is_there(student, row)
        if first and state.stopper is not None:
            state.stopper.replay(student.trial_id, self._curve(student), completed=completed)
        return None

    def _is_there(self, student: Experiment, row: Row) -> bool:
        """Note a student that has nothing left to do; whether it has completed."""
        outcome, why = self._index.outcome(student.trial_id, self._suite)
        self._account.nothing_left(student.trial_id, why)
        self.cached.add(student.trial_id)
        self._members.there(row, outcome, why)
        return outcome is Outcome.COMPLETED

    def _give_up(self, state: PointState, student: Experiment, row: Row, reason: str) -> None:
        state.given_up = state.given_up or reason
        self._account.summary.given_up[student.trial_id] = reason
        why = Reason(kind=ReasonKind.EXPERIMENT, text=reason)
        self._members.there(row, Outcome.PRUNED, why)

    def _job_ended(self, trial_id: str, state: PointState) -> None:
        """Take over how a seed of a point ended."""
        reason = self._account.summary.given_up.get(trial_id)
        if reason is not None:
            state.given_up = state.given_up or reason
            if state.stopper is not None:
                self._account.summary.saved += state.stopper.left(trial_id)
                for other in state.students[state.begun :]:
                    self._account.spared(other.trial_id)
            self.trained = [other for other in self.trained if other.trial_id != trial_id]
        if state.stopper is not None and state.begun == 1:
            completed = reason is None and self._index.completed(trial_id)
            state.stopper.ended(trial_id, completed=completed)

    def _compare(self, state: PointState, rest: list[Experiment], race: Race) -> None:
        """Give a point up that has lost against the best, if that spares anything."""
        values = self._values(state.students[: state.begun])
        missing = {
            s.trial_id for s in rest if self._index.task("student", s, self._suite) is not None
        }
        devices = self._devices(state.students[: state.begun])
        lost = race.lost(values, devices) if values is not None and missing else None
        if values is None or lost is None:
            return
        state.seen = (len(values), fmean(values))
        for student in rest:
            row = self._members.row("student", student, state.point)
            if student.trial_id not in missing:
                self._is_there(student, row)
                continue
            if self._members.given_up(row) is None:
                self._account.spared(student.trial_id)
            self._give_up(state, student, row, lost)
        self._members.write()

    def _values(self, trained: list[Experiment]) -> list[float] | None:
        """The objective's metric of each; none if one is missing or not finite."""
        metric = self._objectives.objectives[0].metric
        numbers = [self._index.numbers(student.trial_id, self._suite) for student in trained]
        values = [each.get(metric, math.nan) for each in numbers]
        return values if all(map(math.isfinite, values)) else None

    def _devices(self, trained: list[Experiment]) -> list[str | None]:
        """The kind of device that each was trained on."""
        records = [self._index.get(student.trial_id) for student in trained]
        return [None if record is None else record.device for record in records]

    def _tell(self, state: PointState) -> None:
        """Tell the search what a point gave, once: the numbers of all its seeds, or why there are
        none."""
        numbers: list[dict[str, float]] = []
        problem = state.problem
        for student in state.students[: state.begun]:
            if student.trial_id in self._account.summary.given_up:
                continue
            outcome, reason = self._index.outcome(student.trial_id, self._suite)
            numbers.append(self._index.numbers(student.trial_id, self._suite))
            lacking = self._objectives.lacking(numbers[-1])
            if outcome is Outcome.FAILED or lacking:
                problem = problem or (reason and reason.text) or f"no {lacking}"
        assert self._source is not None
        self._source.tell(
            state.point,
            PointResult(numbers, problem, None if problem else state.given_up, state.seen),
        )
        if problem is not None or state.given_up is not None:
            return
        worth = self._objectives.worth(numbers)
        self.complete.append((state, worth))
        if worth.feasible:
            if state.race is not None and (values := self._values(state.students)) is not None:
                state.race.complete(values, state.point.number, self._devices(state.students))
            case = {"case": state.point.space.case} if state.point.space.case else {}
            self._account.progress.point(worth.values[0], case | state.point.values, state.data_set)

    def _without_teacher(self, point: Point, seed: int) -> str:
        """What a summary calls a student without a teacher: those that lack the same one, whatever
        their points and seeds, are called the same."""
        if self._sweep.choice(point).select == "each":
            return f"point {point.number}, seed {seed}"
        first, *others = self._sweep.candidates(point)
        more = ", whichever its seed" if others else ""
        return f"every student of teacher {first.trial_id}{more}"

    def _teacher_problem(self, point: Point, seed: int) -> Reason:
        """Why a student has no teacher: what the same command tries again comes first, since all
        candidates wait for it."""
        asked = considered(self._sweep.candidates(point), self._sweep.choice(point), seed)
        found = [(c.trial_id, self._index.problem(c)) for c in asked]
        failed = [(name, why) for name, why in found if why is not None]
        if not failed:
            return Reason(kind=ReasonKind.MACHINE, text="its teacher is not there")
        for trial_id, reason in failed:
            if reason.is_transient:
                return reason.prefixed(f"its teacher {trial_id} failed")
        trial_id, reason = failed[0]
        if len(failed) == len(asked) > 1:
            return reason.prefixed(f"its teachers failed, all {len(asked)}; {trial_id}")
        return reason.prefixed(f"its teacher {trial_id} failed")

    def _curve(self, student: Experiment) -> Iterator[tuple[float, float]]:
        """Of a trial of an earlier run: (share of its schedule, metric) after its epochs, as far as
        the tables have them."""
        assert self._early is not None
        if self._curves is None:
            self._curves = LearningCurves(self._found, self._early.metric)
        seen, before = self._curves.of(student), 0
        for stage in student.method.stages(student.training.epochs):
            for epoch in range(1, stage.epochs + 1):
                if (stage.name, epoch) in seen:
                    yield (before + epoch) / epochs_of(student), seen[stage.name, epoch]
            before += stage.epochs
