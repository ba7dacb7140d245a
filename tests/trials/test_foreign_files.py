"""Files under the name of a trial that are another trial's: folders are merged by copying."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdray.data import Digits
from kdray.machine.checked_file import Damaged, pack, require_trial
from kdray.models import storage_key
from kdray.results import Store
from kdray.sweep.inventory.outside_weights import OutsideWeights
from kdray.teachers import Init
from kdray.teachers.weights_file import digest
from kdray.trials.files import checkpoint_file, initial_file, weights_file
from kdray.trials.trained import TrainedModels
from tests.small_trials import NOWHERE, do, experiment, fresh, store_in


def test_a_file_says_whose_it_is() -> None:
    packed = pack({"a": torch.zeros(2)}, {"trial_id": "one"})
    require_trial(packed, "one")
    with pytest.raises(Damaged, match=r"^it is of trial one$"):
        require_trial(packed, "two")
    require_trial(pack({"a": torch.zeros(2)}, {}), "two")  # of before files said it
    with pytest.raises(Damaged):
        require_trial(b"", "two")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Store, str, str]:
    store = store_in(tmp_path)
    ids = []
    for seed in (0, 1):
        do(experiment(seed=seed), store)
        ids.append(experiment(seed=seed).trial_id)
    return store, ids[0], ids[1]


def test_weights_of_another_trial_are_not_taken_for_its_own(two: tuple[Store, str, str]) -> None:
    store, first, second = two
    models = TrainedModels(store, NOWHERE, torch.device("cpu"))
    models.load(experiment(seed=0))
    store.write(weights_file(first), store.read(weights_file(second)))
    with pytest.raises(Damaged, match=f"it is of trial {second}"):
        models.load(experiment(seed=0))
    assert not store.exists(checkpoint_file(first))


def test_a_checkpoint_of_another_trial_is_not_gone_on_from(tmp_path: Path) -> None:
    store, mine, other = store_in(tmp_path), experiment(seed=0), experiment(seed=1)
    packed = fresh(other).pack({"trial_id": other.trial_id, "started_at": "then"})
    store.write(checkpoint_file(mine.trial_id), packed)
    with pytest.warns(UserWarning, match=f"it is of trial {other.trial_id}"):
        do(mine, store)
    clean = store_in(tmp_path / "clean")
    do(mine, clean)
    assert store.read(weights_file(mine.trial_id)) == clean.read(weights_file(mine.trial_id))


def test_weights_to_start_from_are_those_that_were_named(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    named, other = ({"w": torch.full((2,), number)} for number in (0.0, 1.0))
    store.write(initial_file(digest(named)), pack(other, {"weights": digest(other)}))
    models = TrainedModels(store, NOWHERE, torch.device("cpu"))
    with pytest.raises(Damaged, match=f"it is of weights {digest(other)}"):
        models.initial(Init(weights=digest(named)))
    held = OutsideWeights(digest(named), initial_file(digest(named)), None, "init")
    assert not held.are_held(store)
    store.write(initial_file(digest(named)), pack(named, {"weights": digest(named)}))
    assert torch.equal(models.initial(Init(weights=digest(named)))["w"], named["w"])
    assert held.are_held(store)


def test_whitening_fitted_to_other_images_is_fitted_anew(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    models = TrainedModels(store, NOWHERE, torch.device("cpu"))
    few, many = (Digits(normalization="gcn_zca", examples=count) for count in (300, 600))
    right, foreign = (models.stored_fit(data)["matrix"] for data in (few, many))
    assert not torch.equal(right, foreign)
    place = "normalizations/{}.safetensors"
    name = place.format(storage_key(few))
    store.write(name, store.read(place.format(storage_key(many))))
    assert torch.equal(models.stored_fit(few)["matrix"], right)
    # A file of before there was a key is believed.
    store.write(name, pack({"matrix": foreign, "mean": foreign[0].clone()}, {"data": "{}"}))
    assert torch.equal(models.stored_fit(few)["matrix"], foreign)
