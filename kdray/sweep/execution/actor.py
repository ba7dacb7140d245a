"""A trial as a Ray Tune Trainable: one event per step.

Tune's own checkpoints are off. kdray's are in the results under the trial's id, so an actor that is
started again, on this node or another, finds them when it sets up. Actors are reused from trial to
trial.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from kdray.machine import hardware
from kdray.results import Store
from kdray.sweep.definition.plugins import loaded_plugins, require_plugins
from kdray.sweep.scheduling.jobs import Job
from kdray.trials.grant import Grant
from kdray.trials.rows import write_member
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Outcome, Task, TrialEvent, outcome_columns, reason_of


def tune_config(job: Job, store: Store, data_root: Path) -> dict[str, str]:
    """What a :class:`TrialActor` is configured with: text only, nothing that would be pickled into
    every task."""
    return {
        "task": job.task.model_dump_json(),
        "member": json.dumps(job.member),
        "grant": job.grant.model_dump_json(),
        "results": store.location,
        "data_root": str(data_root),
        "plugins": json.dumps([(plugin.name, plugin.digest) for plugin in loaded_plugins()]),
    }


IDLE_POLL_SECONDS = 0.2
"""Time between two questions of a process whether there is another job for it."""


class TrialActor(tune.Trainable):  # type: ignore[misc]  # ray is not typed
    """Runs one task after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self._ended = self._spent = False
        self._member: dict[str, Any] | None = json.loads(config["member"])
        self._store = Store(config["results"])
        self._events = self._run(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """A trial that was stopped early says so in its log, and leaves its epochs."""
        self._events.close()

    def _run(self, config: dict[str, Any]) -> Generator[TrialEvent, None, None]:
        """The events of the task, on what Ray has granted."""
        device = hardware.device(ray.get_runtime_context().get_accelerator_ids().get("GPU", []))
        try:
            require_plugins(json.loads(config["plugins"]))
            yield from run_task(
                Task.model_validate_json(config["task"]),
                store=self._store,
                data_root=Path(config["data_root"]),
                device=device,
                grant=Grant.model_validate_json(config["grant"]),
            )
        finally:
            hardware.release(device)

    def step(self) -> dict[str, Any]:
        if self._spent:
            raise RuntimeError("this process is not used again: see its last trial")
        if self._ended:  # the driver has no other job for this process yet
            self.cleanup()
            time.sleep(IDLE_POLL_SECONDS)
            return {}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            event = self._next()
        # Tune ends the process of a trial that raises: so it reports its last event first, and
        # raises when asked for another.
        self._ended = isinstance(event, Ended)
        self._spent = isinstance(event, Ended) and event.spends_process
        return {
            "event": event.model_dump_json(),
            "pid": os.getpid(),
            "warnings": json.dumps(
                [str(w.message) for w in caught if w.category.__module__.startswith("kdray")]
            ),
        }

    def _next(self) -> TrialEvent:
        """The next event, the membership written with the last. Only the death of the process is a
        failure to Tune."""
        try:
            event = next(self._events)
            if isinstance(event, Ended) and self._member is not None:
                columns = outcome_columns(event.outcome, event.problem)
                write_member(self._store, self._member | columns)
            return event
        except (
            Exception
        ) as error:  # no device, or rows that cannot be written: everything else became a row
            return Ended(outcome=Outcome.FAILED, reason=reason_of(error), recorded=False)
