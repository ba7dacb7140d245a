"""What is to be done for one trial, what it reports while it is done, and how it ended: values, no
doing."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from kdray.core import InputError, Several, Value, describe
from kdray.machine.checked_file import Damaged
from kdray.machine.hardware import NoCudaDevice, ShareTooSmall
from kdray.robustness import AnyEvaluation
from kdray.trials.experiment import AnyTrial, Experiment, says_something

MAX_SUMMARY_METRICS = 4
"""Numbers of an event that its summary shows."""
_GPU_MESSAGES = (
    "CUDA error",
    "CUDA driver error",
    "HIP error",
    "cuDNN error",
    "CUDNN_STATUS",
    "CUBLAS_STATUS",
    "CUSOLVER_STATUS",
    "CUFFT_",
)
"""Of errors that a GPU's libraries raise, in any case of letters."""
_GPU_MEMORY_MESSAGES = (
    "out of memory",
    "_ALLOC_FAILED",
    # A library that cannot allocate what it needs to begin with says only this.
    "CUDNN_STATUS_NOT_INITIALIZED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)
"""Of those that are about memory."""


class Task(Value):
    """What is to be done for one trial: train it if need be, then measure it."""

    role: Literal["teacher", "student"]
    experiment: AnyTrial
    evaluations: Several[AnyEvaluation] = ()
    """Only those that are still missing."""
    train: bool = True
    """False: it is trained already, its weights are stored."""
    others: Several[AnyTrial] = ()
    """The trained trials that evaluations across trials measure it with."""
    retrain_damaged: bool = True
    """Whether weights that turn out to be missing or damaged are trained again, or are the failure
    of this task."""

    @property
    def steps(self) -> int:
        """The number of events that a whole run of the task reports before its end."""
        return epochs_of(self.experiment) + 1 + len(self.evaluations)


class Outcome(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    IMPORTED = "imported"
    """It was trained elsewhere."""
    DIVERGED = "diverged"
    """A loss was not finite."""
    FAILED = "failed"
    PRUNED = "pruned"
    """Stopped from outside before it was trained, or not begun; it has no row of its own."""
    NOT_NEEDED = "not needed"
    """The sweep's file no longer asks for it."""


class ReasonKind(StrEnum):
    """What a trial failed of, and hence whether trying again may help."""

    MACHINE = "machine"
    """A disk, a worker process, stored weights: the same command tries again."""
    MEMORY = "memory"
    """A GPU's memory ran out: more of the GPU may help, and the same command tries again."""
    DEVICE = "device"
    """A GPU has failed (an assertion in a kernel, an address, its memory): this process can compute
    nothing more on it. The same command tries again."""
    EXPERIMENT = "experiment"
    """The same experiment would fail again: it is tried again only if the user asks."""
    INPUT = "input"
    """A file that this node lacks: what a user wrote has been checked before the first trial. The
    same command tries again."""


class Reason(BaseModel):
    """Why a trial, or one evaluation of it, has failed."""

    model_config = ConfigDict(frozen=True)

    kind: ReasonKind
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def is_transient(self) -> bool:
        """Whether the same command tries again."""
        return self.kind is not ReasonKind.EXPERIMENT

    def prefixed(self, place: str) -> Reason:
        """The same reason, its text after ``place``: the label of an evaluation, say."""
        return Reason(kind=self.kind, text=f"{place}: {self.text}")


class EpochDone(BaseModel):
    """An epoch was trained and its checkpoint stored."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    event: Literal["epoch_done"] = "epoch_done"
    stage: str
    epoch: int
    """Epochs done of this stage, which has ``epochs``."""
    epochs: int
    done: int
    """Epochs done of all stages, and so the steps done of :attr:`Task.steps`."""
    metrics: dict[str, float]
    """Losses, accuracies and speed, named as in the epochs table; ``label.metric`` of what
    training.monitor measured."""

    @property
    def text(self) -> str:
        """For people: "epoch 3/20", or "hints 3/5"."""
        return f"{'epoch' if self.stage == 'main' else self.stage} {self.epoch}/{self.epochs}"

    @property
    def summary(self) -> str:
        return _summary(self.text, self.metrics)

    @property
    def named_metrics(self) -> dict[str, float]:
        return self.metrics


class Trained(BaseModel):
    """The trial is trained: its weights and its row are stored."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    event: Literal["trained"] = "trained"
    done: int
    metrics: dict[str, float]
    """Accuracies and sizes of the stored weights, named as in the trials table."""
    device: str | None = None
    """The kind that it was trained on."""

    @property
    def text(self) -> str:
        return "trained"

    @property
    def summary(self) -> str:
        return _summary(self.text, self.metrics)

    @property
    def named_metrics(self) -> dict[str, float]:
        return self.metrics


class Measured(BaseModel):
    """An evaluation was done, or could not be: its rows are stored."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    event: Literal["measured"] = "measured"
    evaluation_id: str
    label: str
    """What the evaluation is called in the task; only for people."""
    done: int
    metrics: dict[str, float]
    """By metric, where the evaluation gave one number of it."""
    count: int = 0
    """All the numbers that it gave."""
    reason: Reason | None = None
    """Why it gave nothing, or not everything."""

    @property
    def text(self) -> str:
        return self.label

    @property
    def summary(self) -> str:
        if self.metrics:
            return _summary(self.label, self.metrics)
        return f"{self.label}: {self.count or 'no'} numbers"

    @property
    def named_metrics(self) -> dict[str, float]:
        """By ``label.metric``."""
        return {f"{self.label}.{metric}": value for metric, value in self.metrics.items()}


class Ended(BaseModel):
    """The last event of a trial."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    event: Literal["ended"] = "ended"
    outcome: Outcome
    reason: Reason | None = None
    """Why there is no trained model, or why it could not be measured at all."""
    trained: Trained | None = None
    """Where it was trained now."""
    measured: tuple[Measured, ...] = ()
    recorded: bool = True
    """Whether whoever ran it wrote its rows."""

    @property
    def failed(self) -> bool:
        return self.outcome in (Outcome.FAILED, Outcome.DIVERGED)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Everything that went wrong; what an evaluation failed of after its label."""
        own = () if self.reason is None else (self.reason,)
        return (*own, *(m.reason.prefixed(m.label) for m in self.measured if m.reason is not None))

    @property
    def problem(self) -> Reason | None:
        """Everything that went wrong, in one line."""
        return joined(*self.reasons)

    @property
    def out_of_memory(self) -> bool:
        """Whether more of a GPU may help."""
        return any(reason.kind is ReasonKind.MEMORY for reason in self.reasons)

    @property
    def spends_process(self) -> bool:
        """Whether the process that ran it is to be used no more: its memory is in pieces, or the
        GPU answers nothing but the error."""
        spending = (ReasonKind.MEMORY, ReasonKind.DEVICE)
        return any(reason.kind in spending for reason in self.reasons)

    @property
    def text(self) -> str:
        return str(self.outcome)

    @property
    def summary(self) -> str:
        return f"end: {self.text}" + (f": {self.problem}" if self.problem else "")

    @property
    def named_metrics(self) -> dict[str, float]:
        """Accuracies, sizes and ``label.metric`` of everything that was done now."""
        metrics = dict(self.trained.metrics) if self.trained is not None else {}
        for measured in self.measured:
            metrics |= measured.named_metrics
        return metrics


TrialEvent = EpochDone | Trained | Measured | Ended
"""What a trial reports, in this order; the last one is :class:`Ended`."""
_EVENTS: TypeAdapter[TrialEvent] = TypeAdapter(Annotated[TrialEvent, Field(discriminator="event")])


def event_from_json(text: str) -> TrialEvent:
    """The event whose ``model_dump_json()`` is ``text``."""
    return _EVENTS.validate_json(text)


def reason_of(error: BaseException) -> Reason:
    """Why something failed, where ``error`` is caught: its kind follows from its class."""
    return Reason(kind=_kind_of(error), text=describe(error))


def _kind_of(error: BaseException) -> ReasonKind:
    match error:
        case torch.OutOfMemoryError():
            return ReasonKind.MEMORY
        case InputError():
            return ReasonKind.INPUT
        case OSError() | MemoryError() | Damaged() | NoCudaDevice() | ShareTooSmall():
            return ReasonKind.MACHINE
        case RuntimeError():
            # CUDA's libraries raise one class for all that goes wrong: only the message, looked at
            # here and never again, says whether it was memory.
            if not (isinstance(error, torch.AcceleratorError) or _is_in(error, _GPU_MESSAGES)):
                return ReasonKind.EXPERIMENT
            return ReasonKind.MEMORY if _is_in(error, _GPU_MEMORY_MESSAGES) else ReasonKind.DEVICE
    return ReasonKind.EXPERIMENT


def _is_in(error: BaseException, messages: Iterable[str]) -> bool:
    text = str(error).lower()
    return any(message.lower() in text for message in messages)


def joined(*reasons: Reason | None) -> Reason | None:
    """Several reasons in one line, each once; trying again helps only if it may help all."""
    distinct = list(dict.fromkeys(reason for reason in reasons if reason is not None))
    if not distinct:
        return None
    lasting = [reason.kind for reason in distinct if not reason.is_transient]
    text = "; ".join(reason.text for reason in distinct)
    return Reason(kind=(*lasting, distinct[0].kind)[0], text=text)


def outcome_columns(outcome: Outcome, reason: Reason | None) -> dict[str, str | None]:
    """How a trial ended as columns of the members table, to which one that diverged has failed."""
    shown = Outcome.FAILED if outcome is Outcome.DIVERGED else outcome
    return {"outcome": str(shown), **reason_columns(reason)}


def reason_columns(reason: Reason | None) -> dict[str, str | None]:
    """A reason, or none, as columns of the trials, members and robustness tables."""
    if reason is None:
        return {"error": None, "reason_kind": None}
    return {"error": reason.text, "reason_kind": str(reason.kind)}


def measurable(suite: Iterable[AnyEvaluation], experiment: AnyTrial) -> tuple[AnyEvaluation, ...]:
    """The evaluations that mean something for ``experiment``.

    Without a trained teacher nothing is compared with it, and a model that draws nothing is not
    smoothed without noise: all its passes are the same.
    """
    return tuple(
        e
        for e in suite
        if (experiment.teacher is not None or not e.needs_teacher)
        and says_something(e.smoothing, experiment)
    )


def epochs_of(experiment: AnyTrial) -> int:
    """The number of epochs of all stages; 0 of what was trained elsewhere."""
    if not isinstance(experiment, Experiment):
        return 0
    return sum(stage.epochs for stage in experiment.method.stages(experiment.training.epochs))


def _summary(text: str, metrics: dict[str, float]) -> str:
    """What was done and what it gave, in one short line."""
    shown = [f"{name} {value:.5g}" for name, value in metrics.items()]
    if len(shown) > MAX_SUMMARY_METRICS:
        shown[MAX_SUMMARY_METRICS:] = ["…"]
    return f"{text}: {', '.join(shown)}" if shown else text
