"""Between Tune and a callback of Ray's: it is told what kdray's trials do in the words it knows,
and it can do no harm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from kdray.core import describe
from kdray.trials.experiment import configuration
from kdray.trials.task import Ended, Task, epochs_of, event_from_json


@dataclass(eq=False)
class TuneTrialView:
    """What Ray's callbacks read of a Tune trial, for the trial of kdray's that it stands for."""

    trial_id: str
    """Another for every time that the trial is run: Weights & Biases has no second run of the same
    id."""
    name: str
    config: dict[str, Any]
    experiment_dir_name: str
    epochs: int
    """Of the whole training."""
    local_path: str | None
    epochs_done: int = 0
    """As far as this run of the trial has said; 0 where it only measures."""
    failed: bool = False
    evaluated_params: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.evaluated_params = self.config

    def init_local_path(self) -> None:
        if self.local_path is not None:
            Path(self.local_path).mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return self.name


class Adapter(tune.Callback):  # type: ignore[misc]  # ray is not typed
    """Passes trials, their numbers and their ends on to ``callback``, until it raises: a warning,
    and no more of it.

    Tune gives up the whole experiment when a callback raises.
    """

    def __init__(
        self,
        callback: tune.Callback,
        name: str,
        sweep: str,
        folder: Callable[[str], Path] | None,
        warn: Callable[[str], None],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``folder``: where the callback may write, by trial id; ``environment``: variables that it
        is set up with."""
        self._callback: tune.Callback | None = callback
        self._name, self._sweep, self._folder, self._warn = name, sweep, folder, warn
        self._environment = dict(environment or {})
        self._open: dict[str, TuneTrialView] = {}
        """By Tune's id; a trial whose worker died and that is started again is still the same."""

    def setup(
        self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any
    ) -> None:
        with _environment(self._environment):
            self._tell(
                lambda callback: callback.setup(stop, num_samples, total_num_samples, **info)
            )

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        def begin(callback: tune.Callback) -> None:
            if trial.trial_id not in self._open:
                shown = self._shown(trial)
                if shown is None:
                    return
                self._open[trial.trial_id] = shown
            callback.on_trial_start(iteration, [], self._open[trial.trial_id])

        self._tell(begin)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        def go_on(callback: tune.Callback) -> None:
            shown = self._open.get(trial.trial_id)
            if shown is None or "event" not in result:  # its worker waits for another job
                return
            event = event_from_json(result["event"])
            shown.failed = isinstance(event, Ended) and event.failed
            if metrics := event.named_metrics:
                if not isinstance(event, Ended):
                    # Measuring counts as steps of a trial, not as epochs.
                    shown.epochs_done = min(event.done, shown.epochs)
                epoch = shown.epochs_done or shown.epochs
                numbers = {**metrics, "training_iteration": epoch}
                callback.on_trial_result(iteration, [], shown, numbers)

        self._tell(go_on)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._tell(partial(self._end, trial.trial_id, iteration, failed=False))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._tell(partial(self._end, trial.trial_id, iteration, failed=True))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        self.close()

    def close(self) -> None:
        """End what is still open, as failed, and wait for what is on its way. Tune does not do so
        when it is interrupted."""
        for trial_id in list(self._open):
            self._tell(partial(self._end, trial_id, 0, failed=True))
        self._tell(lambda callback: callback.on_experiment_end([]))
        self._callback = None

    def _end(self, trial_id: str, iteration: int, callback: tune.Callback, *, failed: bool) -> None:
        shown = self._open.pop(trial_id, None)
        if shown is None:
            return
        if failed or shown.failed:
            callback.on_trial_error(iteration, [], shown)
        else:
            callback.on_trial_complete(iteration, [], shown)

    def _shown(self, trial: Any) -> TuneTrialView | None:
        """The trial in Ray's callbacks' words; none for what is measured across trials: it gives a
        trial no numbers."""
        task = Task.model_validate_json(trial.config["task"])
        if task.others:
            return None
        experiment, member = task.experiment, json.loads(trial.config["member"]) or {}
        place = {
            "sweep": self._sweep,
            "role": task.role,
            "point": member.get("point"),
            "case": member.get("case"),
        }
        config = {
            "trial_id": experiment.trial_id,
            "seed": experiment.seed,
            **place,
            **configuration(experiment),
        }
        folder = None if self._folder is None else str(self._folder(experiment.trial_id))
        shown = TuneTrialView(
            trial_id=f"{experiment.trial_id}-{trial.trial_id}",
            name=experiment.trial_id,
            config={name: value for name, value in config.items() if value is not None},
            experiment_dir_name=self._sweep,
            epochs=epochs_of(experiment),
            local_path=folder,
        )
        shown.init_local_path()
        return shown

    def _tell(self, act: Callable[[tune.Callback], None]) -> None:
        if self._callback is None:
            return
        try:
            act(self._callback)
        except Exception as error:
            self._callback = None
            self._open.clear()
            self._warn(
                f"callbacks: {self._name}: {describe(error)}; the sweep goes on, and is "
                "shown there no more"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its callbacks for Tuner.restore, which kdray never uses."""
        return (tune.Callback, ())


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for the time of the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
