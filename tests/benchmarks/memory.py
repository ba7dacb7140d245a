"""What a trial takes at its peak, and what the trials of one node hold of a data set and a teacher.

    python -m tests.benchmarks.memory [--short]

Each trial trains WRN-16-2 on batches of 128 images of 3 x 32 x 32 in a process of its own, asking a
WRN-40-2 in its first epoch and knowing its answers in the second. Peaks are those of the whole
process, Python and torch included.

The node's trials are processes that load one after another, and all hold what they have loaded when
memory is measured: the sum of their Pss (/proc/PID/smaps_rollup), in which a page counts once
however many processes share it, less the sum before. The data set is as large as CIFAR-10 and the
teacher a WRN-28-10.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdray.core import value_types
from kdray.data import Arrays
from kdray.data.base import _decoded, _load
from kdray.machine import hardware
from kdray.machine.checked_file import pack, unpack, unpack_shared
from kdray.methods import CRD, Adversarial, AnyMethod, FitNet, Method
from kdray.methods.attack import Attack
from kdray.models import WideResNet, build, fit, normalizer
from kdray.teachers import Supervision, TeacherOracle
from kdray.training import State, Training, train
from kdray.training.optimizers import SGD
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say
from tests.benchmarks.networks import DATA, dataset, setup, untrained
from tests.benchmarks.steps import BATCH, THREADS

TRAIN, TEST = 50_000, 10_000
HELD = {
    "data, own copies": "data",
    "data, one copy": "shared data",
    "teacher, own copies": "teacher",
    "teacher, one copy": "shared teacher",
}
"""Own copies first: what a process keeps of the code that loads is no part of one copy, and counts
where it matters least."""
BEFORE = "before it trains"


FIELDS: dict[Any, dict[str, Any]] = {FitNet: {"hint_epochs": 1}, CRD: {"negatives": BATCH // 2}}
"""What differs from the defaults, which are for long trainings on much data."""


def methods() -> dict[str, Method]:
    """Every method with its defaults, but for :data:`FIELDS`."""
    found: dict[str, Method] = {}
    for kind in value_types(AnyMethod):
        assert issubclass(kind, Method)
        method = kind(**FIELDS.get(kind, {}))
        found[kind.model_fields["name"].default] = method
    found["adversarial, mix 1"] = Adversarial(mix=1.0, attack=Attack(steps=3))
    return found


def trial(name: str) -> dict[str, int]:
    """Bytes at the peak of each epoch, by stage and number."""
    torch.set_num_threads(THREADS)
    cpu, data, method = torch.device("cpu"), dataset(), methods()[name]
    data = data._replace(train=data.train.first(2 * BATCH), val=data.val.first(BATCH))
    training = Training(optimizer=SGD(learning_rate=0.01), epochs=2, batch_size=BATCH)
    student, oracle = untrained("WRN-16-2"), None
    if method.asks_teacher:
        teacher = build(WideResNet(depth=40, width=2), DATA, fit(DATA, data), seed=1)
        oracle = TeacherOracle(Supervision(), teacher, classes=DATA.classes, seed=0, name="teacher")
    working = replace(setup(method, training, data), oracle=oracle)
    asked = None if oracle is None else oracle.epoch()
    state = State.before(student, method.helper(student, asked, data.train), training)
    hardware.reset_peak_memory(cpu)
    peaks = {BEFORE: hardware.peak_memory(cpu)}
    for epoch in train(state, working):
        peaks[f"{epoch.stage} {epoch.epoch}"] = hardware.peak_memory(cpu)
        hardware.reset_peak_memory(cpu)
    return peaks


def trials(names: list[str]) -> Iterator[Figure]:
    """The peak of each."""

    def apart(name: str) -> dict[str, int]:
        with tempfile.TemporaryDirectory() as cache:
            peaks: dict[str, int] = json.loads(_worker("trial", name, cache=cache).communicate()[0])
        say(f"{name}: {', '.join(f'{what} {size / 1e6:.0f} MB' for what, size in peaks.items())}")
        return peaks

    with ThreadPoolExecutor(hardware.cpus()) as several:
        found = dict(zip(names, several.map(apart, names), strict=True))
    yield _megabytes(f"a trial's process, {BEFORE}", *(peaks[BEFORE] for peaks in found.values()))
    for name, peaks in found.items():
        if "hint 1" in peaks:
            yield _megabytes(f"{name}, hints", peaks["hint 1"])
        if methods()[name].asks_teacher:
            yield _megabytes(f"{name}, first epoch: the teacher is asked", peaks["main 1"])
        yield _megabytes(name, peaks["main 2"])


def holder(images: str, weights: str) -> None:
    """Load what standard input asks for and read all of it, let go of what was loaded before, and
    say when it is there."""
    data, root, packed = described(Path(images)), Path("/"), Path(weights)

    def shared_data() -> list[torch.Tensor]:
        train, val, test, *_ = data.load(root)
        return [*train, *val, *test]

    ways: dict[str, Callable[[], list[torch.Tensor]]] = {
        "nothing": list,
        "data": lambda: list(_decoded(data, root).values()),
        "shared data": shared_data,
        "teacher": lambda: list(unpack(packed.read_bytes())[0].values()),
        "shared teacher": lambda: list(unpack_shared(packed.read_bytes())[0].values()),
    }
    held: list[torch.Tensor] = []
    for line in sys.stdin:
        held.clear()
        _load.cache_clear()
        held = ways[line.strip()]()
        settle(held)
        print("held", flush=True)


def settle(tensors: list[torch.Tensor]) -> None:
    """Read all, since a page of a file counts for a process once it has read it, and give back what
    is free: the C library keeps what loading has used, and training would use that again."""
    for tensor in tensors:
        tensor.max()
    ctypes.CDLL(None).malloc_trim(0)


def node(count: int) -> Iterator[Figure]:
    """What ``count`` processes hold."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images, weights = prepare(folder)
        sizes = {
            "data": _bytes(_decoded(described(images), Path("/"))),
            "teacher": _bytes(unpack(weights.read_bytes())[0]),
        }
        processes = [
            _worker("holder", str(images), str(weights), cache=place) for _ in range(count)
        ]
        try:
            for title, what in HELD.items():
                held, size = _held(processes, what), sizes[title.partition(",")[0]]
                say(f"{title}: {held / 1e6:.0f} MB")
                aim, note = (
                    "<= 1.1" if "one copy" in title else None,
                    f"{held / 1e6:.0f} MB; one is {size / 1e6:.0f} MB",
                )
                yield Figure(f"{count} trials' {title} / its size", (held / size,), "x", aim, note)
        finally:
            for process in processes:
                process.communicate()  # the end of its input is its end


def prepare(folder: Path) -> tuple[Path, Path]:
    """Files of random images and of a teacher's weights."""
    drawn, arrays = np.random.default_rng(0), {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        arrays[f"{part}_images"] = drawn.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 10
    images, weights = folder / "images.npz", folder / "weights"
    np.savez(images, **arrays)
    data = described(images)
    weights.write_bytes(
        pack(
            build(WideResNet(depth=28, width=10), data, normalizer(data, {}), seed=0).state_dict(),
            {},
        )
    )
    return images, weights


def described(file: Path) -> Arrays:
    return Arrays(path=str(file), classes=10, image_shape=(3, 32, 32), validation=5000)


def figures(short: bool) -> Iterator[Figure]:
    yield from trials(
        ["cross_entropy", "gradient_matching", "adversarial, mix 1"] if short else list(methods())
    )
    yield from node(3 if short else 10)


def _worker(*arguments: str, cache: str) -> subprocess.Popen[str]:
    """A process that shares with those that have the same ``cache``."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.memory", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KDRAY_CACHE": cache, "OMP_NUM_THREADS": str(THREADS)},
    )


def _held(processes: list[subprocess.Popen[str]], what: str) -> int:
    """Bytes that the processes hold of it together."""

    def ask(what: str) -> int:
        for process in processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "held\n"
        return sum(map(_pss, processes))

    return -ask("nothing") + ask(what)


def _pss(process: subprocess.Popen[str]) -> int:
    """Bytes."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def _bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _megabytes(what: str, *sizes: int) -> Figure:
    return Figure(what, tuple(size / 1e6 for size in sizes), "MB")


if __name__ == "__main__":
    ways: dict[str, Callable[..., Any]] = {
        "trial": lambda name: print(json.dumps(trial(name))),
        "holder": holder,
    }
    if sys.argv[1:2] and sys.argv[1] in ways:
        ways[sys.argv[1]](*sys.argv[2:])
    else:
        run(figures)
