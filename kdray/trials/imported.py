"""A network that was trained elsewhere becomes a trial: its weights are there, and are measured."""

from __future__ import annotations

from datetime import UTC, datetime

from kdray.core import seeds
from kdray.data import Dataset
from kdray.machine.checked_file import Damaged
from kdray.models import Classifier, images_per_second, size
from kdray.results.metrics import SIZES
from kdray.robustness import score
from kdray.teachers import Pretrained
from kdray.trials.context import TrialContext
from kdray.trials.files import weights_file
from kdray.trials.rows import write_trial_row
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
    accuracies = accuracies_of(classifier, dataset)
    sizes = size(classifier, pretrained.data.shape)._asdict()
    row = {
        "status": "imported",
        **accuracies,
        **sizes,
        "images_per_second": images_per_second(classifier, pretrained.data.shape),
        "finished_at": datetime.now(UTC),
        **context.columns(),
    }
    write_trial_row(context.models.store, task, row)
    return Trained(done=1, metrics=accuracies | {name: float(sizes[name]) for name in SIZES})


def accuracies_of(classifier: Classifier, dataset: Dataset) -> dict[str, float]:
    """By column, of the validation and the test split."""
    with seeds.ambient(0, "evaluation"):
        return {
            f"{name}_accuracy": score(classifier, split)[0] / len(split.labels)
            for name, split in (("val", dataset.val), ("test", dataset.test))
        }
