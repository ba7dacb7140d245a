"""The corruptions against figures of hendrycks/robustness (commit 8190fe3),
``ImageNet-C/create_c/make_cifar_c.py``.

``cifar_c_reference.csv`` was measured by running that file's functions, unchanged, on the first 500
test images of ``cifar10_subset.npz`` (exact CIFAR-10 pixels) with NumPy 1.26.4, SciPy 1.11.4,
scikit-image 0.22.0 (its ``gaussian`` told ``channel_axis=-1`` for ``multichannel=True``), OpenCV
4.9.0, Pillow 13.0.0, Wand 0.7.2 and ImageMagick 6.9.11 (Q16). In levels of 1/255, PSNR in dB from
the mean squared error over all images; means and standard deviations over all pixels of a channel;
kinds that draw: the mean over 4 seeds. ``spread_*`` is the standard deviation of a figure from one
seed to another: each image's contribution to it (linearised) has a variance over the seeds, and the
figure of 500 images drawn independently has the mean of these / 500.

The comparison needs those images, which are no part of the project: it reads them from the folder
in ``KDRAY_DATA``.
"""

from __future__ import annotations

import csv
import math
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kdray.perturbations.corruptions import CORRUPTIONS, DETERMINISTIC, SEVERITIES, corrupt
from kdray.testing.samples import draws

FIGURES = (
    "change",
    "psnr",
    "mean_red",
    "mean_green",
    "mean_blue",
    "std_red",
    "std_green",
    "std_blue",
)
DETERMINISTIC_MARGIN = (1.0, 0.1, *6 * (1.0,))
"""Levels, and dB."""
SPREADS = 4.0
"""How many spreads a figure of one seed may be off; by chance one of 440 is in 3 % of all choices
of seeds."""
EXCEPTIONS: dict[tuple[str, int], str] = {}
"""Kinds and severities whose figures are off, with the reason: none. Frost, though not made of
photographs, has them too."""


@cache
def reference() -> dict[tuple[str, int], dict[str, float]]:
    with (Path(__file__).parent / "cifar_c_reference.csv").open(newline="") as file:
        rows = [(row.pop("corruption"), row) for row in csv.DictReader(file)]
    return {
        (kind, int(row["severity"])): {name: float(row[name]) for name in row} for kind, row in rows
    }


@cache
def images() -> Tensor:
    """The first 500 of the exact test images, as levels 0 to 255."""
    path = Path(os.environ.get("KDRAY_DATA") or "nowhere") / "cifar10_subset.npz"
    if not path.is_file():
        pytest.skip("needs cifar10_subset.npz (exact CIFAR-10 images) in the folder KDRAY_DATA")
    with np.load(path) as file:
        return torch.from_numpy(file["test_images"][:500]).movedim(3, 1)


def figures(corrupted: Tensor) -> dict[str, float]:
    """What the table has, of ``corrupted`` in [0, 1]."""
    levels, clean = (corrupted * 255).round().double(), images().double()
    psnr = 10 * math.log10(255**2 / float((levels - clean).square().mean()))
    spread = levels.std((0, 2, 3), correction=0)
    return dict(
        zip(
            FIGURES,
            [
                float((levels - clean).abs().mean()),
                psnr,
                *levels.mean((0, 2, 3)).tolist(),
                *spread.tolist(),
            ],
            strict=True,
        )
    )


def test_the_table_has_every_kind_at_every_severity() -> None:
    assert set(reference()) == {(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES}
    for (kind, _), row in reference().items():
        assert row["images"] == 500
        assert row["seeds"] == (1 if kind in DETERMINISTIC else 4)
        assert (row["spread_change"] == 0) == (kind in DETERMINISTIC)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_figures_are_those_of_the_reference(kind: str, severity: int) -> None:
    if (kind, severity) in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[kind, severity])
    expected = reference()[kind, severity]
    measured = figures(corrupt(images().float() / 255, kind, severity, draws(severity)))
    for name, most in zip(FIGURES, DETERMINISTIC_MARGIN, strict=True):
        if kind not in DETERMINISTIC:
            most = SPREADS * expected[f"spread_{name}"] * (1 + 1 / expected["seeds"]) ** 0.5
        assert abs(measured[name] - expected[name]) <= most, (
            f"{name}: {measured[name]} for {expected[name]} ± {most}"
        )
