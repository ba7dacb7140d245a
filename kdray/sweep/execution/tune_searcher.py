"""Ray Tune's side of the jobs: its searcher asks for the next one, its scheduler hears when one
begins and reads what running ones report."""

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
from kdray.sweep.scheduling.jobs import Job, Jobs
from kdray.sweep.search.propose import SpaceUsedUp
from kdray.trials.grant import Grant
from kdray.trials.task import Ended, TrialEvent, event_from_json

__all__ = ["cluster", "quiet", "run_trials"]
T = TypeVar("T")


class JobSearcher(Searcher):  # type: ignore[misc]  # ray is not typed
    """Tune's view of the jobs: it asks for the next one and hears of each one's results."""

    def __init__(self, jobs: Jobs, configure: Callable[[Job], dict[str, Any]]) -> None:
        super().__init__()
        self._jobs, self._configure = jobs, configure
        self._active: dict[str, Job] = {}
        self._waiting: set[str] = set()
        """The active ones that have no worker yet."""
        self._last: dict[str, TrialEvent] = {}
        self._stopped: set[str] = set()
        self.error: Exception | None = None
        """The first exception of our own; no new trials start after it."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if not self._has_room():
            return None
        job = None if self.error else self._guarded(self._jobs.next_job)
        if job is None:
            return None if self._active else str(Searcher.FINISHED)
        self._active[trial_id] = job
        self._waiting.add(trial_id)
        return self._configure(job)

    def _has_room(self) -> bool:
        """Whether one more may be given: where nobody knows how many run at once, as soon as the
        one before has found room. The limit is not Tune's, because it changes from phase to
        phase."""
        width = self._jobs.width
        return not self._waiting if width is None else len(self._active) < width

    def begun(self, trial_id: str) -> None:
        """A trial's worker is there."""
        if trial_id in self._active:
            self._waiting.discard(trial_id)
            self._guarded(lambda: self._jobs.begun(self._active[trial_id]))

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
        self._waiting.discard(trial_id)
        job, last = self._active.pop(trial_id), self._last.pop(trial_id, None)
        # Also of a worker that ended after its last event, because it had run out of memory.
        finished = last if isinstance(last, Ended) else None
        self._guarded(lambda: self._jobs.ended(job, finished))

    def _read(self, trial_id: str, result: dict[str, Any]) -> bool:
        if "event" not in result:
            return False
        self._last[trial_id] = event = event_from_json(result["event"])
        return self._jobs.reported(
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
    """First come, first served; a trial ends early where the jobs say so.

    It hears when a trial has its worker. A callback would too, but for the sake of one Ray imports
    all that it has callbacks for, mlflow and wandb among them.
    """

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._pending: list[Trial] = []

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:  # noqa: ARG002
        self._pending.append(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ARG002
        """Hear which trials have their worker, and leave the choice to Tune, which asks after
        everything that happens and gives a worker that is free to the newest trial.

        It would give it to the trial that is named here, the first, say, and end the worker that
        this one waits for: so none would ever start where trials are shorter than the start of a
        process.
        """
        for trial in self._pending:
            if trial.status != Trial.PENDING:
                self._searcher.begun(trial.trial_id)
        self._pending = [trial for trial in self._pending if trial.status == Trial.PENDING]

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        return str(
            TrialScheduler.STOP
            if self._searcher.hear(trial.trial_id, result)
            else TrialScheduler.CONTINUE
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (FIFOScheduler, ())


def resources_of(config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What Ray gives to a trial."""
    return tune.PlacementGroupFactory([bundle(Grant.model_validate_json(config["grant"]))])


def run_trials(
    jobs: Jobs, *, store: Store, data_root: Path, callbacks: Sequence[Callable[[], Adapter]] = ()
) -> None:
    """Run every job, as many at once as ``jobs`` says, or (none) as Ray has room for. A worker that
    has ended a job goes on with the next one that asks for the same."""
    searcher = JobSearcher(jobs, lambda job: tune_config(job, store, data_root))
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
                reuse_actors=True,
                trial_name_creator=lambda trial: f"trial_{trial.trial_id}",
                trial_dirname_creator=lambda trial: f"trial_{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                name="run",
                verbose=0,
                callbacks=adapters or None,
                failure_config=tune.FailureConfig(max_failures=0),  # what died is given once more
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if searcher.error is not None:
        raise searcher.error
