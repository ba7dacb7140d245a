"""Every sweep that kdray ships runs from end to end with ``--smoke``, all on one Ray (``make
smoke``: minutes), and what it leaves is drawn by the script of its paper."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from kdray.results import Results
from kdray.robustness import label_of
from kdray.sweep.definition.read import load_sweep
from kdray.sweep.definition.trials import Sweep
from kdray.sweep.execution.cluster import cluster
from kdray.sweep.execution.resources import this_machine
from kdray.sweep.run import run
from kdray.sweep.scheduling.account import Summary
from kdray.sweep.scheduling.progress import Progress
from kdray.trials.experiment import Experiment
from kdray.trials.task import epochs_of, measurable
from tests.shipped import FOLDER, SWEEPS

pytestmark = pytest.mark.smoke


ANALYSIS = sorted((FOLDER.parent / "analysis").glob("*.py"))
ATTACKED = [
    FOLDER / "noisy_collaboration" / "soft_randomization.yaml",
    FOLDER / "smoothed_models" / "adversarial.yaml",
]
"""For a script that belongs to no paper: quick sweeps of two papers, whose students are
attacked."""


class Ran(NamedTuple):
    """A sweep that was run, and the results of it alone."""

    sweep: Sweep
    folder: Path
    summary: Summary


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Iterator[Callable[[Path], Ran]]:
    """Every sweep once, however many processes share the tests; those of a process on one Ray."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "shipped"

    @cache
    def once(path: Path) -> Ran:
        folder, sweep = shared / path.parent.name / path.stem, load_sweep(path, smoke=True)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{path.stem}.lock").open("w") as lock:
            flock(lock, LOCK_EX)  # what another process has run is there and not run again
            return Ran(sweep, folder, run(sweep, folder, progress=Progress()))

    with cluster(None, this_machine(), {}):
        yield once


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_a_shipped_sweep_runs_with_smoke_to_finished_finite_rows_that_say_something(
    path: Path, ran: Any
) -> None:
    sweep, folder, summary = ran(path)
    assert summary.failures == {}
    results = Results(folder)
    assert_every_trial_trained(results)
    assert_every_evaluation_is_there(sweep, results)
    again = run(sweep, folder, progress=Progress())
    assert again.ran == set(), "what is there was done again"


@pytest.mark.parametrize("script", ANALYSIS, ids=lambda script: script.stem)
def test_a_script_draws_what_the_sweeps_of_its_paper_left(
    script: Path, ran: Any, tmp_path: Path
) -> None:
    mine = [path for path in SWEEPS if path.parent.name == script.stem] or ATTACKED
    results, out = tmp_path / "results", tmp_path / "figures"
    for path in mine:  # folders merge by copying
        shutil.copytree(ran(path).folder, results, dirs_exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(results), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    listed = (out / "README.md").read_text()
    drawn = [*out.glob("*.png"), *out.glob("*.csv")]
    assert drawn
    for path in drawn:
        assert path.name in listed
        assert path.stat().st_size > 0


def experiments(results: Results) -> dict[str, Experiment]:
    trials = results.trials()
    return {
        i: Experiment.model_validate_json(text)
        for i, text in zip(trials["trial_id"], trials["experiment"], strict=True)
    }


def assert_every_trial_trained(results: Results) -> None:
    trials, epochs, described = results.trials(), results.epochs(), experiments(results)
    assert set(trials["status"]) == {"completed"}
    assert (
        trials[["val_accuracy", "test_accuracy"]]
        .apply(lambda column: column.between(0, 1))
        .all(axis=None)
    )
    assert (trials[["parameters", "weights", "macs", "train_seconds"]] > 0).all(axis=None)
    assert np.isfinite(epochs[["loss", "val_loss", "train_accuracy"]]).all(axis=None)
    for trial_id, rows in epochs.groupby("trial_id"):
        experiment = described[str(trial_id)]
        assert len(rows) == epochs_of(experiment)
        main = rows[rows["stage"] == "main"].sort_values("epoch")
        assert main["val_loss"].nunique() == len(main), (
            f"{trial_id} learned nothing from one epoch to the next"
        )
        terms = main.filter(like="loss.").dropna(axis=1, how="all")
        assert np.isfinite(terms).all(axis=None)
        assert {column.removeprefix("loss.") for column in terms} <= set(
            experiment.method.term_names()
        )
        assert (terms > 0).any().any()
    # Seeds are replicates: nothing but the seed differs, and no two give the same network.
    losses = epochs[epochs["stage"] == "main"].groupby("trial_id")["val_loss"].last()
    alike: dict[str, list[float]] = {}
    for trial_id, experiment in described.items():
        key = experiment.model_copy(update={"seed": 0, "teacher": None}).model_dump_json()
        alike.setdefault(key, []).append(losses[trial_id])
    assert all(len(set(values)) > 1 for values in alike.values() if len(values) > 1)


def assert_every_evaluation_is_there(sweep: Sweep, results: Results) -> None:
    rows, members, described = results.robustness(), results.members(), experiments(results)
    assert rows["error"].isna().all()
    assert np.isfinite(rows["value"]).all()
    assert (rows["examples"] > 0).all()
    assert set(members["outcome"]) == {"completed"}
    found = set(zip(rows["trial_id"], rows["label"], strict=True))
    for trial_id in members.loc[members["role"] == "student", "trial_id"]:
        for evaluation in measurable(sweep.suite("student"), described[trial_id]):
            assert (trial_id, label_of(evaluation)) in found
