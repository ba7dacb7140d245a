from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from kdray.core import canonical_json, fingerprint, parse
from kdray.data import ImageData, to_unit
from kdray.machine.checked_file import unpack
from kdray.models import fitted, normalizer, storage_key
from kdray.results import Results, Store, write_rows
from kdray.results.metrics import SIZES
from kdray.robustness import (
    PGD,
    Clean,
    GaussianNoise,
    Measurement,
    PredictionBound,
    Subject,
    label_of,
    measurements,
    score,
)
from kdray.teachers import load_classifier
from kdray.training import Diverged
from kdray.trials import run as trial
from kdray.trials.context import DamagedCheckpoint
from kdray.trials.experiment import Experiment
from kdray.trials.files import checkpoint_file, weights_file
from kdray.trials.log import log_file
from kdray.trials.run import run_task
from kdray.trials.task import Ended, ReasonKind, Task, epochs_of
from kdray.trials.trained import TrainedModels
from tests.small_trials import (
    CPU,
    NOWHERE,
    assert_same_bits,
    description,
    digits,
    distillation,
    do,
    experiment,
    fresh,
    steps,
    store_in,
    stored,
    teacher_of,
)

CLEAN = {"name": "clean"}
NOISE = {"name": "gaussian_noise", "label": "noise", "sigmas": [0.1, 0.4]}
PGD3 = {
    "name": "pgd",
    "label": "pgd3",
    "steps": 3,
    "restarts": 2,
    "epsilon": 0.05,
    "examples": 20,
    "split": "val",
}
SUITE = (CLEAN, NOISE, PGD3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "results")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Store:
    return store_in(tmp_path / "elsewhere")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Throughput is measured for a tenth of a second; no test here is about it."""
    monkeypatch.setattr("kdray.trials.rows.images_per_second", lambda *_: 1.0)


def row(store: Store, described: Experiment) -> dict[str, Any]:
    """The trial's row."""
    trials = Results(store.location).trials()
    (found,) = trials[trials["trial_id"] == described.trial_id].to_dict("records")
    return found


def models_in(store: Store) -> TrainedModels:
    return TrainedModels(store, NOWHERE, CPU)


def stop_after(epochs: int, described: Experiment, store: Store) -> None:
    """Train some epochs and then go no further."""
    running = steps(described, store)
    for _ in range(epochs):
        next(running)
    running.close()  # type: ignore[attr-defined]


def alter(store: Store, name: str) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(store.read(name))
    data[len(data) // 2] ^= 1
    store.write(name, bytes(data))


# A trial from start to end


def test_a_trial_leaves_weights_a_row_epochs_and_a_file_per_evaluation(store: Store) -> None:
    described = experiment(seed=4)
    end = do(described, store, *SUITE)[-1]
    assert (end.event, end.outcome, end.problem) == ("ended", "completed", None)
    assert store.folder is not None
    written = {
        str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()
    }
    trial_id, pgd = (
        described.trial_id,
        PGD(steps=3, restarts=2, epsilon=0.05, examples=20, split="val"),
    )
    ids = [
        fingerprint(evaluation) for evaluation in (Clean(), GaussianNoise(sigmas=(0.1, 0.4)), pgd)
    ]
    assert written == {
        "schema.json",
        weights_file(trial_id),
        log_file(trial_id),
        f"trials/{trial_id}.parquet",
        f"epochs/{trial_id}.parquet",
        *(f"robustness/{trial_id}-{evaluation_id}.parquet" for evaluation_id in ids),
    }


def test_the_row_of_a_trial_says_what_it_was_and_how_good_it_became(store: Store) -> None:
    described = experiment(seed=4)
    do(described, store, role="teacher")
    found = row(store, described)
    assert found["status"] == "completed"
    assert found["role"] == "teacher"
    assert (found["seed"], found["threads"], found["device"], found["kept_epoch"]) == (
        4,
        1,
        "cpu",
        3,
    )
    assert Experiment.parse(json.loads(found["experiment"])) == described
    assert (found["model.hidden"], found["training.epochs"], found["data.examples"]) == (
        "[16]",
        3,
        300,
    )
    assert (found["parameters"], found["weights"], found["macs"]) == (
        64 * 16 + 16 + 16 * 10 + 10,
        1184,
        1184,
    )
    assert found["started_at"] <= found["finished_at"]
    assert found["torch_version"] == torch.__version__
    assert min(found[name] for name in ("train_seconds", "peak_memory", "images_per_second")) > 0
    assert pd.isna(found["error"])
    assert pd.isna(found["teacher_id"])


def test_accuracies_are_those_of_the_stored_weights(store: Store) -> None:
    described = experiment()
    end = do(described, store, CLEAN)[-1]
    packed = store.read(weights_file(described.trial_id))
    classifier = load_classifier(
        described.model, described.data, normalizer(described.data, {}), packed, CPU
    )
    dataset, found = digits(described), row(store, described)
    assert found["val_accuracy"] == score(classifier, dataset.val)[0] / 60
    assert found["test_accuracy"] == score(classifier, dataset.test)[0] / 60
    assert end.named_metrics["clean.accuracy"] == found["test_accuracy"]
    assert end.named_metrics["val_accuracy"] == found["val_accuracy"]
    assert unpack(packed)[1] == {"trial_id": described.trial_id}


def test_the_best_epochs_weights_are_stored_where_they_are_to_be_kept(store: Store) -> None:
    training = {"epochs": 6, "batch_size": 50, "optimizer": {"name": "sgd", "learning_rate": 0.9}}
    described = experiment(training={**training, "keep": "best_validation"})
    do(described, store)
    epochs, found = stored(store, described.trial_id)["epochs"], row(store, described)
    best = epochs.loc[epochs["val_accuracy"].idxmax()]  # the first of equals
    assert best["epoch"] < 6, "choose a training that has its best epoch earlier"
    assert (found["kept_epoch"], found["val_accuracy"]) == (best["epoch"], best["val_accuracy"])


def test_every_epoch_is_a_row_with_the_terms_of_the_method(store: Store) -> None:
    do(experiment(), store, role="teacher")
    described = distillation()
    do(described, store)
    epochs = stored(store, described.trial_id)["epochs"]
    assert epochs["epoch"].tolist() == [1, 2, 3]
    assert epochs[["loss", "loss.soft", "loss.cross_entropy", "val_loss"]].notna().all(axis=None)
    total = 0.1 * epochs["loss.cross_entropy"] + 0.9 * 16 * epochs["loss.soft"]
    assert epochs["loss"].tolist() == pytest.approx(total.tolist(), rel=1e-6)


def test_a_student_names_its_teacher_and_learns_from_its_stored_weights(
    store: Store, elsewhere: Store
) -> None:
    teacher, student = experiment(), distillation()
    assert student.teacher == teacher
    do(teacher, store, role="teacher")
    do(student, store)
    assert row(store, student)["teacher_id"] == teacher.trial_id
    assert row(store, student)["teacher.model.hidden"] == "[16]"
    other = experiment(seed=1)
    do(other, elsewhere, role="teacher")
    elsewhere.write(weights_file(teacher.trial_id), elsewhere.read(weights_file(other.trial_id)))
    do(student, elsewhere)
    one, two = (
        stored(place, student.trial_id)["epochs"]["loss.soft"] for place in (store, elsewhere)
    )
    assert one.tolist() != two.tolist()


def test_the_rows_of_an_evaluation_say_what_was_measured(store: Store) -> None:
    described = experiment()
    do(described, store, *SUITE)
    found = stored(store, described.trial_id)["robustness"].set_index("label")
    assert set(found.index) == {"clean", "noise", "pgd3"}
    assert found.loc["noise", "sigma"].tolist() == [0.1, 0.4]
    pgd = found[found["metric"] == "accuracy"].loc["pgd3"]
    assert (pgd["evaluation"], pgd["split"], pgd["examples"], pgd["steps"], pgd["restarts"]) == (
        "pgd",
        "val",
        20,
        3,
        2,
    )
    assert pgd["evaluation_id"] == fingerprint(
        PGD.model_validate({key: PGD3[key] for key in PGD3 if key != "label"})
    )
    assert parse(PGD, json.loads(pgd["evaluation_parameters"])) == parse(PGD, PGD3).model_copy(
        update={"label": None}
    )
    accuracies = found[found["metric"] == "accuracy"]
    assert (accuracies["value"] == accuracies["correct"] / accuracies["examples"]).all()
    assert (found["dataset"] == "digits").all()
    assert found["error"].isna().all()


def test_the_last_step_has_every_number_that_has_one_value(store: Store) -> None:
    end = do(experiment(), store, CLEAN, NOISE, PGD3, {"name": "gaussian_noise", "sigmas": [0.2]})[
        -1
    ]
    assert end.named_metrics.keys() == {
        "val_accuracy",
        "test_accuracy",
        "clean.accuracy",
        "clean.loss",
        "clean.ece",
        "clean.brier",
        "pgd3.accuracy",
        "pgd3.any_iterate_accuracy",
        "gaussian_noise.accuracy",
        *SIZES,
    }


def test_steps_count_up_to_their_total(store: Store) -> None:
    found = do(experiment(), store, CLEAN, PGD3)
    assert [step.text for step in found] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
        "trained",
        "clean",
        "pgd3",
        "completed",
    ]
    assert [step.event for step in found] == [
        *["epoch_done"] * 3,
        "trained",
        *["measured"] * 2,
        "ended",
    ]
    assert [step.done for step in found[:-1]] == [1, 2, 3, 4, 5, 6]
    task = Task(role="student", experiment=experiment(), evaluations=(Clean(), PGD()))
    assert task.steps == 6
    assert all("val_accuracy" in step.named_metrics for step in found[:4])


def test_an_evaluation_is_called_by_its_label_or_its_name() -> None:
    assert (label_of(PGD(label="pgd20")), label_of(PGD())) == ("pgd20", "pgd")


def test_the_step_of_an_epoch_has_the_numbers_of_its_row_and_that_of_an_evaluation_its_own(
    store: Store,
) -> None:
    described = experiment()
    *first, trained, clean, noise, _ = do(described, store, CLEAN, NOISE)
    epochs = stored(store, described.trial_id)["epochs"]
    shown = ["val_accuracy", "val_loss", "loss", "train_accuracy", "learning_rate"]
    for step, (_, found) in zip(first, epochs.iterrows(), strict=True):
        assert {name: step.named_metrics[name] for name in shown} == found[shown].to_dict()
        assert step.named_metrics.keys() == {*shown, "images_per_second"}
        assert {type(number) for number in step.named_metrics.values()} == {float}
    assert trained.named_metrics.keys() == {"val_accuracy", "test_accuracy", *SIZES}
    assert clean.named_metrics.keys() == {
        "clean.accuracy",
        "clean.loss",
        "clean.ece",
        "clean.brier",
    }
    assert noise.named_metrics == {}, "it has several accuracies"


# The same trial gives the same numbers


def test_neither_what_ran_before_nor_the_global_generator_changes_a_trial(
    store: Store, elsewhere: Store
) -> None:
    described = experiment(
        model={"name": "mlp", "hidden": [16], "dropout": 0.2},
        noise={
            "input": {"name": "gaussian", "sigma": 0.1},
            "labels": {"name": "uniform", "rate": 0.2},
        },
    )
    do(described, store, *SUITE)
    do(experiment(seed=1), elsewhere)
    torch.manual_seed(77)
    do(described, elsewhere, *SUITE)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


def test_a_trial_leaves_the_global_generator_alone(store: Store) -> None:
    before = torch.random.get_rng_state()
    do(experiment(model={"name": "mlp", "hidden": [16], "dropout": 0.2}), store, *SUITE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_later_evaluation_measures_and_trains_nothing(store: Store, elsewhere: Store) -> None:
    described = experiment()
    do(described, store, CLEAN)
    before = stored(store, described.trial_id)
    weights = store.read(weights_file(described.trial_id))
    found = do(described, store, NOISE, PGD3, train=False)
    assert [step.event for step in found] == ["measured", "measured", "ended"]
    assert [step.done for step in found[:-1]] == [5, 6]
    after = stored(store, described.trial_id)
    assert store.read(weights_file(described.trial_id)) == weights
    for table in ("trials", "epochs"):
        pd.testing.assert_frame_equal(before[table], after[table])
    do(described, elsewhere, *SUITE)
    assert_same_bits(stored(elsewhere, described.trial_id), after)


# Going on after an interruption


def test_there_is_a_checkpoint_after_every_epoch_and_none_at_the_end(store: Store) -> None:
    described = experiment()
    for step in steps(described, store):
        if step.event == "epoch_done":
            facts = unpack(store.read(checkpoint_file(described.trial_id)))[1]
            assert len(facts["history"]) == step.done
            assert facts["trial_id"] == described.trial_id
    assert not store.exists(checkpoint_file(described.trial_id))


@pytest.mark.parametrize("done", [1, 2, 3])
def test_a_stopped_trial_goes_on_where_it_was(done: int, store: Store, elsewhere: Store) -> None:
    described = experiment(noise={"input": {"name": "gaussian", "sigma": 0.1}})
    stop_after(done, described, store)
    began = unpack(store.read(checkpoint_file(described.trial_id)))[1]["started_at"]
    found = do(described, store, *SUITE)
    assert [step.text for step in found if step.event == "epoch_done"] == [
        f"epoch {n}/3" for n in range(done + 1, 4)
    ]
    assert row(store, described)["started_at"].isoformat() == began
    do(described, elsewhere, *SUITE)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


KILLED = experiment(
    data={"name": "digits", "augment": "crop_flip"},
    model={"name": "mlp", "hidden": [64, 32], "dropout": 0.1},
    noise={"input": {"name": "gaussian", "sigma": 0.1}, "labels": {"name": "uniform", "rate": 0.1}},
    training={
        "epochs": 16,
        "batch_size": 16,
        "keep": "best_validation",
        "optimizer": {"name": "adam"},
        "schedule": {"name": "cosine"},
    },
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    place = store_in(tmp_path_factory.mktemp("uninterrupted"))
    assert do(KILLED, place, *SUITE)[-1].outcome == "completed"
    return stored(place, KILLED.trial_id)


def test_a_killed_process_loses_one_epoch_at_most_and_the_trial_ends_with_the_same_bits(
    store: Store, uninterrupted: dict[str, pd.DataFrame]
) -> None:
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from tests.small_trials import Experiment, do, store_in\n"
        "do(Experiment.parse(json.loads(sys.argv[1])), store_in(Path(sys.argv[2])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, canonical_json(KILLED), store.location],
        cwd=Path(__file__).parents[2],
    )
    try:
        wait_for_epochs(3, KILLED, store, process)
    finally:
        process.kill()  # SIGKILL: nothing can be caught or tidied up
    assert process.wait() == -signal.SIGKILL
    kept = epochs_in_checkpoint(KILLED, store)
    assert 3 <= kept < 16, "killed too late to show anything"
    assert stored(store, KILLED.trial_id)["trials"].empty

    found = do(KILLED, store, *SUITE)
    assert found[0].text == f"epoch {kept + 1}/16"
    assert_same_bits(stored(store, KILLED.trial_id), uninterrupted)


def epochs_in_checkpoint(described: Experiment, store: Store) -> int:
    name = checkpoint_file(described.trial_id)
    return len(unpack(store.read(name))[1]["history"]) if store.exists(name) else 0


def wait_for_epochs(
    count: int, described: Experiment, store: Store, process: subprocess.Popen[bytes]
) -> None:
    deadline = time.monotonic() + 60
    while epochs_in_checkpoint(described, store) < count:
        assert process.poll() is None, "the trial ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.001)


# Methods in stages


BY_CLASSIFIER = {"name": "fitnet", "hint": "classifier", "hint_epochs": 2, "classifier_epochs": 1}
HINTED = distillation(
    method=BY_CLASSIFIER, training={"epochs": 2, "batch_size": 50, "keep": "best_validation"}
)


def test_the_epochs_of_every_stage_are_steps_and_rows(store: Store) -> None:
    do(experiment(), store, role="teacher")
    found = do(HINTED, store, CLEAN)
    assert [step.text for step in found] == [
        "classifier 1/1",
        "hint 1/2",
        "hint 2/2",
        "epoch 1/2",
        "epoch 2/2",
        "trained",
        "clean",
        "completed",
    ]
    assert [step.done for step in found[:-1]] == [1, 2, 3, 4, 5, 6, 7]
    assert epochs_of(HINTED) == 5
    rows = stored(store, HINTED.trial_id)["epochs"].sort_values(["stage", "epoch"])
    assert list(zip(rows["stage"], rows["epoch"], strict=True)) == [
        ("classifier", 1),
        ("hint", 1),
        ("hint", 2),
        ("main", 1),
        ("main", 2),
    ]
    by_stage = rows.set_index("stage")
    for stage, terms in (
        ("classifier", {"hint_classifier"}),
        ("hint", {"hint"}),
        ("main", {"cross_entropy", "soft"}),
    ):
        filled = {
            name
            for name in rows
            if name.startswith("loss.") and by_stage.loc[[stage], name].notna().all()
        }
        assert filled == {f"loss.{term}" for term in terms}
    assert row(store, HINTED)["kept_epoch"] in (1, 2)


def test_a_weights_file_holds_the_student_and_nothing_that_was_learned_beside_it(
    store: Store,
) -> None:
    do(experiment(), store, role="teacher")
    do(HINTED, store)
    weights, _ = unpack(store.read(weights_file(HINTED.trial_id)))
    assert weights.keys() == {
        "normalization.mean",
        "normalization.std",
        *(
            f"network.{layer}.{part}"
            for layer in ("hidden.0.0", "head")
            for part in ("weight", "bias")
        ),
    }
    assert row(store, HINTED)["parameters"] == 64 * 8 + 8 + 8 * 10 + 10


@pytest.mark.parametrize("done", [1, 2, 3, 4, 5])
def test_a_trial_stopped_in_any_stage_goes_on_where_it_was(
    done: int, store: Store, elsewhere: Store
) -> None:
    for place in (store, elsewhere):
        do(experiment(), place, role="teacher")
    stop_after(done, HINTED, store)
    found = [step.done for step in do(HINTED, store, CLEAN) if step.event == "epoch_done"]
    assert found == list(range(done + 1, 6))
    do(HINTED, elsewhere, CLEAN)
    assert_same_bits(stored(store, HINTED.trial_id), stored(elsewhere, HINTED.trial_id))
    assert store.read(weights_file(HINTED.trial_id)) == elsewhere.read(
        weights_file(HINTED.trial_id)
    )


# What is looked at while it trains


PLAIN_PGD3 = {key: value for key, value in PGD3.items() if key != "label"}
LOOK = {"every": 2, "suite": [PLAIN_PGD3, {"name": "clean", "split": "val"}]}
WATCHED = experiment(training={"epochs": 4, "batch_size": 50, "monitor": LOOK, "gradients": True})


def test_numbers_taken_during_training_are_rows_with_an_epoch(store: Store) -> None:
    do(WATCHED, store, PGD3)
    rows = stored(store, WATCHED.trial_id)["robustness"]
    looked = rows[(rows["label"] == "pgd") & (rows["metric"] == "accuracy")]
    assert (looked["epoch"].tolist(), looked["split"].unique().tolist()) == ([2, 4], ["val"])
    gradients = rows[rows["label"] == "gradients"]
    assert list(zip(gradients["layer"], gradients["epoch"], strict=True)) == [
        (layer, epoch) for epoch in (1, 2, 3, 4) for layer in ("hidden.0.0", "head")
    ]
    assert gradients["value"].gt(0).all()
    assert rows["dataset"].eq("digits").all()
    after = rows[(rows["label"] == "pgd3") & (rows["metric"] == "accuracy")]
    assert after["epoch"].isna().all()
    assert set(after["evaluation_id"]).isdisjoint(looked["evaluation_id"])
    assert looked["value"].tolist()[-1] == after["value"].item(), "the same network, measured alike"


def test_numbers_taken_during_training_are_no_columns_of_the_frame(store: Store) -> None:
    do(WATCHED, store, PLAIN_PGD3)
    (found,) = Results(store.location).frame().to_dict("records")
    rows = stored(store, WATCHED.trial_id)["robustness"]
    measured = {name for name in found if name.partition(".")[0] in ("pgd", "clean", "gradients")}
    assert measured == {"pgd.accuracy", "pgd.any_iterate_accuracy"}
    assert (
        found["pgd.accuracy"]
        == rows.loc[rows["epoch"].isna() & (rows["metric"] == "accuracy"), "value"].item()
    )


def test_the_weights_that_a_monitor_found_best_are_stored_and_measured(store: Store) -> None:
    described = experiment(
        training={
            "epochs": 6,
            "batch_size": 50,
            "optimizer": {"name": "sgd", "learning_rate": 0.9},
            "average": {"name": "ema", "decay": 0.5},
            "keep": {"best": "pgd.accuracy"},
            "monitor": {"suite": [PLAIN_PGD3]},
        }
    )
    do(described, store, PGD3)
    rows, found = stored(store, described.trial_id)["robustness"], row(store, described)
    numbers = rows[rows["metric"] == "accuracy"].set_index("epoch")["value"]
    looked, after = numbers[numbers.index.notna()], numbers[numbers.index.isna()].item()
    assert looked.max() > looked.iloc[-1], "choose a training that has its best epoch earlier"
    assert (found["kept_epoch"], after) == (looked.idxmax(), looked.max())
    assert found["training.keep.best"] == "pgd[1].accuracy"
    epochs = stored(store, described.trial_id)["epochs"].set_index("epoch")
    assert found["val_accuracy"] == epochs["val_accuracy"][found["kept_epoch"]]


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_trial_that_went_on_has_the_numbers_of_all_its_epochs(
    done: int, store: Store, elsewhere: Store
) -> None:
    stop_after(done, WATCHED, store)
    for place in (store, elsewhere):
        do(WATCHED, place, CLEAN)
    clean = 4 + 10  # of them one for each class
    assert len(stored(store, WATCHED.trial_id)["robustness"]) == 2 * (2 + clean) + 4 * 2 + clean
    assert_same_bits(stored(store, WATCHED.trial_id), stored(elsewhere, WATCHED.trial_id))


def test_a_trial_is_the_same_but_for_its_looks_whether_it_is_watched_or_not(store: Store) -> None:
    plain = experiment(training={"epochs": 4, "batch_size": 50})
    for described in (WATCHED, plain):
        do(described, store, CLEAN)
    one, other = (stored(store, described.trial_id) for described in (WATCHED, plain))
    numbers = ["epoch", "loss", "train_accuracy", "val_loss", "val_accuracy"]
    pd.testing.assert_frame_equal(
        one["epochs"][numbers], other["epochs"][numbers], check_exact=True
    )
    weights = [
        unpack(store.read(weights_file(described.trial_id)))[0] for described in (WATCHED, plain)
    ]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_gradients_of_a_method_in_stages_are_those_of_the_last_one(store: Store) -> None:
    do(experiment(), store, role="teacher")
    described = distillation(
        method=BY_CLASSIFIER, training={"epochs": 2, "batch_size": 50, "gradients": True}
    )
    do(described, store)
    rows = stored(store, described.trial_id)["robustness"]
    assert rows["epoch"].tolist() == [1, 1, 2, 2]
    assert rows["value"].gt(0).all(), "in a hint stage none reaches the last layer"


# Compared with its teacher


BOUND = {"name": "prediction_bound", "points": 2, "epsilon": 0.5}


def test_the_bound_compares_a_student_with_its_stored_teacher(store: Store) -> None:
    student = distillation()
    assert student.teacher is not None
    do(student.teacher, store, role="teacher")
    end = do(student, store, BOUND)[-1]
    models = models_in(store)
    subject = Subject(
        models.load(student), digits(student).test, teacher=models.load(student.teacher)
    )
    expected = {
        f"prediction_bound.{m.metric}": m.value
        for m in measurements(PredictionBound(points=2, epsilon=0.5), subject)
    }
    assert {name: end.named_metrics[name] for name in expected} == expected
    rows = stored(store, student.trial_id)["robustness"]
    assert rows["checks"].str.contains("not certified").all()


def test_a_bound_asked_of_a_trial_without_a_teacher_is_an_error_row_with_the_reason(
    store: Store,
) -> None:
    end = do(experiment(), store, BOUND, CLEAN)[-1]
    reason = "ValueError: it compares a student with its trained teacher, and there is none"
    assert str(end.problem) == f"prediction_bound: {reason}"
    assert "clean.accuracy" in end.named_metrics


# What a data set's first layers learn


WHITENED = {"name": "digits", "examples": 300, "normalization": "gcn_zca"}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[ImageData]:
    """The data that anything was fitted to."""
    done: list[ImageData] = []

    def fit(data: ImageData, dataset: Any) -> Any:
        done.append(data)
        return fitted(data, dataset)

    monkeypatch.setattr("kdray.trials.trained.fitted", fit)
    return done


def normalization_file(described: Experiment) -> str:
    key = storage_key(described.data)
    assert key is not None
    return f"normalizations/{key}.safetensors"


def test_a_whitening_is_fitted_once_and_stored_beside_the_weights(
    store: Store, fits: list[ImageData]
) -> None:
    first, second = (
        experiment(data=WHITENED),
        experiment(data=WHITENED | {"augment": "flip"}, seed=1),
    )
    name = normalization_file(first)
    assert normalization_file(second) == name
    do(first, store, CLEAN)
    assert len(fits) == 1, "training, storing, loading and measuring need it"
    assert store.names("normalizations", ".safetensors") == [name]
    before = store.read(name)
    do(second, store, CLEAN)
    assert len(fits) == 1
    assert store.read(name) == before
    assert set(Results(store.location).trials()["status"]) == {"completed"}


def test_weights_files_do_not_hold_the_whitening_and_parameters_do_not_count_it(
    store: Store,
) -> None:
    described = experiment(data=WHITENED)
    do(described, store)
    weights, _ = unpack(store.read(weights_file(described.trial_id)))
    assert {name.partition(".")[0] for name in weights} == {"network"}
    assert row(store, described)["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert unpack(store.read(normalization_file(described)))[0]["matrix"].shape == (64, 64)


@pytest.mark.parametrize(
    "harm", [alter, lambda store, name: store.delete(name)], ids=["damaged", "missing"]
)
def test_a_whitening_that_is_gone_is_fitted_again_and_is_the_same(
    harm: Any, store: Store, elsewhere: Store, fits: list[ImageData]
) -> None:
    described = experiment(data=WHITENED)
    name = normalization_file(described)
    do(described, store, CLEAN)
    before = unpack(store.read(name))[0]
    harm(store, name)
    assert do(described, store, NOISE, train=False)[-1].outcome == "completed"
    assert len(fits) == 2
    assert all(
        torch.equal(tensor, before[key]) for key, tensor in unpack(store.read(name))[0].items()
    )
    do(described, elsewhere, CLEAN, NOISE)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


def test_a_stored_whitening_is_what_a_trained_model_is_loaded_with(store: Store) -> None:
    described = experiment(data=WHITENED)
    do(described, store)
    classifier = models_in(store).load(described)
    images = to_unit(digits(described).test.images[:20])
    tensors, _ = unpack(store.read(normalization_file(described)))
    centred = images - images.mean((1, 2, 3), keepdim=True)
    contrasts = 55 * centred / centred.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    whitened = (contrasts.flatten(1) - tensors["mean"]) @ tensors["matrix"]
    torch.testing.assert_close(
        classifier.normalization(images).flatten(1), whitened, rtol=1e-4, atol=1e-4
    )
    assert not any(buffer.requires_grad for buffer in classifier.buffers())


def test_channel_means_are_fitted_for_every_trial_and_stored_in_its_weights(store: Store) -> None:
    do(experiment(), store)
    assert store.names("normalizations", ".safetensors") == []


# Combinations


LEARNED = {"epochs": 1, "batch_size": 60}
COMBINED: dict[str, dict[str, Any]] = {
    "a fickle teacher with soft randomization": {
        "teacher": description(model={"name": "mlp", "hidden": [16], "dropout": 0.3}),
        "method": {"name": "kd"},
        "supervision": {"dropout": "active"},
        "noise": {"input": {"name": "gaussian", "sigma": 0.2}},
    },
    "label noise with the margin loss": {
        "teacher": description(),
        "method": {"name": "margin"},
        "noise": {"labels": {"name": "uniform", "rate": 0.3}},
    },
    "a smoothed adversarial teacher with gradient matching": {
        "teacher": description(
            model={"name": "mlp", "hidden": [16], "input_sigma": 0.1},
            method={"name": "adversarial", "attack": {"epsilon": 0.1, "steps": 2, "samples": 2}},
        ),
        "method": {"name": "gradient_matching"},
        "supervision": {"smoothing": {"samples": 3}},
    },
    "several changes of the logits in order": {
        "teacher": description(),
        "method": {"name": "kd"},
        "supervision": {
            "noise": [
                {"name": "signal_dependent", "sigma": 0.3},
                {"name": "swap", "probability": 0.5, "threshold": 0.3},
                {"name": "swap", "which": "all", "probability": 0.5, "threshold": 0.3},
            ]
        },
    },
    "a teacher with weight noise, smoothed, for an adversarial student": {
        "teacher": description(
            model={"name": "wide_resnet", "depth": 10, "width": 1, "weight_noise": {"name": "cni"}},
            training=LEARNED,
        ),
        "method": {
            "name": "adversarial",
            "attack": {"steps": 1},
            "clean": {"name": "kd"},
            "perturbed": {"name": "margin"},
        },
        "supervision": {"smoothing": {"samples": 2, "aggregate": "prediction"}},
    },
}


@pytest.mark.parametrize("fields", COMBINED.values(), ids=list(COMBINED))
def test_combinations_train_to_finite_numbers_and_repeat(
    fields: dict[str, Any], store: Store, elsewhere: Store
) -> None:
    described = experiment(model={"name": "mlp", "hidden": [8]}, training=LEARNED, **fields)
    assert described.teacher is not None
    for place in (store, elsewhere):
        do(described.teacher, place, role="teacher")
        assert do(described, place, CLEAN)[-1].outcome == "completed"
    found = stored(store, described.trial_id)
    assert found["epochs"][["loss", "val_loss"]].map(lambda value: 0 < value < 1e3).all(axis=None)
    assert_same_bits(found, stored(elsewhere, described.trial_id))


# What goes wrong becomes a row


def test_a_diverged_trial_is_a_row_with_the_reason(store: Store) -> None:
    described = experiment(
        training={
            "epochs": 2,
            "batch_size": 50,
            "optimizer": {"name": "sgd", "learning_rate": 1e30},
        }
    )
    (end,) = do(described, store, CLEAN)
    assert (end.outcome, end.failed) == ("diverged", True)
    found = row(store, described)
    assert found["status"] == "diverged"
    assert end.reason == end.problem
    assert (end.reason.text, end.reason.kind) == (found["error"], found["reason_kind"])
    assert found["error"].startswith("Diverged: the loss is ")
    assert pd.isna(found["val_accuracy"])
    assert found["reason_kind"] == "experiment"
    assert not store.exists(weights_file(described.trial_id))
    assert stored(store, described.trial_id)["robustness"].empty


def test_a_failed_trial_is_a_row_with_the_reason(store: Store) -> None:
    described = distillation()  # its teacher is not there
    (end,) = do(described, store)
    assert end.outcome == "failed"
    found = row(store, described)
    assert (found["status"], found["error"]) == ("failed", end.reason.text)
    assert found["error"].startswith("Damaged: weights/")
    assert described.teacher is not None
    assert weights_file(described.teacher.trial_id) in found["error"]
    assert found["reason_kind"] == "machine"


def test_a_failed_trial_that_is_tried_again_is_a_completed_one(store: Store) -> None:
    described = distillation()
    do(described, store)
    do(experiment(), store, role="teacher")
    assert do(described, store)[-1].outcome == "completed"
    assert row(store, described)["status"] == "completed"
    assert pd.isna(row(store, described)["error"])


def test_an_evaluation_that_raises_is_an_error_row_and_the_others_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: GaussianNoise, subject: Subject) -> Iterator[Measurement]:
        yield Measurement(metric="accuracy", value=0.5, examples=len(subject.split.labels))
        raise ValueError("two\nlines")

    monkeypatch.setattr(GaussianNoise, "measure", measure)
    described = experiment()
    found = do(described, store, CLEAN, NOISE, PGD3)
    end = found[-1]
    assert [step.text for step in found[4:]] == ["clean", "noise", "pgd3", "failed"]
    assert (end.outcome, end.reason) == ("failed", None)
    assert str(end.problem) == "noise: ValueError: two lines"
    assert end.problem.kind is ReasonKind.EXPERIMENT
    assert "pgd3.accuracy" in end.named_metrics
    assert "noise.accuracy" not in end.named_metrics
    rows = stored(store, described.trial_id)["robustness"].set_index("label")
    why = rows.loc["noise", ["error", "reason_kind"]]
    assert why.tolist() == ["ValueError: two lines", "experiment"]
    assert pd.isna(rows.loc["noise", ["metric", "value"]]).all()
    assert rows.loc[["clean", "pgd3"], "error"].isna().all()
    assert row(store, described)["status"] == "completed"


def test_an_evaluation_that_raised_is_replaced_when_it_succeeds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = experiment()
    with monkeypatch.context() as patched:
        patched.setattr(GaussianNoise, "measure", None)
        do(described, store, NOISE)
    (error,) = stored(store, described.trial_id)["robustness"]["error"]
    assert error == "TypeError: 'NoneType' object is not callable"
    assert do(described, store, NOISE, train=False)[-1].outcome == "completed"
    rows = stored(store, described.trial_id)["robustness"]
    assert rows["error"].isna().all()
    assert rows["sigma"].tolist() == [0.1, 0.4]


def broken(*args: object, **kwargs: object) -> None:
    raise OSError("disk on fire")


def test_data_that_cannot_be_read_leave_a_trained_trials_row_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = experiment()
    do(described, store)
    monkeypatch.setattr(ImageData, "load", broken)
    end = do(described, store, CLEAN, train=False)[-1]
    assert (end.outcome, str(end.problem)) == ("failed", "OSError: disk on fire")
    assert row(store, described)["status"] == "completed"


def test_an_evaluation_that_cannot_be_written_leaves_the_trained_trials_row_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = experiment()

    def write(store: Store, table: str, *rest: Any) -> None:
        if table == "robustness":
            broken()
        write_rows(store, table, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("kdray.trials.rows.write_rows", write)
    assert do(described, store, CLEAN)[-1].outcome == "failed"
    assert row(store, described)["status"] == "completed"


# Damage


def test_a_damaged_checkpoint_is_named_and_the_trial_starts_anew_with_the_same_numbers(
    store: Store, elsewhere: Store
) -> None:
    described = experiment()
    name = checkpoint_file(described.trial_id)
    stop_after(2, described, store)
    alter(store, name)
    with pytest.warns(
        DamagedCheckpoint, match=f"{store.location}/{name} is damaged .*: starting anew"
    ) as warned:
        found = do(described, store, *SUITE)
    assert len(warned) == 1
    assert found[0].text == "epoch 1/3"
    do(described, elsewhere, *SUITE)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


def lose(store: Store, name: str) -> None:
    store.delete(name)


@pytest.mark.parametrize(("harm", "problem"), [(alter, "damaged"), (lose, "missing")])
def test_weights_that_are_gone_are_trained_again_with_the_same_numbers(
    harm: Any, problem: str, store: Store, elsewhere: Store
) -> None:
    described = experiment()
    do(described, store, CLEAN)
    name = weights_file(described.trial_id)
    harm(store, name)
    with pytest.warns(
        DamagedCheckpoint, match=f"{store.location}/{name} is {problem}.*: training again"
    ):
        found = do(described, store, NOISE, PGD3, train=False)
    assert [step.event for step in found] == [
        *["epoch_done"] * 3,
        "trained",
        *["measured"] * 2,
        "ended",
    ]
    assert found[-1].outcome == "completed"
    do(described, elsewhere, *SUITE)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


@pytest.mark.parametrize(("harm", "problem"), [(alter, "damaged"), (lose, "missing")])
def test_weights_that_are_gone_are_the_failure_of_a_task_that_may_not_train(
    harm: Any, problem: str, store: Store
) -> None:
    described = experiment()
    do(described, store)
    before = stored(store, described.trial_id)
    harm(store, weights_file(described.trial_id))
    (end,) = do(described, store, CLEAN, train=False, retrain_damaged=False)
    assert end.outcome == "failed"
    assert end.reason.text.startswith(f"Damaged: {weights_file(described.trial_id)} is {problem}")
    assert "'kdray run'" in end.reason.text
    assert end.reason.kind is ReasonKind.MACHINE
    after = stored(store, described.trial_id)
    assert after["robustness"]["error"].tolist() == [end.reason.text], "the row says why"
    assert_same_bits(
        {**after, "robustness": before["robustness"]}, before
    )  # it is as completed as it was


@pytest.mark.parametrize("train", [True, False], ids=["known to be gone", "found to be gone"])
@pytest.mark.parametrize(
    "error", [Diverged("the loss is nan"), RuntimeError("boom")], ids=["diverged", "failed"]
)
def test_a_trained_trial_that_fails_when_it_is_trained_again_keeps_its_numbers_and_says_why(
    error: Exception, train: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = experiment()
    do(described, store, CLEAN)
    before = stored(store, described.trial_id)
    lose(store, weights_file(described.trial_id))
    real = trial.train

    def until_the_second_epoch(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield next(real(*arguments, **options))
        raise error

    monkeypatch.setattr(trial, "train", until_the_second_epoch)
    with nullcontext() if train else pytest.warns(DamagedCheckpoint):
        *_, end = do(described, store, NOISE, PGD3, train=train)
    assert end.failed
    after = stored(store, described.trial_id)
    failed = after["robustness"]["error"].notna()
    assert (
        after["robustness"].loc[failed, "error"].tolist()
        == [f"while it was trained again: {end.reason.text}"] * 2
    )
    assert set(after["robustness"].loc[failed, "reason_kind"]) == {"experiment"}
    measured = after["robustness"][~failed].reset_index(drop=True)
    assert_same_bits({**after, "robustness": measured[before["robustness"].columns]}, before)


def test_a_trained_trial_that_is_stopped_while_it_is_trained_again_keeps_its_epochs(
    store: Store,
) -> None:
    described = experiment()
    do(described, store, CLEAN)
    before = stored(store, described.trial_id)
    lose(store, weights_file(described.trial_id))
    stop_after(1, described, store)
    assert_same_bits(stored(store, described.trial_id), before)


def test_weights_of_another_model_are_damaged(store: Store) -> None:
    described, other = experiment(), experiment(model={"name": "mlp", "hidden": [17]})
    do(described, store)
    do(other, store)
    store.write(weights_file(described.trial_id), store.read(weights_file(other.trial_id)))
    with pytest.warns(DamagedCheckpoint, match="it is of trial"):
        assert do(described, store, CLEAN, train=False)[-1].outcome == "completed"


def test_a_teacher_with_damaged_weights_fails_its_student_as_a_fault(store: Store) -> None:
    do(experiment(), store, role="teacher")
    alter(store, weights_file(experiment().trial_id))
    (end,) = do(distillation(), store)
    assert end.outcome == "failed"
    assert end.reason.kind is ReasonKind.MACHINE
    assert row(store, distillation())["status"] == "failed"


# The log


def log_of(store: Store, described: Experiment) -> list[str]:
    """The trial's log without times and tracebacks, without what a run of it took."""
    lines = [
        line
        for line in store.read(log_file(described.trial_id)).decode().splitlines()
        if line[0] != " "
    ]
    return [line.partition(" ")[2].partition("; ")[0] for line in lines]


def test_the_log_tells_every_step_and_its_numbers(store: Store) -> None:
    described = experiment()
    found = do(described, store, CLEAN)
    begun, how, *told = log_of(store, described)
    assert begun.startswith(
        f"begun: student on cpu, threads 1, host {platform.node()}, process {os.getpid()}, "
    )
    assert how == "training from the start"
    assert told == [step.summary for step in found]
    assert told[0].startswith(f"epoch 1/3: loss {found[0].metrics['loss']:.5g}, val_accuracy ")
    assert told[-2].startswith(
        f"clean: accuracy {found[-1].named_metrics['clean.accuracy']:.5g}, loss "
    )
    assert told[-1] == "end: completed"


def test_the_log_of_a_trial_that_was_stopped_goes_on_with_it(store: Store) -> None:
    described = experiment()
    stop_after(2, described, store)
    before = log_of(store, described)
    assert [line.partition(":")[0] for line in before[-3:]] == [
        "epoch 1/3",
        "epoch 2/3",
        "stopped early",
    ]
    assert Results(store.location).trials().empty, "it may go on"
    assert store.exists(checkpoint_file(described.trial_id))
    do(described, store)
    after = log_of(store, described)
    assert after[: len(before)] == before
    assert after[len(before) + 1] == "training goes on after 2 of 3 epochs"
    assert "Traceback" not in store.read(log_file(described.trial_id)).decode()


def test_a_trial_that_has_ended_was_not_stopped_early(store: Store) -> None:
    described = experiment()
    running = steps(described, store)
    while not isinstance(next(running), Ended):
        pass
    running.close()  # type: ignore[attr-defined]
    assert log_of(store, described)[-1] == "end: completed"


def test_the_log_shows_how_far_a_trial_came_at_any_time(store: Store) -> None:
    described = experiment()
    for step in steps(described, store, CLEAN):
        assert log_of(store, described)[-1] == step.summary


def test_the_log_holds_the_traceback_of_what_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(self: GaussianNoise, subject: Subject) -> Iterator[Measurement]:
        raise ValueError("of noise")

    monkeypatch.setattr(GaussianNoise, "measure", measure)
    described = experiment()
    do(described, store, NOISE)
    text = store.read(log_file(described.trial_id)).decode()
    assert "    Traceback (most recent call last):" in text
    assert ", in measure\n" in text
    assert log_of(store, described)[-3:] == [
        "noise failed: ValueError: of noise",
        "noise: no numbers",
        "end: failed: noise: ValueError: of noise",
    ]
    student = distillation(seed=1, teacher=description(seed=9))  # its teacher is not there
    do(student, store)
    text = store.read(log_file(student.trial_id)).decode()
    assert ", in training_setup\n" in text
    assert [line.partition(": ")[0] for line in log_of(store, student)] == [
        "begun",
        "failed",
        "end",
    ]


def test_an_error_while_rows_are_written_is_in_the_log_though_it_is_raised(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.trials.rows.write_rows", broken)
    described = experiment()
    with pytest.raises(OSError, match="disk on fire"):
        do(described, store)
    assert log_of(store, described)[-2:] == [
        "failed: OSError: disk on fire",
        "ended: OSError: disk on fire",
    ]


def test_what_kdray_warns_of_is_in_the_log(store: Store) -> None:
    described = experiment()
    stop_after(1, described, store)
    alter(store, checkpoint_file(described.trial_id))
    with pytest.warns(DamagedCheckpoint) as warned:
        do(described, store)
    assert f"warning: {warned[0].message}" in log_of(store, described)


def test_a_log_that_cannot_be_written_leaves_the_trial_alone(
    store: Store, elsewhere: Store
) -> None:
    described = experiment()
    assert store.folder is not None
    (store.folder / log_file(described.trial_id)).mkdir(parents=True)
    assert do(described, store, CLEAN)[-1].outcome == "completed"
    do(described, elsewhere, CLEAN)
    assert_same_bits(stored(store, described.trial_id), stored(elsewhere, described.trial_id))


def test_an_object_store_gets_the_log_whole_after_every_step_but_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remote, name, ends = Store("mock:///results"), log_file(experiment().trial_id), []
    remote.create()
    write = remote.write

    def noting(file: str, data: bytes) -> None:
        if file == name:
            ends.append(data.decode().splitlines()[-1].split()[1])
        write(file, data)

    monkeypatch.setattr(remote, "write", noting)
    do(experiment(), remote, CLEAN, PGD3)
    assert ends == ["trained:", "clean:", "pgd3:", "end:"]
    assert len(log_of(remote, experiment())) == 9


def test_an_experiment_that_was_described_otherwise_is_another_trial(store: Store) -> None:
    for fields in ({}, {"seed": 1}, {"training": description()["training"] | {"batch_size": 60}}):
        do(experiment(**fields), store)
    assert len(Results(store.location).trials()) == 3


def test_a_worker_that_died_while_it_measured_does_not_train_again(tmp_path: Path) -> None:
    store = store_in(tmp_path / "results")
    task = Task(
        role="student",
        experiment=experiment(),
        evaluations=(Clean(), Clean(split="val", label="val")),
    )
    options = {"store": store, "data_root": NOWHERE, "device": CPU}
    steps = run_task(task, **options)  # type: ignore[arg-type]
    while next(steps).event != "trained":
        pass
    next(steps)  # one of two evaluations
    steps.close()
    again = list(run_task(task, **options))  # type: ignore[arg-type]
    assert [step.event for step in again] == ["trained", "measured", "measured", "ended"]
    assert again[-1].outcome == "completed"
    assert not store.names("checkpoints", ".safetensors")


def test_no_failure_replaces_the_row_of_a_completed_trial(tmp_path: Path) -> None:
    store = store_in(tmp_path / "results")
    student = distillation()
    assert student.teacher is not None
    options = {"store": store, "data_root": NOWHERE, "device": CPU}
    for role, described in (("teacher", student.teacher), ("student", student)):
        list(run_task(Task(role=role, experiment=described), **options))  # type: ignore[arg-type]
    for trial_id in (student.trial_id, student.teacher.trial_id):
        store.delete(weights_file(trial_id))
    *_, last = run_task(Task(role="student", experiment=student), **options)  # type: ignore[arg-type]
    assert isinstance(last, Ended)
    assert str(last.reason).startswith("Damaged: weights/")
    assert set(Results(store.location).trials()["status"]) == {"completed"}


def test_a_diverged_trial_keeps_the_epochs_that_show_it_and_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trial.train

    def until_the_third_epoch(*arguments: Any, **options: Any) -> Iterator[Any]:
        for epoch in real(*arguments, **options):
            if epoch.epoch == 3:
                raise Diverged("the loss is nan")
            yield epoch

    monkeypatch.setattr(trial, "train", until_the_third_epoch)
    store = store_in(tmp_path / "results")
    described = experiment(training={"epochs": 4, "batch_size": 50})
    *_, last = run_task(
        Task(role="student", experiment=described), store=store, data_root=NOWHERE, device=CPU
    )
    assert isinstance(last, Ended)
    assert str(last.reason) == "Diverged: the loss is nan"
    assert Results(store.location).trials()["status"].tolist() == ["diverged"]
    assert {1, 2} <= set(Results(store.location).epochs()["epoch"])
    assert not store.names("checkpoints", ".safetensors")


def test_what_is_learned_beside_the_student_starts_from_the_seed() -> None:
    regressors = []
    for seed in (0, 0, 1):
        described = distillation(method={"name": "fitnet"}, seed=seed)
        state = fresh(described, teacher_of(described))
        regressors.append(state.helper.get_parameter("regressor.weight"))
    assert torch.equal(regressors[0], regressors[1])
    assert not torch.equal(regressors[0], regressors[2])


def test_a_teacher_whose_weights_are_gone_is_the_failure_of_the_evaluation_that_compares_with_it(
    store: Store,
) -> None:
    described = distillation()
    assert described.teacher is not None
    do(described.teacher, store, role="teacher")
    do(described, store)
    store.delete(weights_file(described.teacher.trial_id))
    end = do(
        described, store, CLEAN, {"name": "prediction_bound", "examples": 5}, PGD3, train=False
    )[-1]
    assert end.reason is None
    assert str(end.problem).startswith("prediction_bound: Damaged: weights/")
    assert {"clean.accuracy", "pgd3.accuracy"} <= end.named_metrics.keys()
