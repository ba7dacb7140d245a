"""The facts of a sweep (data, models, versions, machines and times), from the trials' own
columns."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from kdray.core.wording import NONE, counted, duration, listed, value_text
from kdray.report.page.evaluation_facts import evaluations
from kdray.report.page.group import Group
from kdray.results.points.machines import machine_names, several_machines

MAX_LISTED = 6
"""Values of one kind that are written out; of more the first."""
CHOSEN_BY = {
    "best_validation": ("validation", "val_accuracy"),
    "best_test": ("test", "test_accuracy"),
}
"""The split and the accuracy by which a teacher was chosen."""
VERSIONS = {
    "kdray": "kdray_version",
    "Python": "python_version",
    "PyTorch": "torch_version",
    "Ray": "ray_version",
}


def facts(group: Group) -> list[tuple[str, str]]:
    """List name and text of each fact; none where no trial has a row."""
    trials = pd.concat([group.students, group.teachers]).drop_duplicates("trial_id")
    begun = trials[trials["status"].notna()]
    if begun.empty:
        return []
    return [("Sweep", group.sweep), *_described(group), *_machine(begun), *_times(begun)]


def _described(group: Group) -> Iterator[tuple[str, str]]:
    students = group.students
    images = _of(students, "data.examples", ", {} images of all splits")
    yield (
        "Data",
        group.data_title + images + _of(students, "data.train_examples", ", {} training images"),
    )
    yield (
        "Trials",
        f"{counted(len(students), 'student')}, {counted(len(group.teachers), 'teacher')}",
    )
    yield "Student model", _networks(students)
    if len(group.teachers):
        yield "Teacher model", _networks(group.teachers)
        if choices := _teacher_choices(students):
            yield "Teacher of a student", listed(choices, MAX_LISTED)
    yield "Method", _kinds(students, "method")
    yield "Epochs", _values(students, "training.epochs")
    aims = group.aims
    wanted = [
        f"{each.metric} ({'higher' if each.mode == 'max' else 'lower'} is better)"
        for each in aims.objectives
    ]
    yield "Objective", listed([*wanted, *aims.constraints], MAX_LISTED)
    yield from evaluations(group)


def _teacher_choices(students: pd.DataFrame) -> list[str]:
    """List how teachers were chosen, and among how many, where there was a choice."""
    chosen = students[["teacher_selection", "teacher_candidates"]].dropna().drop_duplicates()
    texts = [_teacher_choice(*each) for each in chosen.itertuples(index=False, name=None)]
    return list(dict.fromkeys(text for text in texts if text))


def _teacher_choice(selection: str, candidates: str) -> str:
    """Write how one was chosen; nothing where there was one only."""
    if selection == "each":
        return "for each student the one of its seed"
    split, by = CHOSEN_BY[selection]
    numbers = [each.get(by) for each in json.loads(candidates)]
    known, total = sum(number is not None for number in numbers), len(numbers)
    if total == 1:
        return ""
    if known == total:
        return f"the best of {total} on the {split} split"
    return f"the best on the {split} split of {known} that completed, of {total}"


def _machine(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    devices = [
        name if name != "cpu" else f"{processor} (CPU)"
        for name, processor in trials[["device", "cpu"]]
        .dropna()
        .drop_duplicates()
        .itertuples(index=False)
    ]
    yield "Hardware", listed(dict.fromkeys(devices), MAX_LISTED)
    if text := _by_device(trials):
        yield "Devices", text
    yield "Hosts", _values(trials, "host")
    versions = [
        f"{name} {_values(trials, column)}"
        for name, column in VERSIONS.items()
        if trials[column].notna().any()
    ]
    yield "Versions", ", ".join(versions) or "not stored"
    yield (
        "Source (git commit)",
        listed([commit[:12] for commit in trials["git_commit"].dropna().unique()], MAX_LISTED),
    )


def _by_device(trials: pd.DataFrame) -> str:
    """Write which points were trained on which kind of device, where there are several."""
    counts = trials.groupby("device", sort=False)
    if len(counts) < 2:
        return ""
    parts = []
    for name, rows in counts:
        points = sorted(rows["point"].dropna().astype(int).unique())
        where = f", points {listed(map(str, points), MAX_LISTED)}" if points else ""
        parts.append(f"{name}: {counted(len(rows), 'trial')}{where}")
    return f"{'; '.join(parts)}. Equal seeds are paired on one kind only"


def _times(trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    began, ended = trials["started_at"].min(), trials["finished_at"].max()
    if not pd.isna(began) and not pd.isna(ended):
        between = f"{began:%Y-%m-%d %H:%M} to {ended:%Y-%m-%d %H:%M} UTC"
        yield (
            "When",
            f"{between} ({duration((ended - began).total_seconds())} on the clock, pauses "
            "included)",
        )
    if trials["train_seconds"].notna().any():
        total = duration(trials["train_seconds"].sum())
        yield "Training time", f"{total} in all trials together; a trial takes {_medians(trials)}"


def _medians(trials: pd.DataFrame) -> str:
    """Write the median training time, of each machine where there are several."""
    timed = trials.dropna(subset=["train_seconds"])
    if not several_machines(timed, "train_seconds"):
        return f"{duration(timed['train_seconds'].median())} (median)"
    machines = machine_names(timed)
    names = sorted(machines.dropna().unique(), key=lambda name: -machines.eq(name).sum())
    shown = [
        (f"on {name}", timed.loc[machines.eq(name), "train_seconds"]) for name in names[:MAX_LISTED]
    ]
    others = timed.loc[~machines.isin(names[:MAX_LISTED]), "train_seconds"]
    shown += [("elsewhere", others)] if len(others) else []
    texts = [
        f"{duration(seconds.median())} {where} ({counted(len(seconds), 'trial')})"
        for where, seconds in shown
    ]
    return f"(median) {'; '.join(texts)}"


def _networks(trials: pd.DataFrame) -> str:
    """Write the kinds of network with their settings and sizes."""
    return _kinds(trials, "model", sizes=True)


def _kinds(trials: pd.DataFrame, part: str, *, sizes: bool = False) -> str:
    """Write each kind of ``part`` (method, model) with its settings: ``kd (temperature 2)``."""
    kinds = []
    for name, rows in trials.dropna(subset=[f"{part}.name"]).groupby(f"{part}.name", sort=False):
        settings = [
            f"{column.removeprefix(f'{part}.')} {_values(rows, column)}"
            for column in map(str, rows)
            if column.startswith(f"{part}.")
            and column != f"{part}.name"
            and rows[column].notna().any()
        ]
        if sizes and rows["parameters"].notna().any():
            low, high = rows["parameters"].min(), rows["parameters"].max()
            count = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"
            settings.append(f"{count} parameters")
        kinds.append(f"{name} ({'; '.join(settings)})" if settings else str(name))
    return ", and ".join(kinds) or NONE


def _values(trials: pd.DataFrame, column: str) -> str:
    values = trials[column].dropna().unique()
    return listed(map(value_text, values), MAX_LISTED)


def _of(trials: pd.DataFrame, column: str, text: str) -> str:
    values = list(trials[column].dropna().unique()) if column in trials else []
    return text.format(f"{values[0]:,.0f}") if len(values) == 1 else ""
