"""What a trial is asked to do, what it reports, and of what it fails."""

from __future__ import annotations

import math

import pytest
import torch

from kdray.core import InputError, describe
from kdray.machine.checked_file import Damaged
from kdray.machine.hardware import NoCudaDevice
from kdray.robustness import Clean, PredictionBound
from kdray.training import Diverged
from kdray.trials.task import (
    Ended,
    EpochDone,
    Measured,
    Outcome,
    Reason,
    ReasonKind,
    Trained,
    TrialEvent,
    event_from_json,
    joined,
    measurable,
    outcome_columns,
    reason_columns,
    reason_of,
)
from tests.small_trials import distillation, experiment

DISK = Reason(kind=ReasonKind.MACHINE, text="OSError: a")
SHAPE = Reason(kind=ReasonKind.EXPERIMENT, text="ValueError: b")


def epoch(**metrics: float) -> EpochDone:
    return EpochDone(stage="main", epoch=1, epochs=2, done=1, metrics=metrics)


def measured(reason: Reason | None = None, count: int = 0, **metrics: float) -> Measured:
    return Measured(
        evaluation_id="0", label="pgd", done=3, metrics=metrics, count=count, reason=reason
    )


def test_the_bound_means_nothing_without_a_trained_teacher() -> None:
    suite = (Clean(), PredictionBound())
    assert measurable(suite, distillation()) == suite
    virtual = experiment(supervision={"virtual": {}}, method={"name": "kd"})
    for described in (experiment(), virtual):
        assert measurable(suite, described) == (Clean(),)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("no space"), "machine"),
        (FileNotFoundError("gone"), "machine"),
        (ConnectionResetError("x"), "machine"),
        (MemoryError(), "machine"),
        (Damaged("weights/0.safetensors is missing"), "machine"),
        (NoCudaDevice("Ray granted GPU 0 but torch finds no CUDA device"), "machine"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), "device"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "device"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "device"),
        (RuntimeError("CUDA driver error: out of memory"), "memory"),
        (RuntimeError("HIP error: out of memory"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "memory"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling x"), "memory"),
        (RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling x"), "memory"),
        (RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"), "memory"),
        (RuntimeError("the search ran out of memory cells"), "experiment"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory"),
        (torch.AcceleratorError("CUDA error: out of memory"), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"), "memory"),
        (InputError("data: no file"), "input"),
        (ValueError("OSError: no"), "experiment"),
        (RuntimeError("shape"), "experiment"),
        (Diverged("the loss is nan"), "experiment"),
    ],
)
def test_what_an_error_is_of_follows_from_its_class(error: Exception, kind: str) -> None:
    reason = reason_of(error)
    assert (reason.kind, reason.text) == (kind, describe(error))
    assert reason.is_transient is (kind != "experiment")


def test_an_error_is_told_in_one_short_line() -> None:
    assert describe(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert describe(KeyError()) == "KeyError: "
    assert len(describe(ValueError("x" * 10_000))) < 600


def test_several_reasons_help_to_try_again_only_if_all_of_them_do() -> None:
    assert joined() is joined(None) is None
    assert joined(DISK, None) == DISK
    assert joined(DISK, DISK) == DISK
    both = joined(DISK, SHAPE)
    assert both == Reason(kind=ReasonKind.EXPERIMENT, text="OSError: a; ValueError: b")


def test_the_end_has_every_reason_and_every_number() -> None:
    trained = Trained(done=2, metrics={"val_accuracy": 0.5})
    ended = Ended(
        outcome=Outcome.FAILED,
        reason=DISK,
        trained=trained,
        measured=(measured(SHAPE), measured(accuracy=0.25)),
    )
    assert str(ended.problem) == "OSError: a; pgd: ValueError: b"
    assert ended.named_metrics == {"val_accuracy": 0.5, "pgd.accuracy": 0.25}
    assert Ended(outcome=Outcome.COMPLETED).problem is None


@pytest.mark.parametrize("outcome", Outcome)
def test_a_trial_that_diverged_has_failed_too(outcome: Outcome) -> None:
    assert Ended(outcome=outcome).failed is (outcome in ("failed", "diverged"))


def test_more_of_a_gpu_may_help_where_anything_ran_out_of_its_memory() -> None:
    memory = Reason(kind=ReasonKind.MEMORY, text="OutOfMemoryError: x")
    assert Ended(outcome=Outcome.FAILED, reason=memory).out_of_memory
    assert Ended(outcome=Outcome.FAILED, measured=(measured(SHAPE), measured(memory))).out_of_memory
    assert not Ended(outcome=Outcome.FAILED, reason=DISK).out_of_memory


def test_a_process_is_spent_where_a_gpu_has_no_memory_or_has_failed() -> None:
    def ended(kind: ReasonKind) -> Ended:
        return Ended(outcome=Outcome.FAILED, reason=Reason(kind=kind, text="x"))

    spent = {kind for kind in ReasonKind if ended(kind).spends_process}
    assert spent == {ReasonKind.MEMORY, ReasonKind.DEVICE}
    assert not ended(ReasonKind.DEVICE).out_of_memory
    failed = Reason(kind=ReasonKind.DEVICE, text="x")
    assert Ended(outcome=Outcome.COMPLETED, measured=(measured(failed),)).spends_process


@pytest.mark.parametrize(
    "event",
    [
        epoch(loss=math.inf, val_accuracy=0.5),
        Trained(done=2, metrics={"val_accuracy": 0.5}),
        measured(DISK, 3, accuracy=0.5),
        Ended(outcome=Outcome.DIVERGED, reason=SHAPE),
        Ended(
            outcome=Outcome.FAILED, trained=Trained(done=2, metrics={}), measured=(measured(DISK),)
        ),
    ],
    ids=lambda event: event.event,
)
def test_an_event_is_the_same_after_its_way_through_json(event: TrialEvent) -> None:
    assert event_from_json(event.model_dump_json()) == event


def test_a_number_that_is_none_stays_so_on_its_way_through_json() -> None:
    event = event_from_json(epoch(loss=math.nan).model_dump_json())
    assert math.isnan(event.named_metrics["loss"])


def test_an_event_is_summed_up_with_its_first_numbers() -> None:
    few = {"accuracy": 2 / 3, "loss": 12.0}
    assert measured(**few).summary == "pgd: accuracy 0.66667, loss 12"
    many = {f"m{n}": float(n) for n in range(6)}
    assert epoch(**many).summary == "epoch 1/2: m0 0, m1 1, m2 2, m3 3, …"
    assert measured(count=4).summary == "pgd: 4 numbers"
    assert measured(SHAPE).summary == "pgd: no numbers"
    hints = EpochDone(stage="hints", epoch=3, epochs=5, done=3, metrics={})
    assert hints.summary == "hints 3/5"


def test_the_end_is_summed_up_with_its_reasons() -> None:
    assert Ended(outcome=Outcome.COMPLETED).summary == "end: completed"
    assert Ended(outcome=Outcome.FAILED, reason=DISK).summary == "end: failed: OSError: a"


def test_columns_say_how_a_trial_ended_and_of_what() -> None:
    assert reason_columns(None) == {"error": None, "reason_kind": None}
    failed = {"outcome": "failed", "error": "ValueError: b", "reason_kind": "experiment"}
    assert outcome_columns(Outcome.DIVERGED, SHAPE) == failed, "in a sweep it has failed"
    assert outcome_columns(Outcome.PRUNED, SHAPE)["outcome"] == "pruned"
