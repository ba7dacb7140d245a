"""Each figure gets the right rows: of its sweep, trained, on one data set, under one attack."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from kdray.core import InputError
from kdray.report import Snapshot, attack_text, attacks, under_pgd
from kdray.report.papers.attacks import attack_name, attack_names, left_out_text
from tests.analysis.rows import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "results")


def test_students_of_a_sweep_in_its_order_with_what_was_swept(folder: Folder) -> None:
    for seed in (1, 0):
        folder.trial(
            "s",
            1,
            seed,
            case="noisy",
            swept={"noise.input.sigma": 0.5, "supervision.noise.0.sigma": 0.1},
        )
        folder.trial("s", 0, seed, case="plain", swept={"noise.input.sigma": 0})
        folder.trial("s", 2, seed, case="set", noise__input__sigma=0.3)
        folder.trial("other", 0, seed)
    folder.trial("s", 3, 0, outcome="pruned")
    folder.trial("s", 0, 0, role="teacher")
    snapshot = Snapshot(folder.written())
    found = snapshot.students("s")
    assert found["case"].tolist() == ["plain", "plain", "noisy", "noisy", "set", "set"]
    assert found["noise.input.sigma"].tolist() == [0, 0, 0.5, 0.5, 0.3, 0.3]
    assert found["supervision.noise.0.sigma"].isna().tolist() == [
        True,
        True,
        False,
        False,
        True,
        True,
    ]
    assert found["seed"].tolist() == [1, 0, 1, 0, 1, 0]
    assert snapshot.sweeps == ["other", "s"]
    assert len(snapshot.teachers("s")) == 1
    assert snapshot.teachers("other").empty
    assert snapshot.all_students()["sweep"].value_counts().to_dict() == {"s": 6, "other": 2}


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_whoever_is_trained_counts_also_where_an_evaluation_failed_or_elsewhere(
    role: str, folder: Folder
) -> None:
    folder.trial("s", 0, 0, role=role)
    folder.trial("s", 1, 0, role=role, outcome="failed")
    folder.trial("s", 2, 0, role=role, status="imported")
    folder.trial("s", 3, 0, role=role, outcome="failed", status="failed")
    folder.trial("s", 4, 0, role=role, outcome="not needed")
    found = Snapshot(folder.written()).trained("s", role)
    assert found["trial_id"].tolist() == [f"s-{role}-{point}-0" for point in range(3)]


def test_teachers_of_one_experiment_are_of_one_point(folder: Folder) -> None:
    made = [
        {"model": {"name": "mlp"}},
        {"model": {"name": "mlp"}, "seed": 1},
        {"model": {"name": "mlp", "version": 2}},
        {"model": {"name": "mlp"}, "teacher": {"seed": 0}},
        {"model": {"name": "mlp"}, "teacher": {"seed": 1}, "seed": 1},
        {"weights": "sha256:1"},
        {"weights": "sha256:2"},
    ]
    for number, experiment in enumerate(made):
        folder.trial("s", number, 0, role="teacher", experiment=json.dumps(experiment))
    teachers = Snapshot(folder.written()).teachers("s")
    assert teachers["point"].tolist() == [0, 0, 1, 2, 2, 3, 4]


def test_no_students_and_several_data_sets_are_refused_by_name(folder: Folder) -> None:
    folder.trial("s", 0, 0)
    folder.trial("s", 1, 0, data__name="mnist")
    snapshot = Snapshot(folder.written())
    with pytest.raises(InputError, match=r"absent"):
        snapshot.students("absent")
    with pytest.raises(InputError, match=r"cifar10, mnist"):
        snapshot.students("s")


def test_measured_numbers_come_with_the_trial_and_without_those_of_training_or_other_splits(
    folder: Folder,
) -> None:
    trial = folder.trial("s", 0, 3)
    folder.number(trial, "clean", "clean", 0.9)
    folder.number(trial, "clean", "clean", 0.1, split="val")
    folder.number(trial, "clean", "clean", 0.2, epoch=3)
    folder.number(trial, "clean", "clean", 0.3, error="it failed")
    snapshot = Snapshot(folder.written())
    found = snapshot.measured(snapshot.students("s"), evaluation="clean")
    assert found[["seed", "value"]].to_numpy().tolist() == [[3, 0.9]]
    assert snapshot.measured(snapshot.students("s"), evaluation="clean", metric="ece").empty


def test_of_several_attacks_the_one_on_most_models_counts_at_its_strongest_step_size(
    folder: Folder,
) -> None:
    for seed in range(2):
        trial = folder.trial("s", 0, seed)
        folder.pgd(trial, 0.4, 1 / 255)
        folder.pgd(trial, 0.3 + 0.2 * seed, 2 / 255)
        folder.number(
            trial,
            "transfer",
            "pgd",
            0.0,
            norm="linf",
            epsilon=8 / 255,
            steps=20,
            restarts=5,
            source_trial_id="t",
        )
        folder.number(
            trial,
            "smooth",
            "pgd",
            0.0,
            norm="linf",
            epsilon=8 / 255,
            steps=20,
            restarts=5,
            evaluation_parameters='{"smoothing": {}}',
        )
    folder.number(
        trial, "large", "pgd", 0.0, norm="l2", epsilon=0.5, step_size=0.1, steps=7, restarts=1
    )
    snapshot = Snapshot(folder.written())
    students = snapshot.students("s")
    first, second = attacks(snapshot, students)
    assert first["value"].tolist() == [0.3, 0.4]
    assert under_pgd(snapshot, students)["value"].tolist() == [0.3, 0.4]
    assert (
        attack_text(first) == "PGD-20, ℓ∞, ε = 8/255, step size 1/255 or 2/255, worst of 5 starts"
    )
    assert attack_name(second) == "PGD-7, ℓ2, ε = 0.5"
    assert attack_text(second).endswith("step size 0.1, one start")
    assert under_pgd(snapshot, students.head(0)).empty


def test_only_step_sizes_that_all_models_have_are_compared(folder: Folder) -> None:
    for seed in range(2):
        folder.pgd(folder.trial("s", 0, seed), 0.5, 2 / 255)
    folder.pgd(folder.trials[0]["trial_id"], 0.3, 1 / 255, "small")
    snapshot = Snapshot(folder.written())
    (rows,) = attacks(snapshot, snapshot.students("s"))
    assert rows["value"].tolist() == [0.5, 0.5]
    assert attack_text(rows).endswith("(left out: step size 1/255, of some models only)")
    assert left_out_text([rows]) == (
        " Left out of PGD-20, ℓ∞, ε = 8/255: step size 1/255, of some models only."
    )
    assert left_out_text([]) == ""


def test_step_sizes_that_no_models_share_are_attacks_of_their_own(folder: Folder) -> None:
    for seed in range(2):
        folder.pgd(folder.trial("s", 0, seed), 0.5, (seed + 1) / 255)
    snapshot = Snapshot(folder.written())
    found = attacks(snapshot, snapshot.students("s"))
    assert [rows["step_size"].tolist() for rows in found] == [[1 / 255], [2 / 255]]
    assert attack_names(found) == [
        f"PGD-20, ℓ∞, ε = 8/255, step size {size}/255" for size in (1, 2)
    ]


def test_attacks_that_share_a_name_are_told_apart_in_it(folder: Folder) -> None:
    """By what they differ in, and no more."""
    given = (1, 2, 20), (5, 1, 20), (5, 2, 20), (1, 2, 7)
    trial = folder.trial("s", 0, 0)
    for number, (restarts, size, steps) in enumerate(given):
        how = {"step_size": size / 255, "steps": steps, "restarts": restarts}
        folder.number(trial, f"pgd{number}", "pgd", 0.3, norm="linf", epsilon=8 / 255, **how)
    snapshot = Snapshot(folder.written())
    found = attacks(snapshot, snapshot.students("s"))
    assert sorted(attack_names(found)) == [
        "PGD-20, ℓ∞, ε = 8/255, restarts 1",
        "PGD-20, ℓ∞, ε = 8/255, restarts 5",
        "PGD-7, ℓ∞, ε = 8/255",
    ]
    (several,) = [rows for rows in found if rows["restarts"].iloc[0] == 5]
    assert "step size 1/255 or 2/255," in attack_text(several)


def test_a_model_that_stands_in_two_groups_is_attacked_in_both(folder: Folder) -> None:
    folder.pgd(folder.trial("s", 0, 0), 0.4)
    snapshot = Snapshot(folder.written())
    students = snapshot.students("s")
    twice = pd.concat([students.assign(group="a"), students.assign(group="b")])
    assert under_pgd(snapshot, twice)["group"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"examples": 10_000}, {"examples": 100}),
        ({"dataset": "cifar10"}, {"dataset": "cinic10"}),
        ({"samples": 1}, {"samples": 10}),
        ({"restarts": 1}, {"restarts": 5}),
        ({"evaluation_parameters": "{}"}, {"evaluation_parameters": '{"loss": "margin"}'}),
        ({"evaluation_parameters": '{"repeats": 1}'}, {"evaluation_parameters": '{"repeats": 8}'}),
        ({"evaluation_parameters": "{}"}, {"evaluation_parameters": '{"seed": 1}'}),
        ({"evaluation_parameters": "{}"}, {"evaluation_parameters": '{"version": 2}'}),
    ],
)
def test_attacks_of_other_images_or_another_kind_are_not_one(
    folder: Folder, one: dict, other: dict
) -> None:
    how = {"norm": "linf", "epsilon": 8 / 255, "step_size": 2 / 255, "steps": 20, "restarts": 5}
    for seed in range(2):
        trial = folder.trial("s", 0, seed)
        for number, fields in enumerate((one, other)):
            folder.number(
                trial, f"pgd{number}", "pgd", 0.3 + 0.1 * abs(seed - number), **{**how, **fields}
            )
    snapshot = Snapshot(folder.written())
    found = attacks(snapshot, snapshot.students("s"))
    assert sorted(rows["value"].tolist() for rows in found) == [[0.3, 0.4], [0.4, 0.3]]
    assert len(set(attack_names(found))) == 2


def test_the_name_of_an_attack_says_of_how_many_images_and_what_is_unusual(folder: Folder) -> None:
    folder.number(
        folder.trial("s", 0, 0),
        "pgd",
        "pgd",
        0.3,
        norm="linf",
        epsilon=8 / 255,
        step_size=2 / 255,
        steps=20,
        restarts=1,
        examples=1000,
        samples=10,
        evaluation_parameters='{"loss": "margin"}',
    )
    snapshot = Snapshot(folder.written())
    (rows,) = attacks(snapshot, snapshot.students("s"))
    assert (
        attack_name(rows)
        == "PGD-20, ℓ∞, ε = 8/255, 1000 images, 10 samples of each gradient, loss margin"
    )


def test_autoattack_is_named_by_what_it_was(folder: Folder) -> None:
    trial = folder.trial("s", 0, 0)
    how = {"norm": "l2", "epsilon": 0.5, "examples": 200}
    told = '{"name": "autoattack", "norm": "l2", "epsilon": 0.5, "steps": 50}'
    folder.number(trial, "aa", "autoattack", 0.2, evaluation_parameters=told, **how)
    snapshot = Snapshot(folder.written())
    rows = snapshot.measured(snapshot.students("s"), evaluation="autoattack")
    assert attack_name(rows) == "AutoAttack, ℓ2, ε = 0.5, 200 images, steps 50"
    unknown = {"norm": None, "epsilon": None, "examples": None, "evaluation_parameters": "{}"}
    assert attack_name(rows.assign(**unknown)) == "AutoAttack"


def test_a_swept_list_is_its_text_in_every_row(folder: Folder) -> None:
    folder.trial(
        "s",
        0,
        0,
        swept={"data.omit_classes": [1, 2], "supervision.noise": [{"sigma": 1, "name": "g"}]},
    )
    folder.trial(
        "s",
        1,
        0,
        case="set",
        data__omit_classes="[1, 2]",
        supervision__noise='[{"name": "g", "sigma": 1}]',
    )
    found = Snapshot(folder.written()).students("s")
    for path in ("data.omit_classes", "supervision.noise"):
        assert found.groupby(path).size().tolist() == [2]


def test_a_teacher_of_two_cases_is_one_seed(folder: Folder) -> None:
    folder.trial("s", 0, 0)
    for case in ("a", "b"):
        folder.trial("s", 0, 7, role="teacher", case=case)
    folder.trials.pop()
    snapshot = Snapshot(folder.written())
    assert snapshot.teachers("s")["trial_id"].tolist() == ["s-teacher-0-7"]
