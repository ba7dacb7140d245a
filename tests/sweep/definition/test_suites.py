"""The shipped suites, and every evaluation, put through the trials of a sweep by one command."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kdray.core import InputError, canonical, parse
from kdray.data import Digits
from kdray.results import Results
from kdray.robustness import AnyEvaluation, Evaluation, label_of
from kdray.sweep.definition.file import Suite
from kdray.sweep.definition.smoke import shrink
from kdray.sweep.evaluate import load_suite
from tests.contracts.members import instance, members
from tests.shipped import FOLDER, SUITES
from tests.sweep.fakes import NOWHERE, Engine
from tests.sweep.test_evaluate import measure


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_is_valid_and_says_how_to_run_it(path: Path) -> None:
    assert load_suite(path).suite
    assert f"--suite sweeps/suites/{path.name}" in path.read_text()


def needs_files(evaluation: Evaluation) -> bool:
    """Whether models of digits cannot be measured without what somebody has to fetch."""
    data = Digits()
    try:
        evaluation.check(data, NOWHERE)
    except InputError:
        return True
    return evaluation.misfit(data) is not None


def measures_every_trial_without_an_error(results: Path, suite: Suite, engine: Engine) -> None:
    """Every trial has rows of every evaluation of ``suite``, and a second run has nothing to do."""
    assert measure(results, suite).exit_status == 0
    rows, trials = Results(results).robustness(), Results(results).trials()
    assert rows["error"].isna().all()
    for evaluation in suite.suite:
        of_students = evaluation.needs_teacher
        wanted = trials.loc[(trials["role"] == "student") | (not of_students), "trial_id"]
        assert set(rows.loc[rows["label"] == label_of(evaluation), "trial_id"]) == set(wanted)
    engine.ran.clear()
    assert measure(results, suite).ran == set()


def shrunk(suite: list[dict[str, object]]) -> Suite:
    return parse(Suite, shrink({"evaluate": {"suite": suite}})["evaluate"])


def test_the_full_suite_measures_every_trial(engine: Engine, finished: Path) -> None:
    text = (FOLDER / "suites" / "full.yaml").read_text()
    tree = yaml.safe_load(text.replace("8/255", "0.03").replace("2/255", "0.01"))
    measures_every_trial_without_an_error(finished, shrunk(tree), engine)


def test_every_evaluation_that_needs_no_files_measures_every_trial(
    engine: Engine, finished: Path
) -> None:
    every = [instance(kind) for kind in members(AnyEvaluation)]
    tree = [
        {**canonical(each), "label": f"own-{each.name}"} for each in every if not needs_files(each)
    ]
    measures_every_trial_without_an_error(finished, shrunk(tree), engine)
