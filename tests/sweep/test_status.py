"""``kdray status``: how the sweeps of a folder stand, and everything of one trial."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdray.core import InputError
from kdray.results import Results, Store, write_rows
from kdray.sweep.scheduling.lock import only_driver
from kdray.sweep.scheduling.progress import progress_file
from kdray.sweep.status import forget, log, sweeps, trial
from kdray.trials.files import checkpoint_file
from kdray.trials.log import log_file
from tests.small_trials import experiment, steps, store_in
from tests.sweep.fakes import go, sweep_of
from tests.sweep.test_run import CASES


def test_outcomes_are_counted_by_role(finished: Path) -> None:
    (found,) = sweeps(Results(finished))
    assert found.sweep == "tiny"
    assert found.counts == {"teacher": {"completed": 2}, "student": {"completed": 4}}
    assert (found.failures, found.running, found.progress) == ({}, None, None)


def test_failures_are_told_with_their_reason(engine: object, results: Path) -> None:
    go(results, CASES)
    (found,) = sweeps(Results(results))
    assert found.counts == {
        "teacher": {"completed": 2, "failed": 2},
        "student": {"completed": 4, "failed": 2},
    }
    bad = sweep_of(CASES).candidates(next(sweep_of(CASES).grid()))
    assert sorted(found.failures) == sorted(
        ["point 0", "point 1", *(teacher.trial_id for teacher in bad)]
    )
    assert all(found.failures[teacher.trial_id].startswith("Diverged: ") for teacher in bad)
    assert found.failures["point 0"].startswith("its teachers failed, all 2; ")


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
        row = {
            "sweep": name,
            "trial_id": "t",
            "role": "student",
            "outcome": "completed",
            "swept": "{}",
        }
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
    assert {"pgd1.accuracy", "clean.accuracy", "clean.loss", "teacher_id"} <= set(
        trial(Results(finished), student)
    )


def test_no_trial_and_several_trials_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no trial 'xyz'"):
        trial(Results(finished), "xyz")
    with pytest.raises(InputError, match="6 trials ''"):
        trial(Results(finished), "")
    Store(tmp_path / "empty").create()
    with pytest.raises(InputError, match="no trial 'a'"):
        trial(Results(tmp_path / "empty"), "a")


def test_the_end_of_a_trials_log_is_told_and_where_it_is(finished: Path) -> None:
    results = Results(finished)
    trial_id = results.trials()["trial_id"].iloc[0]
    all_of_it = (finished / log_file(trial_id)).read_text().splitlines()
    where, *end = log(results, trial_id[:8], lines=3).splitlines()
    assert where == f"{finished / log_file(trial_id)} (the last 3 of {len(all_of_it)} lines):"
    assert end == all_of_it[-3:]
    assert end[-1].endswith("end: completed")
    where, *end = log(results, trial_id, lines=1000).splitlines()
    assert (where, end) == (f"{finished / log_file(trial_id)} ({len(all_of_it)} lines):", all_of_it)


def test_a_trial_without_a_log_has_none_to_tell(finished: Path) -> None:
    results = Results(finished)
    trial_id = results.trials()["trial_id"].iloc[0]
    (finished / log_file(trial_id)).unlink()
    assert log(results, trial_id) == ""
    assert trial(results, trial_id)["status"] == "completed"


def stopped(folder: Path) -> str:
    """The id of a trial that was stopped after two of its three epochs."""
    running = steps(experiment(), store_in(folder))
    for _ in range(2):
        last = next(running)
    running.close()  # type: ignore[attr-defined]
    assert last.text == "epoch 2/3"
    return experiment().trial_id


def test_a_trial_without_a_row_is_told_by_its_checkpoint(results: Path) -> None:
    trial_id = stopped(results)
    found = trial(Results(results), trial_id[:8])
    assert (found["trial_id"], found["status"]) == (trial_id, "unfinished")
    assert (found["epochs_done"], found["epoch"], found["stage"]) == (2, 2, "main")
    assert f"val_accuracy {found['val_accuracy']:.5g}" in log(Results(results), trial_id)
    assert log(Results(results), trial_id[:8]).endswith("stopped early")


def test_a_checkpoint_of_another_trial_is_not_shown_as_this_ones(results: Path) -> None:
    mine, other = stopped(results), "0" * 16
    (results / checkpoint_file(other)).write_bytes((results / checkpoint_file(mine)).read_bytes())
    found = trial(Results(results), other)
    assert found["checkpoint"] == f"Damaged: it is of trial {mine}"
    assert "epochs_done" not in found


def test_a_trial_without_a_row_is_told_by_its_place_in_a_sweep(results: Path) -> None:
    trial_id = stopped(results)
    row = {
        "sweep": "some",
        "trial_id": trial_id,
        "role": "student",
        "outcome": "pruned",
        "error": "worse than half",
        "swept": "{}",
    }
    write_rows(Store(results), "members", "some", [row], {})
    found = trial(Results(results), trial_id)
    assert {name: found[name] for name in row} == row
    assert found["epochs_done"] == 2


@pytest.mark.parametrize("left", ["log", "checkpoint"])
def test_either_of_log_and_checkpoint_is_enough_to_find_a_trial(left: str, results: Path) -> None:
    trial_id = stopped(results)
    store = Store(results)
    store.delete(checkpoint_file(trial_id) if left == "log" else log_file(trial_id))
    found = trial(Results(results), trial_id[:8])
    assert ("epochs_done" in found) == (left == "checkpoint")
    assert bool(log(Results(results), trial_id)) == (left == "log")


def test_a_damaged_checkpoint_is_told_as_such(results: Path) -> None:
    trial_id = stopped(results)
    Store(results).write(checkpoint_file(trial_id), b"nonsense")
    assert str(trial(Results(results), trial_id)["checkpoint"]).startswith("Damaged: ")


def test_a_trial_without_a_row_is_forgotten_like_others(results: Path) -> None:
    trial_id = stopped(results)
    gone = forget(Results(results), [trial_id[:8]])
    assert (gone["trials"], gone["checkpoints"], gone["logs"]) == (0, 1, 1)
    with pytest.raises(InputError, match="no trial"):
        trial(Results(results), trial_id)
