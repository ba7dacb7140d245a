"""Evaluations that measure trials with each other: which cells of their matrix are missing, and the
jobs that measure them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Request
from kdray.sweep.inventory.across import TrainedTrial, missing_cells
from kdray.sweep.scheduling.account import Account
from kdray.sweep.scheduling.jobs import Job, ListedJobs, Phase
from kdray.trials.task import Task


class AcrossTrials(ListedJobs):
    """Measures what one evaluation lacks, each trial that images are made on as one job."""

    def __init__(
        self,
        account: Account,
        trained: Sequence[TrainedTrial],
        evaluation: AnyEvaluation,
        tasks: Sequence[Task],
        request: Request,
    ) -> None:
        trial_ids = {trial.trial_id for _, trial in trained}
        cached = trial_ids - {task.experiment.trial_id for task in tasks}
        for trial_id, reason in account.index.cells_failed(evaluation).items():
            if trial_id in cached:
                account.add_failure(trial_id, reason)
        phase = Phase("across trials", "student", request, len(tasks), cached)
        super().__init__(phase, [Job(task) for task in tasks])


def across_sources(
    account: Account,
    trained: Sequence[TrainedTrial],
    suite: Sequence[AnyEvaluation],
    request: Request,
    *,
    retrain: bool,
) -> Iterator[ListedJobs]:
    """Yield what measures what is missing, one evaluation after the other.

    ``retrain``: whether trials whose weights are gone or damaged are trained again first.
    """
    for evaluation in suite:
        tasks = list(missing_cells(trained, evaluation, account.index))
        if retrain and tasks:
            needed = {t.trial_id for task in tasks for t in (task.experiment, *task.others)}
            jobs = list(_lost_weights(account, trained, needed))
            phase = Phase("lost weights", "student", request, len(jobs))
            yield ListedJobs(phase, jobs)
        yield AcrossTrials(account, trained, evaluation, tasks, request)


def _lost_weights(
    account: Account, trained: Sequence[TrainedTrial], needed: set[str]
) -> Iterator[Job]:
    """Yield the jobs that train those of ``needed`` again whose weights cannot be read."""
    seen: set[str] = set()
    for role, trial in trained:
        if trial.trial_id not in needed:
            continue
        account.check_weights(trial.trial_id)
        task = account.index.task(role, trial, (), weights_needed=True)
        if task is not None and trial.trial_id not in seen:
            seen.add(trial.trial_id)
            yield Job(task)
