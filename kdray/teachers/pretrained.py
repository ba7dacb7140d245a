"""A model that was trained elsewhere: its weights, by their content, behind its own
normalisation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor, nn

from kdray.core import InputError, Several, Value, fingerprint, parse
from kdray.data import TRAINING_ONLY, AnyData
from kdray.machine.checked_file import pack
from kdray.models import AnyModel, Classifier, Described, Standardize, blueprint, build
from kdray.models.facts import stage_shapes
from kdray.teachers.weights_file import digest, fit_all, read_tensors

UNKNOWN = f"sha256:{'0' * 64}"
"""Stands for the digest of weights that have not been read yet."""


class Channels(Value):
    """(x - mean) / std, by channel."""

    mean: Annotated[Several[float], Field(min_length=1)]
    """Of images in [0, 1]."""
    std: Annotated[Several[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Above 0."""


def _as_measured(data: Any) -> Any:
    """``data`` without what is done for a training only."""
    return data.model_copy(
        update={name: type(data).model_fields[name].default for name in TRAINING_ONLY}
    )


class Pretrained(Value):
    """A model that was trained elsewhere."""

    weights: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    """In a sweep file the path of the file, below that of the sweep: safetensors, or a state dict
    of ``torch.save``; it is known by the digest of its tensors."""
    model: AnyModel
    """The network that they fit."""
    data: Annotated[AnyData, AfterValidator(_as_measured)]
    """What it is measured on; how it was augmented and normalised for its training counts
    nothing."""
    normalization: Channels | Literal["none"] = "none"
    """What it does to images in [0, 1] first, as in its training; none: nothing, or it is among its
    layers."""

    teacher: ClassVar[None] = None
    """Whoever taught it is not known here."""
    seed: ClassVar[int] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Pretrained:
        channels = self.data.shape[0]
        if isinstance(self.normalization, Channels):
            for name in ("mean", "std"):
                count = len(getattr(self.normalization, name))
                if count != channels:
                    raise ValueError(
                        f"normalization.{name}: has {count} numbers for {channels} channels"
                    )
        try:
            stage_shapes(*self.network)
        except InputError as error:
            raise ValueError(f"model.{error}") from None
        except RuntimeError as error:
            raise ValueError(
                f"model: {self.model.name} cannot take images of "
                f"{' x '.join(map(str, self.data.shape))}: {' '.join(str(error).split())}"
            ) from None
        return self

    @property
    def network(self) -> Described:
        """What its network is built from."""
        return Described(self.model, self.data.shape, self.data.classes)

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits: of the weights' content, model, normalisation and data."""
        return fingerprint(self)

    @property
    def point_id(self) -> str:
        """It has no seeds, and so is a point of its own."""
        return self.trial_id

    @classmethod
    def parse(cls, data: object, where: str = "") -> Pretrained:
        """A pretrained model from plain JSON values; :class:`kdray.core.InputError` if it is
        none."""
        return parse(cls, data, where)

    def normalizer(self) -> nn.Module:
        """The first layer."""
        if not isinstance(self.normalization, Channels):
            return nn.Identity()
        return Standardize(
            torch.tensor(self.normalization.mean), torch.tensor(self.normalization.std)
        )

    def classifier(self) -> Classifier:
        """An untrained classifier of its form."""
        return build(self.model, self.data, self.normalizer(), seed=0)


class ImportedWeights(Value):
    """A file, and the model that its weights make."""

    path: str
    pretrained: Pretrained

    def packed(self) -> bytes:
        """The bytes of the file that results hold the weights in; :class:`InputError` if the file
        is another by now."""
        tensors = fitting_tensors(Path(self.path), self.pretrained)
        if digest(tensors) != self.pretrained.weights:
            raise InputError(f"{self.path}: has changed since it was read")
        classifier = self.pretrained.classifier()
        classifier.network.load_state_dict(tensors)
        return pack(classifier.state_dict(), {"trial_id": self.pretrained.trial_id})


def read_pretrained(described: Mapping[str, Any], path: Path, where: str = "") -> ImportedWeights:
    """The model that the weights at ``path`` make of what is ``described`` beside them;
    :class:`InputError` if they do not fit."""
    expected = Pretrained.parse({**described, "weights": UNKNOWN}, where)
    try:
        tensors = fitting_tensors(path, expected)
    except InputError as error:
        raise InputError(f"{where}.weights: {error}" if where else str(error)) from None
    pretrained = expected.model_copy(update={"weights": digest(tensors)})
    return ImportedWeights(path=str(path), pretrained=pretrained)


def fitting_tensors(path: Path, pretrained: Pretrained) -> dict[str, Tensor]:
    """The tensors of a file under the names of the network."""
    network = blueprint(*pretrained.network)
    model = json.dumps(json.loads(pretrained.model.model_dump_json(exclude_defaults=True)))
    what = f"{pretrained.model.name} {model} of {pretrained.data.classes} classes"
    return fit_all(read_tensors(path), network, path, what).tensors
