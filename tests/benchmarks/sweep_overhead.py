"""What a sweep costs beyond its trials: the same trials under kdray, in plain processes and under
plain Ray Tune.

    python -m tests.benchmarks.sweep_overhead

Each way is a program of its own, cut in three by the trials' logs: from the start of the process
until its first trial begins (imports, planning, starting Ray and its workers), the trials, and from
the end of the last until the process is gone.

A trial that runs alone has the machine's caches and memory to itself, and one that runs beside
others shares them: that is contention, and no scheduler's doing. So the trials are measured alone
(a few of them, for they are alike, some before the sweep and some after; the first of a process is
slower and does not count), as plain processes side by side, as many as the sweep runs at once, and
in the sweep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from kdray.data import data_root
from kdray.machine import hardware
from kdray.results import Results, Store
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.inventory.students import students
from kdray.sweep.inventory.trials import TrialIndex
from kdray.trials.grant import Grant
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Task
from tests.benchmarks.figures import Figure, run
from tests.benchmarks.measuring import say

SMALL = """
name: overhead
seeds: {seeds}
experiment:
  data: {{name: digits, resize: 16}}
  model: {{name: wide_resnet, depth: 10, width: 1}}
  noise: {{input: {{name: gaussian, sigma: {{grid: [0.1, 0.2]}}}}}}
  training: {{epochs: {epochs}, batch_size: 32, optimizer: {{name: sgd, learning_rate: 0.05}}}}
evaluate:
  suite: [{{name: pgd, epsilon: 0.1, step_size: 0.02, steps: 10, examples: 100}}]
"""
LARGE = """
name: large
seeds: 4
experiment:
  data: {name: digits, resize: 32}
  model: {name: wide_resnet, depth: 16, width: 2}
  training: {epochs: 1, batch_size: 128, optimizer: {name: sgd, learning_rate: 0.05}}
"""
ALONE = 4
"""Trials that are measured alone, each time."""


class Cut(NamedTuple):
    """Seconds of one program."""

    before: float
    """From its start until its first trial begins."""
    trials: float
    after: float
    """From the end of the last trial until the program has ended."""
    each: float
    """Of one trial, but for the first to end, where they run one after another."""
    cpu: str
    """Who took how many seconds of CPU until the first trial began."""

    @property
    def whole(self) -> float:
        return self.before + self.trials + self.after


def programs(commands: Sequence[Sequence[str]], results: Path) -> Cut:
    """Run programs side by side that write to ``results``."""
    logs = results / "logs"
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        started = time.time()
        running = [
            subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            for command, out in zip(commands, said, strict=True)
        ]
        begun, cpu = None, ""
        while any(program.poll() is None for program in running):
            time.sleep(0.02)
            if begun is None and logs.is_dir() and any(logs.iterdir()):
                begun = time.time()
                cpu = spent({program.pid for program in running})
        ended = time.time()
        for program, out in zip(running, said, strict=True):
            if program.returncode:
                out.seek(0)
                raise SystemExit(
                    f"{' '.join(map(str, program.args))} ended with {program.returncode}: "
                    f"{out.read().decode()}"
                )
    first, *_, last = ends = sorted(log.stat().st_mtime for log in logs.iterdir())
    assert begun is not None
    return Cut(begun - started, last - begun, ended - last, (last - first) / (len(ends) - 1), cpu)


def spent(programs: set[int]) -> str:
    """The seconds of CPU of programs and of what they have started and still runs, by kind; where
    the system tells (Linux)."""
    found: dict[int, tuple[int, float, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            stat, command = (
                (folder / name).read_text(errors="replace") for name in ("stat", "cmdline")
            )
            numbers = stat.rpartition(")")[2].split()
            seconds = (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
            found[int(folder.name)] = int(numbers[1]), seconds, command
    mine, before = set(programs), set[int]()
    while mine != before:
        before, mine = (
            mine,
            mine | {process for process, (parent, *_) in found.items() if parent in mine},
        )
    total: Counter[str] = Counter()
    for process in mine & found.keys():
        _, seconds, command = found[process]
        total["the program" if process in programs else kind(command)] += seconds
    return ", ".join(
        f"{who} {seconds:.1f} s" for who, seconds in total.most_common() if seconds >= 0.1
    )


def kind(command: str) -> str:
    """Of a process of Ray."""
    if not command.startswith("ray::") and "default_worker.py" not in command:
        return "Ray's servers"
    return "Ray's agents" if "Agent" in command else "workers"


class Bench:
    """The trials of one sweep, done in several ways, each into results of its own."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir()
        self._folder, self.file, self._ways = folder, folder / "sweep.yaml", 0
        self.file.write_text(text)
        self.tasks = tasks_of(load_sweep(self.file))

    def sweep(self) -> Cut:
        """As a user runs it."""
        results = self._new()
        return programs(
            [[sys.executable, "-m", "kdray", "run", str(self.file), "--results", str(results)]],
            results,
        )

    def again(self) -> float:
        """Seconds of the same command right after it, on results that have everything."""
        began = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "kdray",
                "run",
                str(self.file),
                "--results",
                str(self._folder / str(self._ways)),
            ],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - began

    def plain(self, processes: int, threads: int, count: int | None = None) -> Cut:
        """The first ``count`` of the trials (or all) one after another in ``processes`` at once,
        each with its part of them."""
        results = self._new()
        parts = [self.tasks[:count][first::processes] for first in range(processes)]
        return programs([self._program("plain", results, part, threads) for part in parts], results)

    def tune(self, count: int) -> Cut:
        """The first ``count`` in plain Ray Tune: a function trainable, and its defaults."""
        results = self._new()
        return programs([self._program("tune", results, self.tasks[:count], 1)], results)

    def _new(self) -> Path:
        self._ways += 1
        return self._folder / str(self._ways)

    def _program(self, way: str, results: Path, tasks: Sequence[Task], threads: int) -> list[str]:
        file = self._folder / f"{results.name}-{tasks[0].experiment.trial_id}.json"
        written = [task.model_dump_json() for task in tasks]
        file.write_text(json.dumps({"results": str(results), "threads": threads, "tasks": written}))
        return [sys.executable, "-m", "tests.benchmarks.sweep_overhead", way, str(file)]


def tasks_of(sweep: Sweep) -> list[Task]:
    """Every trial of a sweep whose results are empty."""
    with tempfile.TemporaryDirectory() as empty:
        ledger = TrialIndex(Results(empty))
        found = [
            student
            for point in sweep.grid()
            for _, student in students(sweep, ledger, point)
            if student is not None
        ]
        tasks = [ledger.task("student", student, sweep.suite("student")) for student in found]
    return [task for task in tasks if task is not None]


def do(task: str, results: str, threads: int) -> None:
    """One trial, as a worker of a sweep does it."""
    read = Task.model_validate_json(task)
    for step in run_task(
        read,
        store=Store(results),
        data_root=data_root(),
        device=torch.device("cpu"),
        grant=Grant(cpu=threads),
    ):
        assert not (isinstance(step, Ended) and step.failed), step.summary


def plain(asked: dict[str, Any]) -> None:
    """What :meth:`Bench.plain` starts."""
    # by torch's first optimiser; a sweep's workers have it before their first trial
    import torch._dynamo  # noqa: F401

    Store(asked["results"]).create()
    for task in asked["tasks"]:
        do(task, asked["results"], asked["threads"])


def tune(asked: dict[str, Any]) -> None:
    """What :meth:`Bench.tune` starts."""
    import ray
    from ray import tune

    results, threads = asked["results"], asked["threads"]
    Store(results).create()

    def trainable(config: dict[str, Any]) -> None:
        do(config["task"], results, threads)
        tune.report({"done": 1})

    ray.init(num_cpus=hardware.cpus())
    with tempfile.TemporaryDirectory() as folder:
        found = tune.Tuner(
            tune.with_resources(trainable, {"cpu": threads}),
            param_space={"task": tune.grid_search(asked["tasks"])},
            run_config=tune.RunConfig(storage_path=folder),
        ).fit()
        assert not found.errors


def figures(short: bool) -> Iterator[Figure]:
    width = hardware.cpus()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if short:
            yield from in_short(Bench(folder / "small", SMALL.format(seeds=4, epochs=6)), width)
            return
        yield from in_full(Bench(folder / "small", SMALL.format(seeds=20, epochs=12)), width)
        yield from with_threads("WRN-16-2, batch 128", Bench(folder / "large", LARGE), width)


def in_short(bench: Bench, width: int) -> Iterator[Figure]:
    """Against plain processes only, in turns."""
    sweeps, plains = [], []
    for number in (1, 2):
        plains.append(bench.plain(width, 1))
        sweeps.append(bench.sweep())
        say(
            f"run {number}: plain {plains[-1].trials:.1f} s, in the sweep {sweeps[-1].trials:.1f} s"
        )
    count = len(bench.tasks)
    ratios = [of.trials / beside.trials for of, beside in zip(sweeps, plains, strict=True)]
    each = plains[-1].trials * width / count
    yield Figure(
        f"{count} trials in the sweep / in {width} plain processes at once",
        tuple(ratios),
        "x",
        None,
        f"{each:.1f} s each",
    )
    yield from ends(sweeps)


def ends(sweeps: Sequence[Cut]) -> Iterator[Figure]:
    """What comes before the first trial and after the last."""
    before, after = (tuple(cut.before for cut in sweeps), tuple(cut.after for cut in sweeps))
    note = (
        "imports, planning, Ray and its workers; CPU in the last run: "
        f"{sweeps[-1].cpu or 'not told here'}"
    )
    yield Figure("kdray run, before its first trial", before, "s", "<= 8", note)
    yield Figure(
        "kdray run, after its last trial", after, "s", "<= 3", "until the process has ended"
    )


def in_full(bench: Bench, width: int) -> Iterator[Figure]:
    """Every way, the sweep twice. A part of the trials tells as much of those that it is beside."""
    count, half, quarter = (len(bench.tasks) // part for part in (1, 2, 4))
    alone, sweeps = [bench.plain(1, 1, ALONE)], []
    for number in (1, 2):
        sweeps.append(bench.sweep())
        again = bench.again()
        alone.append(bench.plain(1, 1, ALONE))
        before, after = (cut.each for cut in alone[-2:])
        say(
            f"run {number}: {sweeps[-1].whole:.1f} s; alone {before:.2f} s a trial before "
            f"it, {after:.2f} s after"
        )
    beside = bench.plain(width, 1, half)
    say(f"{half} trials in {width} plain processes at once: {beside.trials:.1f} s")
    tune = bench.tune(quarter)
    say(f"{quarter} trials in plain Ray Tune: {tune.whole:.1f} s")
    each = [fmean((before.each, after.each)) for before, after in pairwise(alone)]
    ratios = [
        sweep.trials / (seconds * count / width)
        for sweep, seconds in zip(sweeps, each, strict=True)
    ]
    contention = beside.trials / (fmean(each) * half / width)
    yield Figure(
        f"{count} trials of {fmean(each):.1f} s, {width} at once: the sweep / the trials "
        "alone, uncontended",
        tuple(ratios),
        "x",
        "<= 1.05",
        f"contention among the trials is {contention:.2f} of it, without Ray and kdray",
    )
    yield Figure(
        "the sweep / plain processes, as many at once",
        tuple(sweep.trials / count / (beside.trials / half) for sweep in sweeps),
        "x",
        None,
        "what kdray and Ray add",
    )
    yield Figure(
        "plain Ray Tune / plain processes, as many at once",
        (tune.trials / quarter / (beside.trials / half),),
        "x",
        None,
        "function trainable, defaults: a process for each trial",
    )
    loops = (
        (alone[0].before + seconds * count) / sweep.whole
        for sweep, seconds in zip(sweeps, each, strict=True)
    )
    yield Figure(
        "plain sequential loop, one thread / the sweep, from start to end", tuple(loops), "x"
    )
    whole = tune.before + tune.trials * count / quarter + tune.after
    yield Figure(
        "plain Ray Tune / the sweep, from start to end",
        tuple(whole / sweep.whole for sweep in sweeps),
        "x",
    )
    yield from ends(sweeps)
    yield Figure("plain Ray Tune, before its first trial", (tune.before,), "s")
    yield Figure("plain Ray Tune, after its last trial", (tune.after,), "s")
    yield Figure(
        "plain loop, before its first trial",
        tuple(cut.before for cut in alone),
        "s",
        None,
        "imports alone",
    )
    yield Figure("kdray run with nothing left to do", (again,), "s")
    wide = bench.plain(1, width, ALONE)
    yield threads_figure("WRN-10-1, batch 32", beside.trials / half, wide.each, width)


def with_threads(name: str, bench: Bench, width: int) -> Iterator[Figure]:
    """A trial's threads, where the networks are larger."""
    count = len(bench.tasks)
    yield threads_figure(
        name, bench.plain(width, 1).trials / count, bench.plain(1, width).trials / count, width
    )


def threads_figure(name: str, beside: float, wide: float, width: int) -> Figure:
    """``beside``: seconds per trial of those that run ``width`` at once; ``wide``: of one with
    ``width`` threads."""
    what = f"{name}: {width} trials at once with a thread each / one at a time with {width} threads"
    return Figure(what, (beside / wide,), "x", "<= 1", "so a trial has one CPU by default")


if __name__ == "__main__":
    ways = {"plain": plain, "tune": tune}
    if sys.argv[1:2] and sys.argv[1] in ways:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ways[sys.argv[1]](json.loads(Path(sys.argv[2]).read_text()))
    else:
        run(figures)
