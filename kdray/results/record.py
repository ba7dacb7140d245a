"""What a sweep's own record in the results holds: the objectives that it was last run with, and
what its labels mean.

An evaluation is identified by its id; how it is called belongs to the sweep that calls it so. The
label in a row of ``robustness`` is that of the sweep that asked first. In a sweep that has no label
for the evaluation it holds as long as the sweep means no other evaluation by it; else a part of the
id follows it: ``pgd[3301d69b]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

import pandas as pd

from kdray.core import InputError, parse
from kdray.results.files.store import Store
from kdray.results.files.warn import DamagedFile, warn
from kdray.results.points.objective import Objective, Objectives

Labels = Mapping[str, str]
"""Evaluation id to label."""
Kind = Literal["objectives", "labels", "monitored"]
"""What a file of a sweep's record holds: its objectives, its labels of what is measured of trained
networks, or those of what is measured while a network trains. Ends the file's name."""
OWNER, KIND = "sweep", "record"
"""Keys of the name of the sweep whose record a file is, and of its :data:`Kind`; no ids of
evaluations."""
_ID = re.compile("[0-9a-f]{16}")
"""Of an evaluation."""
ID_LETTERS = 8
"""Of an evaluation's id, where they tell it from another of its label."""


class SweepLabels(NamedTuple):
    """What a sweep calls its evaluations: those of trained networks, and those that are repeated
    while a network trains, which may share a label with one of the others."""

    trained: Labels
    monitored: Labels


def objectives_file(sweep: str) -> str:
    """The name within the results of the file with a sweep's objectives."""
    return _file("objectives", sweep)


def labels_file(sweep: str) -> str:
    """The name within the results of the file with a sweep's labels."""
    return _file("labels", sweep)


def monitored_labels_file(sweep: str) -> str:
    """The same of what is measured while a network trains."""
    return _file("monitored", sweep)


def _file(kind: Kind, sweep: str) -> str:
    return f"sweeps/{sweep}.{kind}.json"


NO_LABELS = SweepLabels({}, {})
"""Of a sweep without a record."""


def write_objectives(store: Store, sweep: str, objectives: Objectives) -> None:
    """Write the objectives with which ``sweep`` is run now."""
    _write_record(store, "objectives", sweep, objectives.model_dump(mode="json"))


def sweep_objectives(store: Store, sweep: str) -> Objectives:
    """The objectives and constraints that ``sweep`` was last run with; those of a sweep file that
    says none where the file is damaged, which is said, or of before there were any: the next run
    writes it anew."""
    record = _read_record(store, "objectives", sweep)
    if record is not None:
        try:
            return parse(Objectives, record)
        except InputError as error:
            _warn_of_damage(store, objectives_file(sweep), str(error))
    return Objectives(objectives=(Objective(),))


def write_labels(store: Store, sweep: str, labels: Labels, monitored: Labels | None = None) -> None:
    """Add labels to the record of ``sweep``; they replace what it called the same evaluations, or
    what it meant by the same labels."""
    _write_labels(store, "labels", sweep, labels)
    if monitored:
        _write_labels(store, "monitored", sweep, monitored)


def _write_labels(store: Store, kind: Kind, sweep: str, labels: Labels) -> None:
    before = _read_labels(store, kind, sweep)
    new = set(labels.values())
    kept = {each: label for each, label in before.items() if label not in new}
    if (now := {**kept, **labels}) != before:
        _write_record(store, kind, sweep, now)


def add_labels(store: Store, labels: Labels, measured: Mapping[str, pd.DataFrame]) -> None:
    """Add to the records of sweeps what they do not say themselves: evaluations that they have no
    label for, under labels by which they mean nothing.

    ``measured``: by sweep, the rows of robustness of its trials. Whatever these are called is in
    use, though the sweep may be older than records are, and goes into the record where it is clear.
    """
    records = sweep_labels(store)
    for sweep, rows in measured.items():
        said = records.get(sweep, NO_LABELS).trained
        others = rows[rows["epoch"].isna() & ~rows["evaluation_id"].isin(said)]
        meant: dict[str, set[str]] = {}
        for each, label in zip(others["evaluation_id"], others["label"], strict=True):
            meant.setdefault(label, set()).add(each)
        used = {*said.values(), *meant}
        clear = {
            each: label
            for label, ids in meant.items()
            if label not in said.values() and len(ids) == 1
            for each in ids
        }
        new = {
            each: label
            for each, label in labels.items()
            if each not in {*said, *clear} and label not in used
        }
        write_labels(store, sweep, {**clear, **new})


def sweep_labels(store: Store) -> dict[str, SweepLabels]:
    """What each sweep calls its evaluations."""
    kinds: tuple[Kind, ...] = ("labels", "monitored")
    sweeps = dict.fromkeys(
        PurePath(name).name.removesuffix(ending)
        for ending in (_file(kind, "").removeprefix("sweeps/") for kind in kinds)
        for name in store.names("sweeps", ending)
    )
    return {
        sweep: SweepLabels(*(_read_labels(store, kind, sweep) for kind in kinds))
        for sweep in sweeps
    }


def _read_labels(store: Store, kind: Kind, sweep: str) -> dict[str, str]:
    """The labels in a file of the record of ``sweep``; none where it is missing or damaged."""
    found = _read_record(store, kind, sweep) or {}
    if all(isinstance(label, str) for label in found.values()):
        return found
    _warn_of_damage(store, _file(kind, sweep), "a label in it is no text")
    return {}


def _write_record(store: Store, kind: Kind, sweep: str, record: Mapping[str, Any]) -> None:
    """Write a part of the record of ``sweep``, which says whose it is and of which kind."""
    text = json.dumps({**record, OWNER: sweep, KIND: kind}, indent=1, sort_keys=True)
    store.write(_file(kind, sweep), text.encode())


def _read_record(store: Store, kind: Kind, sweep: str) -> dict[str, Any] | None:
    """What a file holds of the record of ``sweep``; none where it is missing, or damaged, of
    another sweep or of another kind, which a :class:`DamagedFile` names. Files of before they said
    whose they are count as the sweep's whose name they have, and those of before they said their
    kind as of the kind in their name, if all keys of labels are ids."""
    try:
        found = json.loads(store.read(_file(kind, sweep)))
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    problem = _problem(found, kind, sweep)
    if problem is not None:
        _warn_of_damage(store, _file(kind, sweep), problem)
        return None
    return {key: value for key, value in found.items() if key not in (OWNER, KIND)}


def _problem(found: Any, kind: Kind, sweep: str) -> str | None:
    """Why what a file holds is no record of this kind and ``sweep``."""
    if not isinstance(found, dict):
        return "it is no JSON mapping"
    if (owner := found.get(OWNER, sweep)) != sweep:
        return f"it is of the sweep {owner!r}, its name says otherwise"
    if (said := found.get(KIND, kind)) != kind:
        return f"it holds the sweep's {said}, its name says otherwise"
    is_said = KIND in found or kind == "objectives"  # whose keys are checked where they are parsed
    if not is_said and not all(_ID.fullmatch(key) for key in found if key != OWNER):
        return "it holds no labels of evaluations"
    return None


def _warn_of_damage(store: Store, name: str, problem: str) -> None:
    line = " ".join(problem.split())
    warn(f"{store.place}/{name}: damaged, left out ({line})", DamagedFile)


def with_labels_of(robustness: pd.DataFrame, labels: SweepLabels) -> pd.DataFrame:
    """``robustness`` with the labels of one sweep; what that has no label for keeps its own, told
    apart where the sweep means another evaluation by it."""
    asked = robustness["evaluation_id"].map({**labels.monitored, **labels.trained})
    own = robustness["label"]
    is_taken = own.isin(set(labels.trained.values())) & robustness["epoch"].isna()
    own = own.where(~is_taken, _told_apart(robustness))
    return robustness.assign(label=asked.where(asked.notna(), own))


def with_labels(
    robustness: pd.DataFrame, members: pd.DataFrame, labels: Mapping[str, SweepLabels]
) -> pd.DataFrame:
    """``robustness`` with a row for each label that the sweeps of its trial give a number; a number
    that none of them has a label for keeps its own, told apart where one of them means another
    evaluation by it."""
    taking_part = members[["sweep", "trial_id"]].dropna().drop_duplicates()
    pairs = robustness.reset_index(names="row")[["row", "trial_id", "evaluation_id", "label"]]
    pairs = pairs.merge(taking_part, on="trial_id", how="left")
    said = [
        (sweep, each, label)
        for sweep, its in labels.items()
        for each, label in {**its.monitored, **its.trained}.items()
    ]
    given = pd.DataFrame(said, columns=["sweep", "evaluation_id", "given"], dtype="str")
    pairs = pairs.merge(given, on=["sweep", "evaluation_id"], how="left")
    named = pairs.loc[pairs["given"].notna(), ["row", "given"]]
    unnamed = pairs[~pairs["row"].isin(named["row"])]
    used = {(sweep, label) for sweep, its in labels.items() for label in its.trained.values()}
    is_taken = [pair in used for pair in zip(unnamed["sweep"], unnamed["label"], strict=True)]
    taken = robustness.index.isin(unnamed.loc[is_taken, "row"]) & robustness["epoch"].isna()
    own = robustness["label"].where(~taken, _told_apart(robustness))
    unnamed = unnamed[["row"]].drop_duplicates().assign(given=lambda rows: own[rows["row"]].array)
    both = pd.concat([named, unnamed]).drop_duplicates().sort_values("row", kind="stable")
    rows = robustness.loc[both["row"]].reset_index(drop=True)
    return rows.assign(label=both["given"].to_numpy())


def _told_apart(robustness: pd.DataFrame) -> pd.Series[str]:
    """The own label of each row with a part of the evaluation's id."""
    return robustness["label"] + "[" + robustness["evaluation_id"].str[:ID_LETTERS] + "]"


def disagree(robustness: pd.DataFrame, labels: Mapping[str, SweepLabels]) -> bool:
    """Whether any sweep calls an evaluation otherwise than a row of it does, or means another one
    by its label."""
    stored = robustness[["evaluation_id", "label"]].drop_duplicates()
    pairs = list(stored.itertuples(index=False, name=None))
    for known in labels.values():
        said, used = {**known.monitored, **known.trained}, set(known.trained.values())
        if any(said[each] != label if each in said else label in used for each, label in pairs):
            return True
    return False
