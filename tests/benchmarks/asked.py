"""Readings of large results, each the first thing that a process of its own does: `python -m
tests.benchmarks.asked NAME DIR`.

It prints the seconds, once pandas and kdray.results are imported, and by how many MB the process
grew at most.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import kdray
from kdray.results import Results, Store
from kdray.results.files.compact import compact

WHERE = [("label", "==", "pgd20"), ("metric", "==", "accuracy")]


def filtered(folder: str) -> object:
    found = kdray.open_results(folder).robustness(
        columns=["trial_id", "label", "metric", "value"], where=WHERE
    )
    return found.groupby("trial_id")["value"].mean()


def filtered_whole(folder: str) -> object:
    return (
        kdray.open_results(folder)
        .robustness(where=WHERE)
        .groupby(["trial_id", "epsilon"])["value"]
        .mean()
    )


def aggregated(folder: str) -> object:
    columns = ["label", "metric", "corruption", "severity", "value"]
    found = kdray.open_results(folder).robustness(columns=columns)
    return found.groupby(columns[:-1], dropna=False)["value"].mean()


def whole(folder: str) -> object:
    return kdray.open_results(folder).robustness()


def by_pandas(folder: str) -> object:
    return pd.read_parquet(f"{folder}/robustness")


def trials(folder: str) -> object:
    return kdray.open_results(folder).trials()


def frame(folder: str) -> object:
    return kdray.open_results(folder).frame()


def ledger(folder: str) -> object:
    from kdray.sweep.inventory.trials import TrialIndex

    return TrialIndex(Results(folder))


def status(folder: str) -> object:
    from kdray.cli import main as kdray_command

    with contextlib.redirect_stdout(io.StringIO()) as told:
        assert kdray_command(["status", folder]) == 0
    return told


def merged(folder: str) -> object:
    return compact(Store(folder))


READINGS = (
    filtered,
    filtered_whole,
    aggregated,
    whole,
    by_pandas,
    trials,
    frame,
    ledger,
    status,
    merged,
)
ASKED: dict[str, Callable[[str], object]] = {each.__name__: each for each in READINGS}


class Peak:
    """The most memory of this process inside the block, in MB above what it had before."""

    def __enter__(self) -> Peak:
        self._over, self.most, self._before = threading.Event(), 0.0, self._now()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            self.most = max(self.most, self._now() - self._before)

    @staticmethod
    def _now() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def ask(what: str, folder: str) -> None:
    """Print the seconds of one reading, and its memory."""
    if what == "ledger":
        import kdray.sweep.inventory.trials  # which the driver has imported before  # noqa: F401
    with Peak() as peak:
        began = time.perf_counter()
        kept = ASKED[what](folder)
        seconds = time.perf_counter() - began
    assert kept is not None
    print(f"{seconds:.4f} {peak.most:.1f}")


if __name__ == "__main__":
    ask(*sys.argv[1:])
