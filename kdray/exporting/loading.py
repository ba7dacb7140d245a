"""From a results folder, or from an exported file, to a module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from kdray.core import InputError
from kdray.data import data_root
from kdray.exporting.trained import NoiseMode, TrainedModel, unpacked, without_noise
from kdray.machine.checked_file import Damaged
from kdray.models import Classifier
from kdray.results import Results, Store, open_results
from kdray.results.lookup import the_one
from kdray.results.schema import TRAINED_STATUS
from kdray.trials.experiment import AnyTrial, stored_experiment
from kdray.trials.files import weights_file
from kdray.trials.trained import TrainedModels

MODEL_FILE = "model.safetensors"
"""Of an exported model that :func:`load_model` reads without its results folder."""
AGAIN = "'kdray forget' and then 'kdray run' of its sweep train it again"


class Trial(NamedTuple):
    """A completed trial."""

    row: Mapping[str, Any]
    """Of the trials table."""
    experiment: AnyTrial

    @property
    def trial_id(self) -> str:
        return self.experiment.trial_id


def load_model(
    results: str | os.PathLike[str] | Results,
    trial_id: str | None = None,
    *,
    noise: NoiseMode = "active",
    data: str | os.PathLike[str] | None = None,
) -> TrainedModel:
    """The trained classifier of a trial: an nn.Module from images (N, C, H, W) in [0, 1] to logits
    (N, K).

    ``results`` is a results folder and ``trial_id`` the first letters of a completed trial's id, or
    ``results`` alone is what ``kdray export --format safetensors`` wrote (the file or its folder).
    It is on the CPU, in eval mode, and normalises inside.

    A model with noise in inference (``input_sigma``, ``weight_noise``) answers at random: it draws
    from torch's global generator at every pass (``model.draws`` says so), which is how it was
    measured. ``noise="off"`` gives the same network with every weight at its mean and nothing added
    to its input, about which the results say nothing.

    ``data`` is the data folder, needed only where a whitening matrix is no longer among the
    results.
    :class:`kdray.InputError` if there is no such trial, it did not complete, or its weights are
    missing or damaged.
    """
    if trial_id is None and not isinstance(results, Results):
        return _from_file(Path(results).expanduser(), noise)
    opened = results if isinstance(results, Results) else open_results(results)
    if trial_id is None:
        raise InputError(
            f"{opened.store.place}: which trial? give its id ('kdray status' and .trials() "
            "show ids)"
        )
    return model_of(opened.store, find(opened, trial_id).experiment, noise, data_root(data))


def find(results: Results, beginning: str) -> Trial:
    """The completed trial whose id begins so."""
    trials, place = results.trials(), results.store.place
    trial_id = the_one(results.store, trials["trial_id"], beginning)
    row: Mapping[str, Any] = trials[trials["trial_id"].eq(trial_id)].iloc[0].to_dict()  # type: ignore[assignment]
    if row["status"] not in TRAINED_STATUS:
        reason = "" if pd.isna(row["error"]) else f": {row['error']}"
        raise InputError(
            f"{place}: trial {trial_id} has no trained model, it {row['status']}{reason}"
        )
    where = f"{place}: trial {trial_id}"
    return Trial(row, stored_experiment(str(row["experiment"]), trial_id, where))


def model_of(store: Store, experiment: AnyTrial, noise: NoiseMode, root: Path) -> TrainedModel:
    """The stored model of ``experiment``."""
    classifier = _classifier(store, experiment, root)
    if noise == "off":
        classifier = without_noise(classifier, experiment)
    return TrainedModel(classifier, experiment, noise)


def _classifier(store: Store, experiment: AnyTrial, root: Path) -> Classifier:
    trial_id = experiment.trial_id
    models = TrainedModels(store, root, torch.device("cpu"))
    try:
        models.stored_fit(experiment.data)
    except (InputError, OSError) as error:
        raise InputError(
            f"{store.place}/normalizations: what trial {trial_id} normalises with is "
            "missing or damaged, and cannot be fitted "
            f"again: {error}"
        ) from None
    try:
        return models.load(experiment)
    except FileNotFoundError:
        raise InputError(f"{store.place}/{weights_file(trial_id)}: is missing; {AGAIN}") from None
    except Damaged as error:
        raise InputError(
            f"{store.place}/{weights_file(trial_id)}: is damaged ({error}); {AGAIN}"
        ) from None


def _from_file(path: Path, noise: NoiseMode) -> TrainedModel:
    file = path / MODEL_FILE if path.is_dir() else path
    try:
        return unpacked(file.read_bytes(), str(file), noise)
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror}); give what 'kdray export --format "
            "safetensors' wrote, or a results "
            "folder and a trial's id"
        ) from None
