"""The files of trained models in a results folder, and the models that are loaded from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kdray.core import canonical_json
from kdray.data import AnyData
from kdray.machine.checked_file import Damaged, pack, require_fact, require_trial, unpack
from kdray.models import Classifier, build, fitted, normalizer, storage_key
from kdray.results import Store
from kdray.teachers import Init, Pretrained, load_classifier, load_teacher
from kdray.trials.experiment import AnyTrial
from kdray.trials.files import initial_file, weights_file


def normalization_of(trial: AnyTrial, fitted: Mapping[str, Tensor]) -> nn.Module:
    """The first layer of a trial's model; ``fitted`` is what that of its data has learned."""
    if isinstance(trial, Pretrained):
        return trial.normalizer()
    return normalizer(trial.data, fitted)


@dataclass(frozen=True)
class TrainedModels:
    """The trained models of a results folder: their weights, and the normalisations that were
    fitted for them."""

    store: Store
    data_root: Path
    device: torch.device

    def untrained(self, experiment: AnyTrial) -> Classifier:
        data = experiment.data
        tensors = self.stored_fit(data) or fitted(data, data.load(self.data_root))
        normalization = normalization_of(experiment, tensors)
        return build(experiment.model, data, normalization, experiment.seed).to(self.device)

    def load(
        self, experiment: AnyTrial, loader: Callable[..., Classifier] = load_classifier
    ) -> Classifier:
        """The stored classifier; FileNotFoundError or :class:`Damaged` where there is none."""
        packed = self.store.read(weights_file(experiment.trial_id))
        require_trial(packed, experiment.trial_id)
        normalization = normalization_of(experiment, self.stored_fit(experiment.data))
        return loader(experiment.model, experiment.data, normalization, packed, self.device)

    def required(
        self, experiment: AnyTrial, loader: Callable[..., Classifier] = load_classifier
    ) -> Classifier:
        """The stored classifier; :class:`Damaged` where there is none."""
        try:
            return self.load(experiment, loader)
        except FileNotFoundError:
            raise Damaged(f"{weights_file(experiment.trial_id)} is missing") from None

    def initial(self, init: Init) -> dict[str, Tensor]:
        """The weights that a training starts from; :class:`Damaged` where they are not there."""
        name = initial_file(init.weights)
        try:
            packed = self.store.read(name)
            require_fact(packed, "weights", init.weights, "weights")
            return unpack(packed)[0]
        except FileNotFoundError:
            raise Damaged(
                f"{name} is missing; the same command stores it again, if the file that it came "
                "from is there"
            ) from None

    def stored_fit(self, data: AnyData) -> dict[str, Tensor]:
        """What the normalisation of ``data`` learns and weights files do not hold, fitted once for
        all trials; mostly {}."""
        key = storage_key(data)
        if key is None:
            return {}
        name = f"normalizations/{key}.safetensors"
        try:
            packed = self.store.read(name)
            require_fact(packed, "key", key, "data")
            return unpack(packed)[0]
        except (FileNotFoundError, Damaged):
            tensors = fitted(data, data.load(self.data_root))
            self.store.write(name, pack(tensors, {"key": key, "data": canonical_json(data)}))
            return tensors

    def teacher(self, experiment: AnyTrial) -> Classifier | None:
        """The trained teacher, if it has one."""
        return (
            None if experiment.teacher is None else self.required(experiment.teacher, load_teacher)
        )
