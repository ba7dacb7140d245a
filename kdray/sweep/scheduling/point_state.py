"""A point of a sweep while its students are trained."""

from __future__ import annotations

from dataclasses import dataclass

from kdray.sweep.definition.space import Point
from kdray.sweep.inventory.across import images
from kdray.sweep.search.early_stopping import Race, Stopper
from kdray.trials.experiment import Experiment


@dataclass
class PointState:
    """A point and how far it has come."""

    point: Point
    students: list[Experiment]
    """Those of its seeds that have a teacher, in order."""
    problem: str | None
    """Why others have none."""
    begun: int = 0
    """So many of them have been given work."""
    given_up: str | None = None
    seen: tuple[int, float] | None = None
    race: Race | None = None
    stopper: Stopper | None = None

    @property
    def data_set(self) -> str:
        """What tells the images that its students are measured on from others."""
        return images(self.students[0].data)
