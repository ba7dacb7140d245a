"""What a sweep's own record in the results holds: the objectives that it was last run with, and
what its labels mean.

An evaluation is identified by its id; how it is called belongs to the sweep that calls it so. The
label in a row of ``robustness`` is that of the sweep that asked first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath

import pandas as pd

from kdray.core import parse
from kdray.results.files.store import Store
from kdray.results.points.objective import Objective, Objectives

Labels = Mapping[str, str]
"""Evaluation id to label."""


def objectives_file(sweep: str) -> str:
    """The name within the results of the file with a sweep's objectives."""
    return f"sweeps/{sweep}.objectives.json"


def labels_file(sweep: str) -> str:
    """The name within the results of the file with a sweep's labels."""
    return f"sweeps/{sweep}.labels.json"


def write_objectives(store: Store, sweep: str, objectives: Objectives) -> None:
    """Write the objectives with which ``sweep`` is run now."""
    store.write(objectives_file(sweep), objectives.model_dump_json().encode())


def sweep_objectives(store: Store, sweep: str) -> Objectives:
    """The objectives and constraints that ``sweep`` was last run with; those of a sweep file that
    says none where the file is damaged or of before there were any: the next run writes it anew."""
    try:
        return parse(Objectives, json.loads(store.read(objectives_file(sweep))))
    except (FileNotFoundError, ValueError):
        return Objectives(objectives=(Objective(),))


def write_labels(store: Store, sweep: str, labels: Labels) -> None:
    """Add ``labels`` to the record of ``sweep``; they replace what it called the same evaluations,
    or what it meant by the same labels."""
    before = _read_labels(store, labels_file(sweep))
    new = set(labels.values())
    kept = {each: label for each, label in before.items() if label not in new}
    if (now := {**kept, **labels}) != before:
        store.write(labels_file(sweep), json.dumps(now, indent=1, sort_keys=True).encode())


def add_labels(store: Store, sweeps: Iterable[str], labels: Labels) -> None:
    """Add to the records of ``sweeps`` what they do not say themselves: evaluations that they have
    no label for, under labels that they do not use."""
    records = sweep_labels(store)
    for sweep in sweeps:
        said = records.get(sweep, {})
        new = {
            each: label
            for each, label in labels.items()
            if each not in said and label not in said.values()
        }
        write_labels(store, sweep, new)


def sweep_labels(store: Store) -> dict[str, dict[str, str]]:
    """What each sweep calls its evaluations: sweep to evaluation id to label."""
    ending = labels_file("")[len("sweeps/") :]
    names = store.names("sweeps", ending)
    return {PurePath(name).name.removesuffix(ending): _read_labels(store, name) for name in names}


def _read_labels(store: Store, name: str) -> dict[str, str]:
    try:
        found = json.loads(store.read(name))
        return {str(each): str(label) for each, label in found.items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def with_labels_of(robustness: pd.DataFrame, labels: Labels) -> pd.DataFrame:
    """``robustness`` with the labels of one sweep; what that has no label for keeps its own."""
    asked = robustness["evaluation_id"].map(labels)
    return robustness.assign(label=asked.where(asked.notna(), robustness["label"]))


def with_labels(
    robustness: pd.DataFrame, members: pd.DataFrame, labels: Mapping[str, Labels]
) -> pd.DataFrame:
    """``robustness`` with a row for each label that the sweeps of its trial give a number; a number
    that none of them has a label for keeps its own."""
    taking_part = members[["sweep", "trial_id"]].dropna().drop_duplicates()
    pairs = robustness.reset_index(names="row")[["row", "trial_id", "evaluation_id", "label"]]
    pairs = pairs.merge(taking_part, on="trial_id", how="left")
    given = pd.DataFrame(
        [(s, each, label) for s, its in labels.items() for each, label in its.items()],
        columns=["sweep", "evaluation_id", "given"],
        dtype="str",
    )
    pairs = pairs.merge(given, on=["sweep", "evaluation_id"], how="left")
    pairs["label"] = pairs["given"].where(pairs["given"].notna(), pairs["label"])
    pairs = pairs[["row", "label"]].drop_duplicates()
    rows = robustness.loc[pairs["row"]].reset_index(drop=True)
    return rows.assign(label=pairs["label"].to_numpy())


def disagree(robustness: pd.DataFrame, labels: Mapping[str, Labels]) -> bool:
    """Whether any sweep calls an evaluation otherwise than a row of it does."""
    stored: dict[str, set[str]] = {}
    rows = robustness[["evaluation_id", "label"]].drop_duplicates()
    for evaluation_id, label in rows.itertuples(index=False, name=None):
        stored.setdefault(evaluation_id, set()).add(label)
    return any(
        stored.get(each, {label}) != {label}
        for known in labels.values()
        for each, label in known.items()
    )
