"""A sweep of trials of a tenth of a second, and an engine that runs them in this process instead of on Ray."""

from __future__ import annotations

import copy
import io
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from kdray.results import Results, Store
from kdray.sweep import Progress, Summary, Sweep, run
from kdray.sweep.definition import Request, sweep_from
from kdray.sweep.resources import Node
from kdray.sweep.work import Assignment, Group, Groups, write_member
from kdray.trial import Step, Task, run_task

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
            {"label": "pgd1", "name": "pgd", "epsilon": 0.1, "step_size": 0.1, "steps": 1, "examples": 20},
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


def go(results: Path, *changes: dict[str, Any], said: io.StringIO | None = None, **options: Any) -> Summary:
    """Run the tiny sweep with ``changes``; what its progress says goes to ``said``."""
    return run(sweep_of(*changes), results, data=NOWHERE, progress=Progress(said or io.StringIO()), **options)


@dataclass
class Engine:
    """Runs groups as the real engine does, ``width`` trials at once, one step of each in turn, all in this process."""

    width: int = 1
    ran: list[Assignment] = field(default_factory=list)
    """Every assignment that was started, in order."""
    requests: list[Request] = field(default_factory=list)
    """Of every call."""
    dies: Callable[[Task], bool] = lambda task: False  # noqa: ARG005
    """Whether the worker of a task dies, again and again: after an epoch, or before anything is measured."""
    interrupt_after: int | None = None
    """So many tasks end, in all calls together, then Ctrl-C."""
    ended: int = 0

    @property
    def trained(self) -> list[str]:
        return [assignment.task.experiment.trial_id for assignment in self.ran if assignment.task.train]

    @property
    def measured(self) -> list[tuple[str, list[str]]]:
        """Trial and labels of every task that trains nothing."""
        return [(a.task.experiment.trial_id, [e.label or e.name for e in a.task.evaluations])
                for a in self.ran if not a.task.train]  # fmt: skip

    @contextmanager
    def cluster(self, address: str | None, local: Node) -> Iterator[list[Node]]:  # noqa: ARG002
        yield [local]

    def run_groups(
        self, groups: Groups, *, request: Request, nodes: Sequence[Node], limit: int | None, store: Store,  # noqa: ARG002
        data_root: Path, progress: Progress, trial_ended: Callable[[Assignment, Step | None], None],
    ) -> None:  # fmt: skip
        self.requests.append(request)
        waiting: deque[tuple[Group, Assignment]] = deque()
        active: deque[tuple[Group, Assignment, Iterator[Step]]] = deque()
        while True:
            while len(active) < self.width:
                while not waiting and (group := groups()) is not None:
                    if not group.assignments:
                        group.ended()
                    waiting += [(group, assignment) for assignment in group.assignments]
                if not waiting:
                    break
                group, assignment = waiting.popleft()
                self.ran.append(assignment)
                progress.started(assignment.task.experiment.trial_id)
                steps = run_task(
                    assignment.task, store=store, data_root=data_root, device=torch.device("cpu"), threads=1
                )
                active.append((group, assignment, steps))
            if not active:
                return
            if self.ended == self.interrupt_after:
                raise KeyboardInterrupt
            group, assignment, steps = active.popleft()
            step = self._next(assignment, steps, store, progress)
            if step is not None and step.outcome is None:
                progress.stepped(assignment.task.experiment.trial_id, step.done / step.total, step.text)
                active.append((group, assignment, steps))
                continue
            self.ended += 1
            trial_ended(assignment, step)
            progress.ended(assignment.task.experiment.trial_id, failed=step is None or step.outcome != "completed")
            group.open -= 1
            if not group.open:
                group.ended()

    def _next(self, assignment: Assignment, steps: Iterator[Step], store: Store, progress: Progress) -> Step | None:
        """The next step, the membership written with the last one; none if the worker dies."""
        dies = self.dies(assignment.task)
        if dies and not assignment.task.train:
            return None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step = next(steps)
        for warning in caught:
            progress.warn(str(warning.message))
        if dies:
            return None
        if step.outcome is not None and assignment.member is not None:
            write_member(store, {**assignment.member, "outcome": step.outcome, "error": step.reasons})
        return step


def tables(results: Path) -> dict[str, pd.DataFrame]:
    """The trials, epochs and robustness tables without timings."""
    found = Results(results)
    timings = {"images_per_second", "seconds", "train_seconds", "peak_memory", "started_at", "finished_at"}
    return {
        name: frame.drop(columns=timings & set(frame))
        for name, frame in (("trials", found.trials()), ("epochs", found.epochs()), ("robustness", found.robustness()))
    }


def assert_same_bits(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], check_exact=True, obj=name)
