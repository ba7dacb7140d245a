"""2. Memory: CUDA's own, a training's, and what a cap permits.

    python -m tests.gpu.check.memory [--device cpu]

The context is what the GPU holds for this process beside the allocator; on a GPU that others use
too, theirs is in it. Out of memory is met twice: by an allocator at its cap, and by a trial whose
share is hardly more than the context; both must be told as that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from kdray.core import canonical, parse
from kdray.core.wording import memory as memory_text
from kdray.machine import hardware
from kdray.methods import KD
from kdray.results import Store
from kdray.sweep.execution.probe import CudaMeter, probe
from kdray.trials.experiment import Experiment
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, Reason, ReasonKind, Task, reason_of
from tests.benchmarks.figures import Figure
from tests.gpu.check.part import course, each_of, left_out, run
from tests.gpu.check.trials import NOWHERE, events, with_teacher

PIECE = 16 * 2**20
SHARE = 0.25
"""Of the GPU, to which an allocator is capped."""
HARDLY = 1.1
"""Times the context: a share that is too small for :func:`wide`."""


def wide() -> Experiment:
    """KD from WRN-40-2 to WRN-16-2, in batches of 128 images of 3 x 32 x 32."""
    data = {"name": "digits", "resize": 32, "channels": 3}
    training = {"epochs": 1, "batch_size": 128}
    student, teacher = ({"name": "wide_resnet", "depth": d, "width": 2} for d in (16, 40))
    return Experiment.parse(
        {
            "data": data,
            "model": student,
            "teacher": {"data": data, "model": teacher, "training": training},
            "method": {"name": "kd"},
            "training": training,
        }
    )


def peak(device: torch.device) -> Iterator[Figure]:
    """A training's, from its first epoch on."""
    hardware.reset_peak_memory(device)
    one = course(KD(), device)
    one.epoch()
    one.epoch()
    kind = "GPU memory, with the context" if device.type == "cuda" else "main memory"
    name = "KD from WRN-40-2 to WRN-16-2, peak" if device.type == "cuda" else "KD, peak"
    yield Figure(name, (hardware.peak_memory(device) / 1e6,), "MB", note=kind)


def context(device: torch.device) -> Iterator[Figure]:
    """CUDA's own, once a training has loaded its kernels."""
    course(KD(), device).epoch()
    torch.cuda.synchronize(device)
    found = CudaMeter(device).context()
    aim = f"<= {hardware.CONTEXT / 1e6:.0f}"
    yield Figure("context beside the allocator", (found / 1e6,), "MB", aim, "kdray assumes the aim")


def cap(device: torch.device) -> Iterator[Figure]:
    """What an allocator may take, and what is said when it wants more."""
    total = hardware.device_memory(device) or 0
    hardware.release(device)
    hardware.cap_memory(device, SHARE)
    taken, reason = taken_before_error(device)
    hardware.cap_memory(device, 1)
    allowed = SHARE * total - hardware.CONTEXT
    note = f"{memory_text(taken)} of {memory_text(allowed)}"
    what = f"allocated within {SHARE:g} of the GPU / the share less the context"
    yield Figure(f"{what}, no more", (taken / allowed,), "x", "<= 1", note)
    yield Figure(f"{what}, hardly less", (taken / allowed,), "x", ">= 0.9")
    yield known_as_memory("an allocator at its cap", reason)


def taken_before_error(device: torch.device) -> tuple[int, Reason]:
    """Bytes that could be allocated, and why no more could."""
    pieces = []
    try:
        while True:
            pieces.append(torch.empty(PIECE, dtype=torch.uint8, device=device))
    except RuntimeError as error:
        taken, reason = PIECE * len(pieces), reason_of(error)
    pieces.clear()
    hardware.release(device)
    return taken, reason


def trial_beyond_its_share(device: torch.device) -> Iterator[Figure]:
    """What a trial says that needs more than it was given."""
    experiment = wide()
    share = HARDLY * hardware.least_share(hardware.device_memory(device) or 1)
    with TemporaryDirectory() as folder:
        place = with_teacher(experiment, Path(folder), device)
        hardware.release(device)
        *_, last = events(experiment, "student", Store(place), device, Grant(gpu=share))
    hardware.cap_memory(device, 1)
    assert isinstance(last, Ended)
    yield known_as_memory(f"a trial with {share:.3g} of the GPU", last.problem)


def known_as_memory(what: str, reason: Reason | None) -> Figure:
    """Whether ``reason`` is told as a lack of memory."""
    known = reason is not None and reason.kind is ReasonKind.MEMORY
    told = "nothing went wrong" if reason is None else f"{reason.kind}: {reason.text[:120]}"
    return Figure(f"{what}: told as a lack of memory", (float(known),), "of 1", ">= 1", told)


def auto(device: torch.device) -> Iterator[Figure]:
    """What ``gpu: auto`` finds that a training of WRN-16-2 needs."""
    written = {"role": "student", "experiment": canonical(wide()), "evaluations": []}
    found = probe(
        [parse(Task, written)], data_root=NOWHERE, device=device, meter=CudaMeter(device), threads=1
    )
    yield Figure("gpu: auto, memory of a trial", (found.needed / 1e6,), "MB", note=str(found))
    busy = () if found.busy is None else (found.busy,)
    unknown = "" if busy else "the profiler could not tell"
    yield Figure("gpu: auto, time that a trial keeps the GPU busy", busy, "of 1", note=unknown)
    yield Figure("gpu: auto, share", (found.share,), "of the GPU")


def figures(device: torch.device) -> Iterator[Figure]:
    only_cuda = {
        "context beside the allocator": context,
        "cap of the allocator": cap,
        "trial beyond its share": trial_beyond_its_share,
        "gpu: auto": auto,
    }
    if device.type == "cuda":
        yield from each_of({n: partial(f, device) for n, f in {**only_cuda, "peak": peak}.items()})
        return
    yield from each_of({"peak": partial(peak, device)})
    yield from map(left_out, only_cuda)


if __name__ == "__main__":
    run(figures)
