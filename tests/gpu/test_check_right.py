"""The check of a GPU notices a changed bit, a changed number and a wait."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from kdray.methods import KD, GradientMatching, Method
from kdray.results import Store
from kdray.trials.experiment import Experiment
from tests.gpu.check import right
from tests.gpu.check.part import NEEDS_CUDA
from tests.gpu.check.right import Case, again, logits_gap, waits_of_steps
from tests.gpu.check.trials import Stored, differences, student_in, with_teacher
from tests.gpu.check.waits import WAITED, Waits

CPU = torch.device("cpu")
SMALL = Case.of(KD())


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return SMALL.experiment()


@pytest.fixture(scope="module")
def place(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained teacher and its student."""
    folder = with_teacher(experiment, tmp_path_factory.mktemp("results"), CPU)
    student_in(folder, experiment, CPU)
    return folder


@pytest.fixture
def stored(experiment: Experiment, place: Path) -> Stored:
    return Stored.of(Store(place), experiment.trial_id)


def test_what_a_trial_has_left_does_not_differ_from_itself(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    assert differences(stored, Stored.of(Store(place), experiment.trial_id)) == []
    assert stored.weights
    assert all(len(table) for table in stored.tables.values())


def changed(stored: Stored) -> str:
    """Change the last bit of one weight of ``stored``; the name of the tensor."""
    name = next(name for name, tensor in stored.weights.items() if tensor.is_floating_point())
    flat = stored.weights[name].flatten()
    flat[0] = torch.nextafter(flat[0], torch.tensor(torch.inf))
    stored.weights[name] = flat.view_as(stored.weights[name])
    return name


def test_one_bit_of_one_weight_is_a_difference(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    other = Stored.of(Store(place), experiment.trial_id)
    assert differences(stored, other) == []
    name = changed(other)
    assert differences(stored, other) == [name]
    del other.weights[name]
    assert differences(stored, other) == [name]


def test_a_changed_number_of_a_table_is_a_difference_and_a_time_is_none(
    experiment: Experiment, place: Path, stored: Stored
) -> None:
    other = Stored.of(Store(place), experiment.trial_id)
    assert {"images_per_second", "peak_memory", "train_seconds"}.isdisjoint(other.tables["trials"])
    other.tables["epochs"]["loss"] *= 1 + 1e-15
    assert differences(stored, other) == ["epochs.loss"]
    other.tables["robustness"] = other.tables["robustness"].iloc[1:]
    assert "robustness.value" in differences(stored, other)


def test_a_planted_difference_misses_the_aim(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = right.student_in

    def planted(*given: Any, stops: bool = False, **named: Any) -> Stored:
        found = trained(*given, stops=stops, **named)
        if stops:
            changed(found)
        return found

    monkeypatch.setattr(right, "student_in", planted)
    figures = {figure.what: figure for figure in again(SMALL, CPU)}
    assert figures[f"{SMALL.name}, trained again"].met is True
    resumed = figures[f"{SMALL.name}, stopped and resumed"]
    assert (resumed.met, resumed.values) == (False, (1.0,))
    assert resumed.note  # which tensor


def test_every_way_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    anywhere = tuple(way._replace(needs_cuda=False) for way in right.WAYS)
    monkeypatch.setattr(right, "WAYS", anywhere)
    *figures, beside = again(SMALL, CPU)
    assert [figure.met for figure in figures] == [True] * len(right.ways(SMALL.method))
    assert beside.note == NEEDS_CUDA


def test_logits_of_one_device_are_no_way_apart(experiment: Experiment, place: Path) -> None:
    assert logits_gap(experiment, Store(place), CPU, CPU) == 0


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modes in which torch was told to watch for waits."""
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", told.append)
    return told


def test_waits_are_counted_by_step(modes: list[str]) -> None:
    module = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    with Waits() as counting:
        for count in (5, 0, 2):
            for _ in range(count):
                warnings.warn(WAITED, stacklevel=1)
            warnings.warn("something else", stacklevel=1)
            module(torch.ones(2)).sum().backward()
            optimizer.step()
        warnings.warn(WAITED, stacklevel=1)
    optimizer.step()
    none, two = counting.of_steps()
    assert none == []
    assert len(two) == 2
    assert two[0].startswith(f"gpu/{Path(__file__).name}:")
    assert modes == ["warn", "default"]


@pytest.mark.usefixtures("modes")
@pytest.mark.parametrize("method", [KD(), GradientMatching()])
def test_all_steps_of_an_epoch_but_the_first_are_looked_at(method: Method) -> None:
    case = Case.of(method)
    images = len(case.experiment().data.load(Path("/nowhere")).train.labels)
    assert waits_of_steps(case, CPU) == [[]] * (-(-images // 16) - 1)
