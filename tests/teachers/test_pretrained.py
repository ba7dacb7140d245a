"""A teacher that was trained elsewhere, from its file to its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kdray.core import InputError, canonical
from kdray.machine.checked_file import unpack
from kdray.models import Standardize
from kdray.results import Results, Store
from kdray.teachers import Pretrained
from kdray.teachers.pretrained import ImportedWeights, read_pretrained
from kdray.trials.experiment import Experiment, parse_trial, stored_experiment
from kdray.trials.files import weights_file
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Outcome, Task
from kdray.trials.trained import TrainedModels
from tests.small_trials import CPU, NOWHERE, description, untrained
from tests.small_trials import experiment as small

DATA = {"name": "digits", "examples": 300}
MODEL = {"name": "mlp", "hidden": [16]}
CHANNELS = {"mean": [0.5], "std": [0.25]}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.pt"
    torch.save({"state_dict": untrained(small()).network.state_dict()}, path)
    return path


def read(path: Path, **fields: Any) -> ImportedWeights:
    return read_pretrained({"data": DATA, "model": MODEL, **fields}, path)


def test_its_identity_is_its_content_and_not_its_place(weights: Path, tmp_path: Path) -> None:
    first = read(weights).pretrained
    moved = tmp_path / "elsewhere.pth"
    torch.save(torch.load(weights, weights_only=True)["state_dict"], moved)
    assert read(moved).pretrained == first
    assert str(weights) not in str(canonical(first))
    tensors = torch.load(weights, weights_only=True)["state_dict"]
    tensors["head.bias"] += 1e-6
    torch.save(tensors, moved)
    others = [
        read(moved).pretrained,
        read(weights, normalization=CHANNELS).pretrained,
        read(weights, data={**DATA, "examples": 400}).pretrained,
    ]
    assert len({first.trial_id, *(other.trial_id for other in others)}) == 4


def test_what_is_done_for_a_training_only_is_no_part_of_it(weights: Path) -> None:
    trained = {**DATA, "augment": "crop_flip", "normalization": "gcn", "omit_classes": [3]}
    assert read(weights, data=trained).pretrained == read(weights).pretrained


def test_a_student_tells_it_by_its_digest(weights: Path) -> None:
    pretrained = read(weights).pretrained
    student = Experiment.parse(
        description(teacher=canonical(pretrained), method={"name": "kd"}, data=DATA)
    )
    assert student.teacher == pretrained
    again = stored_experiment(student.model_dump_json(), student.trial_id, "it")
    assert again == student
    assert parse_trial(canonical(pretrained)) == pretrained


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": {"name": "mlp", "hidden": [8]}}, "does not fit mlp .*8.* of 10 classes"),
        ({"model": {"name": "mpl"}}, "model: unknown name 'mpl', did you mean 'mlp'"),
        ({"normalization": {"mean": [0.5]}}, r"normalization\.std: is required"),
        ({"normalization": {"mean": [1, 2], "std": [1, 1]}}, "has 2 numbers for 1 channels"),
        ({"normalization": {"mean": [1], "std": [0]}}, r"normalization\.std"),
        ({"training": {}}, "training: unknown key"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    fields: dict[str, Any], message: str, weights: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read(weights, **fields)


def test_its_first_layer_is_its_own_normalisation(weights: Path) -> None:
    layer = read(weights, normalization=CHANNELS).pretrained.normalizer()
    assert isinstance(layer, Standardize)
    torch.testing.assert_close(layer(torch.ones(1, 1, 2, 2)), torch.full((1, 1, 2, 2), 2.0))


def test_a_file_that_changes_before_it_is_stored_is_refused(weights: Path) -> None:
    imported = read(weights)
    tensors: dict[str, Tensor] = torch.load(weights, weights_only=True)["state_dict"]
    tensors["head.bias"] += 1
    torch.save(tensors, weights)
    with pytest.raises(InputError, match="has changed since it was read"):
        imported.packed()


def imported_in(store: Store, imported: ImportedWeights) -> Ended:
    store.create()
    store.write(weights_file(imported.pretrained.trial_id), imported.packed())
    task = Task(role="teacher", experiment=imported.pretrained)
    *_, last = run_task(task, store=store, data_root=NOWHERE, device=CPU)
    assert isinstance(last, Ended)
    return last


def test_it_becomes_a_trial_that_teaches(weights: Path, tmp_path: Path) -> None:
    store, imported = Store(tmp_path / "results"), read(weights, normalization=CHANNELS)
    assert imported_in(store, imported).outcome is Outcome.COMPLETED
    student = Experiment.parse(
        description(teacher=canonical(imported.pretrained), method={"name": "kd"})
    )
    *_, last = run_task(
        Task(role="student", experiment=student), store=store, data_root=NOWHERE, device=CPU
    )
    assert isinstance(last, Ended)
    assert last.outcome is Outcome.COMPLETED, last.problem
    rows = Results(store.location).trials().set_index("trial_id")
    row, taught = rows.loc[imported.pretrained.trial_id], rows.loc[student.trial_id]
    assert row["status"] == "imported"
    assert row["imported_weights"] == taught["teacher.weights"] == imported.pretrained.weights
    assert taught["teacher_id"] == imported.pretrained.trial_id
    assert row["parameters"] == taught["parameters"]
    assert 0 < row["test_accuracy"] < 1


def test_its_answers_are_those_of_the_network_behind_its_normalisation(
    weights: Path, tmp_path: Path
) -> None:
    store, imported = Store(tmp_path / "results"), read(weights, normalization=CHANNELS)
    imported_in(store, imported)
    loaded = TrainedModels(store, NOWHERE, CPU).load(imported.pretrained)
    network = untrained(small()).network.eval()
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(loaded.logits(images), network((images - 0.5) / 0.25).logits)


def test_weights_that_are_gone_are_the_failure_of_its_trial(weights: Path, tmp_path: Path) -> None:
    store, imported = Store(tmp_path / "results"), read(weights)
    store.create()
    task = Task(role="teacher", experiment=imported.pretrained)
    *_, last = run_task(task, store=store, data_root=NOWHERE, device=CPU)
    assert isinstance(last, Ended)
    assert last.failed
    assert "is missing or damaged" in str(last.problem)


def test_what_is_stored_is_a_checked_file(weights: Path) -> None:
    tensors, facts = unpack(read(weights).packed())
    assert facts == {"trial_id": read(weights).pretrained.trial_id}
    assert set(tensors) == {f"network.{name}" for name in untrained(small()).network.state_dict()}


def test_a_pretrained_teacher_has_no_seed_and_no_teacher(weights: Path) -> None:
    pretrained: Pretrained = read(weights).pretrained
    assert (pretrained.seed, pretrained.teacher) == (0, None)
    assert pretrained.point_id == pretrained.trial_id
