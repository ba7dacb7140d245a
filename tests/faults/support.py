"""Faults put into the workers of a sweep, at a stated place of a stated trial, and what the tests
of them share.

A sweep's ``resources.runtime_env`` names :func:`wreck`, which Ray calls in every new worker. It
finds the faults in a file and writes down what the worker does, in the order in which it is done.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import yaml

from kdray.cli import main
from tests.small_trials import TIMINGS
from tests.sweep.test_end_to_end import TINY

REPOSITORY = Path(__file__).parents[2]
FOLDER = "KDRAY_TEST_FAULTS"
"""Environment variable of a worker: where the faults are."""
ASSERTION = "CUDA error: device-side assert triggered"
PATIENCE = 300.0
"""Seconds after which a test gives up; a machine may be busy."""
Deed = Literal["kill", "segfault", "memory", "gpu memory", "gpu failure", "wait"]


@dataclass(frozen=True)
class Fault:
    """What is done to a trial."""

    deed: Deed
    """wait: until somebody lets it go on, which may be never."""
    at: str
    """Before which step: "epoch 2", or an evaluation's label."""
    trials: tuple[str, ...]
    times: int = 1
    """To each of them."""


class Event(NamedTuple):
    """A step that a worker began."""

    trial_id: str
    step: str
    pid: int
    node: str
    """Ray's id of it."""


def wreck() -> None:
    """Called by Ray in a new worker: from now on the faults happen in it."""
    import ray
    import torch

    from kdray.machine import hardware
    from kdray.robustness import label_of
    from kdray.training import loop as training
    from kdray.trials import run as trial

    folder = Path(os.environ[FOLDER])
    running, destroyed = "", False

    def strike(step: str) -> None:
        if destroyed:
            raise torch.AcceleratorError(ASSERTION)
        node = ray.get_runtime_context().get_node_id()
        with (folder / "events").open("a") as file:
            file.write(f"{running}\t{step}\t{os.getpid()}\t{node}\n")
        for number, fault in enumerate(json.loads((folder / "faults.json").read_text())):
            if (
                fault["at"] == step
                and running in fault["trials"]
                and _turn(f"{number}-{running}", fault["times"])
            ):
                do(fault["deed"])

    def _turn(name: str, times: int) -> bool:
        done = len(list(folder.glob(f"{name}-*")))
        if done < times:
            (folder / f"{name}-{done}").touch()
        return done < times

    def do(deed: Deed) -> None:
        match deed:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "memory":
                raise MemoryError("a test has taken it")
            case "gpu memory":
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
            case "gpu failure":  # from then on whatever this process asks of the GPU fails
                nonlocal destroyed
                destroyed = True
                raise torch.AcceleratorError(ASSERTION)
            case "wait":
                while not (folder / "go on").exists():
                    time.sleep(0.02)

    def task_events(task: Any, bench: Any, events: Callable[..., Any] = trial.task_events) -> Any:
        nonlocal running
        running = task.experiment.trial_id
        return events(task, bench)

    def train_epoch(
        state: Any, *rest: Any, train: Callable[..., Any] = training.train_epoch
    ) -> Any:
        strike(f"epoch {len(state.history) + 1}")
        return train(state, *rest)

    def measurements(
        evaluation: Any, *rest: Any, measure: Callable[..., Any] = trial.measurements
    ) -> Any:
        strike(label_of(evaluation))
        return measure(evaluation, *rest)

    trial.task_events, training.train_epoch, trial.measurements = (
        task_events,
        train_epoch,
        measurements,
    )
    # a GPU may be one that Ray was only told of
    hardware.device = lambda granted: torch.device("cpu")


class Table(NamedTuple):
    """What two runs of the sweep must agree in."""

    trials: pd.DataFrame
    epochs: pd.DataFrame
    robustness: pd.DataFrame

    def ids(self, role: str) -> tuple[str, ...]:
        """Of the trials of a role, by noise and seed."""
        chosen = self.trials[self.trials["role"] == role]
        return tuple(chosen.sort_values(["noise.input.sigma", "seed"])["trial_id"])


class Sweep:
    """The tiny sweep in a folder of its own, into which faults are put."""

    def __init__(
        self,
        folder: Path,
        *faults: Fault,
        address: str | None = None,
        resources: dict[str, Any] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """``address``: of the Ray to run on; none: it starts its own. ``within``: the command that
        runs the driver as its arguments say."""
        self.folder, self.results = folder, folder / "results"
        self.within = within
        self.arguments = [] if address is None else ["--address", address]
        variables = {FOLDER: str(folder), "PYTHONPATH": str(REPOSITORY)}
        runtime_env = {
            "worker_process_setup_hook": f"{__name__}.{wreck.__name__}",
            "env_vars": variables,
        }
        tree = {
            **yaml.safe_load(TINY),
            "resources": {**(resources or {}), "runtime_env": runtime_env},
        }
        (folder / "tiny.yaml").write_text(yaml.safe_dump(tree))
        self.plan(*faults)

    def plan(self, *faults: Fault) -> None:
        """From now on these faults and no others."""
        (self.folder / "faults.json").write_text(json.dumps([asdict(fault) for fault in faults]))

    @contextlib.contextmanager
    def driver(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """``kdray run`` of it, killed at the end of the block if it is still there."""
        # A shell starts what it puts into the background with SIGINT ignored, these tests perhaps
        # among them.
        with subprocess.Popen(
            [
                *self.within,
                *(sys.executable, "-m", "kdray", "run", "tiny.yaml"),
                *self.arguments,
                *arguments,
            ],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as driver:
            try:
                yield driver
            finally:
                driver.kill()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``kdray run`` of it to its end."""
        with self.driver(*arguments) as driver:
            out, errors = driver.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(driver.args, driver.returncode, out, errors)

    def events(self) -> list[Event]:
        """What the workers began, in order."""
        path = self.folder / "events"
        rows = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
        return [Event(trial_id, step, int(pid), node) for trial_id, step, pid, node in rows]

    def of(self, trial_id: str) -> list[str]:
        """The steps that a trial began, in order."""
        return [event.step for event in self.events() if event.trial_id == trial_id]

    def at(self, step: str, trials: Sequence[str]) -> list[Event]:
        """Those of ``trials`` that have come to a step, and not beyond."""
        last = {event.trial_id: event for event in self.events()}
        return [
            event for trial_id, event in last.items() if trial_id in trials and event.step == step
        ]

    def go_on(self) -> None:
        """Nothing waits any more."""
        (self.folder / "go on").touch()

    def log(self, trial_id: str) -> str:
        return (self.results / "logs" / f"{trial_id}.log").read_text()

    def table(self, *, without: Sequence[str] = ()) -> Table:
        """What plain pandas reads of the results, without what differs from run to run."""
        frames = []
        for name in Table._fields:
            frame = pd.read_parquet(self.results / name)
            chance = (*TIMINGS, "git_commit", *without)  # somebody may commit meanwhile
            frame = frame.drop(columns=[column for column in chance if column in frame])
            keys = [key for key in ("trial_id", "epoch", "evaluation_id", "metric") if key in frame]
            frames.append(frame.sort_values(keys).reset_index(drop=True))
        return Table(*frames)

    def errors(self) -> dict[str, str]:
        """By trial that is not completed: its status and reason."""
        trials = pd.read_parquet(self.results / "trials").query("status != 'completed'")
        return {row.trial_id: f"{row.status}: {row.error}" for row in trials.itertuples()}


@cache
def undisturbed() -> Table:
    """Of the tiny sweep, when nothing happens to it."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = Sweep(Path(folder))
        done = sweep.run()
        assert done.returncode == 0, done.stderr
        return sweep.table()


def assert_as_undisturbed(sweep: Sweep, *, without: Sequence[str] = ()) -> None:
    """The sweep has come to the same numbers as one that nothing happened to, and has nothing left
    to do."""
    for ours, theirs in zip(sweep.table(without=without), undisturbed(), strict=True):
        wanted = theirs.drop(columns=[column for column in without if column in theirs])
        pd.testing.assert_frame_equal(ours, wanted, check_exact=True)
    before = sweep.events()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert (
            main(
                [
                    "run",
                    str(sweep.folder / "tiny.yaml"),
                    "--results",
                    str(sweep.results),
                    *sweep.arguments,
                ]
            )
            == 0
        )
    assert "nothing left to do, 6 there already" in out.getvalue()
    assert sweep.events() == before


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for does not happen"
        time.sleep(0.02)


class Process(NamedTuple):
    """A process, told from a later one with the same number by when it began."""

    pid: int
    began: str

    @property
    def alive(self) -> bool:
        return self in _parents()

    def kill(self) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def descendants(pid: int) -> list[Process]:
    """The processes that ``pid`` has started, and those that they have."""
    parents = _parents()
    found, young = [], {pid}
    while young:
        children = [process for process, parent in parents.items() if parent in young]
        found += children
        young = {process.pid for process in children}
    return found


def _parents() -> dict[Process, int]:
    """By process that is not a zombie: its parent."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *rest = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents[Process(int(path.parent.name), rest[17])] = int(parent)
    return parents
