"""How the sweeps in a results folder stand, also while one runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kdray.core import InputError
from kdray.results import Results
from kdray.results.forgetting import forget as results_without
from kdray.sweep.lock import running
from kdray.sweep.progress import progress_file


class SweepStatus(NamedTuple):
    """One sweep in a results folder."""

    sweep: str
    counts: dict[str, dict[str, int]]
    """Role to outcome to number of trials."""
    failures: dict[str, str]
    """Trial (or point, where its teacher failed) to reason."""
    running: str | None
    """Who runs it right now."""
    progress: str | None
    """Its last line about itself, if it is running."""


def sweeps(results: Results) -> list[SweepStatus]:
    """Every sweep of the folder, by name."""
    members, store = results.members(), results.store
    names = set(members["sweep"])
    names |= {name.removeprefix("locks/").removesuffix(".lock") for name in store.names("locks", ".lock")}
    found = []
    for name in sorted(names):
        mine = members[members["sweep"] == name]
        counts: dict[str, dict[str, int]] = {}
        for role, outcome in zip(mine["role"], mine["outcome"], strict=True):
            of_role = counts.setdefault(role, {})
            of_role[outcome] = of_role.get(outcome, 0) + 1
        failed = mine[mine["outcome"] == "failed"]
        names_of = failed["trial_id"].where(failed["trial_id"].notna(), failed["point"].map("point {:.0f}".format))
        failures = dict(zip(names_of, failed["error"].fillna("failed"), strict=True))
        driver = running(store, name)
        line = None
        if driver is not None:
            try:
                line = store.read(progress_file(name)).decode()
            except FileNotFoundError:
                line = "starting"
        found.append(SweepStatus(name, counts, failures, driver, line))
    return found


def trial(results: Results, trial_id: str) -> dict[str, object]:
    """Everything known of one trial; a prefix of its id will do if no other trial shares it."""
    frame = results.frame()
    found = frame[frame["trial_id"] == the_one(results, list(frame["trial_id"]), trial_id)].iloc[0]
    return {str(name): value for name, value in found.dropna().items()}


def forget(results: Results, trial_ids: Iterable[str]) -> dict[str, int]:
    """Delete trials (prefixes of their ids will do) with all that was measured of them: rows by table, and files.

    :class:`kdray.InputError` if there is no such trial, or a sweep is being run in the folder.
    """
    for sweep in sweeps(results):
        if sweep.running is not None:
            raise InputError(f"{results.store.location}: sweep {sweep.sweep!r} is running, {sweep.running}; stop it first")
    known = list(results.trials()["trial_id"])
    return results_without(results.store, {the_one(results, known, trial_id) for trial_id in trial_ids})


def the_one(results: Results, known: Sequence[str], beginning: str) -> str:
    """The trial whose id begins so."""
    matching = [trial_id for trial_id in known if trial_id.startswith(beginning)]
    if len(matching) != 1:
        problem = "no trial" if not matching else f"{len(matching)} trials"
        raise InputError(f"{results.store.location}: {problem} {beginning!r}")
    return matching[0]
