"""A sweep of trials of a tenth of a second, and an engine that runs them in this process instead of
on Ray."""

from __future__ import annotations

import copy
import io
import sys
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch

from kdray.results import Results, Store
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.execution.resources import Node
from kdray.sweep.run import run
from kdray.sweep.scheduling.account import Summary
from kdray.sweep.scheduling.jobs import Job, Jobs
from kdray.sweep.scheduling.progress import Progress
from kdray.trials.grant import Grant
from kdray.trials.rows import write_member
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Outcome, Task, TrialEvent, outcome_columns, reason_of
from tests.small_trials import TIMINGS

NOWHERE = Path("/nowhere")
"""A data folder: digits need none."""

TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": 2,
    "experiment": {
        "data": {"name": "digits", "examples": 200},
        "model": {"name": "mlp", "hidden": [8]},
        "teacher": {"model": {"name": "mlp", "hidden": [16]}, "seeds": 2},
        "noise": {"input": {"name": "gaussian", "sigma": {"grid": [0, 0.2]}}},
        "method": {"name": "kd"},
        "training": {"epochs": 2, "batch_size": 10},
    },
    "evaluate": {
        "suite": [
            {
                "label": "pgd1",
                "name": "pgd",
                "epsilon": 0.1,
                "step_size": 0.1,
                "steps": 1,
                "examples": 20,
            },
            {"name": "clean", "split": "val"},
        ]
    },
}
"""2 teachers, and 2 points of 2 students each."""

ALONE: dict[str, Any] = {"experiment.teacher": None, "experiment.method": {"name": "cross_entropy"}}
"""Changes that take the teacher away."""


def changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of ``tree`` with every dotted path of ``changes`` set."""
    out = copy.deepcopy(tree)
    for path, value in changes.items():
        *above, last = path.split(".")
        node = out
        for key in above:
            node = node.setdefault(key, {})
        node[last] = copy.deepcopy(value)
    return out


def tiny(**changes: Any) -> dict[str, Any]:
    """The tiny sweep file with top-level ``changes``."""
    return changed(TINY, changes)


def sweep_of(*changes: dict[str, Any]) -> Sweep:
    """The tiny sweep with ``changes`` by dotted path."""
    tree = TINY
    for each in changes:
        tree = changed(tree, each)
    return sweep_from(tree)


def go(
    results: Path, *changes: dict[str, Any], said: io.StringIO | None = None, **options: Any
) -> Summary:
    """Run the tiny sweep with ``changes``; what its progress says goes to ``said``."""
    return run(
        sweep_of(*changes),
        results,
        data=NOWHERE,
        progress=Progress(said or io.StringIO()),
        **options,
    )


@dataclass
class Engine:
    """Runs trials as the real engine does, ``width`` at once, one step of each in turn, all in this
    process."""

    width: int = 1
    ran: list[Job] = field(default_factory=list)
    """Every job that was started, in order."""
    grants: list[Grant] = field(default_factory=list)
    """Of every job that was started."""
    widths: list[int | None] = field(default_factory=list)
    """How many jobs might run at once, whenever that changed."""
    calls: int = 0
    dies: Callable[[Task], bool] = lambda task: False
    """Whether the worker of a task dies, again and again: after an epoch, or before anything is
    measured; then at once."""
    interrupt_after: int | None = None
    """So many tasks end, in all calls together, then Ctrl-C."""
    ended: int = 0
    died: set[str] = field(default_factory=set)

    @property
    def trained(self) -> list[str]:
        return [job.trial_id for job in self.ran if job.task.train]

    @property
    def measured(self) -> list[tuple[str, list[str]]]:
        """Trial and labels of every task that trains nothing."""
        return [
            (a.task.experiment.trial_id, [e.label or e.name for e in a.task.evaluations])
            for a in self.ran
            if not a.task.train
        ]

    @contextmanager
    def cluster(self, address: str | None, local: Node, runtime_env: Any) -> Iterator[list[Node]]:
        yield [local]

    def run_trials(self, jobs: Jobs, *, store: Store, data_root: Path, callbacks: Any = ()) -> None:
        self.calls += 1
        active: deque[tuple[Job, Generator[TrialEvent]]] = deque()
        while True:
            while len(active) < self.width and (new := jobs.next_job()) is not None:
                jobs.begun(new)
                if self.widths[-1:] != [jobs.width]:
                    self.widths.append(jobs.width)
                self.ran.append(new)
                self.grants.append(new.grant)
                steps = run_task(
                    new.task, store=store, data_root=data_root, device=torch.device("cpu")
                )
                active.append((new, steps))
            if not active:
                return
            if self.ended == self.interrupt_after:
                raise KeyboardInterrupt
            job, steps = active.popleft()
            step, warned = self._next(job, steps, store)
            stop = step is not None and jobs.reported(job, step, warned)
            if stop:
                steps.close()
            if step is None or stop or isinstance(step, Ended):
                self.ended += 1
                jobs.ended(job, step if isinstance(step, Ended) else None)
            else:
                active.append((job, steps))

    def _next(
        self, job: Job, steps: Generator[TrialEvent], store: Store
    ) -> tuple[TrialEvent | None, list[str]]:
        """The next step and its warnings, the membership written with the last one; no step if the
        worker dies."""
        dies = self.dies(job.task)
        if dies and (not job.task.train or job.trial_id in self.died):
            return None, []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                step = next(steps)
                if isinstance(step, Ended) and job.member is not None:
                    columns = outcome_columns(step.outcome, step.problem)
                    write_member(store, job.member | columns)
            except Exception as error:
                step = Ended(outcome=Outcome.FAILED, reason=reason_of(error), recorded=False)
        if dies:
            self.died.add(job.trial_id)
            return None, []
        return step, [str(warning.message) for warning in caught]


@contextmanager
def instead_of_ray() -> Iterator[Engine]:
    """A fake engine where ``kdray.sweep`` looks for the real one."""
    engine, module = Engine(), ModuleType("kdray.sweep.execution.tune_searcher")
    module.run_trials, module.cluster = engine.run_trials, engine.cluster  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kdray.sweep.execution.tune_searcher", module)
        # A timing, and half of what a trial takes that is as small as these.
        patch.setattr("kdray.trials.rows.images_per_second", lambda *_: 1.0)
        yield engine


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """The trials, epochs and robustness tables without timings."""
    found = Results(results)
    return {
        name: frame.drop(columns=TIMINGS & set(frame))
        for name, frame in (
            ("trials", found.trials()),
            ("epochs", found.epochs()),
            ("robustness", found.robustness()),
        )
    }


def assert_same_bits(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], check_exact=True, obj=name)
