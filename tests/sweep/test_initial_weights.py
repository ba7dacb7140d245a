"""Students that start from weights in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kdray.core import InputError
from kdray.machine.checked_file import unpack
from kdray.models import MLP
from kdray.results import Results, Store
from kdray.sweep.definition.read import sweep_from
from kdray.sweep.plan import plan
from kdray.trials.experiment import Experiment
from kdray.trials.files import checkpoint_file, initial_file, weights_file
from kdray.trials.log import log_file
from kdray.trials.run import run_task
from kdray.trials.task import EpochDone, Task
from tests.sweep.fakes import ALONE, NOWHERE, Engine, sweep_of, tiny
from tests.sweep.fakes import go as go_tiny

SIGMA = "experiment.noise.input.sigma"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "theirs.pt"
    torch.save({"state_dict": MLP(hidden=(8,)).build((1, 8, 8), 10).state_dict()}, path)
    return path


@pytest.fixture
def of_other_classes(tmp_path: Path) -> Path:
    path = tmp_path / "others.pt"
    torch.save(MLP(hidden=(8,)).build((1, 8, 8), 7).state_dict(), path)
    return path


def changes(path: Any, *, partial: bool = False, **more: Any) -> dict[str, Any]:
    init = {"weights": str(path), "partial": partial}
    return {**ALONE, "experiment.init": init, SIGMA: 0.1, "seeds": 1, **more}


def student(path: Any, **options: Any) -> Experiment:
    sweep = sweep_of(changes(path, **options))
    (point,) = sweep.grid()
    return sweep.student(point, 0, None)


def test_its_identity_is_the_content(weights: Path, of_other_classes: Path) -> None:
    first = student(weights)
    assert first.init is not None
    moved = weights.with_name("moved.pth")
    torch.save(torch.load(weights, weights_only=True)["state_dict"], moved)
    random = Experiment.parse({**first.model_dump(mode="json"), "init": None})
    assert student(moved) == first
    assert (
        len({first.trial_id, random.trial_id, student(of_other_classes, partial=True).trial_id})
        == 3
    )


def test_a_training_starts_from_them(weights: Path, results: Path, engine: Engine) -> None:
    still = {"experiment.training.optimizer": {"name": "sgd", "learning_rate": 1e-12}}
    assert not go_tiny(results, changes(weights, **still)).failures
    (trial_id,) = Results(results).trials()["trial_id"]
    trained = unpack((results / weights_file(trial_id)).read_bytes())[0]
    for name, given in torch.load(weights, weights_only=True)["state_dict"].items():
        torch.testing.assert_close(trained[f"network.{name}"], given, rtol=0, atol=1e-6)
    assert "starts from 4 of 4 tensors" in (results / log_file(trial_id)).read_text()


def test_in_part_what_fits_is_taken_and_said(
    of_other_classes: Path, results: Path, engine: Engine
) -> None:
    go_tiny(results, changes(of_other_classes, partial=True))
    (trial_id,) = Results(results).trials()["trial_id"]
    assert "starts from 2 of 4 tensors" in (results / log_file(trial_id)).read_text()


def test_the_results_need_no_file(weights: Path, results: Path, engine: Engine) -> None:
    go_tiny(results, changes(weights))
    moved = weights.rename(weights.with_name("moved.pt"))
    assert not go_tiny(results, changes(moved)).ran
    (digest,) = Results(results).trials()["init.weights"]
    assert digest.startswith("sha256:")
    moved.unlink()
    assert len(go_tiny(results, changes(digest, seeds=2)).ran) == 1


def test_several_files_are_swept(
    weights: Path, of_other_classes: Path, results: Path, engine: Engine
) -> None:
    paths = {"grid": [str(weights), str(of_other_classes)]}
    sweep = {**changes(weights, partial=True), "experiment.init.weights": paths}
    assert len(go_tiny(results, sweep).ran) == 2
    assert not go_tiny(results, sweep).ran


def test_what_is_interrupted_goes_on_to_the_same_bits_without_them(
    weights: Path, tmp_path: Path
) -> None:
    stored = []
    for name, stop in (("whole", False), ("stopped", True)):
        sweep = sweep_of(changes(weights))
        (point,) = sweep.grid()
        experiment = sweep.student(point, 0, None)
        store = Store(tmp_path / name)
        store.create()
        for digest, packed in sweep.weights.initial.items():
            store.write(f"initial/{digest[7:39]}.safetensors", packed)
        options: Any = {"store": store, "data_root": NOWHERE, "device": torch.device("cpu")}
        task = Task(role="student", experiment=experiment)
        if stop:
            steps = run_task(task, **options)
            assert isinstance(next(steps), EpochDone)
            steps.close()
            assert store.exists(checkpoint_file(experiment.trial_id))
            store.delete(initial_file(experiment.init.weights))
        assert not list(run_task(task, **options))[-1].failed  # type: ignore[union-attr]
        stored.append(unpack(store.read(weights_file(experiment.trial_id)))[0])
    for name, tensor in stored[0].items():
        assert torch.equal(tensor, stored[1][name])


DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize("of_teacher", [False, True])
def test_a_digest_that_the_results_do_not_hold_is_refused_before_anything_starts(
    results: Path, engine: Engine, of_teacher: bool
) -> None:
    init = {"weights": DIGEST}
    alone = {**ALONE, "experiment.init": init}
    swept = alone if not of_teacher else {"experiment.teacher.init": init}
    where = "experiment.teacher.init" if of_teacher else "experiment.init"
    for refuse in (lambda: go_tiny(results, swept), lambda: plan(sweep_of(swept), results)):
        with pytest.raises(InputError, match=rf"{where}\.weights: .*results holds no weights"):
            refuse()
    assert not results.exists()
    assert engine.ran == []


def test_weights_in_the_results_that_are_damaged_are_stored_again(
    weights: Path, results: Path, engine: Engine
) -> None:
    go_tiny(results, changes(weights))
    (kept,) = (results / "initial").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    (digest,) = Results(results).trials()["init.weights"]
    with pytest.raises(InputError, match="holds no weights"):
        go_tiny(results, changes(digest, seeds=2))
    assert not go_tiny(results, changes(weights, seeds=2)).failures
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ({"weights": "absent.pt"}, r"experiment\.init\.weights: absent\.pt: cannot be read"),
        (
            {"weights": "sha256:12"},
            r"init\.weights: 'sha256:12' is no digest \(allowed: the path of",
        ),
        ({"weights": 3}, r"experiment\.init\.weights: needs the path of a file, not 3"),
        ({"weights": "OTHER"}, r"init\.weights: .* does not fit mlp.*head\.bias is 7 in the file"),
        ({"weights": "OTHER", "part": True}, r"init\.part: unknown key, did you mean 'partial'"),
        ({"partial": True}, r"experiment\.init\.weights: is required"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    init: Any, message: str, of_other_classes: Path
) -> None:
    init = {key: str(of_other_classes) if part == "OTHER" else part for key, part in init.items()}
    with pytest.raises(InputError, match=message) as raised:
        sweep_of({**ALONE, "experiment.init": init})
    assert "\n" not in str(raised.value)


def test_in_part_at_least_one_tensor_fits(of_other_classes: Path) -> None:
    model = {"experiment.model": {"name": "cnn", "channels": [4], "hidden": 0}}
    with pytest.raises(InputError, match="no tensor has the name and shape"):
        sweep_of(changes(of_other_classes, partial=True, **model))


def test_smoke_starts_from_nothing() -> None:
    sweep = sweep_from(tiny(**changes("absent.pt")), smoke=True)
    assert sweep.student(next(iter(sweep.grid())), 0, None).init is None
