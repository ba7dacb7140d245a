"""What a sweep file says of giving up: trials that do badly while they train (early stopping), and
points that do badly between their seeds (racing)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from kdray.core import Value


class EarlyStopping(Value):
    """Points whose first seed does badly while it trains are given up (off unless asked for).

    It is biased here: noise trades clean accuracy for robust accuracy, and students of fickle
    teachers need more epochs. So the metric is chosen, and time is the fraction of each trial's own
    schedule, in twentieths.
    """

    pruner: Literal["asha", "hyperband", "median"] = "asha"
    """asha: asynchronous successive halving, at each rung the best 1/reduction go on; hyperband:
    the same in brackets, of which each has its first rung later; median: worse than the median of
    the completed points at the same time."""
    metric: str = "val_accuracy"
    """val_accuracy or val_loss after an epoch, or ``label.metric`` of training.monitor."""
    mode: Literal["max", "min"] = "max"
    grace: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of its schedule that every trial is given: the first rung of asha, and of
    hyperband's first bracket."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """asha, hyperband: each rung is this much later than the one before, and this much narrower."""
    startup: Annotated[int, Field(ge=1)] = 5
    """median: so many points complete before one is given up."""

    @model_validator(mode="after")
    def _what_it_uses(self) -> Self:
        used = {"reduction": ("asha", "hyperband"), "startup": ("median",)}
        for field, pruners in used.items():
            if (
                self.pruner not in pruners
                and getattr(self, field) != type(self).model_fields[field].default
            ):
                raise ValueError(f"{field}: {self.pruner} has no use for it")
        return self


class Racing(Value):
    """A point that is clearly worse than the best one so far is not given its other seeds (off
    unless asked for)."""

    p: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of Wilcoxon's signed-rank test, one-sided, seeds paired (on one kind of device), below which
    it is worse; from n seeds it is 2^-n at least. What was given up is judged anew when it
    changes."""
