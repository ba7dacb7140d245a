"""``kdray status``: how the sweeps of a folder stand, and everything of one trial."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Results, Store, write_rows
from kdray.sweep.lock import only_driver
from kdray.sweep.progress import progress_file
from kdray.sweep.status import sweeps, trial
from tests.sweep.fakes import go, sweep_of
from tests.sweep.test_running import CASES


def test_outcomes_are_counted_by_role(finished: Path) -> None:
    (found,) = sweeps(Results(finished))
    assert found.sweep == "tiny"
    assert found.counts == {"teacher": {"completed": 2}, "student": {"completed": 4}}
    assert (found.failures, found.running, found.progress) == ({}, None, None)


def test_failures_are_told_with_their_reason(engine: object, results: Path) -> None:  # noqa: ARG001
    go(results, CASES)
    (found,) = sweeps(Results(results))
    assert found.counts == {"teacher": {"completed": 2, "failed": 2}, "student": {"completed": 4, "failed": 2}}
    bad = sweep_of(CASES).candidates(next(sweep_of(CASES).grid()))
    assert sorted(found.failures) == sorted(["point 0", "point 1", *(teacher.trial_id for teacher in bad)])
    assert all(found.failures[teacher.trial_id].startswith("Diverged: ") for teacher in bad)
    assert found.failures["point 0"].startswith("its teacher ")


def test_a_running_sweep_says_who_runs_it_and_its_last_line(finished: Path) -> None:
    store = Store(finished)
    store.delete(progress_file("tiny"))
    with only_driver(store, "tiny"):
        (found,) = sweeps(Results(finished))
        assert str(found.running).startswith(f"by process {os.getpid()} on ")
        assert found.progress == "starting"
        store.write(progress_file("tiny"), b"students: 2 done")
        assert sweeps(Results(finished))[0].progress == "students: 2 done"
    assert sweeps(Results(finished))[0].progress is None, "it has stopped"


def test_a_sweep_without_a_trial_is_there_as_soon_as_it_starts(results: Path) -> None:
    store = Store(results)
    store.create()
    assert sweeps(Results(results)) == []
    with only_driver(store, "new"):
        (found,) = sweeps(Results(results))
    assert (found.sweep, found.counts) == ("new", {})
    assert found.running is not None


def test_sweeps_are_in_order_of_their_names(results: Path) -> None:
    store = Store(results)
    store.create()
    for name in ("b", "c", "a"):
        row = {"sweep": name, "trial_id": "t", "role": "student", "outcome": "completed", "parameters": "{}"}
        write_rows(store, "members", name, [row], {})
    assert [found.sweep for found in sweeps(Results(results))] == ["a", "b", "c"]


def test_a_trial_is_found_by_the_first_letters_of_its_id(finished: Path) -> None:
    results = Results(finished)
    trial_id = results.trials()["trial_id"].iloc[0]
    found = trial(results, trial_id[:8])
    assert found == trial(results, trial_id)
    assert found["trial_id"] == trial_id
    assert {"val_accuracy", "model.hidden", "training.epochs", "status"} <= set(found)
    assert all(value == value for value in found.values()), "what is empty is left out"


def test_the_numbers_of_a_student_are_told_under_their_labels(finished: Path) -> None:
    table = Results(finished).trials()
    student = table.loc[table["role"] == "student", "trial_id"].iloc[0]
    assert {"pgd1.accuracy", "clean.accuracy", "clean.loss", "teacher_id"} <= set(trial(Results(finished), student))


def test_no_trial_and_several_trials_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trial 'xyz'"):
        trial(Results(finished), "xyz")
    with pytest.raises(InputError, match="6 trials ''"):
        trial(Results(finished), "")
    Store(tmp_path / "empty").create()
    with pytest.raises(InputError, match="no trial 'a'"):
        trial(Results(tmp_path / "empty"), "a")
