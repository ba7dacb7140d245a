"""A sweep whose teacher was trained elsewhere, from its file to tables and export."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from kdray.core import InputError
from kdray.exporting import load_model
from kdray.machine.checked_file import unpack
from kdray.models import MLP
from kdray.results import Results
from kdray.sweep.plan import plan
from kdray.sweep.scheduling.account import Summary
from kdray.trials.files import weights_file
from tests.sweep.fakes import Engine, sweep_of
from tests.sweep.fakes import go as go_tiny

SIGMA = "experiment.noise.input.sigma"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "theirs.pt"
    torch.save(MLP(hidden=(16,)).build((1, 8, 8), 10).state_dict(), path)
    return path


def changes(path: Any, **more: Any) -> dict[str, Any]:
    """Of the tiny sweep: its teacher comes from ``path``, and there is one point."""
    teacher = {"weights": str(path), "model": {"name": "mlp", "hidden": [16]}}
    return {"experiment.teacher": teacher, SIGMA: 0.1, **more}


def go(changed: dict[str, Any], results: Path) -> Summary:
    return go_tiny(results, changed)


def imported(results: Path) -> Any:
    table = Results(results).trials()
    (row,) = table[table["role"] == "teacher"].to_dict("records")
    return row


def test_it_is_measured_and_teaches_and_nothing_is_done_twice(
    weights: Path, results: Path, engine: Engine
) -> None:
    before = plan(sweep_of(changes(weights)), results).teachers
    assert (before.train, before.measure) == (0, 1), "it is measured, not trained"
    summary = go(changes(weights), results)
    assert not summary.failures
    row = imported(results)
    assert row["status"] == "imported"
    measured = Results(results).robustness()
    assert {"pgd1", "clean"} <= set(measured.loc[measured["trial_id"] == row["trial_id"], "label"])
    assert len(Results(results).points("val_accuracy")) == 1
    assert not go(changes(weights), results).ran
    counts = plan(sweep_of(changes(weights)), results).teachers
    assert (counts.there, counts.total) == (1, 1)


def test_a_file_that_moved_is_the_same_teacher_and_the_results_need_none(
    weights: Path, results: Path, engine: Engine
) -> None:
    go(changes(weights), results)
    moved = weights.rename(weights.with_name("moved.pt"))
    assert not go(changes(moved), results).ran
    by_digest = changes(imported(results)["imported_weights"], seeds=3)
    moved.unlink()
    summary = go(by_digest, results)
    assert len(summary.ran) == 1
    assert not summary.failures


def test_a_digest_that_the_results_do_not_hold_is_refused(results: Path, engine: Engine) -> None:
    with pytest.raises(InputError, match="holds no weights sha256:1111"):
        go(changes(f"sha256:{'1' * 64}"), results)


def test_a_file_that_has_changed_is_another_teacher(
    weights: Path, results: Path, engine: Engine
) -> None:
    go(changes(weights), results)
    tensors = torch.load(weights, weights_only=True)
    tensors["head.bias"] += 0.5
    torch.save(tensors, weights)
    assert len(go(changes(weights), results).ran) == 3  # itself, and a student for each seed
    assert Results(results).trials()["status"].eq("imported").sum() == 2


def test_weights_that_are_damaged_are_stored_again(
    weights: Path, results: Path, engine: Engine
) -> None:
    go(changes(weights), results)
    stored = results / weights_file(imported(results)["trial_id"])
    stored.write_bytes(stored.read_bytes()[:-1])
    go(changes(weights), results)
    unpack(stored.read_bytes())


def test_a_search_over_teachers_goes_on(weights: Path, results: Path, engine: Engine) -> None:
    other = weights.with_name("other.pt")
    torch.save(MLP(hidden=(16,)).build((1, 8, 8), 10).state_dict(), other)
    paths = {"choice": [str(weights), str(other)]}
    search = {"sampler": "random", "points": 2}
    sweep = {"experiment.teacher.weights": paths, "search": search, "seeds": 1}
    sigma = {SIGMA: {"uniform": [0, 1]}}
    go(changes(weights, **sweep, **sigma), results)
    assert not go(changes(weights, **sweep, **sigma), results).ran
    more = {**sweep, "search": {**search, "points": 3}}
    assert len(go(changes(weights, **more, **sigma), results).ran) == 1


def test_it_is_loaded_as_a_module_and_from_an_export(
    weights: Path, results: Path, engine: Engine
) -> None:
    go(changes(weights), results)
    model = load_model(results, imported(results)["trial_id"])
    network = MLP(hidden=(16,)).build((1, 8, 8), 10)
    network.load_state_dict(torch.load(io.BytesIO(weights.read_bytes()), weights_only=True))
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(model(images), network.eval()(images).logits)


@pytest.mark.parametrize(
    "supervision",
    [
        {"noise": [{"name": "signal_dependent", "sigma": 0.3}]},
        {"smoothing": {"samples": 2, "sigma": 0.1}},
    ],
)
def test_it_is_asked_with_noise_and_smoothed(
    supervision: Any, weights: Path, results: Path, engine: Engine
) -> None:
    assert not go(changes(weights, **{"experiment.supervision": supervision}), results).failures
