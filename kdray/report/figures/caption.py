"""The sentence of a caption that says of which data and how many seeds a figure is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from kdray.core.wording import count_range
from kdray.results.points.data_sets import test_set_names

DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cinic10": "CINIC-10",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "usps": "USPS",
    "digits": "digits (8 × 8, scikit-learn)",
    "arrays": "own arrays",
    "image_folder": "own images",
}


MAX_NAMED_PATHS = 3
"""How many of the paths that a mean is taken over a caption names."""


def data_name(name: str) -> str:
    """The name of a data set as people write it, with what tells it from others of that name
    (``cifar10 (examples 300)``)."""
    kind, bracket, apart = name.partition(" (")
    return f"{DATA.get(kind, kind)}{bracket}{apart}"


def seeds(frame: pd.DataFrame, points: Sequence[str]) -> str:
    """``5 seeds``, or ``2 to 5 seeds`` where the groups that share the columns ``points`` have
    different numbers of them."""
    of_each = (
        frame[["seed", *points]]
        .assign(all=0)
        .groupby(["all", *points], dropna=False, observed=True)
    )
    counts = of_each["seed"].nunique()
    return count_range(int(counts.min()), int(counts.max()), "seed")


def beyond_seeds(frame: pd.DataFrame, points: Sequence[str]) -> list[str]:
    """The configuration (``method.temperature``) in which models differ that share the columns
    ``points``: what a mean over them is taken over besides seeds, their own and their teachers'."""
    configured = [
        name
        for name in frame.columns
        if "." in name and not name.startswith("trial.") and name not in {*points, "teacher.seed"}
    ]
    whole = frame.copy()  # in one piece: a frame of hundreds of columns may be in many
    same = whole.assign(all=0).groupby(["all", *points], dropna=False, observed=True)
    counts = same[configured].nunique(dropna=False).max()
    differ = set(counts.index[counts.gt(1)])
    # supervision.noise, if supervision.noise.0.sigma says it closer; teacher.training.epochs, if
    # they are training.epochs.
    closest = {name for name in differ if not any(other.startswith(f"{name}.") for other in differ)}
    return sorted(
        name
        for name in closest
        if name.removeprefix("teacher.") == name or name[len("teacher.") :] not in closest
    )


def _data_sets(frame: pd.DataFrame) -> list[str]:
    """Return the name of each row's data set with what tells it from others of that name, here or
    where it was told apart among more (``data set``)."""
    names = list(test_set_names(frame) if "experiment" in frame else frame["data.name"])
    if "data set" not in frame:
        return names
    return [max(pair, key=len) for pair in zip(names, frame["data set"], strict=True)]


def caption(
    what: str,
    frame: pd.DataFrame,
    points: Sequence[str],
    *,
    source: str = "",
    band: str = "Error bars",
    over: str = "",
) -> str:
    """The caption: ``what`` is shown, then data set and number of seeds from ``frame`` (a row per
    trial; ``data.name``, ``seed``; ``experiment`` or ``data set`` tell data sets of one name
    apart), what ``band`` (error bars, bands, "±") means, and ``source``: "Noisy Collaboration,
    figure 3".

    ``points`` are the columns whose values a point drawn has in common. No ``band``, no word about
    it. The deviation is over the seeds and over what else models of one point differ in
    (:func:`beyond_seeds`), or ``over`` what is given.
    """
    names = ", ".join(data_name(name) for name in sorted(set(_data_sets(frame))))
    counted = seeds(frame, points)
    others = [] if over or not band else beyond_seeds(frame, points)
    kinds = (
        ["the seeds"] * (counted != "1 seed" or not others)
        + others[:MAX_NAMED_PATHS]
        + ["more"] * (len(others) > MAX_NAMED_PATHS)
    )
    spanned = over or " and ".join(part for part in (", ".join(kinds[:-1]), kinds[-1]) if part)
    deviation = f"one standard deviation over {spanned}"
    spread = {"": "", "±": f"± is {deviation}"}.get(band, f"{band}: ± {deviation}")
    if band and counted == "1 seed" and not others and not over:
        spread = "No error bars: one seed has no spread"
    sentences = [
        what.rstrip("."),
        f"{names}, {counted}",
        spread,
        f"After {source}" if source else "",
    ]
    return ". ".join(part.rstrip(".") for part in sentences if part) + "."
