"""What a sweep costs beyond its trials: its wall time against the same trials one after another in one plain process.

    make bench      (or: python -m tests.benchmarks.sweep_overhead [SEEDS])

The plain loop runs in a process of its own with as many threads as a trial of the sweep has, one trial at a time, so that
nothing competes with it. Divided by how many trials the sweep runs at once, its time is what the sweep would take if Ray, the
search, the tables and the study cost nothing and the trials did not disturb each other.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from kdray import machine
from kdray.data import data_root
from kdray.results import Results, Store
from kdray.sweep import load_sweep, run
from kdray.sweep.ledger import Ledger
from kdray.sweep.planning import students
from kdray.sweep.resources import at_once, this_machine
from kdray.task import Task
from kdray.trial import run_task

SWEEP = """
name: overhead
seeds: {seeds}
experiment:
  data: {{name: digits, resize: 16}}
  model: {{name: wide_resnet, depth: 10, width: 1}}
  noise: {{input: {{name: gaussian, sigma: {{grid: [0, 0.1, 0.2]}}}}}}
  training: {{epochs: 5, batch_size: {{grid: [32, 64]}}, optimizer: {{name: sgd, learning_rate: 0.05}}}}
evaluate:
  roles: [student]
  suite: [{{name: pgd, epsilon: 0.1, step_size: 0.02, steps: 10, examples: 100}}]
"""


def plain(sweep_file: str, results: str) -> None:
    """Every trial of the sweep, one after another, in this process."""
    sweep, store = load_sweep(sweep_file), Store(results)
    store.create()
    ledger = Ledger(Results(results))

    def do(task: Task | None, threads: int) -> None:
        assert task is not None
        for step in run_task(task, store=store, data_root=data_root(), device=torch.device("cpu"), threads=threads):
            if step.outcome is not None:
                assert step.outcome == "completed", step.reasons
                ledger.note(task, step)

    began, count = time.perf_counter(), 0
    for point in sweep.grid():
        for _, student in students(sweep, ledger, point):
            assert student is not None
            do(ledger.task("student", student, sweep.suite("student")), sweep.file.resources.student.threads)
            count += 1
    print(f"{time.perf_counter() - began} {count}")


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "overhead.yaml"
        file.write_text(SWEEP.format(seeds=seeds))
        command = [sys.executable, "-m", "tests.benchmarks.sweep_overhead", "plain", str(file), f"{folder}/plain"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        alone, trials = float(said[-2]), int(said[-1])
        sweep = load_sweep(file)
        width = at_once(sweep.file.resources.student, [this_machine()])
        began = time.perf_counter()
        summary = run(sweep, f"{folder}/sweep")
        wall = time.perf_counter() - began
        assert not summary.failures
    ideal = alone / width
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    print(f"machine: {machine.cpus()} CPUs, {machine.facts()['cpu']}, {versions}")
    print(f"{trials} trials one after another, alone: {alone:.1f} s, {alone / trials:.2f} s each")
    print(f"the sweep, {width} at once, its start included: {wall:.1f} s; without any cost it would be {ideal:.1f} s")
    print(f"ratio {wall / ideal:.2f}; after 10 s of start-up {max(0.0, wall - 10) / ideal:.2f} (aim: at most 1.15)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["plain"]:
        plain(*sys.argv[2:])
    else:
        main()
