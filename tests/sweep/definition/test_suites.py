"""The shipped suites, and all that can be measured put through the trials of a sweep by one
command."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kdray.core import parse
from kdray.results import Results
from kdray.robustness import AnyEvaluation, label_of
from kdray.sweep.definition.file import Suite
from kdray.sweep.definition.smoke import shrink
from kdray.sweep.evaluate import load_suite
from tests.contracts.members import members
from tests.shipped import FOLDER, SUITES
from tests.sweep.fakes import Engine
from tests.sweep.test_evaluate import measure

NEEDS_FILES = {"out_of_distribution", "official_corruptions"}


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_valid_and_says_how_to_run_it(path: Path) -> None:
    assert load_suite(path).suite
    assert f"--suite sweeps/suites/{path.name}" in path.read_text()


def test_the_full_suite_has_every_evaluation_that_needs_no_files() -> None:
    names = {evaluation.name for evaluation in load_suite(FOLDER / "suites" / "full.yaml").suite}
    assert (
        names
        == {str(kind.model_fields["name"].default) for kind in members(AnyEvaluation)} - NEEDS_FILES
    )


def test_the_full_suite_measures_every_trial_without_an_error(
    engine: Engine, finished: Path
) -> None:
    tree = yaml.safe_load(
        (FOLDER / "suites" / "full.yaml")
        .read_text()
        .replace("8/255", "0.03")
        .replace("2/255", "0.01")
    )
    small = parse(Suite, shrink({"evaluate": {"suite": tree}})["evaluate"])
    assert measure(finished, small).exit_status == 0
    rows, trials = Results(finished).robustness(), Results(finished).trials()
    assert rows["error"].isna().all()
    for evaluation in small.suite:
        of_students = evaluation.needs_teacher
        wanted = trials.loc[(trials["role"] == "student") | (not of_students), "trial_id"]
        assert set(rows.loc[rows["label"] == label_of(evaluation), "trial_id"]) == set(wanted)
    engine.ran.clear()
    assert measure(finished, small).ran == set()
