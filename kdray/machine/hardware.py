"""The machine that a trial runs on: what it is, what it can repeat bit by bit, how much memory a
trial took."""

from __future__ import annotations

import gc
import os
import platform
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import torch

from kdray.core import device_kinds
from kdray.core.wording import memory as memory_text
from kdray.machine.gpus import UNSET_BY_RAY, not_set_by_ray

CONTEXT = 640 * 2**20
"""Bytes of a GPU that CUDA takes for a process beside torch's allocator: its context, kernels,
library handles. 0.3 to 0.5 GB were seen; more is assumed, because on a GPU that is shared nobody
can tell it from what the other processes hold."""

REPEATABLE_WORKSPACES = (":4096:8", ":16:8")
"""Values of CUBLAS_WORKSPACE_CONFIG with which cuBLAS gives the same bits again."""


def cpus() -> int:
    """CPUs that this process may use (its affinity; the machine's count can be wrong in a
    container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of main memory that this process may use: the machine's, or less where a control group
    (a container) says so."""
    present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([present, *_control_group_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def free_memory() -> int:
    """Bytes of :func:`memory` that nobody uses now."""
    room = _control_group_room(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return min([memory(), *_available(Path("/proc/meminfo")), *room])


class NoCudaDevice(RuntimeError):
    """Ray has granted a GPU that torch cannot use."""


class ShareTooSmall(RuntimeError):
    """A share of a GPU holds less than CUDA itself takes for a process."""


def device(granted: Sequence[str]) -> torch.device:
    """What a trial computes on: the GPU that Ray granted it, which is the first that this process
    sees, or the CPU if none.

    Whether the machine has a GPU says nothing: others may be using it.
    """
    if not granted:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        reason = (
            "its driver does not work in the worker process"
            if built
            else "this torch is built for CPUs only"
        )
        raise NoCudaDevice(
            f"Ray granted GPU {', '.join(granted)} but torch finds no CUDA device: "
            f"{reason}; see 'kdray doctor' on "
            f"{platform.node()}, or run with gpu 0"
        )
    if not_set_by_ray() and torch.cuda.device_count() > len(granted):
        raise NoCudaDevice(
            f"Ray granted GPU {', '.join(granted)} but {UNSET_BY_RAY} keeps it from showing this "
            "process that one alone: unset it"
        )
    return torch.device("cuda", 0)


@cache
def facts() -> dict[str, str | None]:
    """Columns of the trials table that are the same for every trial of this process."""
    return {
        "host": platform.node(),
        "cpu": _cpu_name(),
        "kdray_version": _version("kdray"),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "torchvision_version": _version("torchvision"),
        "timm_version": _version("timm"),
        "ray_version": _version("ray"),
        "git_commit": _git_commit(),
    }


def device_name(device: torch.device) -> str:
    """The kind of device that ``device`` is: the name of the GPU, which of a MIG slice says its
    size, or that of all CPUs."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device_kinds.CPU


def make_repeatable(device: torch.device, threads: int) -> None:
    """Set this process up so that the same trial gives the same bits on the same kind of
    machine."""
    torch.set_num_threads(threads)
    if device.type == "cuda":
        # Must be in the environment before the first product on the GPU, each of which would raise
        # with another value.
        if os.environ.get("CUBLAS_WORKSPACE_CONFIG") not in REPEATABLE_WORKSPACES:
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = REPEATABLE_WORKSPACES[0]
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        # Else every fresh tensor is filled before a kernel writes it: a fifth of a step's launches.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        use_tf32(False)  # as torch comes, cuDNN's convolutions round their operands to it


def use_tf32(allowed: bool) -> bool:
    """Say whether products of float32 on a GPU may have operands of 10 bits of precision (TF32);
    whether they might before."""
    before = torch.backends.cudnn.allow_tf32
    # torch's older switches: whoever reads them after the newer ones were set gets an error.
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed
    return before


def device_memory(device: torch.device) -> int | None:
    """Bytes of the whole GPU; none of a CPU."""
    return (
        int(torch.cuda.get_device_properties(device).total_memory)
        if device.type == "cuda"
        else None
    )


def least_share(total: float, context: int = CONTEXT) -> float:
    """The share of a GPU with ``total`` bytes of which CUDA itself takes all for one process."""
    return context / total


def check_share(share: float, total: float, context: int = CONTEXT) -> None:
    """Raise :class:`ShareTooSmall` if a ``share`` of a GPU leaves nothing to the allocator."""
    if 0 < share < 1 and share <= least_share(total, context):
        raise ShareTooSmall(
            f"{share:.3g} of a GPU of {memory_text(total)} is no more than the "
            f"{memory_text(context)} that CUDA itself takes for every process: give more than "
            f"{least_share(total, context):.3g}"
        )


def cap_memory(device: torch.device, share: float, context: int = CONTEXT) -> None:
    """Have an allocation fail that would take this process beyond its ``share`` of a GPU, so that
    its neighbours do not.

    What the allocator may take is the share less the bytes of the ``context``, which no cap
    reaches; :class:`ShareTooSmall` if nothing is left. A trial with a GPU of its own (1 or more)
    is left as it is, but for the cap of whoever was in this process before it.
    """
    if device.type != "cuda":
        return
    total = torch.cuda.get_device_properties(device).total_memory
    check_share(share, total, context)
    part = 1.0 if share >= 1 else share - least_share(total, context)
    torch.cuda.set_per_process_memory_fraction(part, device)


def room(device: torch.device, share: float, context: int = CONTEXT) -> int | None:
    """Bytes that a process with this ``share`` of a GPU may still take of it; none of a CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return int(free) if share >= 1 else max(0, min(int(free), int(share * total) - context))


def release(device: torch.device) -> None:
    """Give back to the GPU what a trial has left in the allocator; the next one in this process may
    not need it."""
    if device.type == "cuda":
        gc.collect()  # tensors in the frames of an error's traceback
        torch.cuda.empty_cache()


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far (a process trains many trials)."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # not Linux, or not allowed: the peak is then the process's own
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak since :func:`reset_peak_memory`: of this process on the GPU, or in main
    memory without one.

    On a GPU what the allocator reserved (which is what it takes from others, not only what tensors
    fill of it) and
    :data:`CONTEXT`, so that it compares with a share of :func:`device_memory`.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device)) + CONTEXT
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _available(facts: Path) -> Iterator[int]:
    """Bytes that the machine could give to new processes, if it says so."""
    with suppress(OSError):
        for line in facts.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024


class _ControlGroup(NamedTuple):
    """A control group above this process, and where its version says what."""

    place: Path
    limit: str
    used: str
    cache: str
    """What memory.stat calls those of the used bytes that are given back when they are needed."""

    def number(self, name: str) -> int:
        """The number in a file; OSError or ValueError if there is none."""
        return int((self.place / name).read_text())

    def cached(self) -> int:
        lines = map(str.split, (self.place / "memory.stat").read_text().splitlines())
        return next((int(number) for key, number in lines if key == self.cache), 0)


def _control_groups(membership: Path, mounted: Path) -> Iterator[_ControlGroup]:
    """The control groups above this process that may limit its memory."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        inside = Path(group.lstrip("/"))
        for place in (inside, *inside.parents):
            # Version 2 has one tree, and version 1 one for each controller.
            if controllers:
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield _ControlGroup(mounted / "memory" / place, *names)
            else:
                names = ("memory.max", "memory.current", "inactive_file")
                yield _ControlGroup(mounted / place, *names)


def _control_group_limits(membership: Path, mounted: Path) -> Iterator[int]:
    """Bytes that each control group above this process allows, as far as they can be seen."""
    for group in _control_groups(membership, mounted):
        # "max" is no limit; a container may not see where it is
        with suppress(OSError, ValueError):
            yield group.number(group.limit)


def _control_group_room(membership: Path, mounted: Path) -> Iterator[int]:
    """Bytes of what each control group allows that nobody in it uses, as far as they can be
    seen."""
    for group in _control_groups(membership, mounted):
        with suppress(OSError, ValueError):
            used = group.number(group.used) - group.cached()
            yield max(0, group.number(group.limit) - used)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.strip()
