"""What became of a point, for kdray and as a trial of Optuna."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, TrialState

from kdray.results.points.objective import Numbers, Objectives, Score
from kdray.sweep.definition.space import Point
from kdray.sweep.search.parameters import OptunaParameters


class PointResult(NamedTuple):
    """What became of a point."""

    numbers: Numbers
    """Of the seeds that were trained."""
    problem: str | None = None
    """Why it has failed."""
    given_up: str | None = None
    """Why it was given up before its end."""
    seen: tuple[int, float] | None = None
    """Of a point that lost a race: the seeds that it had, and their mean."""

    @property
    def state(self) -> TrialState:
        """How Optuna calls it; a point given up counts, a failed one does not."""
        if self.problem is not None:
            return TrialState.FAIL
        return TrialState.COMPLETE if self.given_up is None else TrialState.PRUNED

    def score(self, objectives: Objectives) -> Score | None:
        """What the seeds of a completed point count as."""
        return objectives.worth(self.numbers) if self.state is TrialState.COMPLETE else None

    @property
    def attributes(self) -> dict[str, Any]:
        """What the dashboard shows of a point beside its objective: every metric's mean over the
        seeds, and why it has none."""
        first, *others = self.numbers or [{}]
        names = [name for name in first if all(name in each for each in others)]
        means = {name: statistics.fmean(each[name] for each in self.numbers) for name in names}
        why = self.problem or self.given_up
        reason = {"problem" if self.problem else "given up": why} if why else {}
        return {"seeds": len(self.numbers), **means, **reason}


def missed(objectives: Objectives, score: Score) -> dict[str, float]:
    """By how much each constraint is missed, as Optuna wants it: 0 or below where it is kept."""
    return dict(zip(objectives.constraints, score.violations, strict=True))


def ended_trial(
    objectives: Objectives,
    parameters: OptunaParameters,
    point: Point,
    result: PointResult,
    **attributes: Any,
) -> FrozenTrial:
    """Makes the trial that stands for ``point`` in a study that did not ask for it."""
    score = result.score(objectives)
    return optuna.trial.create_trial(
        state=result.state,
        values=list(score.values) if score else None,
        params=parameters.parameters(point),
        distributions=parameters.distributions(point.space),
        user_attrs={"case": point.space.case, **result.attributes, **attributes},
        intermediate_values=dict([result.seen]) if result.seen is not None else None,
        constraints=missed(objectives, score) if score else None,
    )


def new_study(
    objectives: Objectives,
    name: str | None = None,
    storage: optuna.storages.BaseStorage | None = None,
) -> optuna.Study:
    """Makes a study that improves the objectives, in memory unless ``storage`` is given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=storage is not None,
        directions=[
            "maximize" if objective.mode == "max" else "minimize"
            for objective in objectives.objectives
        ],
    )
