"""A trial as a Ray Tune Trainable: one epoch or one evaluation per step.

Tune's own checkpoints are off. kdray's are in the results under the trial's id, so an actor that is started again, on this
node or another, finds them when it sets up. Actors are reused from trial to trial.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from kdray.core import describe, parse
from kdray.results import Store
from kdray.sweep.work import write_member
from kdray.trial import Step, Task, run_task


def tune_config(
    task: Task, member: dict[str, Any] | None, store: Store, data_root: Path, threads: int
) -> dict[str, Any]:
    """What a :class:`TrialActor` is configured with: text only, nothing that would be pickled into every task."""
    return {
        "task": task.model_dump_json(), "member": json.dumps(member), "results": store.location,
        "data_root": str(data_root), "threads": threads,
    }  # fmt: skip


class TrialActor(tune.Trainable):  # type: ignore[misc]  # ray is not typed
    """Runs one task after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task = parse(Task, json.loads(config["task"]))
        self._member: dict[str, Any] | None = json.loads(config["member"])
        self._store = Store(config["results"])
        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
        device = torch.device("cuda", 0) if gpus else torch.device("cpu")
        self._steps: Iterator[Step] = run_task(
            self._task, store=self._store, data_root=Path(config["data_root"]), device=device, threads=config["threads"]
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step = self._next()
        report = {name: getattr(step, name) for name in Step.__dataclass_fields__}
        return {
            "step": json.dumps(report), "pid": os.getpid(), "done": step.outcome is not None,
            "warnings": json.dumps([str(w.message) for w in caught if w.category.__module__.startswith("kdray")]),
        }  # fmt: skip

    def _next(self) -> Step:
        """The next step, the membership written with the last. Only the death of the process is a failure to Tune."""
        try:
            step = next(self._steps)
            if step.outcome is not None and self._member is not None:
                write_member(self._store, {**self._member, "outcome": step.outcome, "error": step.reasons})
            return step
        except Exception as error:  # of writing rows: everything else became a row
            return Step(kind="end", text="failed", done=0, total=1, outcome="failed", error=describe(error))
