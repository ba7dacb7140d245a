"""The sentence of a caption that says of which data and how many seeds a figure is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

DATA = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "cinic10": "CINIC-10", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST",
    "usps": "USPS", "digits": "digits (8 × 8, scikit-learn)", "arrays": "own arrays", "image_folder": "own images",
}  # fmt: skip


def data_name(name: str) -> str:
    """As people write the name of a data set."""
    return DATA.get(name, name)


def seeds(frame: pd.DataFrame, points: Sequence[str]) -> str:
    """``5 seeds``, or ``2 to 5 seeds`` where the groups that share the columns ``points`` have different numbers of them."""
    of_each = frame.assign(all=0).groupby(["all", *points], dropna=False, observed=True)
    counts = of_each["seed"].nunique()
    low, high = int(counts.min()), int(counts.max())
    return f"{low} to {high} seeds" if low < high else f"{high} seed{'s' * (high != 1)}"


def caption(
    what: str, frame: pd.DataFrame, points: Sequence[str], *, source: str = "", band: str = "Error bars"
) -> str:
    """``what`` is shown, then data set and number of seeds from ``frame`` (a row per trial; ``data.name``, ``seed``), what
    ``band`` (error bars, bands, "±") means, and ``source``: "Noisy Collaboration, figure 3".

    ``points`` are the columns whose values a point drawn has in common. No ``band``, no word about it.
    """
    names = ", ".join(data_name(name) for name in sorted(frame["data.name"].unique()))
    counted = seeds(frame, points)
    deviation = "one standard deviation over the seeds"
    spread = {"": "", "±": f"± is {deviation}"}.get(band, f"{band}: ± {deviation}")
    if band and counted == "1 seed":
        spread = "No error bars: one seed has no spread"
    told = [what.rstrip("."), f"{names}, {counted}", spread, f"After {source}" if source else ""]
    return ". ".join(part.rstrip(".") for part in told if part) + "."
