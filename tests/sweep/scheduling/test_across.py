"""The matrix of a transferred attack: every pair of trials, each cell once, whoever joins later and
whatever is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.data import Digits
from kdray.results import Results
from kdray.sweep.definition.file import Suite
from kdray.sweep.evaluate import load_suite
from kdray.sweep.inventory.across import images
from kdray.sweep.plan import plan
from tests.sweep.fakes import Engine, go, sweep_of
from tests.sweep.test_evaluate import measure, students, suite_file

TRANSFER: dict[str, Any] = {
    "name": "transfer",
    "attack": {"name": "fgsm", "epsilon": 0.1},
    "examples": 20,
}
WITH_TRANSFER = {"evaluate.suite": [{"name": "clean", "split": "val"}, TRANSFER]}


@pytest.fixture
def transfer(tmp_path: Path) -> Suite:
    return load_suite(suite_file(tmp_path, [TRANSFER]))


def matrix(results: Path) -> pd.DataFrame:
    numbers = Results(results).robustness()
    return numbers[numbers["label"] == "transfer"].pivot(
        index="source_trial_id", columns="trial_id", values="value"
    )


def trained(results: Path) -> set[str]:
    return set(Results(results).trials()["trial_id"])


def test_a_sweep_ends_with_the_matrix_of_what_it_measures(engine: Engine, tmp_path: Path) -> None:
    assert go(tmp_path / "r", WITH_TRANSFER).exit_status == 0
    found = matrix(tmp_path / "r")
    assert found.notna().all(axis=None)
    teacher = set(found.index) - set(students(tmp_path / "r"))
    assert (len(found), set(found.columns), len(teacher)) == (5, set(found.index), 1), (
        "4 students, the chosen teacher"
    )
    engine.ran.clear()
    assert go(tmp_path / "r", WITH_TRANSFER).ran == set()
    assert engine.ran == []
    assert plan(sweep_of(WITH_TRANSFER), tmp_path / "r").across == 0
    again = {"evaluate.suite": [{**TRANSFER, "seed": 1}]}
    assert plan(sweep_of(again), tmp_path / "r").across == 5


def test_roles_leave_others_out(engine: Engine, tmp_path: Path) -> None:
    go(tmp_path / "r", WITH_TRANSFER, {"evaluate.roles": ["student"]})
    assert set(matrix(tmp_path / "r").index) == set(students(tmp_path / "r"))


def test_afterwards_over_any_set_of_trials_and_whoever_joins_adds_its_cells(
    engine: Engine, finished: Path, transfer: Suite
) -> None:
    some = students(finished)[:2]
    assert measure(finished, transfer, trials=some).exit_status == 0
    before = matrix(finished)
    assert set(before.index) == set(before.columns) == set(some)
    engine.ran.clear()
    measure(finished, transfer)
    after = matrix(finished)
    assert set(after.index) == set(after.columns) == trained(finished)
    assert after.notna().all(axis=None)
    assert after.loc[some, some].equals(before.loc[some, some])
    tried = {a.trial_id: {other.trial_id for other in a.task.others} for a in engine.ran}
    assert all(tried[trial_id].isdisjoint(some) for trial_id in some), "their cells are there"
    assert engine.trained == []
    assert measure(finished, transfer).ran == set()


def test_a_target_without_weights_fails_in_its_cells_only_and_is_tried_again(
    engine: Engine, finished: Path, transfer: Suite
) -> None:
    lost, *others = sorted(trained(finished))
    weights = finished / "weights" / f"{lost}.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    summary = measure(finished, transfer)
    assert (summary.exit_status, lost in summary.failures) == (1, True)
    found = matrix(finished)
    assert found.loc[others, others].notna().all(axis=None)
    assert found[lost].isna().all()
    weights.write_bytes(kept)
    assert measure(finished, transfer).exit_status == 0
    assert matrix(finished).notna().all(axis=None)
    assert engine.trained == []


def test_a_failure_of_the_evaluation_itself_is_tried_again_only_if_asked_to(
    engine: Engine, finished: Path, transfer: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot be measured")

    with monkeypatch.context() as broken:
        broken.setattr("kdray.robustness.transfer.Transfer.measure", refuse)
        summary = measure(finished, transfer)
    assert set(map(str, summary.failures.values())) == {
        "transfer: RuntimeError: cannot be measured"
    }
    engine.ran.clear()
    again = measure(finished, transfer)
    assert (again.ran, set(again.failures), engine.ran) == (set(), trained(finished), [])


def test_trials_on_other_images_do_not_meet(engine: Engine, tmp_path: Path) -> None:
    resized = {
        "experiment.data.resize": {"grid": [8, 10]},
        "experiment.data.augment": {"grid": ["none", "flip"]},
    }
    go(
        tmp_path / "r",
        WITH_TRANSFER,
        resized,
        {"seeds": 1, "evaluate.roles": ["student"], "experiment.noise": {}},
    )
    found, shapes = (
        matrix(tmp_path / "r"),
        Results(tmp_path / "r").trials().set_index("trial_id")["data.resize"],
    )
    assert len(found) == 4
    for source, row in found.iterrows():
        assert set(row.dropna().index) == {i for i in found.index if shapes[i] == shapes[source]}


def test_it_is_no_objective_and_no_look() -> None:
    on_val = {"evaluate.suite": [{**TRANSFER, "split": "val"}]}
    with pytest.raises(InputError, match="transfer gives no 'accuracy'"):
        sweep_of(on_val, {"objective": {"metric": "transfer.accuracy"}})
    with pytest.raises(InputError, match="transfer compares trials"):
        sweep_of({"experiment.training.monitor": {"suite": [{**TRANSFER, "split": "val"}]}})


def test_another_evaluation_measures_no_cell_of_the_first_again(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    two = load_suite(suite_file(tmp_path, [TRANSFER, {**TRANSFER, "label": "second", "seed": 1}]))
    measure(finished, load_suite(suite_file(tmp_path, [TRANSFER])), trials=students(finished))
    engine.ran.clear()
    measure(finished, two)
    first = [a for a in engine.ran if a.task.evaluations[0].label is None]
    cells = sum(len(a.task.others) for a in first)
    assert cells == 6 * 6 - 4 * 4, "those of the four are there"
    assert all(len(a.task.evaluations) == 1 for a in engine.ran)


@pytest.mark.parametrize("lose", ["one", "all"])
def test_a_sweep_trains_lost_weights_again_before_it_measures_across(
    engine: Engine, tmp_path: Path, lose: str
) -> None:
    go(tmp_path / "r", WITH_TRANSFER)
    weights = sorted((tmp_path / "r" / "weights").glob("*.safetensors"))
    lost = [path for path in weights if path.stem in students(tmp_path / "r")][
        : 1 if lose == "one" else None
    ]
    for path in lost:
        path.unlink()
    engine.ran.clear()
    again = {"evaluate.suite": [WITH_TRANSFER["evaluate.suite"][0], {**TRANSFER, "seed": 1}]}
    assert go(tmp_path / "r", again).exit_status == 0
    assert sorted(engine.trained) == sorted(path.stem for path in lost)
    assert Results(tmp_path / "r").robustness()["error"].isna().all()


def test_a_failure_before_is_not_forgotten_when_it_can_be_measured_across(
    engine: Engine, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot be measured")

    both = load_suite(suite_file(tmp_path, [{"name": "gaussian_noise", "sigmas": [0.1]}, TRANSFER]))
    monkeypatch.setattr("kdray.robustness.gaussian_noise.GaussianNoise.measure", refuse)
    summary = measure(finished, both)
    assert (summary.exit_status, len(summary.failures)) == (1, 6)
    assert set(map(str, summary.failures.values())) == {
        "gaussian_noise: RuntimeError: cannot be measured"
    }


def test_images_are_told_apart_by_what_is_no_matter_of_training() -> None:
    base = Digits()
    for change in ({"augment": "flip"}, {"normalization": "gcn"}, {"omit_classes": (3,)}):
        assert images(base.model_copy(update=change)) == images(base)
    for change in ({"resize": 10}, {"channels": 3}, {"pad": 2}, {"examples": 100}):
        assert images(base.model_copy(update=change)) != images(base)
