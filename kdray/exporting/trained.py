"""A trained classifier as others use it, and as the bytes of one safetensors file."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdray.core import InputError, canonical
from kdray.machine.checked_file import Damaged, pack, unpack
from kdray.models import Classifier, build, is_stochastic
from kdray.trials.experiment import AnyTrial, parse_trial
from kdray.trials.trained import normalization_of

FILE_VERSION = 1
"""Of what :func:`packed` writes; raised when an older kdray could no longer read it."""
FITTED = "fitted."
"""Before the names of the tensors that a normalisation learned and weights do not hold (a whitening
matrix)."""

NoiseMode = Literal["active", "off"]
"""Of a model that draws in inference (``input_sigma``, ``weight_noise``). active: it draws at every
pass, as it was trained and measured. off: no noise on its input, every weight at its mean: another
model than the one that was measured, and perhaps far worse, since the layers that follow (batch
norm above all) expect the noise."""


class TrainedModel(nn.Module):
    """Images (N, C, H, W) in [0, 1] in, logits (N, K) out; the normalisation is inside. Made in
    eval mode."""

    def __init__(self, classifier: Classifier, experiment: AnyTrial, noise: NoiseMode) -> None:
        super().__init__()
        self.classifier = classifier.requires_grad_(
            True
        )  # as any module: to be trained further, or frozen, by its owner
        self.experiment = experiment
        self.draws = noise == "active" and draws(experiment)
        """Whether two passes of one image differ: it draws from torch's global generator."""
        self.eval()

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        return self.classifier.logits(images)

    @property
    def noise(self) -> NoiseMode:
        return "active" if self.draws or not draws(self.experiment) else "off"


def draws(experiment: AnyTrial) -> bool:
    """Whether the experiment's model draws in inference."""
    return is_stochastic(*experiment.network)


def without_noise(classifier: Classifier, experiment: AnyTrial) -> Classifier:
    """The same network with every weight at its mean and nothing added to its input."""
    plain = _empty(experiment, classifier.normalization, "off")
    tensors = classifier.state_dict()
    plain.load_state_dict({name: tensors[name] for name in plain.state_dict()})
    return plain.train(classifier.training)


def packed(model: TrainedModel) -> bytes:
    """``model`` as one safetensors file: its tensors, and its description as JSON in the header."""
    tensors = model.classifier.state_dict()
    for name, buffer in model.classifier.normalization.named_buffers():
        if f"normalization.{name}" not in tensors:
            tensors[FITTED + name.rpartition(".")[2]] = buffer
    facts = {
        "kdray_model": FILE_VERSION,
        "trial_id": model.experiment.trial_id,
        "noise": model.noise,
        "experiment": canonical(model.experiment),
    }
    return pack(tensors, facts)


def unpacked(data: bytes, place: str, noise: NoiseMode) -> TrainedModel:
    """The model that :func:`packed` was given; :class:`InputError` naming ``place`` if the bytes
    are no such model."""
    try:
        tensors, facts = unpack(data)
    except Damaged as error:
        raise InputError(
            f"{place}: is damaged, or no model that kdray exported ({error})"
        ) from None
    experiment = _description(facts, place)
    fitted = {
        name.removeprefix(FITTED): one for name, one in tensors.items() if name.startswith(FITTED)
    }
    learned = {name: one for name, one in tensors.items() if not name.startswith(FITTED)}
    stored: NoiseMode = facts["noise"]
    classifier = _empty(experiment, normalization_of(experiment, fitted), stored)
    classifier.load_state_dict(learned)
    if stored == "active" and noise == "off":
        classifier = without_noise(classifier, experiment)
    return TrainedModel(classifier, experiment, "off" if "off" in (stored, noise) else "active")


def _description(facts: dict[str, Any], place: str) -> AnyTrial:
    version = facts.get("kdray_model")
    if version is None:
        raise InputError(f"{place}: holds weights only; give the results folder and the trial's id")
    if version > FILE_VERSION:
        raise InputError(
            f"{place}: a model file of version {version}, this kdray reads up to "
            f"{FILE_VERSION}; update kdray"
        )
    return parse_trial(facts["experiment"], place)


def _empty(experiment: AnyTrial, normalization: nn.Module, noise: NoiseMode) -> Classifier:
    """The untrained classifier, without the layers that draw where ``noise`` is off."""
    model = experiment.model
    if noise == "off":
        quiet: dict[str, Any] = {"input_sigma": 0.0, "weight_noise": None}
        model = model.model_copy(
            update={name: quiet[name] for name in quiet.keys() & type(model).model_fields.keys()}
        )
    with torch.device("cpu"):
        return build(model, experiment.data, normalization, seed=0)
