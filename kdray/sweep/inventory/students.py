"""Which students a point has, as far as their teachers are there."""

from __future__ import annotations

from collections.abc import Iterator

from kdray.sweep.definition.read import Sweep
from kdray.sweep.definition.space import Point
from kdray.sweep.inventory.trials import TrialIndex
from kdray.trials.experiment import Experiment


def students(
    sweep: Sweep, index: TrialIndex, point: Point
) -> Iterator[tuple[int, Experiment | None]]:
    """The student of each seed of a point; none where its teacher is not there to be chosen."""
    candidates, choice = sweep.candidates(point), sweep.choice(point)
    like: Experiment | None = None
    for seed in range(sweep.file.seeds):
        teacher = index.choose(candidates, choice, seed) if candidates else None
        if candidates and teacher is None:
            yield seed, None
            continue
        # Read and checked once a point: seeds, the teacher's too, are no part of what can be wrong
        # with it.
        like = like or sweep.student(point, seed, teacher)
        yield seed, like.model_copy(update={"seed": seed, "teacher": teacher})
