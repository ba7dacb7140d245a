"""A teacher is measured as its students ask it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdray.core import parse
from kdray.models import Smoothing
from kdray.results import Results
from kdray.robustness import CertifiedRadius, Clean, GaussianNoise
from kdray.sweep.definition.teacher_variants import in_variants, teacher_variants
from kdray.sweep.evaluate import load_suite
from tests.sweep.fakes import Engine, go, sweep_of
from tests.sweep.test_evaluate import measure, suite_file

DRAWING = {"experiment.teacher.model.input_sigma": 0.2, "experiment.noise": {}, "seeds": 1}
SMOOTHED: dict[str, Any] = {
    "experiment.supervision": {"smoothing": {"samples": 3, "aggregate": "logits"}}
}
FORM = Smoothing(samples=3, aggregate="logits")


def labels(results: Path, role: str) -> set[str]:
    trials, numbers = Results(results).trials(), Results(results).robustness()
    return set(
        numbers.loc[
            numbers["trial_id"].isin(trials.loc[trials["role"] == role, "trial_id"]), "label"
        ]
    )


def test_what_is_not_smoothed_yet_is_smoothed_as_the_students_do() -> None:
    own = Clean(label="own", smoothing=Smoothing(samples=9, sigma=0.1))
    suite = in_variants([Clean(), own], [FORM])
    assert [(e.label, e.smoothing) for e in suite] == [
        ("clean-smoothed3-logits", FORM),
        ("own", own.smoothing),
    ]
    both = in_variants([GaussianNoise(), own], [None, FORM])
    assert [e.label for e in both] == [None, "own", "gaussian_noise-smoothed3-logits"]
    assert in_variants([Clean()], []) == (Clean(),)
    assert in_variants([CertifiedRadius()], [FORM]) == (CertifiedRadius(),), "it smooths by itself"


def test_every_form_of_a_sweep_is_found_and_live_dropout_is_none() -> None:
    several = {"experiment.supervision": {"smoothing": {"samples": {"grid": [2, 4]}}}}
    found = teacher_variants(sweep_of(DRAWING, several))
    assert [[form and form.samples for form in each] for each in found.values()] == [[2, 4], [2, 4]]
    asked = {"dropout": "active", "smoothing": {"samples": 2}}
    live = {"experiment.teacher.model.dropout": 0.3, "experiment.supervision": asked}
    assert list(teacher_variants(sweep_of({"experiment.noise": {}}, live)).values()) == [
        [None],
        [None],
    ]
    searched = {
        "search": {"sampler": "random", "points": 2},
        "experiment.method.temperature": {"uniform": [1, 5]},
    }
    assert [
        len(each) for each in teacher_variants(sweep_of(DRAWING, SMOOTHED, searched)).values()
    ] == [1, 1]


def test_a_smoothed_teacher_is_measured_smoothed_and_its_students_are_not(
    engine: Engine, tmp_path: Path
) -> None:
    go(tmp_path / "r", DRAWING, SMOOTHED)
    assert labels(tmp_path / "r", "teacher") == {"clean-smoothed3-logits", "pgd1-smoothed3-logits"}
    assert labels(tmp_path / "r", "student") == {"clean", "pgd1"}
    engine.ran.clear()
    assert go(tmp_path / "r", DRAWING, SMOOTHED).ran == set()
    suite = load_suite(
        suite_file(tmp_path, [{"name": "gaussian_noise", "sigmas": [0.1], "examples": 20}])
    )
    measure(tmp_path / "r", suite)
    assert "gaussian_noise-smoothed3-logits" in labels(tmp_path / "r", "teacher"), "afterwards too"
    assert measure(tmp_path / "r", suite).ran == set()


def test_the_smoothed_numbers_are_those_of_the_smoothed_model(
    engine: Engine,
    tmp_path: Path,  # noqa: ARG001, RUF100
) -> None:
    go(
        tmp_path / "r",
        DRAWING,
        SMOOTHED,
        {"evaluate.suite": [{"name": "clean"}], "experiment.teacher.seeds": 1},
    )
    plain = parse(
        Clean,
        {"name": "clean", "label": "mine", "smoothing": {"samples": 3, "aggregate": "logits"}},
    )
    measure(tmp_path / "r", [plain], role="teacher")
    numbers = Results(tmp_path / "r").robustness()
    losses = numbers[(numbers["metric"] == "loss") & (numbers["label"] != "clean")]
    assert losses["label"].unique().tolist() == ["clean-smoothed3-logits"], (
        "the same identity: not measured again"
    )


@pytest.mark.parametrize("smoothing", [None, {"samples": 1}])
def test_an_unsmoothed_teacher_is_measured_as_it_is(smoothing: Any) -> None:
    found = teacher_variants(
        sweep_of(DRAWING, {"experiment.supervision": {"smoothing": smoothing}})
    )
    assert all(len(each) == 1 for each in found.values())


def test_a_student_that_teaches_elsewhere_is_measured_as_a_student_too(
    engine: Engine,
    tmp_path: Path,  # noqa: ARG001, RUF100
) -> None:
    alone = {
        "experiment.teacher": None,
        "experiment.method": {"name": "cross_entropy"},
        "experiment.noise": {},
        "seeds": 1,
    }
    noisy = {"experiment.model": {"name": "mlp", "hidden": [16], "input_sigma": 0.2}}
    go(tmp_path / "r", alone, noisy)
    go(tmp_path / "r", DRAWING, SMOOTHED, {"name": "second", "experiment.teacher.seeds": 1})
    suite = load_suite(
        suite_file(tmp_path, [{"name": "gaussian_noise", "sigmas": [0.1], "examples": 20}])
    )
    measure(tmp_path / "r", suite)
    trials = Results(tmp_path / "r").trials()
    taught_by = trials["teacher_id"].dropna().unique()
    (first,) = trials.loc[trials["trial_id"].isin(taught_by), "trial_id"]
    numbers = Results(tmp_path / "r").robustness()
    assert {"gaussian_noise", "gaussian_noise-smoothed3-logits"} <= set(
        numbers.loc[numbers["trial_id"] == first, "label"]
    )


def test_forms_that_differ_have_labels_that_differ() -> None:
    given = [Smoothing(samples=3), FORM, Smoothing(samples=3, sigma=0.25), None]
    found = [evaluation.label for evaluation in in_variants([Clean()], given)]
    assert found == ["clean-smoothed3", "clean-smoothed3-logits", "clean-smoothed3-sigma0_25", None]
