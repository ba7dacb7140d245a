"""Evaluations that measure trials with each other: which cells of their matrix are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.core import fingerprint
from kdray.data import ImageData
from kdray.experiment import Experiment
from kdray.robustness import AnyEvaluation
from kdray.sweep.file import Request, Role
from kdray.sweep.ledger import Ledger
from kdray.sweep.work import Assignment, Group, Work, in_turn
from kdray.trial import Task

Trained = tuple[Role, Experiment]


def missing(
    trained: Sequence[Trained], suite: Sequence[AnyEvaluation], ledger: Ledger, *, retrain: bool
) -> Iterator[Task]:
    """For each of ``trained`` what is left to do with the others that see the same images; ``retrain``: whether its weights,
    if they are gone or damaged, are trained again."""
    seen: set[str] = set()
    for role, source in trained:
        if source.trial_id in seen:
            continue
        seen.add(source.trial_id)
        alike = {other.trial_id: other for _, other in trained if images(other.data) == images(source.data)}
        wanted = {e: ledger.cells_missing(source.trial_id, e, alike) for e in suite}
        if any(wanted.values()):
            others = tuple(other for trial_id, other in alike.items() if any(trial_id in ids for ids in wanted.values()))
            evaluations = tuple(evaluation for evaluation, ids in wanted.items() if ids)
            yield Task(
                role=role, experiment=source, evaluations=evaluations, others=others, train=False, retrain_damaged=retrain
            )


def measure(work: Work, trained: Sequence[Trained], suite: Sequence[AnyEvaluation], request: Request, *, retrain: bool) -> None:
    """Measure what is missing, each trial that images are made on as one task."""
    groups = [Group([Assignment(task, None)]) for task in missing(trained, suite, work.ledger, retrain=retrain)]
    there = {experiment.trial_id for _, experiment in trained} - {g.assignments[0].trial_id for g in groups}
    for evaluation in suite:
        failed = work.ledger.cells_failed(evaluation)
        work.summary.failures |= {trial_id: failed[trial_id] for trial_id in there if trial_id in failed}
    work.do("across trials", "student", request, in_turn(groups), planned=len(groups), there=there)


def images(data: ImageData) -> str:
    """What tells the images of a validation and test split from others: all of ``data`` but what training makes of them."""
    defaults = {name: type(data).model_fields[name].default for name in ("augment", "normalization", "omit_classes")}
    return fingerprint(data.model_copy(update=defaults))
