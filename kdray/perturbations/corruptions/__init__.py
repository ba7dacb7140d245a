"""CIFAR-C-like corruptions: 19 kinds at severities 1 to 5, for a batch of images, on their device.

After Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", with the constants that hendrycks/robustness (commit 8190fe3, ``make_cifar_c.py``)
has for 32 x 32; lengths in pixels grow with the image. The result is *like* CIFAR-10-C and is not
CIFAR-10-C. It meets the reference's figures on 500 images of CIFAR-10 at every severity
(``tests/perturbations/test_corruptions_reference.py`` says how closely). What it does in another
way:

- ``frost``: the reference mixes in photographs; here it is noise with their colours, contrast and
  graininess. The figures
  agree; the crystals, and so a network's accuracy, need not.
- ``glass_blur`` does what the reference does, which is not what the paper says
  (:func:`blur.glass_blur`).
- ``saturate`` leaves grey images as they are; the reference has none.
- 8 bits: the reference casts float64 to integers, so that a value which is a whole level up to
  rounding falls to the level
  below or not by chance of rounding (most: 8 % of the values of defocus blur at 4 and of saturate
  at 3, by one level). Here such a value stays at its level.
- JPEG goes through Pillow on the CPU, one image after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch

from kdray.core import InputError
from kdray.perturbations.corruptions import blur, digital, noise, weather
from kdray.perturbations.corruptions.operators import Images, truncated
from kdray.perturbations.corruptions.spatter import spatter

Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "gaussian_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "spatter",
    "saturate",
]
CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
SEVERITIES = (1, 2, 3, 4, 5)
DETERMINISTIC: dict[str, Callable[[Images, int], Images]] = {
    "defocus_blur": blur.defocus_blur,
    "zoom_blur": blur.zoom_blur,
    "gaussian_blur": blur.gaussian_blur,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "saturate": digital.saturate,
}
RANDOM: dict[str, Callable[[Images, int, torch.Generator], Images]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "speckle_noise": noise.speckle_noise,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "elastic_transform": digital.elastic_transform,
    "spatter": spatter,
}


def corrupt(images: Images, kind: str, severity: int, draws: torch.Generator) -> Images:
    """``images`` (in [0, 1], one or three channels) under the corruption ``kind``, one of
    :data:`CORRUPTIONS`.

    In [0, 1] and in whole levels of 1/255, cut off as the reference's cast to 8 bits does. All that
    is random is drawn for the whole batch at once from ``draws`` (a generator on any device), so
    another split into batches is another draw; the
    :data:`DETERMINISTIC` kinds draw nothing and treat every image by itself.
    """
    if kind not in CORRUPTIONS:
        raise InputError(f"corruption: {kind!r} is not one (allowed: {', '.join(CORRUPTIONS)})")
    if severity not in SEVERITIES:
        raise InputError(f"severity: {severity!r} is out of range (allowed: 1 to 5)")
    if images.shape[1] not in (1, 3):
        raise InputError(f"corruption: images have {images.shape[1]} channels (allowed: 1, 3)")
    out = (
        DETERMINISTIC[kind](images, severity)
        if kind in DETERMINISTIC
        else RANDOM[kind](images, severity, draws)
    )
    return truncated(out)


__all__ = ["CORRUPTIONS", "DETERMINISTIC", "RANDOM", "SEVERITIES", "Corruption", "corrupt"]
