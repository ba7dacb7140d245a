"""How the sweeps in a results folder stand, also while one runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

import pandas as pd

from kdray.core import InputError, describe
from kdray.results import Results
from kdray.results.files.forget import forget as results_without
from kdray.results.lookup import the_one
from kdray.sweep.scheduling.lock import running
from kdray.sweep.scheduling.progress import progress_file
from kdray.trials.files import checkpoint_file
from kdray.trials.log import log_file


class SweepStatus(NamedTuple):
    """One sweep in a results folder."""

    sweep: str
    counts: dict[str, dict[str, int]]
    """Role to outcome to number of trials."""
    failures: dict[str, str]
    """Trial (or point, where its teacher failed) to reason."""
    given_up: dict[str, str]
    """The same of those that were given up because they do badly."""
    running: str | None
    """Who runs it right now."""
    progress: str | None
    """Its last line about itself, if it is running."""


def sweeps(results: Results) -> list[SweepStatus]:
    """Every sweep of the folder, by name."""
    members, store = results.members(), results.store
    names = set(members["sweep"])
    names |= {
        name.removeprefix("locks/").removesuffix(".lock") for name in store.names("locks", ".lock")
    }
    found = []
    for name in sorted(names):
        mine = members[members["sweep"] == name]
        counts: dict[str, dict[str, int]] = {}
        for role, outcome in zip(mine["role"], mine["outcome"], strict=True):
            of_role = counts.setdefault(role, {})
            of_role[outcome] = of_role.get(outcome, 0) + 1
        failures, given_up = (
            _reasons(mine[mine["outcome"] == outcome]) for outcome in ("failed", "pruned")
        )
        driver = running(store, name)
        line = None
        if driver is not None:
            try:
                line = store.read(progress_file(name)).decode()
            except FileNotFoundError:
                line = "starting"
        found.append(SweepStatus(name, counts, failures, given_up, driver, line))
    return found


def changed_code(results: Results, versions: Mapping[str, int | str]) -> dict[str, set[str]]:
    """Return the trials that were described with, or measured by, a member of a plug-in whose code
    has changed since, by the member's name; ``versions``: those of the members now."""
    made: dict[str, set[str]] = {}
    for frame, column in (
        (results.trials(["trial_id", "experiment"]), "experiment"),
        (results.robustness(["trial_id", "evaluation_parameters"]), "evaluation_parameters"),
    ):
        for text, rows in frame.groupby(column):
            for name in _of_other_versions(json.loads(str(text)), versions):
                made.setdefault(name, set()).update(rows["trial_id"])
    return made


def _of_other_versions(described: object, versions: Mapping[str, int | str]) -> Iterator[str]:
    """Yield the names in canonical JSON that stand for another version than there is now."""
    if isinstance(described, dict):
        name = described.get("name", described.get("sampler"))
        if name in versions and described.get("version", 1) != versions[str(name)]:
            yield str(name)
    parts = described.values() if isinstance(described, dict) else described
    for part in parts if isinstance(described, dict | list) else ():  # type: ignore[attr-defined]
        yield from _of_other_versions(part, versions)


def _reasons(members: pd.DataFrame) -> dict[str, str]:
    """Why, by trial or point."""
    names = members["trial_id"].where(
        members["trial_id"].notna(), members["point"].map("point {:.0f}".format)
    )
    return dict(zip(names, members["error"].fillna("no reason is known"), strict=True))


def trial(results: Results, trial_id: str) -> dict[str, object]:
    """Everything known of one trial; a prefix of its id will do if no other trial shares it."""
    frame = results.frame()
    trial_id = the_one(results.store, trials_with_traces(results), trial_id)
    row = frame[frame["trial_id"] == trial_id]
    if row.empty:
        return unfinished(results, trial_id)
    return {str(name): value for name, value in row.iloc[0].dropna().items()}


def unfinished(results: Results, trial_id: str) -> dict[str, object]:
    """What is known of a trial without a row, since it runs, was stopped early or was interrupted:
    its place, how far it is."""
    members, name = results.members(), checkpoint_file(trial_id)
    found: dict[str, object] = {"trial_id": trial_id, "status": "unfinished"}
    for _, place in members[members["trial_id"] == trial_id].iterrows():  # mostly one
        found |= {str(column): value for column, value in place.dropna().items()}
    if results.store.exists(name):
        found |= _progress(results, trial_id)
    return found


def _progress(results: Results, trial_id: str) -> dict[str, object]:
    """How far a trial is, from its checkpoint; or what is wrong with that."""
    # Tensors are checked with torch, which takes seconds to import.
    from kdray.machine.checked_file import Damaged, require_trial, unpack

    try:
        packed = results.store.read(checkpoint_file(trial_id))
        require_trial(packed, trial_id)
        facts = unpack(packed)[1]
    except (Damaged, FileNotFoundError) as error:  # the trial that runs has just ended
        return {"checkpoint": describe(error)}
    last = facts["history"][-1]
    done = {"started_at": facts["started_at"], "epochs_done": len(facts["history"])}
    return done | {column: last[column] for column in ("stage", "epoch", "loss", "val_accuracy")}


def log(results: Results, trial_id: str, lines: int = 20) -> str:
    """Where the trial's log is, and its last lines below that; nothing where it has none."""
    name = log_file(the_one(results.store, trials_with_traces(results), trial_id))
    try:
        text = results.store.read(name).decode(errors="replace")
    except FileNotFoundError:
        return ""
    whole = text.splitlines()
    last = whole[-lines:]
    which = (
        f"the last {len(last)} of {len(whole)} lines"
        if len(last) < len(whole)
        else f"{len(whole)} lines"
    )
    return "\n".join([f"{results.store.place}/{name} ({which}):", *last])


def forget(results: Results, trial_ids: Iterable[str]) -> dict[str, int]:
    """Delete trials (prefixes of their ids will do) with all that was measured of them: rows by
    table, and files.

    Also those without a row, of which there is a checkpoint, a log or a place in a sweep.
    :class:`kdray.InputError` if there is no such trial, or a sweep is being run in the folder.
    """
    refuse_while_running(results)
    existing = trials_with_traces(results)
    return results_without(
        results.store, {the_one(results.store, existing, trial_id) for trial_id in trial_ids}
    )


def refuse_while_running(results: Results) -> None:
    """:class:`kdray.InputError` if a sweep is being run in the folder."""
    for sweep in sweeps(results):
        if sweep.running is not None:
            raise InputError(
                f"{results.store.place}: sweep {sweep.sweep!r} is running, {sweep.running}; "
                "stop it first"
            )


def trials_with_traces(results: Results) -> set[str]:
    """Every trial that has left anything here, finished or not."""
    store = results.store
    left = [*store.names("logs", ".log"), *store.names("checkpoints", ".safetensors")]
    trained = results.trials(["trial_id"])["trial_id"]
    members = results.members(["trial_id"])["trial_id"].dropna()
    return {*trained, *members, *(PurePath(name).stem for name in left)}
