"""The attempts at one trial: what its workers have done and taken, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from kdray.core import fingerprint
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, Measured, Task, Trained, TrialEvent


@dataclass
class Attempts:
    """What is known of the workers of a trial that waits or runs."""

    stop_reason: str | None = None
    """Why the trial is to stop, if it is."""
    _began: float | None = None
    """When the latest worker began."""
    _earlier_gpu_seconds: float = 0.0
    """Of whole GPUs, each worker's with the share that it had."""
    _trained: Trained | None = None
    _measured: dict[str, Measured] = field(default_factory=dict)
    """By evaluation: what was measured without a fault."""

    def begun(self) -> None:
        """A worker begins."""
        self._began = monotonic()

    def reported(self, event: TrialEvent) -> None:
        """Keep what no other worker need do again."""
        match event:
            case Trained():
                self._trained = event
            case Measured(reason=None):
                self._measured[event.evaluation_id] = event

    def ended(self, grant: Grant) -> None:
        """The latest worker, which had ``grant``, has ended, and the trial has not."""
        self._earlier_gpu_seconds = self.gpu_seconds(grant)
        self._began = None

    def lasted(self) -> float:
        """How long the latest worker has run."""
        return 0.0 if self._began is None else monotonic() - self._began

    def gpu_seconds(self, grant: Grant) -> float:
        """What all workers have taken of whole GPUs, the latest with ``grant``."""
        return self._earlier_gpu_seconds + self.lasted() * grant.gpu

    def left(self, task: Task) -> Task:
        """``task`` without what is done."""
        evaluations = tuple(e for e in task.evaluations if fingerprint(e) not in self._measured)
        train = task.train and self._trained is None
        return task.model_copy(update={"train": train, "evaluations": evaluations})

    def joined(self, last: Ended) -> Ended:
        """How the trial ended: ``last``, with what earlier workers have done."""
        measured = self._measured | {each.evaluation_id: each for each in last.measured}
        trained = self._trained or last.trained
        return last.model_copy(update={"trained": trained, "measured": tuple(measured.values())})
