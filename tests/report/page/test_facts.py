"""What was run and on what, as the trials' own columns have it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kdray.report.page.facts import facts
from kdray.report.page.summary import summary
from kdray.results.points.objective import Objective
from tests.report.page.small import SIGMA, START, Small


def test_data_trials_models_methods_and_epochs(tmp_path: Path) -> None:
    made = Small(tmp_path)
    how = {"model__width": 2, "parameters": 1210, "data__examples": 300}
    made.point(0, [0.9, 0.8], {SIGMA: 0.1}, method__temperature=2.0, **how)
    made.point(1, [0.9, 0.8], {SIGMA: 0.2}, method__temperature=8.0, **how)
    made.trial(None, 0, 0.9, model__width=10, parameters=99_000)
    found = dict(facts(made.group()))
    assert found["Sweep"] == "s"
    assert found["Data"] == "digits (8 × 8, scikit-learn), 300 images of all splits"
    assert found["Trials"] == "4 students, 1 teacher"
    assert found["Student model"] == "mlp (width 2; 1,210 parameters)"
    assert found["Teacher model"] == "mlp (width 10; 99,000 parameters)"
    assert found["Method"] == "kd (temperature 2 and 8)"
    assert found["Epochs"] == "3"
    assert found["Objective"] == "val_accuracy (higher is better)"


def test_several_kinds_have_their_own_settings_and_a_range_of_sizes(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], {SIGMA: 0.1}, method__temperature=2.0, parameters=100)
    made.point(1, [0.9], {SIGMA: 0.2}, method__name="margin", method__gamma=0.5, parameters=2000)
    found = dict(facts(made.group()))
    assert found["Method"] == "kd (temperature 2), and margin (gamma 0.5)"
    assert found["Student model"] == "mlp (100 to 2,000 parameters)"
    assert "Teacher model" not in found


@pytest.mark.parametrize(
    ("select", "accuracies", "text"),
    [
        ("best_validation", [0.9, 0.8, 0.7], "the best of 3 on the validation split"),
        (
            "best_validation",
            [0.9, None, 0.7],
            "the best on the validation split of 2 that completed, of 3",
        ),
        ("best_test", [0.9, 0.8], "the best of 2 on the test split"),
        ("each", [0.9, 0.8], "for each student the one of its seed"),
        ("best_validation", [0.9], None),
    ],
)
def test_among_how_many_a_teacher_was_chosen(
    tmp_path: Path, select: str, accuracies: list[float | None], text: str | None
) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9, 0.8], {SIGMA: 0.1}, teachers=(select, accuracies))
    for seed, accuracy in enumerate(accuracies):
        made.trial(None, seed, accuracy, status="diverged" if accuracy is None else "completed")
    group = made.group()
    assert dict(facts(group)).get("Teacher of a student") == text
    completed = sum(each is not None for each in accuracies)
    assert f"taught by {completed} trained teacher" in summary(group, "", [], [], [])[0]


def test_every_objective_and_constraint_is_named_with_its_direction(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.aim(Objective(), Objective(metric="macs", mode="min"), constraints=("macs <= 10",))
    made.point(0, [0.9])
    assert dict(facts(made.group()))["Objective"] == (
        "val_accuracy (higher is better), macs (lower is better) and macs <= 10"
    )


def test_hardware_is_the_gpu_or_the_processor_each_once(tmp_path: Path) -> None:
    made = Small(tmp_path)
    how = {"kdray_version": "0.1", "torch_version": "2.9", "git_commit": "0123456789abcdef"}
    made.point(0, [0.9, 0.8], device="cpu", cpu="Ryzen", host="one", **how)
    made.point(1, [0.9], device="H100", cpu="Xeon", host="two", **how)
    found = dict(facts(made.group()))
    assert found["Hardware"] == "Ryzen (CPU) and H100"
    assert found["Hosts"] == "one and two"
    assert found["Versions"] == "kdray 0.1, PyTorch 2.9"
    assert found["Source (git commit)"] == "0123456789ab"


def test_times_are_from_the_first_start_to_the_last_end(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for seed, seconds in enumerate((10.0, 20.0, 90.0)):
        made.trial(0, seed, 0.9, train_seconds=seconds, finished_at=START + timedelta(hours=seed))
    found = dict(facts(made.group()))
    assert found["When"] == (
        "2026-05-01 12:00 to 2026-05-01 14:00 UTC (2 h 00 min on the clock, pauses included)"
    )
    assert found["Training time"] == (
        "2 min 00 s in all trials together; a trial takes 20 s (median)"
    )


def test_each_machine_has_a_training_time_of_its_own(tmp_path: Path) -> None:
    made = Small(tmp_path)
    slow = {"device": "cpu", "cpu": "Atom", "threads": 1}
    fast = {"device": "NVIDIA H200", "cpu": "Xeon", "threads": 8}
    for seed, (seconds, machine) in enumerate([(90.0, slow), (10.0, fast), (20.0, fast)]):
        made.trial(0, seed, 0.9, train_seconds=seconds, **machine)
    assert dict(facts(made.group()))["Training time"] == (
        "2 min 00 s in all trials together; a trial takes (median) 15 s on NVIDIA H200, Xeon, "
        "8 threads (2 trials); 1 min 30 s on Atom, 1 thread (1 trial)"
    )
    made.trial(0, 3, 0.9, train_seconds=60.0)
    made.path = tmp_path / "more"
    assert dict(facts(made.group()))["Training time"].endswith("; 1 min 00 s elsewhere (1 trial)")


def test_times_of_machines_that_nobody_stored_are_as_of_one(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.trial(0, 0, 0.9, train_seconds=10.0, device="cpu", cpu="Atom", threads=1)
    made.trial(0, 1, 0.9, train_seconds=20.0)
    assert dict(facts(made.group()))["Training time"].endswith("a trial takes 15 s (median)")


def test_more_values_than_six_are_cut(tmp_path: Path) -> None:
    made = Small(tmp_path)
    for point in range(8):
        made.point(point, [0.9], {SIGMA: point / 10}, host=f"h{point}")
    assert dict(facts(made.group()))["Hosts"] == "h0, h1, h2, h3, h4 and 3 more"


def test_what_was_not_stored_is_not_invented(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9], started_at=None, finished_at=None)
    found = dict(facts(made.group()))
    assert found["Versions"] == "not stored"
    assert found["Hardware"] == found["Hosts"] == "–"
    assert not {"When", "Training time"} & set(found)


def test_trials_without_a_row_have_no_facts(tmp_path: Path) -> None:
    done = Small(tmp_path, "done")
    done.point(0, [0.9])
    done.written()
    made = Small(tmp_path)
    made.trial(0, 0, None, status=None)
    assert facts(made.group()) == []


def test_where_the_device_differs_is_said_by_points(tmp_path: Path) -> None:
    made = Small(tmp_path)
    made.point(0, [0.9, 0.8], device="NVIDIA H200", cpu="AMD")
    made.point(1, [0.9, 0.8], {SIGMA: 0.1}, device="NVIDIA L4", cpu="AMD")
    assert dict(facts(made.group()))["Devices"] == (
        "NVIDIA H200: 2 trials, points 0; NVIDIA L4: 2 trials, points 1. Equal seeds are paired on "
        "one kind only"
    )
    alike = Small(tmp_path / "alike")
    alike.point(0, [0.9, 0.8], device="cpu", cpu="AMD")
    assert "Devices" not in dict(facts(alike.group()))
