"""Nothing that the capture of a CUDA graph forbids is in a step that is captured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import pytest
import torch
from torch import nn

from kdray.core import parse, tag_of
from kdray.methods import AnyMethod, CrossEntropy, Losses, Method, TrainingStep
from kdray.sweep.execution.rehearsal import brief
from kdray.training import loop
from kdray.training.compute import ComputeOptions, Precision
from kdray.training.steps import WARM_UP, ReplayedSteps
from tests.contracts.members import instance, members
from tests.gpu.launches import teachable
from tests.gpu.record import Record
from tests.gpu.tensor import GpuTensor
from tests.gpu.trainings import described, trained

ATTACK = {"epsilon": 0.1, "step_size": 0.05, "steps": 2}
ASKING = {
    "name": "adversarial",
    "attack": {**ATTACK, "loss": "kl_teacher_clean"},
    "clean": {"name": "kd"},
    "perturbed": {"name": "kd"},
    "teacher_sees": "clean",
}
METHODS: dict[str, Method] = {
    **{
        tag_of(kind) or "": instance(kind)
        for kind in members(AnyMethod)
        if instance(kind).is_replayable
    },
    "rslad": parse(AnyMethod, ASKING),
    "attacked in train mode": parse(
        AnyMethod,
        {"name": "trades", "attack": {**ATTACK, "loss": "kl_self", "batch_norm": "batch"}},
    ),
}


class Captured:
    """A graph that notes what is recorded; replayed it does nothing."""

    record_of: ClassVar[list[Record]] = []
    replays: ClassVar[list[int]] = []

    def __init__(self, parameters: nn.Module) -> None:
        held = next(parameters.parameters())
        assert isinstance(held, GpuTensor)
        self._events = held.machine.record.events

    def warming_up(self) -> AbstractContextManager[object]:
        return nullcontext()

    def record(self, run: Callable[[], None], draws: torch.Generator) -> None:
        assert draws.device.type == "cuda"
        began = len(self._events)
        run()
        self.record_of.append(Record(self._events[began:]))

    def replay(self) -> None:
        self.replays.append(len(self._events))


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> type[Captured]:
    """What is recorded goes there."""

    class OnThePretendedGpu(ReplayedSteps):
        def __init__(
            self, method: Method, stage: str, precision: Precision, learned: nn.Module
        ) -> None:
            super().__init__(method, stage, precision, learned, lambda: Captured(learned))

    monkeypatch.setattr(loop, "ReplayedSteps", OnThePretendedGpu)
    monkeypatch.setattr(Captured, "record_of", [])
    monkeypatch.setattr(Captured, "replays", [])
    return Captured


def captured_in(method: Method, captured: type[Captured]) -> Record:
    """What the captured step of a training of five asks of the GPU."""
    kernels = ComputeOptions(cuda_graph=True)
    trained(described(teachable(method), brief(method)), steps=WARM_UP + 2, kernels=kernels)
    assert len(captured.replays) == 2 * len(captured.record_of)
    return captured.record_of[-1]


@pytest.mark.parametrize("name", METHODS)
def test_a_captured_step_neither_waits_nor_copies(name: str, captured: type[Captured]) -> None:
    record = captured_in(METHODS[name], captured)
    assert record.launches
    assert record.stalls == {}


def test_a_wait_in_a_captured_step_is_noticed(
    captured: type[Captured], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = CrossEntropy.losses

    def waiting(method: CrossEntropy, stage: str, step: TrainingStep) -> Losses:
        found = losses(method, stage, step)
        assert found.total.item() > 0
        return found

    monkeypatch.setattr(CrossEntropy, "losses", waiting)
    record = captured_in(CrossEntropy(), captured)
    assert [stall.split(" at ")[0] for stall in record.stalls] == ["wait _local_scalar_dense"]
