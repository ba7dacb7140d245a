"""The networks that the paper's sweeps trained, by the names that the paper gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from kdray.report import Snapshot, only, published
from kdray.report.papers.published_table import Line

TITLE = "Robust Student Network Learning"
PAPER = "Guo et al."
CIFAR, BOTH, MNIST, DIGITS = (
    f"{PAPER}, whose numbers are of {data}"
    for data in ("CIFAR-10", "CIFAR-10 and CIFAR-100", "MNIST", "MNIST and USPS")
)
PRINTED = published("robust_student")
SUITE = "kdray evaluate RESULTS --suite sweeps/suites/robust_student.yaml"
CASES = {"kd": "KD", "fitnet": "FitNet", "robust": "Robust"}
IN_DECIBELS = {"unit": None}
"""Of evaluations by signal-to-noise ratio, whose default it is."""
NETWORKS = ("Teacher", "No teacher", *CASES.values())
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def trained_networks(snapshot: Snapshot, sweep: str) -> pd.DataFrame:
    """The trained networks of ``sweep``, a row each, with the paper's name of each in
    ``network``."""
    students, teachers = (trials_of(snapshot, sweep, role) for role in ("student", "teacher"))
    students["network"] = students["case"].map({**CASES, "standard": "No teacher"})
    return pd.concat([teachers.assign(network="Teacher"), students], ignore_index=True)


def trials_of(snapshot: Snapshot, sweep: str, role: str) -> pd.DataFrame:
    """The completed trials of ``sweep``, whatever their data sets: this paper's sweeps have two,
    which its tables keep apart."""
    trained = snapshot.trained(sweep, role)
    return only(trained, f"no trained {role}s of the sweep {sweep}: kdray run it first")


def on_data(trials: pd.DataFrame, name: str, *, first: str, others: Sequence[str]) -> pd.DataFrame:
    """Those of ``trials`` that were trained on the data set ``name``. What is of none of the
    paper's data sets (digits, as --smoke trains on) stands in for the ``first``."""
    of = trials["data.name"].eq(name)
    return trials[of | ~trials["data.name"].isin([first, *others])] if name == first else trials[of]


def line_of_each_network(
    trials: pd.DataFrame, names: Mapping[str, str] | None = None
) -> Iterator[Line]:
    """Yields a line of a table for every network of the paper, by its name there."""
    for network in NETWORKS:
        role = "teacher" if network == "Teacher" else "student"
        yield Line((names or {}).get(network, network), trials[trials["network"].eq(network)], role)
