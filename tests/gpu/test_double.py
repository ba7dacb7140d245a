"""The double notices what a GPU would refuse, and what it would be waited for."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kdray.core.unions import join, leave
from kdray.methods import CrossEntropy, Losses, TrainingStep
from kdray.training.loop import Totals
from tests.gpu.pretend import pretending
from tests.gpu.tensor import GPU
from tests.gpu.trainings import CNN, described, trained


def ones() -> Tensor:
    return torch.ones(4, 4, device=GPU)


def test_a_tensor_says_that_it_is_on_the_gpu_and_computes() -> None:
    with pretending() as record:
        product = ones() @ ones().to(torch.float32)
        assert product.device == GPU
        assert product.is_cuda
        assert product.sum().item() == 64
        assert torch.equal(product.cpu(), torch.full((4, 4), 4.0))
    assert record.launches


@pytest.mark.parametrize(
    ("planted", "refused"),
    [
        (lambda: ones() + torch.ones(4), "at least two devices"),
        (lambda: ones().uniform_(generator=torch.Generator()), "generator"),
        (lambda: torch.randn(3, generator=torch.Generator(GPU)), "generator"),
        (lambda: torch.randn(3, generator=torch.Generator(), device=GPU), "generator"),
        (lambda: ones().histc(), "deterministic"),
        (lambda: ones().median(0), "deterministic"),
        (
            lambda: functional.nll_loss(
                torch.ones(1, 2, 1, 1, device=GPU),
                torch.zeros(1, 1, 1, dtype=torch.int64, device=GPU),
            ),
            "deterministic",
        ),
        (lambda: ones().pin_memory(), "pin"),
    ],
)
def test_what_cuda_refuses_is_refused(planted: Any, refused: str) -> None:
    with pretending(), pytest.raises(RuntimeError, match=refused):
        planted()


def test_a_tensor_of_the_gpu_is_no_array() -> None:
    with pretending(), pytest.raises(TypeError, match="host memory"):
        ones().numpy()


@pytest.mark.parametrize(
    "planted",
    [
        lambda: ones().sum().item(),
        lambda: bool(ones().sum() > 1),
        lambda: ones().cpu(),
        lambda: ones().to("cpu"),
        lambda: ones().tolist(),
        lambda: ones()[ones() > 0],
        lambda: ones().nonzero(),
        lambda: torch.zeros(4, 4).copy_(ones()),
        lambda: torch.zeros(4, 4).to(GPU),
        lambda: torch.tensor([1.0], device=GPU),
        lambda: ones()[torch.tensor([0, 1])],
        lambda: torch.cuda.synchronize(),
    ],
)
def test_what_is_waited_for_or_copied_from_pageable_memory_is_noted(planted: Any) -> None:
    with pretending() as record:
        planted()
    assert record.stalls


def test_a_copy_from_pinned_memory_is_not_waited_for() -> None:
    with pretending() as record:
        torch.zeros(4, 4).pin_memory().to(GPU, non_blocking=True)
        torch.empty(4, pin_memory=True).to(GPU, non_blocking=True)
    assert not record.stalls


class Planted(CrossEntropy):
    """Cross-entropy of a plug-in."""

    name: Literal["planted"] = "planted"

    def losses(self, stage: str, step: TrainingStep) -> Losses:
        losses = super().losses(stage, step)
        assert losses.total.item() > 0
        return losses


def test_a_plug_ins_step_that_waits_is_noticed_with_its_line() -> None:
    join(Planted)
    try:
        record = trained(described(CNN, Planted()))
    finally:
        leave(Planted)
    assert any("wait _local_scalar_dense" in stall for stall in record.step(-1).stalls)


def test_a_wait_in_the_loop_is_noticed_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    add = Totals.add
    monkeypatch.setattr(
        Totals,
        "add",
        lambda self, losses, labels: (losses.total.item(), add(self, losses, labels))[1],
    )
    record = trained(described(CNN, CrossEntropy()))
    (stall,) = record.step(-1).stalls
    assert stall.startswith("wait _local_scalar_dense at kdray/training/loop.py:")
