"""A model that somebody else trained becomes a trial like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from kdray.cli import main
from kdray.core import InputError
from kdray.exporting import export, load_model
from kdray.results import Results, Store
from kdray.results.record import sweep_objectives
from kdray.robustness import Clean, GaussianNoise, Transfer
from kdray.robustness.fgsm import FGSM
from kdray.sweep.evaluate import evaluate
from kdray.sweep.importing import FAR_BELOW, Imported, import_model
from kdray.sweep.run import run
from kdray.testing.samples import trained_on_digits
from tests.sweep.fakes import ALONE, NOWHERE, Engine, sweep_of

DATA = {"name": "digits"}
MODEL = {"name": "mlp", "hidden": [32]}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.pt"
    torch.save(trained_on_digits().network.state_dict(), path)
    return path


@pytest.fixture
def normalization() -> dict[str, Any]:
    first = trained_on_digits().normalization
    return {name: getattr(first, name).flatten().tolist() for name in ("mean", "std")}


def imported(results: Path, weights: Path, **options: Any) -> Imported:
    return import_model(results, weights, model=MODEL, data=DATA, **options)


def test_its_accuracy_is_that_of_the_network(
    results: Path, weights: Path, normalization: dict[str, Any]
) -> None:
    found = imported(results, weights, normalization=normalization)
    assert found.accuracies["test"] > 0.8
    assert not found.was_there
    (row,) = Results(results).trials().to_dict("records")
    assert (row["status"], row["role"]) == ("imported", "student")
    assert row["test_accuracy"] == found.accuracies["test"]
    assert pd.isna(row["train_seconds"])
    assert Results(results).epochs().empty


def test_another_time_it_is_there(results: Path, weights: Path) -> None:
    first = imported(results, weights)
    again = imported(results, weights)
    assert imported(results, weights, name="again").name == "theirs"
    assert again == first._replace(was_there=True)
    assert len(Results(results).members()) == 1


def test_several_are_points_with_names(
    results: Path, weights: Path, normalization: dict[str, Any]
) -> None:
    imported(results, weights, normalization=normalization, name="right")
    imported(results, weights, name="raw")
    points = Results(results).points("test_accuracy")
    assert list(points["case"]) == ["right", "raw"]
    assert list(points["n"]) == [1, 1]


def test_far_below_what_is_expected_is_doubtful(results: Path, weights: Path) -> None:
    found = imported(results, weights)
    test = found.accuracies["test"]
    assert found.doubt(None) is None
    assert found.doubt(test + FAR_BELOW / 2) is None
    assert "wrong normalisation is the commonest mistake" in str(found.doubt(test + 2 * FAR_BELOW))


def test_it_is_evaluated_reported_and_exported(
    results: Path, weights: Path, normalization: dict[str, Any], engine: Engine, tmp_path: Path
) -> None:
    first = imported(results, weights, normalization=normalization, name="right")
    imported(results, weights, name="raw")
    transfer = Transfer(attack=FGSM(epsilon=0.1), examples=20)
    suite = [Clean(), GaussianNoise(sigmas=(0.1,), examples=20), transfer]
    assert not evaluate(results, suite).failures
    numbers = Results(results).robustness()
    assert len(numbers[numbers["evaluation"] == "transfer"]) >= 4
    page = tmp_path / "report.html"
    assert main(["report", str(results), "--out", str(page)]) == 0
    assert "right" in page.read_text()
    written = export(results, first.trial_id, "safetensors", out=tmp_path / "out")
    assert "trained elsewhere" in written.card.read_text()
    images = torch.rand(3, 1, 8, 8)
    expected = trained_on_digits().logits(images)
    assert torch.equal(load_model(tmp_path / "out")(images), expected)
    assert torch.equal(load_model(results, first.trial_id)(images), expected)


def test_it_stands_beside_trials_that_were_trained(
    results: Path, weights: Path, engine: Engine
) -> None:
    run(sweep_of(ALONE), results, data=NOWHERE)
    imported(results, weights)
    counts = Results(results).trials()["status"].value_counts()
    assert counts.to_dict() == {"completed": 4, "imported": 1}


def test_a_sweep_that_was_run_keeps_its_objectives(
    results: Path, weights: Path, engine: Engine
) -> None:
    sweep = sweep_of({**ALONE, "objective": {"metric": "parameters", "mode": "min"}})
    run(sweep, results, data=NOWHERE)
    before = sweep_objectives(Store(results), sweep.name)
    imported(results, weights, sweep=sweep.name)
    assert sweep_objectives(Store(results), sweep.name) == before
    assert before.metrics == ("parameters",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": {"name": "cnn"}}, "does not fit cnn"),
        ({"model": {"name": "cnnn"}}, "model: unknown name 'cnnn'"),
        ({"data": {"name": "nist"}}, "data: unknown name 'nist'"),
        ({"normalization": {"mean": [0.5]}}, r"normalization\.std: is required"),
        ({"sweep": "no/name"}, "'no/name' is no name of a sweep"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    options: dict[str, Any], message: str, results: Path, weights: Path
) -> None:
    with pytest.raises(InputError, match=message) as raised:
        import_model(results, weights, **{"model": MODEL, "data": DATA, **options})
    assert "\n" not in str(raised.value)
    assert not results.exists()
