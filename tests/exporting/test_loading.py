from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import kdray
from kdray.core import InputError, canonical, parse
from kdray.exporting import TrainedModel, load_model
from kdray.exporting.agreement import random_images
from kdray.exporting.trained import packed
from kdray.machine.checked_file import pack
from kdray.results import Results, Store, write_rows
from kdray.trials.experiment import configuration_columns
from kdray.trials.files import weights_file
from kdray.trials.run import run_task
from kdray.trials.task import Task
from kdray.trials.trained import TrainedModels
from tests.small_trials import CPU, NOWHERE, digits, do, experiment, store_in

WHITENED = {"name": "digits", "examples": 300, "normalization": "gcn_zca"}
NOISY = {"name": "cifar_resnet", "depth": 8, "weight_noise": {"name": "pni"}, "input_sigma": 0.05}
ONE_EPOCH = {"epochs": 1, "batch_size": 90}
IMAGES = random_images((1, 8, 8))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One trained trial, and one that failed."""
    there = store_in(tmp_path_factory.mktemp("loading") / "results")
    do(experiment(), there)
    failed = {"trial_id": "f" * 16, "status": "failed", "error": "ValueError: too | bad"}
    write_rows(there, "trials", "f" * 16, [failed], configuration_columns())
    return there


TRIAL = experiment().trial_id


def test_it_answers_with_the_logits_of_the_stored_classifier(store: Store) -> None:
    model = load_model(store.location, TRIAL)
    stored = TrainedModels(store, NOWHERE, CPU).load(experiment())
    assert torch.equal(model(IMAGES), stored.logits(IMAGES))
    assert model(IMAGES).shape == (len(IMAGES), 10)
    assert not model.training
    assert not model.draws
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_it_is_as_accurate_as_the_results_say(store: Store) -> None:
    test = digits(experiment()).test
    right = (
        (load_model(store.location, TRIAL)(test.images.float() / 255).argmax(1) == test.labels)
        .float()
        .mean()
    )
    known = Results(store.location).trials().set_index("trial_id").loc[TRIAL, "test_accuracy"]
    assert float(right) == pytest.approx(float(str(known)))


def test_the_first_letters_of_an_id_and_opened_results_will_do(store: Store) -> None:
    model = load_model(kdray.open_results(store.location), TRIAL[:3])
    assert model.experiment == experiment()


@pytest.mark.parametrize(
    ("trial_id", "problem"),
    [
        ("0123", "no trial '0123'"),
        ("", "2 trials ''"),
        ("ffff", r"trial f{16} has no trained model, it failed: ValueError: too \| bad"),
        (None, "which trial"),
    ],
)
def test_what_cannot_be_loaded_is_said(store: Store, trial_id: str | None, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_model(Results(store.location), trial_id)


def test_a_trial_that_diverged_has_no_model(tmp_path: Path) -> None:
    there = store_in(tmp_path / "results")
    row = {"trial_id": "d" * 16, "status": "diverged", "error": "loss is nan after epoch 3"}
    write_rows(there, "trials", "d" * 16, [row], configuration_columns())
    with pytest.raises(InputError, match="it diverged: loss is nan after epoch 3"):
        load_model(there.location, "d")


def test_missing_and_damaged_weights_are_said(tmp_path: Path) -> None:
    there, name = store_in(tmp_path / "results"), weights_file(TRIAL)
    do(experiment(), there)
    good = there.read(name)
    there.write(name, good[:-8])
    with pytest.raises(InputError, match=f"{name}: is damaged"):
        load_model(there.location, TRIAL)
    there.write(name, pack({"network.other": torch.zeros(2)}, {}))
    with pytest.raises(InputError, match=f"{name}: is damaged"):
        load_model(there.location, TRIAL)
    there.delete(name)
    with pytest.raises(
        InputError, match=f"{name}: is missing; 'kdray forget' and then 'kdray run'"
    ):
        load_model(there.location, TRIAL)


def test_a_whitening_matrix_is_read_from_the_results_or_fitted_again_or_missed(
    tmp_path: Path,
) -> None:
    images, labels = digits(experiment()).train
    images, labels, root = images[:, 0].numpy(), labels.numpy(), tmp_path / "data"
    root.mkdir()
    np.savez(
        root / "own.npz",
        train_images=images,
        train_labels=labels,
        test_images=images,
        test_labels=labels,
    )
    own = {
        "name": "arrays",
        "path": "own.npz",
        "classes": 10,
        "image_shape": [1, 8, 8],
        "normalization": "gcn_zca",
    }
    described, there = experiment(data=own, training=ONE_EPOCH), store_in(tmp_path / "results")
    task = parse(Task, {"role": "student", "experiment": canonical(described)})
    list(run_task(task, store=there, data_root=root, device=CPU))
    expected = load_model(there.location, described.trial_id, data=NOWHERE)(IMAGES)
    (name,) = there.names("normalizations", ".safetensors")

    there.delete(name)
    assert torch.allclose(
        load_model(there.location, described.trial_id, data=root)(IMAGES), expected, atol=1e-4
    )
    assert there.exists(name)  # for the next

    there.write(name, b"nothing")
    with pytest.raises(
        InputError, match=r"missing or damaged, and cannot be fitted again: .*own\.npz.* is missing"
    ):
        load_model(there.location, described.trial_id, data=NOWHERE)


@pytest.mark.parametrize(
    "fields", [{}, {"data": WHITENED}, {"model": NOISY, "training": ONE_EPOCH}], ids=str
)
def test_a_file_needs_no_results(fields: dict[str, object], tmp_path: Path) -> None:
    there, described = store_in(tmp_path / "results"), experiment(**fields)
    do(described, there)
    model = load_model(there.location, described.trial_id)
    file = tmp_path / "model.safetensors"
    file.write_bytes(packed(model))
    for again in (load_model(file), load_model(tmp_path)):
        assert again.experiment == described
        assert again.draws == model.draws == ("model" in fields)
        assert same(again, model)
    if model.draws:
        quiet = load_model(there.location, described.trial_id, noise="off")
        assert torch.equal(quiet(IMAGES), quiet(IMAGES))
        assert torch.equal(load_model(file, noise="off")(IMAGES), quiet(IMAGES))
        file.write_bytes(packed(quiet))
        assert not load_model(file).draws
        assert torch.equal(load_model(file)(IMAGES), quiet(IMAGES))


def same(one: TrainedModel, other: TrainedModel) -> bool:
    answers = []
    for model in (one, other):
        torch.manual_seed(1)
        answers.append(model(IMAGES))
    return torch.equal(*answers)


def test_a_file_that_is_none_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give what 'kdray export"):
        load_model(tmp_path)  # nothing there
    with pytest.raises(InputError, match="give what 'kdray export"):
        load_model(store.location)  # results, and no trial's id
    file = tmp_path / "model.safetensors"
    file.write_bytes(store.read(weights_file(TRIAL)))
    with pytest.raises(InputError, match="holds weights only"):
        load_model(file)
    good = packed(load_model(store.location, TRIAL))
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match="is damaged, or no model that kdray exported"):
        load_model(file)
    file.write_bytes(pack({}, {"kdray_model": 99}))
    with pytest.raises(InputError, match="version 99, this kdray reads up to 1; update kdray"):
        load_model(file)


def test_a_trial_of_another_version_is_said(tmp_path: Path) -> None:
    store = store_in(tmp_path / "results")
    text = json.dumps(canonical(experiment()))
    row = {"trial_id": "0" * 16, "status": "completed", "experiment": text}
    write_rows(store, "trials", "0" * 16, [row], {})
    problem = f"trial {'0' * 16} was made by another version of kdray"
    with pytest.raises(InputError, match=problem):
        load_model(store.location, "0000", data=NOWHERE)
