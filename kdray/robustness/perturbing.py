"""Every evaluation that shows a classifier perturbed images, as one type: what others look at under each of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kdray.robustness.autoattack import AutoAttack
from kdray.robustness.corruptions import Corruptions
from kdray.robustness.fgsm import FGSM
from kdray.robustness.gaussian_noise import GaussianNoise
from kdray.robustness.occlusion import Occlusion
from kdray.robustness.pgd import PGD
from kdray.robustness.poisson_noise import PoissonNoise
from kdray.robustness.signal_to_noise import SignalToNoise

AnyPerturbing = Annotated[
    GaussianNoise | SignalToNoise | PoissonNoise | Occlusion | Corruptions | FGSM | PGD | AutoAttack,
    Field(discriminator="name"),
]
AnyAttack = Annotated[FGSM | PGD | AutoAttack, Field(discriminator="name")]
"""Those whose images are made on a model."""
