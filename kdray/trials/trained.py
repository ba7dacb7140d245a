"""Where a trial is done: the files that it works with, its data and its classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdray.core import canonical_json
from kdray.data import AnyData, Dataset
from kdray.machine import hardware
from kdray.machine.checked_file import Damaged, pack, unpack
from kdray.models import Classifier, build, fitted, normalizer, storage_key
from kdray.results import Store
from kdray.teachers import load_classifier, load_teacher
from kdray.training.compute import DEFAULT_COMPUTE, ComputeOptions
from kdray.trials.experiment import Experiment
from kdray.trials.files import weights_file
from kdray.trials.log import Log


@dataclass(frozen=True)
class Bench:
    """Where a task is done."""

    store: Store
    data_root: Path
    device: torch.device
    threads: int
    log: Log
    gpu: float | None = None
    """Share of a GPU."""
    retried: str | None = None
    kernels: ComputeOptions = DEFAULT_COMPUTE
    shares: bool = True
    """Whether what teachers answer is shared with the node's other trials."""

    def facts(self) -> dict[str, Any]:
        """Columns of the trials table."""
        return {
            "device": hardware.device_name(self.device),
            "threads": self.threads,
            "gpu": self.gpu,
            "device_memory": hardware.device_memory(self.device),
            "retried": self.retried,
        }

    def dataset(self, experiment: Experiment) -> Dataset:
        return experiment.data.load(self.data_root).to(self.device)

    def untrained(self, experiment: Experiment) -> Classifier:
        data = experiment.data
        tensors = self.stored_fit(data) or fitted(data, data.load(self.data_root))
        return build(experiment.model, data, normalizer(data, tensors), experiment.seed).to(
            self.device
        )

    def student(self, experiment: Experiment) -> Classifier:
        """What learns, untrained, with the kernels that it is trained by."""
        classifier = self.untrained(experiment)
        self.kernels.prepare(classifier, twice=experiment.method.differentiates_twice)
        return classifier

    def trained(
        self, experiment: Experiment, load: Callable[..., Classifier] = load_classifier
    ) -> Classifier:
        """The stored classifier; FileNotFoundError or :class:`Damaged` where there is none."""
        packed = self.store.read(weights_file(experiment.trial_id))
        normalization = normalizer(experiment.data, self.stored_fit(experiment.data))
        return load(experiment.model, experiment.data, normalization, packed, self.device)

    def known(
        self, experiment: Experiment, load: Callable[..., Classifier] = load_classifier
    ) -> Classifier:
        """The stored classifier; :class:`Damaged` where there is none."""
        try:
            return self.trained(experiment, load)
        except FileNotFoundError:
            raise Damaged(f"{weights_file(experiment.trial_id)} is missing") from None

    def stored_fit(self, data: AnyData) -> dict[str, Tensor]:
        """What the normalisation of ``data`` learns and weights files do not hold, fitted once for
        all trials; mostly {}."""
        key = storage_key(data)
        if key is None:
            return {}
        name = f"normalizations/{key}.safetensors"
        try:
            return unpack(self.store.read(name))[0]
        except (FileNotFoundError, Damaged):
            tensors = fitted(data, data.load(self.data_root))
            self.store.write(name, pack(tensors, {"data": canonical_json(data)}))
            return tensors

    def teacher(self, experiment: Experiment) -> Classifier | None:
        """The trained teacher, if it has one."""
        return None if experiment.teacher is None else self.known(experiment.teacher, load_teacher)
