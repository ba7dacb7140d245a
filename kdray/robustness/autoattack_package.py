"""The attacks of the optional package ``pyautoattack``, with the parameters of the authors'
``autoattack.py``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from kdray.perturbations.attacks import Norm

_SILENT = logging.Logger(__name__, level=logging.CRITICAL + 1)  # without one the package warns


class Settings(NamedTuple):
    """What an attack is run with."""

    norm: Norm
    epsilon: float
    seed: int
    device: torch.device
    steps: int
    queries: int
    """Of Square."""
    targets: int
    """Other classes that a targeted attack tries."""
    samples: int | None
    """Passes that a gradient is the mean of, for models that draw; none for others."""


def perturber(attack: str, logits: Callable[[Tensor], Tensor], settings: Settings) -> Any:
    """Return a function of (images, labels): the attack."""
    common: dict[str, Any] = {
        "norm": {"linf": "Linf", "l2": "L2"}[settings.norm],
        "eps": settings.epsilon,
        "n_restarts": 1,
        "seed": settings.seed,
        "device": settings.device,
    }
    steps, targets, samples = settings.steps, settings.targets, settings.samples
    apgd: dict[str, Any] = {"n_iter": steps, "rho": 0.75, "logger": _SILENT, **common}
    match attack:
        case "apgd_ce" | "apgd_dlr":
            loss = attack.removeprefix("apgd_")
            made = APGDAttack(logits, loss=loss, eot_iter=samples or 1, **apgd)
            return partial(made.perturb, best_loss=samples is not None)
        case "apgd_t":
            return APGDAttack_targeted(logits, n_target_classes=targets, **apgd).perturb
        case "fab_t":
            return FABAttack_PT(
                logits, n_iter=steps, targeted=True, n_target_classes=targets, **common
            ).perturb
        case _:  # Square
            return SquareAttack(
                logits, n_queries=settings.queries, p_init=0.8, resc_schedule=False, **common
            ).perturb
