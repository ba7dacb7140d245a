from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kdray.machine import hardware
from kdray.machine.gpus import UNSET_BY_RAY
from kdray.results import TABLES
from kdray.trials.task import ReasonKind, reason_of

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
GIB = 2**30


def test_its_facts_are_columns_of_the_trials_table() -> None:
    columns = {column.name for column in TABLES["trials"]}
    assert hardware.facts().keys() <= columns
    assert hardware.facts()["torch_version"] == torch.__version__
    assert hardware.facts()["host"]


def test_the_commit_is_a_whole_one_or_none() -> None:
    commit = hardware.facts()["git_commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}", commit)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert hardware._version("no-such-package-of-ours") is None


def test_there_is_a_cpu() -> None:
    assert hardware.cpus() >= 1
    assert hardware.device_name(CPU) == "cpu"


def test_a_trial_gets_the_threads_that_it_asks_for() -> None:
    before = torch.get_num_threads()
    try:
        hardware.make_repeatable(CPU, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the system does not reset peaks"
)
def test_the_peak_of_memory_is_in_bytes_and_counts_what_was_freed() -> None:
    hardware.reset_peak_memory(CPU)
    before = hardware.peak_memory(CPU)
    assert 10**7 < before < 10**12
    # Far more than the pages that a busy system may take back from this process meanwhile.
    block = torch.ones(125_000_000)
    del block
    assert hardware.peak_memory(CPU) - before > 250_000_000


def test_memory_is_at_most_what_the_machine_has() -> None:
    assert GIB // 4 < hardware.memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_free_memory_is_part_of_it() -> None:
    assert 0 < hardware.free_memory() <= hardware.memory()


def test_what_a_control_group_uses_is_not_free_but_for_its_cache(tmp_path: Path) -> None:
    inside = tmp_path / "fs" / "pod"
    inside.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/pod\n")
    (inside / "memory.max").write_text("2000\n")
    (inside / "memory.current").write_text("1500\n")
    (inside / "memory.stat").write_text("anon 1100\ninactive_file 300\nactive_file 100\n")
    room = hardware._control_group_room(tmp_path / "cgroup", tmp_path / "fs")
    assert list(room) == [2000 - 1500 + 300]
    (inside / "memory.max").write_text("max\n")
    assert list(hardware._control_group_room(tmp_path / "cgroup", tmp_path / "fs")) == []


def limits(tmp_path: Path, membership: str, **files: str) -> list[int]:
    """What is found where control groups' ``files`` hold that, by path with __ for /."""
    (tmp_path / "cgroup").write_text(membership)
    for path, text in files.items():
        at = (
            tmp_path
            / "fs"
            / path.replace("__", "/")
            .replace("max", "memory.max")
            .replace("limit", "memory.limit_in_bytes")
        )
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
    return list(hardware._control_group_limits(tmp_path / "cgroup", tmp_path / "fs"))


def test_the_limits_of_every_control_group_above_count(tmp_path: Path) -> None:
    assert limits(
        tmp_path, "0::/pod/box\n", pod__box__max="max\n", pod__max="2000\n", max="3000"
    ) == [2000, 3000]


def test_control_groups_of_version_1_have_a_tree_for_memory(tmp_path: Path) -> None:
    found = limits(
        tmp_path,
        "5:cpu:/a\n4:memory:/a\n0::/\n",
        memory__a__limit="500",
        a__limit="1",
        cpu__a__limit="2",
    )
    assert found == [500]


def test_without_control_groups_there_is_no_limit_but_the_machine_s(tmp_path: Path) -> None:
    assert list(hardware._control_group_limits(tmp_path / "none", tmp_path)) == []


def test_the_device_is_what_ray_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert hardware.device([]) == CPU  # though there is a GPU
    assert hardware.device(["3"]) == GPU  # the first that this process sees
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert hardware.device([]) == CPU
    with pytest.raises(
        RuntimeError,
        match=r"Ray granted GPU 3 but torch finds no CUDA device: .*; see 'kdray doctor'",
    ):
        hardware.device(["3"])


@pytest.fixture
def _as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)
    hardware.use_tf32(True)


@pytest.mark.parametrize(
    ("given", "used"),
    [(None, ":4096:8"), (":16:8", ":16:8"), (":4096:2", ":4096:8"), ("", ":4096:8")],
)
@pytest.mark.usefixtures("_as_before")
def test_a_gpu_repeats_its_products_whatever_the_environment_says(
    given: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if given is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", given)
    hardware.make_repeatable(GPU, threads=torch.get_num_threads())
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == used
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def caps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The caps put on the allocator of a GPU of 16 GiB, in order."""
    given: list[float] = []
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda _: SimpleNamespace(total_memory=16 * GIB)
    )
    monkeypatch.setattr(
        "torch.cuda.set_per_process_memory_fraction", lambda part, _: given.append(part)
    )
    return given


def test_the_allocator_is_capped_below_the_share_by_what_cuda_itself_takes(
    caps: list[float],
) -> None:
    hardware.cap_memory(GPU, 0.25)
    assert caps[0] * 16 * GIB + hardware.CONTEXT == 4 * GIB
    hardware.cap_memory(GPU, 0.25, GIB)
    assert caps[1] * 16 * GIB + GIB == 4 * GIB, "less what was measured"


@pytest.mark.parametrize(("share", "context"), [(0.039, hardware.CONTEXT), (0.25, 4 * GIB)])
def test_a_share_that_cuda_itself_fills_is_refused_in_one_line(
    caps: list[float], share: float, context: int
) -> None:
    with pytest.raises(
        hardware.ShareTooSmall, match=r"of a GPU of 16 GiB is no more than the "
    ) as no:
        hardware.cap_memory(GPU, share, context)
    assert "\n" not in str(no.value)
    assert reason_of(no.value).kind is ReasonKind.MACHINE
    assert caps == []


def test_a_whole_gpu_is_not_capped_though_the_process_was_before(caps: list[float]) -> None:
    for share in (1.0, 2.0):
        hardware.cap_memory(GPU, share)
    assert caps == [1.0, 1.0]


@pytest.mark.parametrize(
    ("share", "free", "room"),
    [(1, 9, 9), (0.25, 9, 4 - hardware.CONTEXT / GIB), (0.25, 2, 2), (0.01, 9, 0)],
)
def test_the_room_on_a_gpu_is_what_is_free_of_the_share(
    share: float, free: float, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free * GIB, 16 * GIB))
    assert hardware.room(GPU, share) == room * GIB
    assert hardware.room(CPU, share) is None


def test_a_cpu_is_not_capped(caps: list[float]) -> None:
    hardware.cap_memory(CPU, 0.25)
    hardware.release(CPU)
    assert caps == []
    assert hardware.device_memory(CPU) is None
    assert hardware.device_memory(GPU) == 16 * GIB


def test_the_peak_on_a_gpu_is_what_others_cannot_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda _: 3 * GIB)
    assert hardware.peak_memory(GPU) == 3 * GIB + hardware.CONTEXT


def test_a_process_that_sees_every_gpu_computes_on_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray, told to leave CUDA_VISIBLE_DEVICES alone, would put all trials on the first."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert hardware.device(["1"]) == GPU
    monkeypatch.setenv(UNSET_BY_RAY, "1")
    with pytest.raises(
        hardware.NoCudaDevice, match=rf"^Ray granted GPU 1 but {UNSET_BY_RAY} keeps"
    ):
        hardware.device(["1"])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert hardware.device(["0"]) == GPU
