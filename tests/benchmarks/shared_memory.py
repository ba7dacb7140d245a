"""What the processes of one node hold of a data set and of a teacher: with copies of their own, and with one that they share.

    python -m tests.benchmarks.shared_memory [PROCESSES] [IMAGES.npz]

Images as large as CIFAR-10's, drawn at random unless an .npz file of such is given (see kdray/data/arrays.py), and the weights
of a WRN-28-10. Processes load one after another, and all hold what they have loaded when memory is measured: the sum of their
Pss (/proc/PID/smaps_rollup), in which a page counts once however many processes share it, less the sum before.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kdray.data import Arrays
from kdray.data.base import _decoded, _load
from kdray.models import WideResNet, build, normalizer
from kdray.weights import pack, unpack, unpack_shared
from tests.benchmarks.measuring import say, table, this_machine

TRAIN, TEST = 50_000, 10_000
PARTS = {
    "data set, own copies": "data", "data set, one copy": "shared data",
    "teacher, own copies": "teacher", "teacher, one copy": "shared teacher",
}  # fmt: skip


def described(file: Path) -> Arrays:
    return Arrays(path=str(file), classes=10, image_shape=(3, 32, 32), validation=5000)


def prepare(folder: Path) -> Path:
    """Write random images."""
    drawn = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        arrays[f"{part}_images"] = drawn.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count) % 10
    np.savez(folder / "images.npz", **arrays)
    return folder / "images.npz"


def worker(images: str, weights: str) -> None:
    """Load what standard input asks for, let go of what was loaded before, and say how long it took."""
    data, root, packed = described(Path(images)), Path("/"), Path(weights)
    ways: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "data": lambda: _decoded(data, root),
        "shared data": lambda: data.load(root),
        "teacher": lambda: unpack(packed.read_bytes()),
        "shared teacher": lambda: unpack_shared(packed.read_bytes()),
    }
    print(json.dumps(0.0), flush=True)
    held: object = None
    for line in sys.stdin:
        held = None
        _load.cache_clear()
        began = time.perf_counter()
        held = ways[line.strip()]()
        print(json.dumps(time.perf_counter() - began), flush=True)
    del held


def asked(process: subprocess.Popen[str], what: str) -> float:
    """Seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def pss(process: subprocess.Popen[str]) -> int:
    """Bytes."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def measure(processes: list[subprocess.Popen[str]], what: str) -> tuple[float, list[float]]:
    """MB that the processes hold of it together, and the seconds that each took."""
    for process in processes:
        asked(process, "nothing")
    before = sum(map(pss, processes))
    seconds = [asked(process, what) for process in processes]
    return (sum(map(pss, processes)) - before) / 1e6, seconds


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        images = Path(sys.argv[2]).absolute() if len(sys.argv) > 2 else prepare(folder)
        data = described(images)
        say("images are there")
        classifier = build(WideResNet(depth=28, width=10), data, normalizer(data, {}), seed=0)
        (folder / "weights").write_bytes(pack(classifier.state_dict(), {}))
        say(f"starting {count} processes")
        command = [sys.executable, "-m", "tests.benchmarks.shared_memory", "worker", str(images), str(folder / "weights")]
        environment = {**os.environ, "KDRAY_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            for _ in range(count)
        ]
        rows = []
        try:
            for process in processes:
                assert process.stdout is not None
                process.stdout.readline()
            for title, what in PARTS.items():
                say(title)
                held, (first, *later) = measure(processes, what)
                rows.append([title, f"{held:.0f}", f"{first:.2f}", f"{statistics.median(later):.2f}" if later else "-"])
        finally:
            for process in processes:
                process.communicate()  # the end of its input is its end
    print(this_machine())
    table(f"{count} processes", ["", "MB together", "first, s", "later, s"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        main()
