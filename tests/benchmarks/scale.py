"""What a large sweep costs its driver: planning it, and giving out trials that take no time.

    python -m tests.benchmarks.scale [--full]

Planning is timed in seconds of the CPU. Trials are given out on a real local Ray in three ways,
each in a process of its own: plain Ray Tune, whose trainable reports one number; kdray with a task
that does nothing, so that what is left is the driver, Tune, and one row of members; and kdray with
the smallest training there is. The memory of the driver is taken from VmRSS, from a fifth of the
trials on, when everything has been imported. ``--full`` plans 100,000 and gives out 5,000 in each
way.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kdray.results import Results, Store
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.definition.teacher_order import chain
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.execution.cluster import cluster, quiet
from kdray.sweep.execution.resources import this_machine
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.inventory.students import students
from kdray.sweep.inventory.trials import Record, TrialIndex
from kdray.sweep.plan import plan
from kdray.sweep.run import run
from kdray.sweep.scheduling.progress import Progress
from kdray.sweep.scheduling.queue import JobQueue
from tests.benchmarks.measuring import say, table
from tests.benchmarks.measuring import this_machine as machine_line

SEEDS = 5
WAIT = 0.5
"""Seconds of a trial that only waits."""
ALONE = {
    "data": {"name": "digits", "examples": 100},
    "model": {"name": "mlp", "hidden": [1]},
    "training": {"epochs": 1, "batch_size": 1000},
}


def sweep_of(trials: int, *, taught: bool, seeds: int = SEEDS) -> Sweep:
    """A grid of so many students, ``seeds`` a point."""
    teacher = (
        {"teacher": {"model": {"name": "mlp", "hidden": [2]}, "seeds": 1}, "method": {"name": "kd"}}
        if taught
        else {}
    )
    points = trials // seeds
    rates = max(1, points // 1000)
    grid = {
        "noise": {
            "input": {
                "name": "gaussian",
                "sigma": {"grid": [round(i * 1e-3, 3) for i in range(points // rates)]},
            },
            "labels": {
                "name": "uniform",
                "rate": {"grid": [round(i * 1e-2, 2) for i in range(rates)]},
            },
        }
    }
    return sweep_from(
        {
            "name": "scale",
            "seeds": seeds,
            "experiment": {**ALONE, **teacher, **grid},
            "resources": {"student": {"cpu": 1}},
            "evaluate": {"roles": [], "suite": []},
        }
    )


def memory() -> float:
    """MB of this process."""
    return next(
        int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if "VmRSS" in line
    )


class Knowing(TrialIndex):
    """A ledger in which the sweep's teachers are trained."""

    def __init__(self, results: Results, sweep: Sweep) -> None:
        super().__init__(results)
        there = Record(
            "completed", None, {"val_accuracy": 0.9, "test_accuracy": 0.9}, {}, {}, frozenset()
        )
        self._records |= {teacher.trial_id: there for teacher in chain(sweep)}


def planning(trials: int) -> None:
    """Seconds for the sweep file, for the plan of students without a teacher, and for the driver's
    own look at all."""
    began, before = time.process_time(), memory()
    sweep = sweep_of(trials, taught=True)
    loaded = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        alone = sweep_of(trials, taught=False)
        start = time.process_time()
        assert plan(alone, folder).students.train == trials
        planned = time.process_time()
        store = Store(folder)
        store.create()
        ledger = Knowing(Results(folder), sweep)
        members = SweepMembers(sweep, Results(folder), ledger)
        looked = time.process_time()
        for point in sweep.grid():
            for _, student in students(sweep, ledger, point):
                assert student is not None
                members.row("student", student, point)
                assert ledger.task("student", student, ()) is not None
        rows = time.process_time()
    seconds = (loaded - began, planned - start, rows - looked)
    print(" ".join(f"{each:.6g}" for each in (trials, *seconds, memory() - before)))


class Marks:
    """The time and the memory whenever another fifth of the trials has ended."""

    def __init__(self, trials: int) -> None:
        self._every, self._ended = trials // 5, 0
        self.taken: list[tuple[int, float, float, float]] = []

    def ended(self) -> None:
        self._ended += 1
        if self._ended % self._every == 0:
            self.taken.append((self._ended, time.perf_counter(), time.process_time(), memory()))

    def print(self) -> None:
        """How many ended; of each after the first fifth ms, driver's CPU ms and KB; ms in the
        second fifth and in the last."""
        (first, began, cpu, size), *_, (last, end, spent, grown) = self.taken
        halves = [
            (b[1] - a[1]) / (b[0] - a[0]) * 1e3
            for a, b in zip(self.taken, self.taken[1:], strict=False)
        ]
        trials = last - first
        each = [
            (end - began) / trials * 1e3,
            (spent - cpu) / trials * 1e3,
            (grown - size) / trials * 1024,
        ]
        print(" ".join(f"{number:.6g}" for number in (last, *each, halves[0], halves[-1])))


def plain(trials: int) -> None:
    """Ray Tune alone."""
    from ray import tune

    os.environ.pop("TUNE_GLOBAL_CHECKPOINT_S")  # plain Tune takes its snapshots
    marks = Marks(trials)

    class Counting(tune.Callback):  # type: ignore[misc]  # ray is not typed
        def on_trial_complete(
            self, iteration: int, trials: list[Any], trial: Any, **info: Any
        ) -> None:
            marks.ended()

    def reports(config: dict[str, Any]) -> None:
        tune.report({"number": float(config["value"])})

    with cluster(None, this_machine(), {}), tempfile.TemporaryDirectory() as folder, quiet():
        tune.Tuner(
            tune.with_resources(reports, {"cpu": 1}),
            param_space={"value": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder, name="plain", verbose=0, callbacks=[Counting()]
            ),
        ).fit()
    marks.print()


def waiting(seconds: float) -> Callable[[], None]:
    """For a worker, before its first task: each of them takes so long and does nothing."""

    def prepared() -> None:
        from kdray.sweep.execution import actor as trainable
        from kdray.trials.task import Ended, Outcome, Trained

        def nothing(task: object, **_: object) -> Iterator[Ended]:
            time.sleep(seconds)
            trained = Trained(done=1, metrics={"val_accuracy": 0.5, "test_accuracy": 0.5})
            yield Ended(outcome=Outcome.COMPLETED, trained=trained)

        trainable.run_task = nothing  # type: ignore[assignment]

    return prepared


@contextmanager
def ray_of(nodes: int) -> Iterator[str | None]:
    """The address of a Ray of so many nodes with a CPU each, all of them processes of this machine;
    0: none."""
    if not nodes:
        yield None
        return
    from ray.cluster_utils import Cluster

    each = {"num_cpus": 1, "num_gpus": 0}
    local = Cluster(initialize_head=True, head_node_args={**each, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            local.add_node(**each)
        yield local.address
    finally:
        local.shutdown()


def sweep_with(
    setup: Callable[[], None] | None, trials: int, seeds: int = SEEDS, nodes: int = 0
) -> None:
    """A whole run of a sweep, on workers that begin with ``setup``; ``nodes``: see :func:`ray_of`,
    0: this machine."""
    marks, ended = Marks(trials), JobQueue.ended

    def counting(self: JobQueue, *arguments: Any) -> None:
        ended(self, *arguments)
        marks.ended()

    JobQueue.ended = counting  # type: ignore[method-assign]
    prepared = {} if setup is None else {"worker_process_setup_hook": setup}
    with (
        tempfile.TemporaryDirectory() as folder,
        ray_of(nodes) as address,
        cluster(address, this_machine(), prepared),
    ):
        summary = run(
            sweep_of(trials, taught=False, seeds=seeds), folder, progress=Progress(io.StringIO())
        )
        assert not summary.failures
        assert len(summary.ran) == trials
    marks.print()


class Way(NamedTuple):
    """How trials are given out."""

    name: str
    run: Callable[..., None]
    """Of the number of trials, and what else the way can be asked for."""
    trials: int
    full: int


WAYS = {
    "plain": Way("plain Ray Tune", plain, 600, 5000),
    "idle": Way("kdray, a task that does nothing", partial(sweep_with, waiting(0)), 600, 5000),
    "trained": Way("kdray, the smallest training", partial(sweep_with, None), 150, 5000),
}


def alone(what: str, *numbers: int) -> list[float]:
    """What a process of its own has measured: planning's five numbers, or the six of
    :class:`Marks`."""
    say(f"{what}, {numbers[0]} trials")
    command = [sys.executable, "-m", "tests.benchmarks.scale", what, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def main(*, full: bool) -> None:
    print(machine_line())
    trials, file, planned, looked, grown = alone("planning", 100_000 if full else 10_000)
    times = 100_000 / trials
    table(
        f"planning {trials:.0f} students, {SEEDS} a point: CPU seconds",
        (
            "part",
            "seconds",
            "ms a student",
            f"at 100,000{'' if full else ' (x ' + format(times, 'g') + ')'}",
        ),
        [
            (name, f"{seconds:.2f}", f"{seconds / trials * 1e3:.3f}", f"{seconds * times:.1f} s")
            for name, seconds in (
                ("kdray plan, no teacher", planned),
                ("driver, one teacher, rows of members", looked),
            )
        ]
        + [("reading the sweep file (its edges, once)", f"{file:.2f}", "-", "-")],
    )
    print(f"memory taken by all that: {grown:.0f} MB")
    rows = []
    for key, way in WAYS.items():
        count, wall, cpu, size, first, last = alone(key, way.full if full else way.trials)
        rows.append(
            (
                way.name,
                f"{count:.0f}",
                f"{wall:.1f}",
                f"{cpu:.1f}",
                f"{size:.0f}",
                f"{first:.1f}",
                f"{last:.1f}",
            )
        )
    table(
        "giving out trials, as many at once as there are CPUs: of each trial after the first fifth",
        (
            "",
            "trials",
            "ms",
            "driver's CPU ms",
            "driver's KB",
            "ms in the 2nd fifth",
            "in the last",
        ),
        rows,
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["planning", count]:
            planning(int(count))
        case ["waiting", *numbers]:
            sweep_with(waiting(WAIT), *map(int, numbers))
        case [way, *numbers] if way in WAYS:
            WAYS[way].run(*map(int, numbers))
        case given:
            main(full=given == ["--full"])
