"""What is known of metrics: unit, direction, and which of them are read side by side.

A metric is a column of ``trials``, or a number of an evaluation, which is called ``label.metric``
and may have brackets (``noise.accuracy[sigma=0.1]``). It is looked up by its whole name, then by
the last part of it. Of a metric that is not listed more is better, and it is no headline.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["max", "min"]


class Metric(NamedTuple):
    """One metric, by its name or the last part of it."""

    name: str
    unit: str = ""
    mode: Mode = "max"
    """Whether more or less is better."""
    headline: bool = False
    """Whether tables of points have it; the other numbers stay in the frame."""
    of: Literal["training", "network", "run", "evaluation"] = "evaluation"
    """What it is about: the trained weights, the network whatever it has learned, the time and
    memory that a trial took, or one evaluation."""


METRICS = (
    Metric("val_accuracy", "fraction", headline=True, of="training"),
    Metric("test_accuracy", "fraction", headline=True, of="training"),
    Metric("parameters", mode="min", of="network"),
    Metric("weights", mode="min", of="network"),
    Metric("macs", mode="min", of="network"),
    Metric("images_per_second", "1/s", of="run"),
    Metric("train_seconds", "s", "min", of="run"),
    Metric("peak_memory", "bytes", "min", of="run"),
    Metric("accuracy", "fraction", headline=True),
    Metric("seen_accuracy", "fraction", headline=True),
    Metric("omitted_accuracy", "fraction", headline=True),
    Metric("mean_accuracy", "fraction", headline=True),
    Metric("radius", "pixel units", headline=True),
    Metric("loss", mode="min"),
    Metric("ece", "fraction", "min"),
    Metric("brier", mode="min"),
    Metric("abstained", "fraction", "min"),
)

ACCURACIES = tuple(metric.name for metric in METRICS if metric.of == "training")
SIZES = tuple(metric.name for metric in METRICS if metric.of == "network")
WHITE_BOX = ("autoattack", "pgd", "fgsm")
"""Evaluations that attack a model by its own gradients, the strongest first."""
OF_ONE_CASE = ("corruption", "source_trial_id")
"""Axes that give an evaluation tens of numbers, too many for a table of points."""

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_named(column: str) -> Metric:
    """What is known of the metric in a column of :meth:`kdray.results.Results.frame`."""
    name = column.partition("[")[0]
    last = name.rpartition(".")[2]
    return _BY_NAME.get(name) or _BY_NAME.get(last) or Metric(last)


def default_mode(column: str) -> Mode:
    """Whether more or less of a metric is better."""
    return metric_named(column).mode


def is_headline(column: str) -> bool:
    """Whether tables of points have the column."""
    name, _, axes = column.removesuffix("]").partition("[")
    if any(f"{axis}=" in axes for axis in OF_ONE_CASE):
        return False
    label, _, metric = name.partition(".")
    found = _BY_NAME.get(metric or label)
    return found is not None and found.headline and bool(metric) == (found.of == "evaluation")
