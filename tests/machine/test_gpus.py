"""What the driver says of the GPUs, from answers of ``nvidia-smi``."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdray.core.wording import GIB
from kdray.machine.gpus import (
    UNSET_BY_RAY,
    VISIBLE,
    Gpu,
    cautions,
    chosen,
    multi_process_service,
    not_set_by_ray,
    parsed,
    refusal_of_sharing,
    visible_gpus,
)

ANSWER = """\
0, GPU-11aa, NVIDIA A100-SXM4-40GB, 40960, Default, Enabled
1, GPU-22bb, NVIDIA A100-SXM4-40GB, 40960, Exclusive_Process, Disabled
2, GPU-33cc, NVIDIA L4, [N/A], Prohibited, [N/A]
"""
SLICED, ALONE, CLOSED = parsed(ANSWER)


def test_an_answer_is_a_gpu_a_line() -> None:
    assert Gpu("0", "GPU-11aa", "NVIDIA A100-SXM4-40GB", 40 * GIB, "Default", True) == SLICED
    assert (ALONE.lets_in_one, ALONE.mig, ALONE.memory) == (True, False, 40 * GIB)
    assert (CLOSED.lets_in_one, CLOSED.memory) == (False, None)
    assert parsed("No devices were found\n") == []


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, [SLICED, ALONE, CLOSED]),
        ("", []),
        ("1", [ALONE]),
        ("GPU-33,0", [SLICED, CLOSED]),
        ("MIG-4f,MIG-5a", [SLICED]),
    ],
)
def test_a_process_sees_those_that_are_named(visible: str | None, found: list[Gpu]) -> None:
    assert chosen([SLICED, ALONE, CLOSED], visible) == found


def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{ANSWER}END\n")
    command.chmod(0o755)
    assert visible_gpus() == [SLICED, ALONE, CLOSED]
    command.write_text("#!/bin/sh\necho no driver\nexit 9\n")
    assert visible_gpus() == []


def test_a_machine_without_a_driver_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []


def test_a_gpu_that_lets_in_one_process_is_shared_through_mps_only() -> None:
    told = refusal_of_sharing([SLICED, ALONE], mps=False)
    assert told is not None
    assert told.startswith("GPU 1 lets in one process at a time (compute mode Exclusive_Process)")
    assert "\n" not in told
    assert refusal_of_sharing([SLICED, ALONE], mps=True) is None
    assert refusal_of_sharing([SLICED], mps=False) is None


def test_a_control_daemon_shows_by_its_pipe(tmp_path: Path) -> None:
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path)}
    assert multi_process_service(environment) is None
    (tmp_path / "control").touch()
    assert multi_process_service(environment) == tmp_path / "control"


@pytest.mark.parametrize(("value", "is_set"), [("1", True), ("true", True), ("0", False)])
def test_ray_may_be_told_to_show_every_gpu_to_every_trial(value: str, is_set: bool) -> None:
    assert not_set_by_ray({UNSET_BY_RAY: value}) is is_set
    assert not not_set_by_ray({})


def test_what_would_go_wrong_is_said_in_a_line_each() -> None:
    found = dict(cautions([SLICED, ALONE, CLOSED], {UNSET_BY_RAY: "1"}))
    assert list(found) == ["Ray and GPUs", "compute mode", "MIG"]
    assert all("\n" not in text for text in found.values())
    assert cautions([SLICED], {VISIBLE: "MIG-4f,MIG-5a"}) == []
    assert cautions([ALONE], {}) == []
