"""Processes of a sweep that die, hang, run out of memory or are stopped; each time the tables come
out the same.

The kernel kills for memory with the same signal as ``kill -9``, so that the tests of killed workers
are tests of that too: nobody in the process hears of it. Really filling the memory of the machine
would strike down others than the test.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.support import (
    ASSERTION,
    PATIENCE,
    Fault,
    Sweep,
    assert_as_undisturbed,
    descendants,
    undisturbed,
    wait_for,
)

pytestmark = [pytest.mark.ray, pytest.mark.faults]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A Ray that is not the sweep's own, which knows of a GPU where there may be none."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="CRITICAL",
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_workers_killed_while_they_train_and_measure(tmp_path: Path, address: str) -> None:
    (teacher, _), (a, b, c, _) = undisturbed().ids("teacher"), undisturbed().ids("student")
    sweep = Sweep(
        tmp_path,
        Fault("kill", "epoch 2", (teacher,)),
        Fault("kill", "epoch 1", (a,)),
        Fault("kill", "pgd2", (b,)),
        Fault("kill", "clean", (c,)),
        address=address,
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert sweep.of(teacher)[:4] == ["epoch 1", "epoch 2", "epoch 2", "epoch 3"]
    assert sweep.of(a) == ["epoch 1", "epoch 1", "epoch 2", "epoch 3", "pgd2", "clean"]
    assert sweep.of(b) == ["epoch 1", "epoch 2", "epoch 3", "pgd2", "pgd2", "clean"]
    assert sweep.of(c)[3:] == ["pgd2", "clean", "clean"]  # what was measured stays
    assert "training goes on after 1 of 3 epochs" in sweep.log(teacher)
    assert "training goes on" not in sweep.log(b)  # its row was there: it is only measured
    assert_as_undisturbed(sweep)


def test_what_dies_again_and_again_has_failed_and_the_same_command_tries_again(
    tmp_path: Path, address: str
) -> None:
    a, b, c, d = undisturbed().ids("student")
    sweep = Sweep(
        tmp_path,
        Fault("kill", "epoch 2", (a,), times=3),
        Fault("segfault", "epoch 3", (b,)),
        Fault("memory", "epoch 2", (c,)),
        address=address,
    )
    done = sweep.run()
    assert done.returncode == 1, done.stderr
    assert set(sweep.errors()) == {a, c}
    assert sweep.errors()[a].startswith("failed: WorkerDied: its process ended again and again")
    assert sweep.errors()[c] == "failed: MemoryError: a test has taken it"
    assert sweep.of(a) == ["epoch 1", "epoch 2", "epoch 2", "epoch 2"]
    for trial_id in (a, c):
        assert trial_id in done.stderr
    # The segmentation fault: where it was, and that the trial went on after it.
    assert "Fatal Python error: Segmentation fault" in sweep.log(b)
    assert "in train_epoch" in sweep.log(b)
    assert "training goes on after 2 of 3 epochs" in sweep.log(b)
    before = sweep.events()
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert {event.trial_id for event in sweep.events()[len(before) :]} == {a, c}, (
        "what was there ran again"
    )
    assert sweep.of(a)[4:] == ["epoch 2", "epoch 3", "pgd2", "clean"]
    assert d not in done.stderr
    assert_as_undisturbed(sweep)


def test_a_trial_that_hangs_is_ended_and_shows_where(tmp_path: Path, address: str) -> None:
    hung, *others = undisturbed().ids("student")
    sweep = Sweep(
        tmp_path,
        Fault("wait", "epoch 2", (hung,), times=9),
        address=address,
        resources={"student": {"hours": 0.002}},
    )
    done = sweep.run()
    assert done.returncode == 1, done.stderr
    wanted = "failed: TimeLimit: it had not ended after 0.002 hours (resources.student.hours)"
    assert sweep.errors() == {hung: wanted}
    assert wanted.removeprefix("failed: ") in done.stderr
    assert sweep.of(hung) == ["epoch 1", "epoch 2"]
    for trial_id in others:
        assert sweep.of(trial_id)[-1] == "clean"
    log = sweep.log(hung)
    assert "ends itself after 7.2 s" in log
    assert "Timeout (0:00:07" in log
    assert "in strike" in log
    assert "in train_epoch" in log
    before = sweep.events()
    assert sweep.run().returncode == 1, "it is not tried again unasked"
    assert sweep.events() == before
    sweep.plan()
    done = sweep.run("--retry-failed")
    assert done.returncode == 0, done.stderr
    assert sweep.of(hung)[2:] == ["epoch 2", "epoch 3", "pgd2", "clean"]
    assert_as_undisturbed(sweep)


def test_a_trial_that_runs_out_of_a_gpus_memory_has_twice_the_share_in_another_process(
    tmp_path: Path, address: str
) -> None:
    hungry, measuring, *_ = undisturbed().ids("student")
    sweep = Sweep(
        tmp_path,
        Fault("gpu memory", "epoch 2", (hungry,)),
        Fault("gpu memory", "clean", (measuring,)),
        address=address,
        resources={"student": {"gpu": 0.25}},
    )
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    text = "out of memory with 0.25 of a GPU, run again with 0.5"
    for trial_id, again_at in ((hungry, "epoch 2"), (measuring, "clean")):
        assert f"{trial_id}: {text}" in done.stderr
        events = sweep.events()
        place = next(
            i
            for i, event in enumerate(events)
            if (event.trial_id, event.step) == (trial_id, again_at)
        )
        assert all(event.pid != events[place].pid for event in events[place + 1 :]), (
            "the process was used again"
        )
    trials = pd.read_parquet(sweep.results / "trials").set_index("trial_id")
    assert (trials.loc[hungry, "gpu"], trials.loc[hungry, "retried"]) == (0.5, text)
    assert trials.drop(index=[hungry, measuring])["retried"].isna().all()
    assert sweep.of(measuring).count("epoch 3") == 1, "it was trained again only to be measured"
    assert_as_undisturbed(sweep, without=["gpu", "retried"])


def test_a_gpu_that_fails_in_one_of_16_trials_is_no_fault_of_the_15_others(
    tmp_path: Path, address: str
) -> None:
    failing = undisturbed().ids("student")[0]
    sweep = Sweep(tmp_path, Fault("gpu failure", "epoch 2", (failing,)), address=address)
    points = ["--set", "noise.input.sigma={grid: [0, 0.2, 0.05, 0.1, 0.15, 0.25, 0.3, 0.35]}"]
    done = sweep.run(*points)
    assert done.returncode == 1, done.stderr
    assert sweep.errors() == {failing: f"failed: AcceleratorError: {ASSERTION}"}
    assert len(sweep.table().ids("student")) == 16
    events = sweep.events()
    (place,) = [
        number
        for number, event in enumerate(events)
        if (event.trial_id, event.step) == (failing, "epoch 2")
    ]
    after = events[place + 1 :]
    assert len({event.trial_id for event in after}) >= 14, "it did not fail among the first"
    assert all(event.pid != events[place].pid for event in after), "the process was used again"
    sweep.plan()
    again = sweep.run(*points)  # a GPU's failure is tried again unasked
    assert again.returncode == 0, again.stderr
    assert {event.trial_id for event in sweep.events()[len(events) :]} == {failing}
    for ours, theirs in zip(sweep.table(), undisturbed(), strict=True):
        shared = ours[ours["trial_id"].isin(theirs["trial_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(shared, theirs, check_exact=True)


def test_a_loss_that_is_not_finite_is_a_row_and_is_not_tried_again(
    tmp_path: Path, address: str
) -> None:
    sweep = Sweep(tmp_path, address=address)
    diverging = [
        "--set",
        "training.optimizer.learning_rate={grid: [0.05, 1.0e+9]}",
        "--set",
        "teacher.training={epochs: 3, optimizer: {name: sgd, learning_rate: 0.05}}",
    ]
    done = sweep.run(*diverging)
    assert done.returncode == 1, done.stderr
    assert "4 failed" in done.stderr
    errors = sweep.errors()
    assert len(errors) == 4
    assert all(error.startswith("diverged: Diverged: the") for error in errors.values()), errors
    before = sweep.events()
    assert sweep.run(*diverging).returncode == 1
    assert sweep.events() == before
    # Beside them the others are what they are without them.
    for path in sweep.results.glob("*/*"):
        if any(trial_id in path.name for trial_id in errors):
            path.unlink()
    assert_as_undisturbed(sweep)


def test_a_driver_killed_between_teachers_and_students_gives_its_lock_back(tmp_path: Path) -> None:
    students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 1", students))
    with sweep.driver() as first:
        wait_for(lambda: sweep.at("epoch 1", students))
        second = sweep.run()
        assert second.returncode == 2
        assert len(second.stderr.splitlines()) == 1, second.stderr
        assert (
            f"is being run in {sweep.results} already, by process {first.pid} on " in second.stderr
        )
        first.kill()
    before = sweep.events()
    sweep.plan()
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert {event.trial_id for event in sweep.events()[len(before) :]} == set(students), (
        "a teacher was trained again"
    )
    assert_as_undisturbed(sweep)


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_stopped_politely_or_impatiently_it_leaves_no_process_behind(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    a, b, *_ = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", (a,)), Fault("wait", "pgd2", (b,)))
    with sweep.driver() as driver:
        wait_for(lambda: sweep.at("epoch 2", [a]) and sweep.at("pgd2", [b]))
        family = descendants(driver.pid)
        assert len(family) > 3, "Ray and its workers"
        for each in signals:
            driver.send_signal(each)
            time.sleep(0.15)  # the second comes while Ray is being stopped
        _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 130, errors
    assert "To go on:  kdray run tiny.yaml" in errors
    assert "Traceback" not in errors
    wait_for(lambda: not [process for process in family if process.alive])
    done = sweep.run()
    assert done.returncode == 0, done.stderr
    assert sweep.of(a)[2:] == ["epoch 2", "epoch 3", "pgd2", "clean"]
    assert sweep.of(b)[4:] == ["pgd2", "clean"]
    assert_as_undisturbed(sweep)
