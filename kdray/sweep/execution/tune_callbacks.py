"""Ray's callbacks behind :class:`Adapter`. Ray, and what the callbacks show a sweep with, are
imported with this module."""

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

from kdray.sweep.execution.callback_adapter import Adapter

UPLOAD_SECONDS = 120
"""Time that a run which has ended, or was interrupted, waits for Weights & Biases; ``wandb sync``
sends the rest."""
Warn = Callable[[str], None]


def tensorboard(name: str, sweep: str, warn: Warn, *, folder: Path) -> Adapter:
    """Return the callback that writes event files below ``folder``."""

    def where(trial_id: str) -> Path:
        return _unwritten(folder / sweep / trial_id)

    return Adapter(TBXLoggerCallback(), name, sweep, where, warn)


def _unwritten(folder: Path) -> Path:
    """Return ``folder`` as soon as a new event file in it overwrites none: their names have the
    time in whole seconds."""
    while any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(0.05)
    return folder


def weights_and_biases(
    name: str, sweep: str, warn: Warn, *, project: str, entity: str | None, mode: str, folder: Path
) -> Adapter:
    """Return the callback that sends runs to Weights & Biases, or keeps them in ``folder``."""
    callback = WandbLoggerCallback(
        project=project,
        group=sweep,
        upload_timeout=UPLOAD_SECONDS,
        entity=entity,
        mode=mode,
        dir=str(folder),
    )
    # The mode once more, because without it Ray's callback asks for a key even where none is
    # needed.
    environment = {"WANDB_MODE": mode}
    return Adapter(callback, name, sweep, lambda _: folder, warn, environment=environment)


def mlflow(
    name: str, sweep: str, warn: Warn, *, tracking_uri: str | Path, experiment: str
) -> Adapter:
    """Return the callback that writes runs to a server or a database, or to an SQLite file."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it creates
    if isinstance(tracking_uri, Path):
        url = sqlalchemy.URL.create("sqlite", database=str(tracking_uri))
        tracking_uri = url.render_as_string()
    callback = MLflowLoggerCallback(tracking_uri=tracking_uri, experiment_name=experiment)
    return Adapter(callback, name, sweep, None, warn)
