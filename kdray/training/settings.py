"""What a sweep file says under ``training``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from kdray.core import Effort, Several, Value
from kdray.robustness import Monitor
from kdray.training.averaging import AnyAverage
from kdray.training.compute import Precision
from kdray.training.keeping import Best, Keep
from kdray.training.optimizers import SGD, AnyOptimizer, AnySchedule, Constant
from kdray.training.transforms import AnyTransform


class Training(Value):
    """How a network is trained, whatever the method."""

    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = Constant()
    epochs: Annotated[int, Field(ge=1), Effort(smoke=2, swept=False)]
    """Of the last stage; a method's earlier stages have their own."""
    batch_size: Annotated[int, Field(ge=1), Effort(smoke=16, swept=False)] = 128
    transforms: Several[AnyTransform] = ()
    """Augmentations that draw continuously, in this order, after the data's crops and flips. A
    teacher sees them too, and is asked for every image of every epoch."""
    clip_grad_norm: Annotated[float, Field(gt=0)] | None = None
    """The gradient of all that learns is scaled down to this length in each step in which it is
    longer (torch's clip_grad_norm_); none: never."""
    precision: Precision = "float32"
    """tf32: on a GPU, products in training have operands of 10 bits of precision (a CPU has no such
    products); bfloat16: mixed precision, where forward and backward passes of training have
    operands of 16 bits, the teacher's too; weights, optimiser and losses stay float32, and whatever
    is measured is measured in float32."""
    keep: Keep = "last"
    """Which weights are stored and measured: after the last epoch, or of the first epoch (of the
    last stage) with the best val_accuracy; or, of those that training.monitor looks at, with the
    best of its numbers: ``{best: LABEL.accuracy}``."""
    average: AnyAverage | None = None
    """An average of the weights is what is stored and measured, by the validation after an epoch
    and the monitor too; the training itself goes on as without. Batch norm's statistics are then
    computed anew, in a pass over the training images (augmented, with input noise, not attacked)
    after each epoch. None: the weights that are trained."""
    monitor: Monitor | None = None
    gradients: bool = False
    """Keep the mean magnitude of the loss's gradient for the weights of every layer, over the steps
    of each epoch of the last stage (current_understanding fig. 2): rows in ``robustness`` with
    layer and epoch."""

    @model_validator(mode="after")
    def _looks_while_it_trains(self) -> Training:
        if self.monitor is not None and self.monitor.every > self.epochs:
            raise ValueError(
                f"monitor.every: {self.monitor.every} is more than the {self.epochs} "
                "epochs: it never looks"
            )
        return self

    @model_validator(mode="after")
    def _best_is_monitored(self) -> Training:
        if isinstance(self.keep, Best):
            # Pydantic would take a copy for nothing but a field of another value.
            object.__setattr__(self, "keep", self.keep.resolved(self.monitor))
        return self

    @model_validator(mode="after")
    def _mixes_once(self) -> Training:
        mixing = [each.name for each in self.transforms if each.mixes_labels]
        if len(mixing) > 1:
            raise ValueError(f"transforms: {mixing[0]} and {mixing[1]} both mix labels; say one")
        return self

    @model_validator(mode="after")
    def _averages_something(self) -> Training:
        if self.average is not None:
            self.average.check_fits(self.epochs)
        return self
