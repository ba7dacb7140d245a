"""The students of a point, as far as their teachers are there, and how many trials are left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kdray.core import InputError
from kdray.sweep.definition.space import Point
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.trials import TrialIndex
from kdray.teachers import Pretrained
from kdray.trials.experiment import Experiment
from kdray.trials.task import Task


@dataclass
class Counts:
    """Trials of one role."""

    train: int = 0
    measure: int = 0
    """Trained already, here or elsewhere, but some evaluation is missing."""
    there: int = 0
    pending: int = 0
    """Students whose teacher is not chosen yet."""

    @property
    def total(self) -> int:
        return self.train + self.measure + self.there + self.pending

    def add(self, task: Task | None) -> None:
        """Count a trial by what is left to do for it."""
        if task is None:
            self.there += 1
        elif task.train and not isinstance(task.experiment, Pretrained):
            self.train += 1
        else:
            self.measure += 1

    def add_untaught(self, is_final: bool) -> None:
        """Count a student without a teacher: it has failed, or waits until one is chosen."""
        if is_final:
            self.there += 1
        else:
            self.pending += 1


def students(
    sweep: Sweep, index: TrialIndex, point: Point
) -> Iterator[tuple[int, Experiment | None]]:
    """Yield the student of each seed of a point; none where its teacher is not there to be
    chosen, and none at all where the point's values, or its teacher's, do not fit together."""
    seeds, choice = sweep.file.seed_numbers, sweep.choice(point)
    try:
        candidates = sweep.candidates(point)
    except InputError:
        yield from ((seed, None) for seed in seeds)
        return
    like: Experiment | None = None
    for position, seed in enumerate(seeds):
        teacher = index.choose(candidates, choice, seed) if candidates else None
        if candidates and teacher is None:
            yield seed, None
            continue
        # Read and checked once a point: seeds, the teacher's too, are no part of what can be wrong
        # with it.
        try:
            like = like or sweep.student(point, seed, teacher)
        except InputError:
            yield from ((each, None) for each in seeds[position:])
            return
        yield seed, like.model_copy(update={"seed": seed, "teacher": teacher})
