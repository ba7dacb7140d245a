"""``kdray evaluate``: new evaluations of stored weights; nothing is trained."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdray.core import InputError
from kdray.results import Results, Store, write_rows
from kdray.sweep.definition.file import Suite
from kdray.sweep.evaluate import evaluate, load_suite
from kdray.sweep.plan import plan
from kdray.sweep.scheduling.account import Summary
from kdray.sweep.scheduling.progress import Progress
from tests.sweep.fakes import ALONE, TINY, Engine, go, sweep_of, tables

CLEAN = {"name": "clean", "label": "again"}
NOISE = {"name": "gaussian_noise", "sigmas": [0.1], "examples": 20}


def suite_file(folder: Path, tree: Any) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def measure(results: Path, suite: Suite | Sequence[Any], **options: Any) -> Summary:
    return evaluate(results, suite, progress=Progress(io.StringIO()), **options)


@pytest.fixture
def noise(tmp_path: Path) -> Suite:
    return load_suite(suite_file(tmp_path, [NOISE]))


def students(results: Path) -> list[str]:
    table = Results(results).trials()
    return sorted(table.loc[table["role"] == "student", "trial_id"])


def measured(results: Path, label: str = "gaussian_noise") -> set[str]:
    numbers = Results(results).robustness()
    return set(numbers.loc[(numbers["label"] == label) & numbers["error"].isna(), "trial_id"])


def test_a_suite_is_a_list_a_mapping_or_the_evaluate_part_of_a_sweep(tmp_path: Path) -> None:
    listed = load_suite(suite_file(tmp_path, [CLEAN, NOISE]))
    assert [evaluation.name for evaluation in listed.suite] == ["clean", "gaussian_noise"]
    assert listed.roles == ("student", "teacher")
    mapped = load_suite(suite_file(tmp_path, {"roles": ["teacher"], "suite": [CLEAN]}))
    assert (mapped.roles, [evaluation.label for evaluation in mapped.suite]) == (
        ("teacher",),
        ["again"],
    )
    assert [e.label for e in load_suite(suite_file(tmp_path, TINY)).suite] == ["pgd1", None]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "suite: is empty; there is nothing to measure"),
        ({"suite": []}, "suite: is empty"),
        ({"name": "x", "evaluate": {}}, "suite: is empty"),
        ([{"name": "pdg"}], "suite[0]: unknown name 'pdg', did you mean 'pgd'?"),
        ({"suit": [CLEAN]}, "suit: unknown key, did you mean 'suite'?"),
        (
            {"evaluate": {"suite": [{"name": "pgd", "steps": 0}]}},
            "evaluate.suite[0].steps: input should be greater",
        ),
        ([CLEAN, CLEAN], "label 'again' is used twice"),
        (3, "input should be"),
    ],
)
def test_a_suite_that_is_none_is_one_line_with_its_file(
    tmp_path: Path, tree: Any, message: str
) -> None:
    path = suite_file(tmp_path, tree)
    with pytest.raises(InputError) as raised:
        load_suite(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_trained_trial_is_measured_once(engine: Engine, finished: Path, noise: Suite) -> None:
    before = tables(finished)["trials"]
    summary = measure(finished, noise)
    assert (len(summary.ran), summary.there, summary.exit_status) == (6, set(), 0)
    assert engine.trained == []
    assert measured(finished) == set(Results(finished).trials()["trial_id"])
    assert tables(finished)["trials"].equals(before)
    engine.grants.clear()
    summary = measure(finished, noise)
    assert (summary.ran, len(summary.there), engine.grants) == (set(), 6, [])


def test_only_what_is_missing_is_measured(engine: Engine, finished: Path, tmp_path: Path) -> None:
    one, *others = students(finished)
    for path in (finished / "robustness").glob(f"{one}*"):
        path.unlink()
    suite = load_suite(suite_file(tmp_path, TINY))
    summary = measure(finished, suite, role="student")
    assert (summary.ran, summary.there) == ({one}, set(others))
    assert [labels for _, labels in engine.measured] == [["pgd1", "clean"]]


def test_a_role_is_what_a_trial_is_in_a_sweep(engine: Engine, finished: Path, noise: Suite) -> None:
    """Teachers that another sweep has as students are both."""
    alone = {**ALONE, "experiment.model.hidden": [16], "experiment.noise": {}}
    go(finished, alone, {"name": "alone"})
    members = Results(finished).members()
    (_, alone_as_students), (_, of_tiny) = members[members["role"].eq("student")].groupby("sweep")
    teachers = set(members.loc[members["role"].eq("teacher"), "trial_id"])
    assert set(alone_as_students["trial_id"]) == teachers
    measure(finished, noise, role="student")
    assert measured(finished) == {*of_tiny["trial_id"], *teachers}
    first = [{**NOISE, "label": "t", "seed": 1}]
    measure(finished, load_suite(suite_file(finished, first)), role="teacher")
    assert measured(finished, "t") == teachers


def test_roles_and_trials_narrow_it_down(engine: Engine, finished: Path, noise: Suite) -> None:
    measure(finished, noise, trials=students(finished)[:1])
    assert measured(finished) == {students(finished)[0]}
    measure(finished, noise, role="student")
    assert measured(finished) == set(students(finished))
    measure(finished, noise.model_copy(update={"roles": ("teacher",)}), role=None)
    assert measured(finished) == set(Results(finished).trials()["trial_id"])
    assert len(engine.ran) == 6


def test_an_unknown_trial_is_refused(engine: Engine, finished: Path, noise: Suite) -> None:
    with pytest.raises(InputError, match="no trained trial 'feed'"):
        measure(finished, noise, trials=["feed", students(finished)[0]])
    with pytest.raises(InputError, match=f"no trained trial '{students(finished)[0]}'"):
        measure(finished, noise, trials=students(finished)[:1], role="teacher")
    assert engine.ran == []


def test_what_does_not_fit_is_told_and_the_rest_is_measured(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    everyone = set(Results(finished).trials()["trial_id"])
    large = {"name": "occlusion", "sides": [9]}
    suite = load_suite(suite_file(tmp_path, [NOISE, large]))
    for _ in range(2):
        summary = measure(finished, suite)
        reason = "occlusion: sides: a square of 9 pixels is larger than the image's 8"
        assert {key: str(why) for key, why in summary.failures.items()} == dict.fromkeys(
            everyone, reason
        )
        assert (measured(finished), measured(finished, "occlusion")) == (everyone, set())
    assert len(engine.ran) == len(everyone), "measured once"
    with pytest.raises(InputError, match=r"^occlusion: sides: a square of 9"):
        measure(finished, load_suite(suite_file(tmp_path, [large])))


def test_what_looks_wrong_is_warned_of(engine: Engine, finished: Path, tmp_path: Path) -> None:
    said = io.StringIO()
    leaving = {
        "name": "pgd",
        "label": "leaving",
        "epsilon": 0.01,
        "step_size": 0.1,
        "steps": 1,
        "examples": 10,
    }
    evaluate(finished, load_suite(suite_file(tmp_path, [leaving])), progress=Progress(said))
    warning = "leaving: step_size 0.1 is larger than epsilon 0.01: every step leaves the ball"
    assert warning in said.getvalue()
    run = io.StringIO()
    go(tmp_path / "r", {"evaluate.suite": [leaving]}, said=run)
    assert warning in run.getvalue()
    assert warning in plan(sweep_of({"evaluate.suite": [leaving]}), tmp_path / "r").cautions
    assert engine.ran


def test_a_folder_without_results_is_refused(engine: Engine, tmp_path: Path, noise: Suite) -> None:
    with pytest.raises(InputError, match="no results here"):
        measure(tmp_path, noise)


def test_missing_or_damaged_weights_fail_their_trial_only_with_a_reason(
    engine: Engine, finished: Path, noise: Suite
) -> None:
    missing, damaged, *_ = students(finished)
    (finished / "weights" / f"{missing}.safetensors").unlink()
    (finished / "weights" / f"{damaged}.safetensors").write_bytes(b"no weights")
    before = tables(finished)["trials"]
    summary = measure(finished, noise)
    assert set(summary.failures) == {missing, damaged}
    assert str(summary.failures[missing]).startswith(
        f"Damaged: weights/{missing}.safetensors is missing; 'kdray forget' it"
    )
    assert str(summary.failures[damaged]).startswith(
        f"Damaged: weights/{damaged}.safetensors is damaged ("
    )
    assert summary.exit_status == 1
    assert engine.trained == []
    assert len(measured(finished)) == 4
    assert tables(finished)["trials"].equals(before), "they stay trained trials"


def test_a_failed_evaluation_is_tried_again_only_if_asked_to(
    engine: Engine, finished: Path, noise: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdray.sweep.scheduling.options import Options

    def refuse(*_: object) -> Any:
        raise RuntimeError("cannot be measured")

    with monkeypatch.context() as patch:
        patch.setattr("kdray.robustness.gaussian_noise.GaussianNoise.measure", refuse)
        summary = measure(finished, noise)
    assert set(map(str, summary.failures.values())) == {
        "gaussian_noise: RuntimeError: cannot be measured"
    }
    engine.ran.clear()
    measure(finished, noise)
    assert engine.ran == []
    assert measure(finished, noise, options=Options(retry_failed=True)).exit_status == 0
    assert len(measured(finished)) == 6


def test_a_failed_evaluation_is_a_failure_in_the_next_run_too(
    engine: Engine, finished: Path, noise: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Any:
        raise RuntimeError("cannot be measured")

    monkeypatch.setattr("kdray.robustness.gaussian_noise.GaussianNoise.measure", refuse)
    assert measure(finished, noise).exit_status == 1
    assert measure(finished, noise).exit_status == 1


def test_a_trial_that_diverged_is_not_asked_for(
    engine: Engine, finished: Path, noise: Suite
) -> None:
    from tests.sweep.fakes import ALONE, go

    go(
        finished,
        ALONE,
        {"name": "b", "experiment.training.optimizer": {"name": "sgd", "learning_rate": 1e30}},
    )
    engine.ran.clear()
    assert measure(finished, noise).exit_status == 0
    assert len(engine.ran) == 6


def test_what_means_nothing_for_a_trial_and_labels_that_mean_something_else_are_warned_of(
    engine: Engine, finished: Path, tmp_path: Path
) -> None:
    said = io.StringIO()
    suite = [
        {"name": "clean", "label": "pgd1"},
        {"name": "clean", "label": "smooth", "smoothing": {"samples": 8}},
    ]
    evaluate(finished, load_suite(suite_file(tmp_path, suite)), progress=Progress(said))
    assert "pgd1: another evaluation in the results has this label" in said.getvalue()
    assert (
        "smooth: left out for 6 of 6 trials, which draw nothing that smoothing could average"
        in said.getvalue()
    )


def test_a_trial_whose_learning_curve_is_gone_is_measured_once(
    engine: Engine, finished: Path, noise: Suite
) -> None:
    one = students(finished)[0]
    (finished / "epochs" / f"{one}.parquet").unlink()
    measure(finished, noise)
    engine.ran.clear()
    assert measure(finished, noise).ran == set()


def test_a_trial_that_another_version_made_is_a_failure_and_the_others_are_measured(
    engine: Engine, finished: Path, noise: Suite
) -> None:
    store, (first, *others) = Store(finished), students(finished)
    trials = Results(finished).trials()
    text = trials.set_index("trial_id").loc[first, "experiment"]
    changed = json.dumps({**json.loads(text), "seed": 77})
    row = {"trial_id": first, "role": "student", "status": "completed", "experiment": changed}
    write_rows(store, "trials", first, [row], {})
    summary = measure(finished, noise, role="student")
    assert list(summary.failures) == [first]
    reason = str(summary.failures[first])
    assert reason.startswith("the trial was made by another version of kdray: its description is")
    assert measured(finished) == set(others)
    assert len(engine.ran) == len(others)
