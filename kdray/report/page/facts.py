"""What was run and on what: data, models, versions, machines and times, from the trials' own columns."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from kdray.report.caption import data_name
from kdray.report.page.group import Group
from kdray.report.page.words import counted, duration, listed

VERSIONS = {"kdray": "kdray_version", "Python": "python_version", "PyTorch": "torch_version", "Ray": "ray_version"}


def facts(group: Group) -> list[tuple[str, str]]:
    """Name and text of each."""
    trials = pd.concat([group.students, group.teachers]).drop_duplicates("trial_id")
    known = trials[trials["status"].notna()]
    return [("Sweep", group.sweep), *_described(group), *_machine(known), *_times(known)] if len(known) else []


def _described(group: Group) -> Iterator[tuple[str, str]]:
    students = group.students
    yield "Data", f"{data_name(group.data)}" + _of(students, "data.examples", ", {} training examples")
    yield "Trials", f"{counted(len(students), 'student')}, {counted(len(group.teachers), 'teacher')}"
    yield "Student model", _networks(students)
    if len(group.teachers):
        yield "Teacher model", _networks(group.teachers)
    yield "Method", _values(students, "method.name")
    yield "Epochs", _values(students, "training.epochs")
    aims = group.aims
    wanted = [f"{each.metric} ({'higher' if each.mode == 'max' else 'lower'} is better)" for each in aims.objectives]
    yield "Objective", listed([*wanted, *aims.constraints])
    labels = dict.fromkeys(name.partition(".")[0] for name in group.metrics if "." in name)
    if labels:
        yield "Evaluations", listed(list(labels), 12)


def _machine(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    devices = [name if name != "cpu" else f"{processor} (CPU)"
               for name, processor in trials[["device", "cpu"]].dropna().drop_duplicates().itertuples(index=False)]  # fmt: skip
    yield "Hardware", listed(list(dict.fromkeys(devices)))
    yield "Hosts", _values(trials, "host")
    versions = [f"{name} {_values(trials, column)}" for name, column in VERSIONS.items() if trials[column].notna().any()]
    yield "Versions", ", ".join(versions) or "not stored"
    yield "Source (git commit)", listed([commit[:12] for commit in trials["git_commit"].dropna().unique()])


def _times(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    began, ended = trials["started_at"].min(), trials["finished_at"].max()
    if not pd.isna(began) and not pd.isna(ended):
        between = f"{began:%Y-%m-%d %H:%M} to {ended:%Y-%m-%d %H:%M} UTC"
        yield "When", f"{between} ({duration((ended - began).total_seconds())} on the clock, pauses included)"
    if trials["train_seconds"].notna().any():
        total, one = trials["train_seconds"].sum(), trials["train_seconds"].median()
        yield "Training time", f"{duration(total)} in all trials together; a trial takes {duration(one)} (median)"


def _networks(trials: pd.DataFrame) -> str:
    """Kinds of network with their sizes."""
    sizes = trials.dropna(subset=["model.name"]).groupby("model.name")["parameters"].agg(["min", "max"])
    told = []
    for name, low, high in sizes.itertuples():
        size = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
        told.append(str(name) if pd.isna(low) else f"{name} ({size} parameters)")
    return listed(told)


def _values(trials: pd.DataFrame, column: str) -> str:
    values = trials[column].dropna().unique()
    return listed([f"{value:g}" if isinstance(value, float) else str(value) for value in values])


def _of(trials: pd.DataFrame, column: str, text: str) -> str:
    values = list(trials[column].dropna().unique()) if column in trials else []
    return text.format(f"{values[0]:,.0f}") if len(values) == 1 else ""
