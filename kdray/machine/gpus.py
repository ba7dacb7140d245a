"""What the driver says of this machine's GPUs, asked through ``nvidia-smi``: it starts no CUDA, so
no process of kdray holds a GPU that lets in only one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

QUERY = "index,uuid,name,memory.total,compute_mode,mig.mode.current"
VISIBLE, UNSET_BY_RAY = "CUDA_VISIBLE_DEVICES", "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"


class Gpu(NamedTuple):
    """One GPU, as the driver describes it."""

    number: str
    uuid: str
    name: str
    memory: int | None
    """Bytes of the whole of it; none where the driver does not say."""
    compute_mode: str
    """Default, Exclusive_Process, Exclusive_Thread or Prohibited."""
    mig: bool
    """Whether it is cut into instances (MIG), each a device of its own."""

    @property
    def lets_in_one(self) -> bool:
        """Whether only one process at a time may use it."""
        return self.compute_mode.startswith("Exclusive")


def visible_gpus() -> list[Gpu]:
    """Return the GPUs that this process may use; none where there is no driver, or it fails."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return chosen(parsed(asked.stdout), os.environ.get(VISIBLE))


def parsed(answer: str) -> list[Gpu]:
    """Return the GPUs in an answer of ``nvidia-smi``, a line each."""
    rows = [[field.strip() for field in line.split(",")] for line in answer.splitlines()]
    return [
        Gpu(number, uuid, name, _bytes(memory), mode, mig == "Enabled")
        for number, uuid, name, memory, mode, mig in (row for row in rows if len(row) == 6)
    ]


def chosen(gpus: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    """Return those of ``gpus`` that ``CUDA_VISIBLE_DEVICES`` names, all where it is not set. An
    instance of a GPU may lie on any that has some."""
    if visible is None:
        return list(gpus)
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return [gpu for gpu in gpus if any(_is_named(gpu, name) for name in names)]


def multi_process_service(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the pipe of a control daemon of MPS, through which processes share a GPU's
    multiprocessors; none where no daemon has made one."""
    folder = Path(environment.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps")
    pipe = folder / "control"
    return pipe if pipe.exists() else None


def not_set_by_ray(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether Ray is told to leave ``CUDA_VISIBLE_DEVICES`` alone, as Ray reads the variable."""
    return environment.get(UNSET_BY_RAY, "").lower() in ("1", "true")


def refusal_of_sharing(gpus: Sequence[Gpu], *, mps: bool) -> str | None:
    """Return why several processes cannot share each of ``gpus``, if they cannot. With MPS one
    server is the only process that a GPU sees."""
    alone = [gpu for gpu in gpus if gpu.lets_in_one]
    if not alone or mps:
        return None
    return (
        f"GPU {alone[0].number} lets in one process at a time (compute mode "
        f"{alone[0].compute_mode}): give each trial a whole one, start MPS, or have the mode set "
        "to Default (nvidia-smi -c 0; under Slurm, --gpu_cmode=shared)"
    )


def cautions(
    gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ
) -> list[tuple[str, str]]:
    """List what would go wrong with trials on ``gpus``: the setting, and a line about it."""
    found = []
    if not_set_by_ray(environment):
        text = f"{UNSET_BY_RAY} is set: every trial would compute on the first GPU; unset it"
        found.append(("Ray and GPUs", text))
    if any(gpu.compute_mode == "Prohibited" for gpu in gpus):
        found.append(("compute mode", "a GPU lets in no process (Prohibited): nvidia-smi -c 0"))
    if any(gpu.mig for gpu in gpus) and "MIG-" not in environment.get(VISIBLE, ""):
        text = (
            f"a GPU is cut into instances (MIG), of which CUDA shows one only: name all in "
            f"{VISIBLE} (nvidia-smi -L lists them), and each is a device of its own"
        )
        found.append(("MIG", text))
    return found


def _is_named(gpu: Gpu, name: str) -> bool:
    if name.startswith("MIG-"):
        return gpu.mig
    return name == gpu.number or (name.startswith("GPU-") and gpu.uuid.startswith(name))


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * 2**20 if mebibytes.isdigit() else None
