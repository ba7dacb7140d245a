"""What one trial is granted of a machine."""

from __future__ import annotations

import pytest

from kdray.training.compute import ComputeOptions
from kdray.trials.grant import DEFAULT_GRANT, Grant


@pytest.mark.parametrize(("cpu", "threads"), [(0.25, 1), (1.0, 1), (2.0, 2), (7.9, 7)])
def test_torch_has_a_thread_for_each_whole_cpu(cpu: float, threads: int) -> None:
    assert Grant(cpu=cpu).threads == threads


def test_hours_are_seconds_and_none_is_no_limit() -> None:
    assert Grant(hours=0.5).seconds == 1800
    assert DEFAULT_GRANT.seconds is None


def test_a_share_is_doubled_once_and_up_to_a_whole_gpu() -> None:
    once = Grant(cpu=2.0, gpu=0.4).doubled()
    assert once is not None
    assert (once.cpu, once.gpu) == (2.0, 0.8)
    assert once.retried == "out of memory with 0.4 of a GPU, run again with 0.8"
    assert once.doubled() is None
    most = Grant(gpu=0.75).doubled()
    assert most is not None
    assert most.gpu == 1
    assert Grant(gpu=1.0).doubled() is Grant().doubled() is None


def test_a_grant_is_the_same_after_its_way_through_json() -> None:
    grant = Grant(cpu=1.5, gpu=1 / 3, compute=ComputeOptions(compile=True), retried="why")
    assert Grant.model_validate_json(grant.model_dump_json()) == grant
