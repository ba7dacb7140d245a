"""Ray's callbacks that show a running sweep, each behind an :class:`Adapter`. Ray, and what the
callbacks show a sweep with, are imported with this module."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before it is imported

# That of MLflow has no PublicAPI mark, but a page of its own in Ray's reference of Tune.
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.air.integrations.wandb import WandbLoggerCallback
from ray.tune.logger import TBXLoggerCallback

from kdray.results import Store
from kdray.sweep.definition.callbacks import AnyCallback, MLflow, TensorBoard, WeightsAndBiases
from kdray.sweep.execution.callback_adapter import Adapter

UPLOAD_SECONDS = 120
"""Time that a run which has ended, or was interrupted, waits for Weights & Biases; ``wandb sync``
sends the rest."""
Warn = Callable[[str], None]


def adapter_of(callback: AnyCallback, store: Store, sweep: str, warn: Warn) -> Adapter:
    """Return what shows the trials of ``sweep`` for one run of Tune; it calls ``warn`` with the
    reason if it can show no more."""
    match callback:
        case TensorBoard():
            return _tensorboard(callback, store, sweep, warn)
        case WeightsAndBiases():
            return _weights_and_biases(callback, store, sweep, warn)
        case MLflow():
            return _mlflow(callback, store, sweep, warn)


def _tensorboard(callback: TensorBoard, store: Store, sweep: str, warn: Warn) -> Adapter:
    """Event files, by sweep and trial."""
    folder = callback.folder_in(store)

    def where(trial_id: str) -> Path:
        return _unwritten(folder / sweep / trial_id)

    return Adapter(TBXLoggerCallback(), callback.name, sweep, where, warn)


def _unwritten(folder: Path) -> Path:
    """Return ``folder`` as soon as a new event file in it overwrites none: their names have the
    time in whole seconds."""
    while any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(0.05)
    return folder


def _weights_and_biases(
    callback: WeightsAndBiases, store: Store, sweep: str, warn: Warn
) -> Adapter:
    """Runs that are sent to Weights & Biases, or kept in a folder."""
    folder, mode = callback.folder_in(store), callback.mode
    shows = WandbLoggerCallback(
        project=callback.project,
        group=sweep,
        upload_timeout=UPLOAD_SECONDS,
        entity=callback.entity,
        mode=mode,
        dir=str(folder),
    )
    # The mode once more, because without it Ray's callback asks for a key even where none is
    # needed.
    environment = {"WANDB_MODE": mode}
    return Adapter(shows, callback.name, sweep, lambda _: folder, warn, environment=environment)


def _mlflow(callback: MLflow, store: Store, sweep: str, warn: Warn) -> Adapter:
    """Runs on a server or in a database, or in an SQLite file."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates
    uri = callback.uri_in(store)
    if isinstance(uri, Path):
        uri = sqlalchemy.URL.create("sqlite", database=str(uri)).render_as_string()
    experiment = callback.experiment or sweep
    shows = MLflowLoggerCallback(tracking_uri=uri, experiment_name=experiment)
    return Adapter(shows, callback.name, sweep, None, warn)
