"""What works on this machine, and what to do about what does not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import NamedTuple

import torch
from packaging.requirements import Requirement

from kdray.core import InputError, tag_of, value_types
from kdray.data import AnyData, ImageData
from kdray.machine import gpus, hardware
from kdray.machine.torchvision import torchvision_part
from kdray.sweep.execution.resources import Node


class Finding(NamedTuple):
    """One thing that was looked at."""

    subject: str
    ok: bool | None
    """None: worth knowing, nothing is wrong."""
    text: str


def examine(data_root: Path) -> Iterator[Finding]:
    """Look at everything that a sweep needs; quick things first."""
    python = platform.python_version()
    good = (3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])) <= (3, 13)
    yield Finding("Python", good, python if good else f"{python}: use 3.11, 3.12 or 3.13")
    yield from _packages()
    yield from _torch()
    yield from gpu_findings(gpus.visible_gpus(), os.environ)
    yield _processors()
    yield _attacks()
    yield _memory()
    yield _ray()
    yield from left_by_ray(Path.home())
    yield from data_findings(data_root)


def _packages() -> Iterator[Finding]:
    for requirement in map(Requirement, requires("kdray") or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield package(requirement)


def package(requirement: Requirement) -> Finding:
    """Say which version is installed of what ``requirement`` names, and whether kdray takes it."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        text = "not installed: pip install kdray installs it"
        return Finding(requirement.name, False, text)
    if requirement.specifier.contains(installed, prereleases=True):
        return Finding(requirement.name, True, installed)
    return Finding(
        requirement.name,
        False,
        f"{installed} is installed, kdray is tested with {tested(requirement)}: "
        f"pip install '{requirement}'",
    )


def tested(requirement: Requirement) -> str:
    """Return the range of versions that kdray is tested with, the lowest first."""
    return ",".join(sorted(map(str, requirement.specifier), reverse=True))


def _torch() -> Iterator[Finding]:
    try:
        torchvision_part("datasets")
        yield Finding("torchvision data sets", True, "can be read")
    except Exception as error:
        yield Finding(
            "torchvision data sets",
            False,
            f"{error}: install the torchvision that belongs to this torch",
        )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield Finding(
                f"GPU {index}", True, f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free"
            )
    else:
        yield Finding(
            "GPU",
            None,
            "none that torch can use; sweeps run on the CPU (resources.*.gpu must be 0)",
        )


def gpu_findings(seen: Sequence[gpus.Gpu], environment: Mapping[str, str]) -> Iterator[Finding]:
    """Say how the driver lets trials share ``seen``, and what keeps them from it."""
    for subject, text in gpus.cautions(seen, environment):
        yield Finding(subject, False, text)
    if not seen:
        return
    pipe = gpus.multi_process_service(environment)
    if (refusal := gpus.refusal_of_sharing(seen, mps=pipe is not None)) is not None:
        yield Finding("compute mode", None, f"{refusal} (resources.*.gpu below 1 and auto)")
    if any(gpu.mig for gpu in seen):
        yield Finding("MIG", None, "a GPU is cut into instances, each a device of its own")
    text = (
        f"a control daemon has its pipe at {pipe}: trials that share a GPU compute side by side"
        if pipe is not None
        else "not running: trials that share a GPU take turns on it; nvidia-cuda-mps-control -d "
        "before Ray starts lets them compute side by side"
    )
    yield Finding("MPS", None if pipe is None else True, text)


def _attacks() -> Finding:
    there = importlib.util.find_spec("pyautoattack") is not None
    text = (
        "pyautoattack is there"
        if there
        else "no pyautoattack, which only autoattack needs: pip install 'kdray[attacks]'"
    )
    return Finding("attacks", True if there else None, text)


def _processors() -> Finding:
    usable, present = hardware.cpus(), os.cpu_count() or 1
    text = f"{usable} usable" + (
        f" of {present} (the process's affinity)" if usable < present else ""
    )
    return Finding("CPUs", True, text)


def _memory() -> Finding:
    free = shutil.disk_usage("/dev/shm").free / 2**20 if Path("/dev/shm").is_dir() else None
    if free is not None and free < 128:
        return Finding(
            "shared memory",
            False,
            f"/dev/shm has {free:.0f} MiB, Ray needs 128: docker run --shm-size=1g",
        )
    return Finding(
        "shared memory",
        True,
        "enough for Ray" if free is not None else "no /dev/shm; Ray uses the disk",
    )


def _ray() -> Finding:
    from kdray.sweep.execution.cluster import cluster  # ray takes seconds

    try:
        with cluster(None, Node("this machine", 1, 0), {}) as nodes:
            return Finding("Ray starts", True, f"{len(nodes)} node; {ray_versions()}")
    except Exception as error:
        return Finding("Ray starts", False, " ".join(str(error).split()))


def ray_versions() -> str:
    """Return which version of Ray is installed, and which kdray is tested with."""
    (ray,) = (r for r in map(Requirement, requires("kdray") or []) if r.name == "ray")
    return f"{version('ray')} is installed, kdray is tested with {tested(ray)}"


def left_by_ray(home: Path) -> Iterator[Finding]:
    """Say what Ray keeps in the ``home`` folder: the token that lets drivers and nodes in."""
    token = home / ".ray" / "auth_token"
    if not token.is_file():
        return
    readable = token.stat().st_mode & 0o077
    remedy = f"; other users can read it: chmod 600 {token}" if readable else ""
    text = (
        f"{token} is of Ray, which makes it as it starts (from 2.59 on): who has it may run code "
        f"in your Rays; it can go when none runs{remedy}"
    )
    yield Finding("Ray's token", None, text)


def data_findings(root: Path) -> Iterator[Finding]:
    """Look for the files of every data set that ``kdray data`` can say something about."""
    if not root.is_dir():
        yield Finding(
            "data folder",
            None,
            f"{root} is not there yet (digits need none); --data or KDRAY_DATA name another",
        )
        return
    for kind in value_types(AnyData):
        if issubclass(kind, ImageData) and kind.remedy is not None:
            name = str(tag_of(kind))
            try:
                kind().check(root)
                yield Finding(name, True, f"in {root}")
            except InputError:
                text = f"not in {root}: kdray data {name} {kind.remedy}"
                yield Finding(name, None, text)
