"""Teachers from outside in a sweep file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kdray.core import InputError
from kdray.models import MLP
from kdray.sweep.definition.read import load_sweep, sweep_from
from kdray.sweep.definition.trials import Sweep
from kdray.teachers import Pretrained
from kdray.trials.experiment import Experiment

DATA = {"name": "digits", "examples": 300}
THEIRS: dict[str, Any] = {"weights": "nets/theirs.pt", "model": {"name": "mlp", "hidden": [16]}}
FILE: dict[str, Any] = {
    "name": "outside",
    "seeds": 2,
    "experiment": {
        "data": DATA,
        "model": {"name": "mlp", "hidden": [8]},
        "teacher": THEIRS,
        "method": {"name": "kd"},
        "training": {"epochs": 1},
    },
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    (tmp_path / "nets").mkdir()
    for number, name in enumerate(("theirs", "other")):
        torch.manual_seed(number)
        network = MLP(hidden=(16,)).build((1, 8, 8), 10)
        torch.save(network.state_dict(), tmp_path / "nets" / f"{name}.pt")
    return tmp_path


def loaded(folder: Path, teacher: Any, **fields: Any) -> Sweep:
    tree = copy.deepcopy(FILE) | fields
    tree["experiment"]["teacher"] = teacher
    (folder / "sweep.yaml").write_text(yaml.safe_dump(tree))
    return load_sweep(folder / "sweep.yaml")


def students(sweep: Sweep) -> list[Experiment]:
    return [
        sweep.student(point, seed, sweep.candidates(point)[0])
        for point in sweep.grid()
        for seed in range(2)
    ]


def test_a_relative_path_is_below_the_sweep_file(files: Path) -> None:
    (teacher,) = loaded(files, THEIRS).teachers()
    assert isinstance(teacher, Pretrained)
    absolute = {**THEIRS, "weights": str(files / "nets/theirs.pt")}
    assert list(loaded(files, absolute).teachers()) == [teacher]


def test_it_takes_the_data_of_its_student_and_nothing_else(files: Path) -> None:
    sweep = loaded(files, THEIRS)
    (teacher,) = sweep.teachers()
    assert teacher.data == students(sweep)[0].data
    assert len({student.trial_id for student in students(sweep)}) == 2


def test_several_files_are_a_sweep_over_teachers(files: Path) -> None:
    paths = {"grid": ["nets/theirs.pt", "nets/other.pt"]}
    sweep = loaded(files, {**THEIRS, "weights": paths})
    assert len(list(sweep.teachers())) == 2
    points = list(sweep.grid())
    assert [point.values for point in points] == [
        {"teacher.weights": "nets/theirs.pt"},
        {"teacher.weights": "nets/other.pt"},
    ]
    assert len({student.trial_id for student in students(sweep)}) == 4


def test_whole_teachers_are_mixed_with_those_that_are_trained(files: Path) -> None:
    ours = {"model": {"name": "mlp", "hidden": [32]}, "seeds": 3}
    other = {**THEIRS, "weights": "nets/other.pt", "normalization": {"mean": [0.5], "std": [0.2]}}
    sweep = loaded(files, {"grid": [THEIRS, other, ours]})
    assert [point.values["teacher"] for point in sweep.grid()] == ["theirs", "other", "mlp"]
    assert [len(sweep.candidates(point)) for point in sweep.grid()] == [1, 1, 3]


def test_teachers_of_a_list_are_chosen_alike(files: Path) -> None:
    ours = [{"model": {"name": "mlp", "hidden": [n]}, "seeds": n} for n in (2, 3)]
    with pytest.raises(InputError, match="are all chosen alike"):
        loaded(files, {"grid": ours})


def test_the_teacher_of_a_teacher_may_come_from_outside(files: Path) -> None:
    ours = {"model": {"name": "mlp"}, "teacher": THEIRS, "method": {"name": "kd"}}
    (teacher,) = loaded(files, ours).teachers()
    assert isinstance(teacher.teacher, Pretrained)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({**THEIRS, "weights": "absent.pt"}, r"teacher\.weights: .*absent\.pt: cannot be read"),
        ({**THEIRS, "weights": 3}, r"teacher\.weights: needs the path of a file, not 3"),
        ({**THEIRS, "model": {"name": "cnn"}}, r"teacher\.weights: .*does not fit cnn"),
        ({**THEIRS, "seeds": 3}, r"teacher\.seeds: a teacher that was trained elsewhere is one"),
        ({**THEIRS, "training": {"epochs": 1}}, r"teacher\.training: unknown key"),
        ({**THEIRS, "normalisation": "none"}, "did you mean 'normalization'"),
        ({"weights": "nets/theirs.pt"}, r"teacher\.model: is required"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    files: Path, teacher: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        loaded(files, teacher)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_broken_in_a_list_is_told_with_its_place(files: Path) -> None:
    (files / "nets/other.pt").write_text("<html>")
    with pytest.raises(InputError, match=r"web page.*nets/other\.pt"):
        loaded(files, {**THEIRS, "weights": {"grid": ["nets/theirs.pt", "nets/other.pt"]}})


def test_a_digest_stands_for_weights_that_the_results_hold(files: Path) -> None:
    sweep = loaded(files, THEIRS)
    (teacher,) = sweep.teachers()
    assert isinstance(teacher, Pretrained)
    again = loaded(files, {**THEIRS, "weights": teacher.weights})
    assert list(again.teachers()) == [teacher]
    assert sweep.weights.packed(teacher) is not None
    assert again.weights.packed(teacher) is None


def test_what_is_stored_is_written_as_the_file_has_it(files: Path) -> None:
    sweep = loaded(files, THEIRS)
    stored = students(sweep)[0].model_dump(mode="json")
    assert sweep.weights.with_paths(stored)["teacher"]["weights"] == "nets/theirs.pt"


def test_smoke_trains_a_small_teacher_in_its_place() -> None:
    tree = copy.deepcopy(FILE)
    tree["experiment"]["teacher"] = {
        "grid": [{**THEIRS, "weights": "absent.pt"}, {"model": {"name": "cnn"}}]
    }
    teachers = list(sweep_from(tree, smoke=True).teachers())
    assert [teacher.model.name for teacher in teachers] == ["mlp", "cnn"]
    assert all(isinstance(teacher, Experiment) for teacher in teachers)
