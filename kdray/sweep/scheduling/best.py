"""The best points of a sweep: what is measured of them, and of their teachers, only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.results.points.objective import Objectives, Score
from kdray.results.points.pareto import fronts
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Role
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.jobs import Job, ListedJobs, Phase
from kdray.sweep.scheduling.point_state import PointState
from kdray.trials.experiment import AnyTrial


class BestPoints(ListedJobs):
    """Measures the best points, each trial as one job."""

    def __init__(
        self, sweep: Sweep, account: Account, complete: Sequence[tuple[PointState, Score]]
    ) -> None:
        """``complete``: the points whose seeds are all there."""
        jobs = []
        for role, experiment, suite in _wanted(sweep, complete):
            task = account.index.task(role, experiment, suite)
            if task is not None:
                jobs.append(Job(task))
                continue
            _, reason = account.index.outcome(experiment.trial_id, suite)
            if reason is not None:
                account.add_failure(experiment.trial_id, reason)
        request = sweep.file.resources.student
        super().__init__(Phase("best points", "student", request, len(jobs)), jobs)


def _wanted(
    sweep: Sweep, complete: Sequence[tuple[PointState, Score]]
) -> Iterator[tuple[Role, AnyTrial, Sequence[AnyEvaluation]]]:
    """Yield the trials of the best points of each data set, which no number compares with another,
    and what is measured of them, each trial once."""
    best, suite = sweep.file.evaluate.best, sweep.finals
    if best is None:
        return
    groups: dict[str, list[tuple[PointState, Score]]] = {}
    for state, score in complete:
        groups.setdefault(state.data_set, []).append((state, score))
    chosen = [
        state
        for its in groups.values()
        for state in best_points(its, sweep.file.objectives, best.points)
    ]
    seen: set[str] = set()
    trials = [student for state in chosen for student in state.students]
    for student in trials:
        if student.trial_id not in seen:
            seen.add(student.trial_id)
            yield "student", student, suite
    if "teacher" not in sweep.file.evaluate.roles:
        return
    variants = teacher_variants(sweep)
    for teacher in (student.teacher for student in trials if student.teacher is not None):
        if teacher.trial_id not in seen:
            seen.add(teacher.trial_id)
            yield "teacher", teacher, in_variants(suite, variants.get(teacher.trial_id, ()))


def remarks(sweep: Sweep, complete: Sequence[tuple[PointState, Score]]) -> Iterator[str]:
    """Yield what a user should know where no point can be the best: a line on the constraints, and
    one on what is measured of the best points only."""
    limits, best = sweep.file.constraints, sweep.file.evaluate.best
    if any(score.feasible for _, score in complete):
        return
    if complete:
        yield f"no point keeps to the constraints {', '.join(limits)} ({len(complete)} complete)"
    if best is not None:
        keeps = " that keeps to the constraints" if limits else ""
        yield f"evaluate.best was skipped: there is no complete point{keeps}"


def best_points(
    complete: Sequence[tuple[PointState, Score]], objectives: Objectives, count: int
) -> list[PointState]:
    """The best points: front by front, in each by the first objective, ties to the lower number."""
    able = [(state, score) for state, score in complete if score.feasible]
    modes = [objective.mode for objective in objectives.objectives]
    values = [score.values for _, score in able]
    by_first = fronts([each[0] for each in values], modes[:1])
    ranked = sorted(
        zip(fronts(values, modes), by_first, able, strict=True),
        key=lambda one: (one[0], one[1], one[2][0].point.number),
    )
    return [state for _, _, (state, _) in ranked[:count]]
