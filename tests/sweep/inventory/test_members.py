"""Rows that the driver writes of a sweep's trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdray.results import Results, write_rows
from kdray.sweep.inventory.members import SweepMembers
from kdray.sweep.inventory.trials import TrialIndex
from tests.small_trials import store_in
from tests.sweep.fakes import sweep_of


def place(case: str) -> dict[str, Any]:
    """A row of one trial under the name of a case."""
    return {
        "sweep": "tiny",
        "trial_id": "t",
        "role": "student",
        "case": case,
        "point": 1,
        "point_id": "p",
        "swept": "{}",
        "outcome": "completed",
    }


def test_what_was_dropped_stays_dropped_whatever_is_dropped_after_it(tmp_path: Path) -> None:
    """A trial was in two versions of the file, under two names of its case."""
    store, sweep = store_in(tmp_path), sweep_of()
    for case in ("b", "c"):
        write_rows(store, "members", f"t-{case}", [place(case)], {})
    for case in ("b", "c"):
        found = Results(tmp_path)
        members = SweepMembers(sweep, found, TrialIndex(found))
        assert members.drop([row for row in members.earlier() if row["case"] == case])
    rows = Results(tmp_path).members()
    assert dict(zip(rows["case"], rows["outcome"], strict=True)) == {
        "b": "not needed",
        "c": "not needed",
    }
