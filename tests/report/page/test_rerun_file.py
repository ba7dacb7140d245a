"""The sweep file that stands beside a trial repeats that trial: the same id, taught by the same
teacher, measured alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kdray.core import fingerprint
from kdray.report.page.group import groups
from kdray.report.page.rerun_file import rerun_blocks
from kdray.report.page.trials import details
from kdray.sweep.definition.read import load_sweep
from tests.report.synthetic import Made, write_made


@pytest.mark.parametrize(
    "made",
    [
        Made(points=4, seeds=2, epochs=3),
        Made(points=2, seeds=2, epochs=3, teacher=False, robustness=False),
    ],
)
def test_every_trial_is_repeated_by_its_file(tmp_path: Path, made: Made) -> None:
    results = write_made(tmp_path / "results", made).snapshot()
    held = details(groups(results))
    measured = results.robustness().groupby("trial_id")["evaluation_id"].unique()
    for trial_id, trial in held["trials"].items():
        file = tmp_path / "again.yaml"
        file.write_text(
            "".join(held["texts"][number] for number in trial["file"]), encoding="utf-8"
        )
        sweep = load_sweep(file)
        (point,) = sweep.grid()
        teachers = {each.trial_id: each for each in sweep.candidates(point)}
        assert trial.get("teacher") in (*teachers, None)
        again = sweep.student(point, trial["seed"], teachers.get(trial.get("teacher", "")))
        assert again.trial_id == trial_id
        assert {fingerprint(each) for each in sweep.suite("student")} == set(
            measured.get(trial_id, [])
        )
        assert sweep.file.seeds == (trial["seed"],)


def test_a_teacher_of_a_teacher_is_trained_with_its_own_seed() -> None:
    described = {"data": {"name": "digits"}, "training": {}, "seed": 2}
    experiment = {**described, "teacher": {**described, "seed": 3}}
    row = {"trial_id": "x", "experiment": json.dumps(experiment)}
    file = yaml.safe_load("".join(rerun_blocks(row, None, [])))
    assert file["seeds"] == [2]
    assert file["experiment"]["teacher"]["seeds"] == [3]
