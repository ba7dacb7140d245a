"""Every evaluation that shows a classifier perturbed images, as one type: what others look at under
each of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdray.robustness.autoattack import AutoAttack
from kdray.robustness.base import Evaluation
from kdray.robustness.corruptions import Corruptions
from kdray.robustness.fgsm import FGSM
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.occlusion import Occlusion
from kdray.robustness.pgd import PGD
from kdray.robustness.poisson_noise import PoissonNoise
from kdray.robustness.signal_to_noise import SignalToNoise

AnyPerturbing = Annotated[
    GaussianNoise
    | SignalToNoise
    | PoissonNoise
    | Occlusion
    | Corruptions
    | FGSM
    | PGD
    | AutoAttack,
    Field(discriminator="name"),
]
AnyAttack = Annotated[FGSM | PGD | AutoAttack, Field(discriminator="name")]
"""Those whose images are made on a model."""


def said_above(where: str, inner: Evaluation, *names: str) -> None:
    """ValueError if the evaluation inside another one says what only the outer one may."""
    for name in names:
        if getattr(inner, name) != type(inner).model_fields[name].default:
            raise ValueError(
                f"{where}.{name}: say it one level above, of the evaluation that holds this one"
            )
