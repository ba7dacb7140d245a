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

MACHINE = ["device", "cpu", "threads", "gpu", "compiled", "channels_last"]
"""Columns of trials that two times, speeds or memories must share to be compared: what trained, the
share of it, and how the network was computed."""


def machine_names(trials: pd.DataFrame) -> pd.Series[Any]:
    """The machine of each of ``trials`` in words, ``NVIDIA H200, Xeon, 8 threads, compiled``, on a
    CPU without the device; missing where nobody stored it."""
    machines = _machines(trials)
    names = [None if texts is None else ", ".join(filter(None, texts)) for texts in machines]
    return pd.Series(names, machines.index, dtype=object)


def several_machines(trials: pd.DataFrame, metric: str) -> list[str]:
    """The names of the machines that ``trials`` have ``metric`` from, if this is a time, a speed or
    memory and they are several; else none."""
    if metric_named(metric).of != "run":
        return []
    names = machine_names(trials[trials[metric].notna()]).dropna().unique()
    return [str(name) for name in names] if len(names) > 1 else []


def _machines(trials: pd.DataFrame) -> pd.Series[Any]:
    """For each of ``trials`` a text for each column of :data:`MACHINE`, empty where it is missing
    or as usual; None where nobody stored any."""
    rows = trials.reindex(columns=MACHINE).itertuples(index=False, name=None)
    texts = [_texts(*row) for row in rows]
    return pd.Series([each if any(each) else None for each in texts], trials.index, dtype=object)


def _texts(
    device: Any, cpu: Any, threads: Any, gpu: Any, compiled: Any, channels_last: Any
) -> tuple[str, ...]:
    on_cpu, layout = device == "cpu", ""
    # As a network is laid out on a CPU, and for most numbers not on a GPU.
    if not is_missing(channels_last) and not is_missing(device) and channels_last != on_cpu:
        layout = "channels last" if channels_last else "channels first"
    return (
        "" if is_missing(device) or (on_cpu and not is_missing(cpu)) else str(device),
        "" if is_missing(cpu) else str(cpu),
        "" if is_missing(threads) else counted(int(threads), "thread"),
        "" if is_missing(gpu) or gpu in (0, 1) else f"{gpu:g} of the GPU",
        "" if is_missing(compiled) or not compiled else "compiled",
        layout,
    )


def warn_of_several_machines(
    tables: Tables, metrics: Sequence[str], groups: Iterable[pd.DataFrame], what: str
) -> None:
    """Warn of each of ``metrics`` that is a time, a speed or memory, if one of ``groups``
    (replicates with the metrics), within which it is ``what`` ("averaged"), has it from several
    machines. A machine that nobody stored counts as the same as any."""
    of_runs = [metric for metric in metrics if metric_named(metric).of == "run"]
    if not of_runs:
        return
    machines = _machines(tables.trials(["trial_id", *MACHINE]).set_index("trial_id"))
    parts = list(groups)
    for metric in of_runs:
        its = [rows.loc[rows[metric].notna(), "trial_id"] for rows in parts]
        if differing := _differing(machines.reindex(each).dropna() for each in its):
            warn(
                f"{metric}: {what} across machines (which differ in {', '.join(differing)}), of "
                "which it says as much as of the points; choose one of them with where=",
                SeveralMachines,
            )


def _differing(groups: Iterable[pd.Series[Any]]) -> list[str]:
    """The columns in which machines of one of ``groups`` differ."""
    unlike = {
        name
        for machines in groups
        for name, *texts in zip(MACHINE, *machines.unique(), strict=True)
        if len(set(texts)) > 1
    }
    return [name for name in MACHINE if name in unlike]
