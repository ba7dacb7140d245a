"""A network that was trained elsewhere becomes a trial: its weights are there, and are measured."""

from __future__ import annotations

from kdray.data import Dataset
from kdray.machine.checked_file import Damaged
from kdray.teachers import Pretrained
from kdray.trials.context import TrialContext
from kdray.trials.files import weights_file
from kdray.trials.rows import write_trained
from kdray.trials.task import Task, Trained


def measure_imported(
    task: Task, pretrained: Pretrained, dataset: Dataset, context: TrialContext
) -> Trained:
    """Measure and write the row of a network that was trained elsewhere, whose weights the driver
    has stored."""
    try:
        classifier = context.models.load(pretrained)
    except (FileNotFoundError, Damaged) as error:
        raise Damaged(
            f"{weights_file(pretrained.trial_id)} is missing or damaged ({error}); the same "
            "command stores it again, if the file that it came from is there"
        ) from None
    metrics = write_trained(task, classifier, dataset, context, {"status": "imported"})
    return Trained(done=1, metrics=metrics)
