"""Loading a trained classifier and asking it as a teacher."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor

from kdray.data import ImageData
from kdray.models import Classifier, Model, build
from kdray.weights import Damaged, unpack


def load_classifier(model: Model, data: ImageData, packed: bytes, device: torch.device) -> Classifier:
    """The trained classifier whose stored weights are ``packed``, in eval mode and without parameter gradients.

    Raises :class:`kdray.weights.Damaged` if the bytes are not intact or belong to another model.
    """
    tensors, _ = unpack(packed)
    classifier = build(model, data, None, seed=0)
    try:
        classifier.load_state_dict(tensors)
    except RuntimeError as error:
        raise Damaged(str(error).splitlines()[0]) from None
    return frozen(classifier.to(device))


def frozen(classifier: Classifier) -> Classifier:
    """``classifier`` in eval mode, with gradients for its input only."""
    return classifier.eval().requires_grad_(False)


class PlainTeacher:
    """A teacher that answers with its logits: eval mode, no gradient, no noise."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = frozen(classifier)

    @torch.no_grad()
    def __call__(self, images: Float32[Tensor, "B C H W"]) -> Float32[Tensor, "B K"]:
        return self._classifier.logits(images)
