"""How the sweeps in a results folder stand, also while one runs."""

from __future__ import annotations

from typing import NamedTuple

from kdray.core import InputError
from kdray.results import Results
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
    matching = frame[frame["trial_id"].str.startswith(trial_id)] if len(frame) else frame
    if len(matching) != 1:
        problem = "no trial" if matching.empty else f"{len(matching)} trials"
        raise InputError(f"{results.store.location}: {problem} {trial_id!r}")
    return {str(name): value for name, value in matching.iloc[0].dropna().items()}
