"""What is left to do for a trial, given what the results hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kdray.core import fingerprint, parse
from kdray.machine.checked_file import pack
from kdray.results import Results, Store, write_rows
from kdray.results.metrics import SIZES
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.file import TeacherChoice
from kdray.sweep.inventory.trials import Record, TrialIndex
from kdray.trials.experiment import Experiment
from kdray.trials.rows import write_failure
from kdray.trials.run import run_task
from kdray.trials.task import Ended, Outcome, Reason, ReasonKind, Task
from tests.small_trials import CPU, NOWHERE, distillation, experiment, store_in

DIVERGING = {"epochs": 2, "batch_size": 50, "optimizer": {"name": "sgd", "learning_rate": 1e30}}


def evaluations(*described: dict[str, Any]) -> tuple[AnyEvaluation, ...]:
    return tuple(parse(AnyEvaluation, each) for each in described)  # type: ignore[arg-type]  # a union of types


CLEAN, NOISE, PGD, BOUND = evaluations(
    {"name": "clean", "split": "val"},
    {"name": "gaussian_noise", "label": "noise", "sigmas": [0.1, 0.2]},
    {"name": "pgd", "label": "pgd1", "steps": 1, "examples": 10},
    {"name": "prediction_bound", "points": 1},
)
TRIAL = experiment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "results")


def trained(
    store: Store,
    described: Experiment = TRIAL,
    accuracy: float = 0.9,
    *,
    test: float | None = None,
    weights: bool = True,
) -> None:
    """Rows as if ``described`` had been trained."""
    row = {
        "trial_id": described.trial_id,
        "status": "completed",
        "val_accuracy": accuracy,
        "test_accuracy": test,
    }
    write_rows(store, "trials", described.trial_id, [row], {})
    write_rows(
        store, "epochs", described.trial_id, [{"trial_id": described.trial_id, "epoch": 1}], {}
    )
    if weights:
        store.write(f"weights/{described.trial_id}.safetensors", b"")


def ended(store: Store, status: str, error: str) -> None:
    write_rows(
        store,
        "trials",
        TRIAL.trial_id,
        [{"trial_id": TRIAL.trial_id, "status": status, "error": error}],
        {},
    )


def measured(
    store: Store, evaluation: AnyEvaluation, *values: float, error: str | None = None
) -> None:
    """Rows as if the trial had been measured."""
    common = {
        "trial_id": TRIAL.trial_id,
        "evaluation_id": fingerprint(evaluation),
        "label": "as it was then",
    }
    rows: list[dict[str, Any]] = [
        {**common, "metric": "accuracy", "value": value, "sigma": float(index)}
        for index, value in enumerate(values)
    ]
    rows += [{**common, "error": error}] if error else []
    write_rows(store, "robustness", f"{TRIAL.trial_id}-{fingerprint(evaluation)}", rows, {})


def left(
    store: Store, *suite: AnyEvaluation, retry_failed: bool = False, weights_needed: bool = False
) -> Any:
    """Whether the trial is to be trained, and what is to be measured; none if nothing is left to
    do."""
    ledger = TrialIndex(Results(store.location), retry_failed=retry_failed)
    task = ledger.task("student", TRIAL, suite, weights_needed=weights_needed)
    return (
        None
        if task is None
        else (task.train, [label_of(evaluation) for evaluation in task.evaluations])
    )


def test_a_trial_without_its_learning_curve_is_trained_again(store: Store) -> None:
    trained(store)
    assert left(store) is None
    store.delete(f"epochs/{TRIAL.trial_id}.parquet")
    assert left(store) == (True, [])


def test_of_an_unknown_trial_everything_is_left(store: Store) -> None:
    assert left(store) == (True, [])
    assert left(store, CLEAN, PGD) == (True, ["clean", "pgd1"])
    ledger = TrialIndex(Results(store.location))
    assert ledger.get(TRIAL.trial_id) is None
    outcome, reason = ledger.outcome(TRIAL.trial_id, ())
    assert (outcome, str(reason)) == ("failed", "not trained")
    assert ledger.numbers(TRIAL.trial_id, (CLEAN,)) == {}


def test_of_a_trained_trial_the_missing_evaluations_are_left(store: Store) -> None:
    trained(store)
    measured(store, CLEAN, 0.9)
    assert left(store) is None
    assert left(store, CLEAN) is None
    assert left(store, CLEAN, PGD, NOISE) == (False, ["pgd1", "noise"])


def test_another_label_is_no_other_evaluation_and_another_number_of_steps_is(store: Store) -> None:
    trained(store)
    measured(store, PGD, 0.5)
    assert left(store, PGD.model_copy(update={"label": "renamed"})) is None
    assert left(store, PGD.model_copy(update={"steps": 2})) == (False, ["pgd1"])


def test_lost_weights_are_trained_again_only_if_something_needs_them(store: Store) -> None:
    trained(store, weights=False)
    measured(store, CLEAN, 0.9)
    assert left(store) is None
    assert left(store, CLEAN) is None
    assert left(store, CLEAN, PGD) == (True, ["pgd1"])
    assert left(store, weights_needed=True) == (True, [])
    trained(store)
    assert left(store, weights_needed=True) is None


def test_weights_that_are_lost_meanwhile_count_as_lost(store: Store) -> None:
    trained(store)
    ledger = TrialIndex(Results(store.location))
    assert ledger.has_weights(TRIAL.trial_id)
    ledger.lose_weights(TRIAL.trial_id)
    task = ledger.task("teacher", TRIAL, (), weights_needed=True)
    assert task is not None
    assert task.train


@pytest.mark.parametrize(
    ("status", "error", "tried_again"),
    [
        ("diverged", "Diverged: the loss is nan in epoch 1 of 2", False),
        ("failed", "ValueError: something about the experiment", False),
        ("failed", "WorkerDied: its process ended again and again", True),
        ("failed", "OSError: No space left on device", True),
        ("failed", "OutOfMemoryError: CUDA out of memory", True),
        ("failed", "OSErrors are no fault: only the class's name counts", False),
    ],
)
def test_a_failure_is_tried_again_if_it_was_the_machines_or_if_asked_to(
    store: Store, status: str, error: str, tried_again: bool
) -> None:
    ended(store, status, error)
    everything = (True, ["clean"])
    kind = ReasonKind.MACHINE if tried_again else ReasonKind.EXPERIMENT
    reason = Reason(kind=kind, text=error)
    assert left(store, CLEAN) == (everything if tried_again else None)
    assert left(store, CLEAN, retry_failed=True) == everything
    assert TrialIndex(Results(store.location)).outcome(TRIAL.trial_id, ()) == ("failed", reason)


@pytest.mark.parametrize(
    ("error", "tried_again"),
    [("ValueError: no", False), ("OutOfMemoryError: CUDA out of memory", True)],
)
def test_an_evaluation_that_failed_is_tried_again_by_the_same_rule(
    store: Store, error: str, tried_again: bool
) -> None:
    trained(store)
    measured(store, PGD, error=error)
    measured(store, CLEAN, 0.9)
    assert left(store, CLEAN, PGD) == ((False, ["pgd1"]) if tried_again else None)
    assert left(store, CLEAN, PGD, retry_failed=True) == (False, ["pgd1"])
    ledger = TrialIndex(Results(store.location))
    outcome, reason = ledger.outcome(TRIAL.trial_id, (CLEAN, PGD))
    assert (outcome, str(reason)) == ("failed", f"pgd1: {error}")
    assert ledger.outcome(TRIAL.trial_id, (CLEAN,)) == ("completed", None), (
        "what is not asked for is no failure"
    )


def test_the_best_candidate_has_the_highest_validation_accuracy_and_ties_go_to_the_lowest_seed(
    store: Store,
) -> None:
    candidates = [experiment(seed=seed) for seed in (2, 0, 1)]
    for candidate, accuracy in zip(candidates, (0.9, 0.8, 0.9), strict=True):
        index = TrialIndex(Results(store.location))
        assert index.choose(candidates, TeacherChoice(), 0) is None, "not until all are there"
        trained(store, candidate, accuracy)
    index = TrialIndex(Results(store.location))
    best = index.choose(candidates, TeacherChoice(), 0)
    assert best is not None
    assert best.seed == 1
    assert index.choose(candidates[:2], TeacherChoice(), 0) == candidates[0]


def test_by_test_the_teacher_is_the_one_with_the_highest_test_accuracy_and_ties_go_to_the_lowest_seed(
    store: Store,
) -> None:
    candidates = [experiment(seed=seed) for seed in range(4)]
    by_test = TeacherChoice(seeds=4, select="best_test")
    for candidate, accuracy, test in zip(
        candidates, (0.9, 0.6, 0.7, 0.8), (0.5, 0.7, 0.8, 0.8), strict=True
    ):
        assert TrialIndex(Results(store.location)).choose(candidates, by_test, 0) is None, (
            "not until all are there"
        )
        trained(store, candidate, accuracy, test=test)
    ledger = TrialIndex(Results(store.location))
    assert [ledger.choose(candidates, by_test, seed) for seed in (0, 1)] == [candidates[2]] * 2
    assert [ledger.choose(candidates, TeacherChoice(seeds=4), seed) for seed in (0, 1)] == [
        candidates[0]
    ] * 2
    each = TeacherChoice(seeds=4, select="each")
    assert [ledger.choose(candidates, each, seed) for seed in range(4)] == candidates


def test_without_a_test_accuracy_nobody_is_chosen_by_it(store: Store) -> None:
    trained(store)
    ledger = TrialIndex(Results(store.location))
    assert ledger.choose([TRIAL], TeacherChoice(select="best_test"), 0) is None
    assert ledger.choose([TRIAL], TeacherChoice(), 0) == TRIAL


def test_a_comparison_with_the_teacher_is_left_only_for_trials_that_have_one(store: Store) -> None:
    student, virtual = (
        distillation(),
        experiment(supervision={"virtual": {}}, method={"name": "kd"}),
    )
    for described in (TRIAL, student, virtual):
        trained(store, described)
    assert left(store, BOUND) is None
    assert left(store, BOUND, CLEAN) == (False, ["clean"])
    ledger = TrialIndex(Results(store.location))
    assert ledger.outcome(TRIAL.trial_id, (BOUND,)) == ("completed", None), (
        "what means nothing is no failure"
    )
    task = ledger.task("student", student, (BOUND, CLEAN))
    assert task is not None
    assert task.evaluations == (BOUND, CLEAN)
    assert ledger.task("student", virtual, (BOUND,)) is None


def test_the_best_candidate_is_one_of_those_that_completed(store: Store) -> None:
    candidates = [TRIAL, experiment(seed=1), experiment(seed=2)]
    trained(store, candidates[1], 0.4)
    ended(store, "diverged", "Diverged: no")
    index = TrialIndex(Results(store.location))
    assert index.choose(candidates, TeacherChoice(), 0) is None, "one is not there yet"
    assert index.best(candidates) == candidates[1], "of those that are there"
    trained(store, candidates[2], 0.7)
    index = TrialIndex(Results(store.location))
    assert index.choose(candidates, TeacherChoice(), 0) == candidates[2]
    assert index.choose([TRIAL], TeacherChoice(), 0) is None
    each = TeacherChoice(seeds=3, select="each")
    assert [index.choose(candidates, each, seed) for seed in range(3)] == [None, *candidates[1:]]


def test_a_candidate_that_is_tried_again_is_waited_for(store: Store) -> None:
    candidates = [TRIAL, experiment(seed=1)]
    trained(store, candidates[1], 0.4)
    ended(store, "failed", "WorkerDied: it was killed")
    assert TrialIndex(Results(store.location)).choose(candidates, TeacherChoice(), 0) is None
    ended(store, "diverged", "Diverged: no")
    asked_again = TrialIndex(Results(store.location), retry_failed=True)
    assert asked_again.choose(candidates, TeacherChoice(), 0) is None
    task = asked_again.task("teacher", TRIAL, ())
    assert task is not None
    reason = Reason(kind=ReasonKind.EXPERIMENT, text="Diverged: no")
    asked_again.note(task, Ended(outcome=Outcome.DIVERGED, reason=reason))
    assert asked_again.choose(candidates, TeacherChoice(), 0) == candidates[1]


def test_numbers_stand_under_the_labels_of_today(store: Store) -> None:
    trained(store, accuracy=0.75)
    measured(store, CLEAN, 0.5)
    measured(store, NOISE, 0.5, 0.25)
    renamed = CLEAN.model_copy(update={"label": "c"})
    ledger = TrialIndex(Results(store.location))
    assert ledger.numbers(TRIAL.trial_id, (renamed, NOISE, PGD)) == {
        "val_accuracy": 0.75,
        "c.accuracy": 0.5,
    }


def test_rows_of_a_kind_that_no_sweep_asks_for_do_no_harm(store: Store) -> None:
    measured(store, PGD, 0.5)
    assert left(store, PGD) == (True, ["pgd1"]), "measured, but never trained"


def do(
    store: Store, ledger: TrialIndex, described: Experiment, *suite: AnyEvaluation, **fields: Any
) -> Ended:
    """Run what is left to do and note it, as a driver does."""
    task = ledger.task("student", described, suite)
    assert task is not None
    *_, last = run_task(
        Task.model_validate({**dict(task), **fields}), store=store, data_root=NOWHERE, device=CPU
    )
    assert isinstance(last, Ended)
    ledger.note(task, last)
    return last


def noted(store: Store, ledger: TrialIndex, trial_id: str) -> tuple[Record | None, Record | None]:
    """What the ledger holds, and what one holds that reads the results now."""
    fresh = TrialIndex(Results(store.location))
    assert ledger.has_weights(trial_id) == fresh.has_weights(trial_id)
    return ledger.get(trial_id), fresh.get(trial_id)


def test_numbers_taken_during_training_are_no_measurement_of_the_trained_network(
    store: Store,
) -> None:
    monitor = {"suite": [{"name": "clean", "split": "val"}]}
    watched = experiment(training={"epochs": 1, "batch_size": 50, "monitor": monitor})
    do(store, TrialIndex(Results(store.location)), watched)
    ledger = TrialIndex(Results(store.location))
    task = ledger.task("student", watched, (CLEAN,))
    assert task is not None
    assert (task.train, task.evaluations) == (False, (CLEAN,))
    assert ledger.numbers(watched.trial_id, (CLEAN,)).keys() == {"val_accuracy", *SIZES}


def unmeasurable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("cannot be measured")

    monkeypatch.setattr(type(PGD), "measure", refuse)


def test_what_is_noted_of_a_trial_is_what_a_fresh_ledger_reads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, suite = TrialIndex(Results(store.location)), [CLEAN, NOISE]
    assert do(store, ledger, TRIAL, *suite).outcome == "completed"
    here, there = noted(store, ledger, TRIAL.trial_id)
    assert here == there
    assert here is not None
    assert {key: set(found) for key, found in here.metrics.items()} == {
        fingerprint(CLEAN): {"accuracy", "loss", "ece", "brier"}
    }
    assert here.measured == {fingerprint(CLEAN), fingerprint(NOISE)}
    # One is added that cannot be measured.
    with monkeypatch.context() as patch:
        unmeasurable(patch)
        problem = do(store, ledger, TRIAL, *suite, PGD).problem
        assert str(problem) == "pgd1: RuntimeError: cannot be measured"
    here, there = noted(store, ledger, TRIAL.trial_id)
    assert here == there
    assert ledger.task("student", TRIAL, (*suite, PGD)) is None
    # And then it can.
    ledger = TrialIndex(Results(store.location), retry_failed=True)
    assert do(store, ledger, TRIAL, *suite, PGD).outcome == "completed"
    here, there = noted(store, ledger, TRIAL.trial_id)
    assert here == there
    assert here is not None
    assert here.failed == {}
    assert ledger.outcome(TRIAL.trial_id, (*suite, PGD)) == ("completed", None)


def test_what_is_noted_of_a_trial_trained_again_is_what_a_fresh_ledger_reads(store: Store) -> None:
    ledger = TrialIndex(Results(store.location))
    do(store, ledger, TRIAL, CLEAN)
    before = ledger.get(TRIAL.trial_id)
    store.delete(f"weights/{TRIAL.trial_id}.safetensors")
    ledger.lose_weights(TRIAL.trial_id)
    do(store, ledger, TRIAL, CLEAN, PGD)
    here, there = noted(store, ledger, TRIAL.trial_id)
    assert here == there
    assert here is not None
    assert before is not None
    assert before.metrics.items() < here.metrics.items()


def test_a_diverged_trial_is_noted_as_what_a_fresh_ledger_reads(store: Store) -> None:
    ledger, described = TrialIndex(Results(store.location)), experiment(training=DIVERGING)
    assert str(do(store, ledger, described, CLEAN).reason).startswith("Diverged: the loss is")
    here, there = noted(store, ledger, described.trial_id)
    assert here is not None
    assert there is not None
    assert here == there
    assert there.outcome is Outcome.DIVERGED
    assert ledger.outcome(described.trial_id, ()) == (Outcome.FAILED, here.reason)
    assert ledger.task("student", described, (CLEAN,)) is None


def test_a_student_without_its_teachers_weights_is_noted_as_what_a_fresh_ledger_reads(
    store: Store,
) -> None:
    ledger, student = TrialIndex(Results(store.location)), distillation()
    assert do(store, ledger, student).outcome == "failed"
    here, there = noted(store, ledger, student.trial_id)
    assert here == there


@pytest.mark.parametrize("how", ["its worker dies", "its weights cannot be read"])
def test_a_trained_trial_that_could_not_be_measured_stays_trained(store: Store, how: str) -> None:
    ledger = TrialIndex(Results(store.location))
    do(store, ledger, TRIAL)
    if how == "its worker dies":
        task = ledger.task("teacher", TRIAL, (PGD,), weights_needed=True)
        assert task is not None
        reason = Reason(kind=ReasonKind.MACHINE, text="WorkerDied: killed")
        ledger.note(task, Ended(outcome=Outcome.FAILED, reason=reason))
        write_failure(store, task, Outcome.FAILED, reason, task.evaluations, trained=True)
    else:
        store.write(f"weights/{TRIAL.trial_id}.safetensors", pack({}, {})[:-1])
        assert do(store, ledger, TRIAL, PGD, retrain_damaged=False).reason is not None
    here, there = noted(store, ledger, TRIAL.trial_id)
    assert here == there
    assert ledger.best([TRIAL]) == TRIAL, "students can still learn from it"


def test_damaged_files_are_no_reason_to_fail(
    store: Store, recwarn: pytest.WarningsRecorder
) -> None:
    trained(store)
    measured(store, CLEAN, 0.9)
    store.write(f"trials/{TRIAL.trial_id}.parquet", b"PAR1 cut off")
    with pytest.warns(UserWarning, match="damaged, left out"):
        assert left(store, CLEAN) == (True, ["clean"])
    assert not recwarn.list


def suite_of(*labels: str) -> Sequence[AnyEvaluation]:
    return [
        PGD.model_copy(update={"label": label, "steps": 1 + index})
        for index, label in enumerate(labels)
    ]


def test_every_reason_of_a_trial_is_told_with_its_label(store: Store) -> None:
    trained(store)
    suite = suite_of("a", "b", "c")
    for evaluation, error in zip(suite, ("ValueError: x", "ValueError: y"), strict=False):
        measured(store, evaluation, error=error)
    ledger = TrialIndex(Results(store.location))
    outcome, reason = ledger.outcome(TRIAL.trial_id, suite)
    assert (outcome, str(reason)) == ("failed", "a: ValueError: x; b: ValueError: y")
