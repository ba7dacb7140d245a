"""What one trial is granted of a machine: the same value on its way from the request in the sweep
file through Ray and the actor to the columns of the trial's row."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdray.core import Value
from kdray.machine.hardware import CONTEXT
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions


class Grant(Value):
    """The part of a machine that one trial runs on, and why it runs once more, if it does."""

    cpu: Annotated[float, Field(gt=0)] = 1.0
    gpu: Annotated[float, Field(ge=0)] = 0.0
    """A part of a GPU below 1 shares it."""
    context: Annotated[int, Field(gt=0)] = CONTEXT
    """Bytes of the GPU that CUDA itself takes for a process: measured with gpu: auto, else
    assumed."""
    busy: Annotated[float, Field(gt=0, le=1)] | None = None
    """The part of its time in which a trial of its role keeps a GPU computing alone; measured with
    gpu: auto."""
    memory: Annotated[float, Field(ge=0)] = 0.0
    """GiB of main memory that are set aside; 0: none is counted."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """A trial that has not ended after so long has failed."""
    compute: ComputeOptions = DEFAULT_COMPUTE
    retried: str | None = None
    """Why the trial is run once more."""

    @property
    def threads(self) -> int:
        """The number of torch's threads."""
        return max(1, int(self.cpu))

    @property
    def seconds(self) -> float | None:
        """The time after which the trial ends itself."""
        return None if self.hours is None else self.hours * 3600

    def doubled(self) -> Grant | None:
        """Return a grant with twice the share of a GPU, at most a whole one, and why; none if this
        one is of a whole GPU already, of none at all, or the second."""
        if self.retried is not None or not 0 < self.gpu < 1:
            return None
        gpu = min(1.0, 2 * self.gpu)
        retried = f"out of memory with {self.gpu:g} of a GPU, run again with {gpu:g}"
        return self.model_copy(update={"gpu": gpu, "retried": retried})


DEFAULT_GRANT = Grant()
"""One CPU and nothing else."""
