"""Evaluations that measure trials with each other: which cells of their matrix are missing, and
measuring them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.core import fingerprint
from kdray.data import ImageData
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Request, Role
from kdray.sweep.inventory.trials import TrialIndex
from kdray.sweep.scheduling.queue import Assignment, Group, Work, in_turn
from kdray.trials.experiment import Experiment
from kdray.trials.task import Task, joined

Trained = tuple[Role, Experiment]


def missing(
    trained: Sequence[Trained], evaluation: AnyEvaluation, ledger: TrialIndex
) -> Iterator[Task]:
    """For each of ``trained`` what is left to do with the others that see the same images."""
    distinct = {trial.trial_id: (role, trial) for role, trial in reversed(trained)}
    for source_id, (role, source) in reversed(distinct.items()):
        alike = [
            trial
            for _, trial in reversed(distinct.values())
            if images(trial.data) == images(source.data)
        ]
        wanted = ledger.cells_missing(source_id, evaluation, [trial.trial_id for trial in alike])
        if wanted:
            others = tuple(trial for trial in alike if trial.trial_id in wanted)
            # Weights that are gone or damaged are the failure of a cell: what needs them is trained
            # before.
            yield Task(
                role=role,
                experiment=source,
                evaluations=(evaluation,),
                others=others,
                train=False,
                retrain_damaged=False,
            )


def measure(
    work: Work,
    trained: Sequence[Trained],
    suite: Sequence[AnyEvaluation],
    request: Request,
    *,
    retrain: bool,
) -> None:
    """Measure what is missing, each trial that images are made on as one task, one evaluation after
    the other.

    ``retrain``: whether trials whose weights are gone or damaged are trained again first.
    """
    for evaluation in suite:
        tasks = list(missing(trained, evaluation, work.ledger))
        if retrain and tasks:
            _restore(
                work,
                trained,
                {t.trial_id for task in tasks for t in (task.experiment, *task.others)},
                request,
            )
        there = {trial.trial_id for _, trial in trained} - {
            task.experiment.trial_id for task in tasks
        }
        for trial_id, reason in work.ledger.cells_failed(evaluation).items():
            if trial_id in there:
                failures = work.summary.failures
                failures[trial_id] = joined(failures.get(trial_id), reason) or reason
        groups = [Group([Assignment(task, None)]) for task in tasks]
        work.do(
            "across trials", "student", request, in_turn(groups), planned=len(groups), there=there
        )


def _restore(work: Work, trained: Sequence[Trained], needed: set[str], request: Request) -> None:
    """Train again those of ``needed`` whose weights cannot be read."""
    groups: list[Group] = []
    for role, trial in trained:
        if trial.trial_id in needed:
            work.check_weights(trial.trial_id)
            task = work.ledger.task(role, trial, (), weights_needed=True)
            if task is not None and trial.trial_id not in {
                g.assignments[0].trial_id for g in groups
            }:
                groups.append(Group([Assignment(task, None)]))
    work.do("lost weights", "student", request, in_turn(groups), planned=len(groups), there=())


def images(data: ImageData) -> str:
    """What tells the images of a validation and test split from others: all of ``data`` but what
    training makes of them."""
    defaults = {
        name: type(data).model_fields[name].default
        for name in ("augment", "normalization", "omit_classes")
    }
    return fingerprint(data.model_copy(update=defaults))
