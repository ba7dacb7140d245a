"""Machines: a time, a speed or memory is of the machine as much as of the point.

A mean, a rank or a difference of such numbers says something within one machine only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from kdray.core.wording import counted, is_missing
from kdray.results.files.warn import SeveralMachines, warn
from kdray.results.metrics import metric_named
from kdray.results.tables import Tables

MACHINE = ["device", "cpu", "threads"]
"""Columns of trials that two times, speeds or memories must share to be compared."""


def machine_names(trials: pd.DataFrame) -> pd.Series[Any]:
    """The machine of each of ``trials`` in words, ``NVIDIA H200, Xeon, 8 threads``, on a CPU
    without the device; missing where nobody stored it."""
    names = [_name(*machine) for machine in trials[MACHINE].itertuples(index=False, name=None)]
    return pd.Series(names, trials.index, dtype=object)


def _name(device: Any, cpu: Any, threads: Any) -> str | None:
    parts = [
        "" if is_missing(device) or (device == "cpu" and not is_missing(cpu)) else str(device),
        "" if is_missing(cpu) else str(cpu),
        "" if is_missing(threads) else counted(int(threads), "thread"),
    ]
    return ", ".join(filter(None, parts)) or None


def warn_of_several_machines(
    tables: Tables, metrics: Sequence[str], groups: Iterable[pd.DataFrame], what: str
) -> None:
    """Warn of each of ``metrics`` that is a time, a speed or memory, if one of ``groups``
    (replicates with the metrics), within which it is ``what`` ("averaged"), has it from several
    machines. A machine that nobody stored counts as the same as any."""
    of_runs = [metric for metric in metrics if metric_named(metric).of == "run"]
    if not of_runs:
        return
    machines = tables.trials(["trial_id", *MACHINE])
    parts = list(groups)
    for metric in of_runs:
        if any(_has_several(rows[rows[metric].notna()], machines) for rows in parts):
            warn(
                f"{metric}: {what} across machines ({', '.join(MACHINE)}), of which it says as "
                "much as of the points; choose one of them with where=",
                SeveralMachines,
            )


def _has_several(rows: pd.DataFrame, machines: pd.DataFrame) -> bool:
    its = machines.loc[machines["trial_id"].isin(rows["trial_id"]), MACHINE]
    return len(its.dropna(how="all").drop_duplicates()) > 1
