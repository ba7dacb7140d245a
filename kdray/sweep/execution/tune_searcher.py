"""Ray Tune's side of the jobs: its searcher asks for the next one, its scheduler hears when one
begins and reads what running ones report."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from time import monotonic
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
MAX_IDLE_SECONDS = 30.0
"""So long a worker waits for a job. Where trials take longer, the start of another is little."""
MAX_IDLE_WORKERS = 16
"""So many wait at once: each reports now and then that it does."""


class JobSearcher(Searcher):  # type: ignore[misc]  # ray is not typed
    """Tune's view of the jobs: it asks for the next one and hears of each one's results.

    Tune keeps one worker that has nothing to do and ends the others. So a trial whose job has ended
    stays open for a while where no other job is there yet: between two phases all workers wait.
    """

    def __init__(self, jobs: Jobs, configure: Callable[[Job], dict[str, Any]]) -> None:
        super().__init__()
        self._jobs, self._configure = jobs, configure
        self._next: Job | None = None
        """One that is given as soon as there is room."""
        self._active: dict[str, Job] = {}
        self._workerless: set[str] = set()
        """The active ones that have no worker yet."""
        self._idle: dict[str, float] = {}
        """Trials whose worker waits for another job, and since when."""
        self._last: dict[str, TrialEvent] = {}
        self.error: Exception | None = None
        """The first exception of our own; no new trials start after it."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._look_for_next()
        if self._next is None or self.error:
            return None if self._active or self._idle else str(Searcher.FINISHED)
        width = self._jobs.width
        if width is not None and len(self._active) + len(self._idle) >= width:
            return None  # a worker that waits is about to be free
        job, self._next = self._next, None
        self._active[trial_id] = job
        self._workerless.add(trial_id)
        return self._configure(job)

    def begun(self, trial_id: str) -> None:
        """A trial's worker is there."""
        if trial_id in self._active:
            self._workerless.discard(trial_id)
            self._guarded(lambda: self._jobs.begun(self._active[trial_id]))

    def hear(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Read what a worker reports; whether its trial is to end here."""
        if trial_id in self._active:
            stop = self._guarded(lambda: self._read(trial_id, result))
            last = self._last.get(trial_id)
            # A worker whose process is spent ends by itself when it is asked for more.
            if not isinstance(last, Ended) or last.spends_process:
                return bool(stop)
            self._job_ended(trial_id)
            self._idle[trial_id] = monotonic()
        return trial_id in self._idle and not self._is_to_wait(trial_id)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Heard by the scheduler, which is asked before."""

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        self._idle.pop(trial_id, None)
        if trial_id in self._active:  # it was stopped early, or its worker has ended
            self._job_ended(trial_id)

    def _look_for_next(self) -> None:
        """Take the next job, if one more may be given: where nobody knows how many run at once, as
        soon as the one before has found room. The limit is not Tune's, because it changes from
        phase to phase."""
        width = self._jobs.width
        room = not self._workerless if width is None else len(self._active) < width
        if room and self._next is None and self.error is None:
            self._next = self._guarded(self._jobs.next_job)

    def _is_to_wait(self, trial_id: str) -> bool:
        """Whether a worker without a job is kept for one that may come."""
        self._look_for_next()
        if self._next is not None or self.error or not self._active:
            return False
        if self._workerless:  # Tune gives it to one of them, whose own is still to start
            return False
        waits = monotonic() - self._idle[trial_id]
        return len(self._idle) <= MAX_IDLE_WORKERS and waits < MAX_IDLE_SECONDS

    def _job_ended(self, trial_id: str) -> None:
        self._workerless.discard(trial_id)
        job, last = self._active.pop(trial_id), self._last.pop(trial_id, None)
        # Also of a worker that ended after its last event, because its process was spent.
        finished = last if isinstance(last, Ended) else None
        self._guarded(lambda: self._jobs.ended(job, finished))

    def _read(self, trial_id: str, result: dict[str, Any]) -> bool:
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
    return _placement(config["grant"])


@cache
def _placement(grant: str) -> tune.PlacementGroupFactory:
    """One value for all trials of a grant: Tune looks for those of free workers by comparing it
    with each, which takes long for others that are only equal."""
    return tune.PlacementGroupFactory([bundle(Grant.model_validate_json(grant))])


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
