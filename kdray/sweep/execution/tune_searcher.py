"""Ray Tune's side of the queue of jobs: its searcher asks for the next one, its scheduler reads
what running ones report."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeVar

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from kdray.results import Store
from kdray.sweep.execution.actor import TrialActor, tune_config
from kdray.sweep.execution.callback_adapter import Adapter
from kdray.sweep.execution.cluster import cluster, quiet
from kdray.sweep.execution.resources import bundle
from kdray.sweep.scheduling.jobs import Job
from kdray.sweep.scheduling.queue import JobQueue
from kdray.sweep.search.propose import SpaceUsedUp
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, TrialEvent, event_from_json

__all__ = ["cluster", "quiet", "run_trials"]
T = TypeVar("T")


class JobSearcher(Searcher):  # type: ignore[misc]  # ray is not typed
    """Tune's view of a queue: it asks for the next job and hears of each one's results."""

    def __init__(self, queue: JobQueue, configure: Callable[[Job], dict[str, Any]]) -> None:
        super().__init__()
        self._queue, self._configure = queue, configure
        self._active: dict[str, Job] = {}
        self._last: dict[str, TrialEvent] = {}
        self._stopped: set[str] = set()
        self.error: Exception | None = None
        """The first exception of our own; no new trials start after it."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        job = None if self.error else self._guarded(self._queue.next_job)
        if job is None:
            return None if self._active else str(Searcher.FINISHED)
        self._active[trial_id] = job
        return self._configure(job)

    def begun(self, trial_id: str) -> None:
        """A trial's worker is there."""
        if trial_id in self._active:
            self._guarded(lambda: self._queue.begun(self._active[trial_id]))

    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Read what a running trial reports; whether it is to stop here."""
        stop = trial_id in self._active and self._guarded(lambda: self._read(trial_id, result))
        if stop:
            self._stopped.add(trial_id)
        return bool(stop)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Heard by the scheduler, which is asked before."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if trial_id not in self._active:
            return
        if result and not error and trial_id not in self._stopped:
            self._guarded(lambda: self._read(trial_id, result))
        self._stopped.discard(trial_id)
        job, last = self._active.pop(trial_id), self._last.pop(trial_id, None)
        # Also of a worker that ended after its last event, because it had run out of memory.
        finished = last if isinstance(last, Ended) else None
        self._guarded(lambda: self._queue.ended(job, finished))

    def _read(self, trial_id: str, result: dict[str, Any]) -> bool:
        if "event" not in result:
            return False
        self._last[trial_id] = event = event_from_json(result["event"])
        return self._queue.reported(
            self._active[trial_id], event, json.loads(result.get("warnings", "[]"))
        )

    def _guarded(self, act: Callable[[], T]) -> T | None:
        """Tune takes an exception from its searcher for a failed trial and runs that again: keep it
        for the end."""
        try:
            return act()
        except Exception as error:
            self.error = self.error or error
            return None

    # Tune pickles and saves its searcher for Tuner.restore, which kdray never uses: resuming is
    # planning again.
    def __reduce__(self) -> tuple[Any, ...]:
        return (Searcher, ())

    def save(self, checkpoint_path: str) -> None:
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError


class Listener(FIFOScheduler):  # type: ignore[misc]  # ray is not typed
    """First come, first served; a trial ends early where the queue says so."""

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        return str(
            TrialScheduler.STOP
            if self._searcher.hear(trial.trial_id, result)
            else TrialScheduler.CONTINUE
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (FIFOScheduler, ())


class Starts(tune.Callback):  # type: ignore[misc]  # ray is not typed
    """Tells the queue when a trial has its worker."""

    def __init__(self, searcher: JobSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Trial],  # noqa: ARG002
        trial: Trial,
        **info: Any,  # noqa: ARG002
    ) -> None:
        self._searcher.begun(trial.trial_id)

    def __reduce__(self) -> tuple[Any, ...]:
        return (tune.Callback, ())


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray gives to a trial."""
    return tune.PlacementGroupFactory([bundle(Grant.model_validate_json(config["grant"]))])


def run_trials(
    queue: JobQueue,
    *,
    width: int | None,
    store: Store,
    data_root: Path,
    callbacks: Sequence[Callable[[], Adapter]] = (),
) -> None:
    """Run every job that ``queue`` gives, ``width`` at once, or (none) as many as Ray has
    room for."""
    searcher = JobSearcher(queue, lambda job: tune_config(job, store, data_root))
    with (
        tempfile.TemporaryDirectory(prefix="kdray-tune-") as scratch,
        quiet(),
        ExitStack() as shown,
    ):
        warnings.simplefilter("always", SpaceUsedUp)
        adapters = [shown.enter_context(closing(build())) for build in callbacks]
        tune.Tuner(
            tune.with_resources(TrialActor, resources_of),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=Listener(searcher),
                num_samples=-1,
                max_concurrent_trials=width,
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial_{trial.trial_id}",
                trial_dirname_creator=lambda trial: f"trial_{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="run",
                verbose=0,
                callbacks=[Starts(searcher), *adapters],
                failure_config=tune.FailureConfig(max_failures=0),  # the queue runs again what died
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if searcher.error is not None:
        raise searcher.error
