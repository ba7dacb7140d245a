"""What a trial is asked to do and what it says of itself."""

from __future__ import annotations

import pytest
import torch

from kdray.core import describe
from kdray.robustness import Clean, PredictionBound
from kdray.training import Diverged
from kdray.trials.task import Step, is_fault, measurable
from tests.small_trials import distillation, experiment


def test_the_bound_means_nothing_without_a_trained_teacher() -> None:
    suite = (Clean(), PredictionBound())
    assert measurable(suite, distillation()) == suite
    virtual = experiment(supervision={"virtual": {}}, method={"name": "kd"})
    for described in (experiment(), virtual):
        assert measurable(suite, described) == (Clean(),)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError("no space"), True),
        (FileNotFoundError("gone"), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (ValueError("OSError: no"), False),
        (RuntimeError("shape"), False),
        (Diverged("the loss is nan"), False),
    ],
)
def test_errors_of_the_machine_are_faults_and_others_are_not(error: Exception, fault: bool) -> None:
    assert is_fault(describe(error)) is fault


def test_no_error_is_no_fault() -> None:
    assert not is_fault(None)


def test_an_error_is_told_in_one_short_line() -> None:
    assert describe(ValueError("a\n  b\tc")) == "ValueError: a b c"
    assert describe(KeyError()) == "KeyError: "
    assert len(describe(ValueError("x" * 10_000))) < 600


def test_a_step_tells_every_reason() -> None:
    step = Step(
        kind="end",
        text="failed",
        done=1,
        total=1,
        error="OSError: a",
        failed={"pgd": "ValueError: b"},
    )
    assert step.reasons == "OSError: a; pgd: ValueError: b"
    assert Step(kind="end", text="completed", done=1, total=1).reasons is None


def test_a_step_is_summed_up_with_its_first_numbers_under_their_short_names() -> None:
    few = {"clean.accuracy": 2 / 3, "clean.loss": 12.0}
    assert (
        Step(kind="evaluation", text="clean", done=1, total=2, numbers=few).summary
        == "clean: accuracy 0.66667, loss 12"
    )
    many = {f"m{n}": float(n) for n in range(6)}
    step = Step(kind="epoch", text="epoch 1/2", done=1, total=2, numbers=many)
    assert step.summary == "epoch 1/2: m0 0, m1 1, m2 2, m3 3, …"
    assert Step(kind="evaluation", text="x", done=1, total=2).summary == "x: no numbers"


def test_the_end_is_summed_up_with_its_reasons() -> None:
    assert (
        Step(kind="end", text="completed", done=1, total=1, numbers={"a": 1.0}).summary
        == "end: completed"
    )
    assert (
        Step(kind="end", text="failed", done=1, total=1, error="OSError: a").summary
        == "end: failed: OSError: a"
    )


@pytest.mark.parametrize(
    "error", ["ConnectionResetError: x", "OSError: disk full", "WorkerDied: x", "MemoryError: "]
)
def test_errors_of_the_machine_are_faults(error: str) -> None:
    assert is_fault(error)


@pytest.mark.parametrize(
    "error", ["ValueError: x", "Diverged: x", "RuntimeError: OSError", "len: x", "", None]
)
def test_other_errors_are_not(error: str | None) -> None:
    assert not is_fault(error)
