"""Which cells of the matrix of an evaluation across trials are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdray.core import fingerprint
from kdray.data import TRAINING_ONLY, ImageData
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Role
from kdray.sweep.inventory.trials import TrialIndex
from kdray.trials.experiment import AnyTrial
from kdray.trials.task import Task

TrainedTrial = tuple[Role, AnyTrial]


def missing_cells(
    trained: Sequence[TrainedTrial], evaluation: AnyEvaluation, index: TrialIndex
) -> Iterator[Task]:
    """Yield for each of ``trained`` what is left to do with the others that see the same images."""
    distinct = {trial.trial_id: (role, trial) for role, trial in reversed(trained)}
    for source_id, (role, source) in reversed(distinct.items()):
        alike = [
            trial
            for _, trial in reversed(distinct.values())
            if images(trial.data) == images(source.data)
        ]
        wanted = index.cells_missing(source_id, evaluation, [trial.trial_id for trial in alike])
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


def images(data: ImageData) -> str:
    """What tells the images of a validation and test split from others: all of ``data`` but what
    training makes of them."""
    defaults = {name: type(data).model_fields[name].default for name in TRAINING_ONLY}
    return fingerprint(data.model_copy(update=defaults))
