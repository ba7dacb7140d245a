"""A label belongs to the sweep that says it, and the sweep's file as it is now says what it means."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kdray.cli.commands.status import execute
from kdray.cli.parser import build_parser
from kdray.core import InputError, parse
from kdray.report.page.facts import facts
from kdray.report.page.group import groups
from kdray.report.page.trials import details
from kdray.results import Results, SelectedOnTest
from kdray.results.points.best import best_points
from kdray.results.points.table import points
from kdray.results.record import labels_file
from kdray.robustness import AnyEvaluation
from kdray.sweep.definition.file import Suite
from kdray.sweep.evaluate import evaluate
from kdray.sweep.inventory.labels import monitored_labels
from kdray.sweep.scheduling.progress import Progress
from tests.sweep.fakes import ALONE, Engine, go, sweep_of

WEAK, STRONG = 0.02, 0.3
SIGMA = "noise.input.sigma"


def pgd(label: str, epsilon: float, split: str = "val") -> dict[str, Any]:
    attack = {"name": "pgd", "steps": 1, "step_size": epsilon, "examples": 40, "seed": 0}
    return {**attack, "label": label, "epsilon": epsilon, "split": split}


def suite(objective: str | None, **epsilons: float) -> dict[str, Any]:
    """Changes of the tiny sweep, without a teacher, by which it is attacked."""
    listed = [pgd(label, epsilon) for label, epsilon in epsilons.items()]
    aim = {} if objective is None else {"objective": {"metric": f"{objective}.accuracy"}}
    return {**ALONE, "evaluate.suite": listed, **aim}


def stored(results: Results, epsilon: float, sweep: str) -> list[float]:
    """The mean accuracy of each point under the attack of this size, from the table itself."""
    rows = results.robustness(where=[("epsilon", "==", epsilon)])
    members = results.members(where=[("sweep", "==", sweep), ("outcome", "==", "completed")])
    both = rows[rows["metric"].eq("accuracy")].merge(members, on="trial_id")
    means: list[float] = both.groupby("point")["value"].mean().tolist()
    return means


def assert_called(results: Results, sweep: str, meant: Mapping[str, float]) -> None:
    """Whatever names numbers by labels shows for each label the attack of this size, and no
    number of another."""
    table = points(results, sweep)
    (group,) = groups(results, sweep)
    tabulated = {name for name in group.metrics if "." in name}
    assert tabulated == {f"{label}.accuracy" for label in meant}
    assert {name for name in table.columns.get_level_values(0) if name.endswith("accuracy")} == {
        *tabulated,
        "val_accuracy",
        "test_accuracy",
    }
    for label, epsilon in meant.items():
        metric, expected = f"{label}.accuracy", pytest.approx(stored(results, epsilon, sweep))
        assert results.points(metric, sweep=sweep)["mean"].tolist() == expected
        assert table[metric, "mean"].tolist() == expected
        assert group.points[metric].tolist() == expected
        frame = results.frame(sweep=sweep)
        assert frame.groupby(SIGMA)[metric].mean().tolist() == expected
        rows = results.robustness(where=[("label", "==", label)], sweep=sweep)
        assert set(rows["epsilon"]) == {epsilon}
        assert f"{epsilon:g}" in dict(facts(group))[f"Evaluation {label}"]
        for trial in page_numbers(results, sweep).values():
            assert trial[metric] in stored_values(results, epsilon)


def page_numbers(results: Results, sweep: str) -> dict[str, dict[str, float]]:
    """What the page's details of each trial of a sweep have under the names of numbers."""
    held = details(groups(results, sweep))
    return {
        trial_id: {held["texts"][number]: value for number, value, *_ in trial["numbers"]}
        for trial_id, trial in held["trials"].items()
    }


def stored_values(results: Results, epsilon: float) -> list[Any]:
    rows = results.robustness(where=[("epsilon", "==", epsilon), ("metric", "==", "accuracy")])
    return [pytest.approx(value, abs=1e-3) for value in rows["value"]]


def printed(results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    execute(build_parser().parse_args(["status", str(results)]))
    return capsys.readouterr().out


def best(results: Results, metric: str, sweep: str) -> list[int]:
    return results.best(metric, sweep=sweep)["point"].tolist()


@pytest.mark.parametrize("shared", [False, True])
def test_two_sweeps_may_call_unlike_evaluations_alike(
    engine: Engine, results: Path, capsys: pytest.CaptureFixture[str], shared: bool
) -> None:
    """Also where the trials of both are the same."""
    other = {} if shared else {"experiment.model.hidden": [4]}
    go(results, suite("pgd", pgd=WEAK))
    go(results, suite("pgd", pgd=STRONG), {"name": "second", **other})
    found = Results(results)
    if not shared:
        assert_called(found, "tiny", {"pgd": WEAK})
        assert_called(found, "second", {"pgd": STRONG})
        text = printed(results, capsys)
        assert text.count(" pgd ") == 2
        assert "epsilon=" not in text
    for sweep, epsilon in (("tiny", WEAK), ("second", STRONG)):
        means = stored(found, epsilon, sweep)
        assert found.points("pgd.accuracy", sweep=sweep)["mean"].tolist() == pytest.approx(means)
        assert points(found, sweep)["pgd.accuracy", "mean"].tolist() == pytest.approx(means)
        assert best_points(found, sweep) == best(found, "pgd.accuracy", sweep)
    both = found.points("pgd.accuracy")
    assert both["mean"].tolist() == pytest.approx(
        [*stored(found, STRONG, "second"), *stored(found, WEAK, "tiny")]
    )
    assert sorted(name for name in found.frame() if name.startswith("pgd.accuracy")) == [
        "pgd.accuracy[epsilon=0.02,step_size=0.02]",
        "pgd.accuracy[epsilon=0.3,step_size=0.3]",
    ], "over several sweeps they are told apart"


def test_points_of_two_sweeps_are_not_compared_by_unlike_evaluations(
    engine: Engine, results: Path
) -> None:
    go(results, suite(None, pgd=WEAK, same=0.1))
    second = {"name": "second", "experiment.model.hidden": [4]}
    go(results, suite(None, pgd=STRONG, same=0.1), second)
    found = Results(results)
    refused = "mean different evaluations by pgd.accuracy; choose one of them with sweep="
    for ask in (
        lambda: found.best("pgd.accuracy"),
        lambda: found.pareto(["val_accuracy", "pgd.accuracy"]),
        lambda: found.compare(0, "pgd.accuracy", sweep="tiny", across=True),
    ):
        with pytest.raises(InputError, match=refused):
            ask()
    assert len(found.points("pgd.accuracy")) == 4, "a table beside each other is no comparison"
    assert len(found.best("same.accuracy", count=9)) == 4
    assert len(found.compare(0, "same.accuracy", sweep="tiny", across=True)) == 3
    assert len(found.compare({SIGMA: 0}, "pgd.accuracy")) == 2


def test_a_label_that_is_renamed_takes_its_numbers_along(
    engine: Engine, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(results, suite("weak", weak=WEAK, strong=STRONG))
    trained = len(engine.ran)
    go(results, suite("faint", faint=WEAK, strong=STRONG))
    assert len(engine.ran) == trained
    found = Results(results)
    assert_called(found, "tiny", {"faint": WEAK, "strong": STRONG})
    assert best_points(found, "tiny") == best(found, "faint.accuracy", "tiny")
    text = printed(results, capsys)
    assert " faint " in text
    assert " weak " not in text


def test_labels_that_are_exchanged_exchange_their_numbers(
    engine: Engine, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(results, suite("a", a=WEAK, b=STRONG))
    before = printed(results, capsys)
    trained = len(engine.ran)
    go(results, suite("a", b=WEAK, a=STRONG))
    assert len(engine.ran) == trained
    found = Results(results)
    assert_called(found, "tiny", {"b": WEAK, "a": STRONG})
    assert best_points(found, "tiny") == best(found, "a.accuracy", "tiny")
    assert printed(results, capsys) != before


def test_a_label_that_is_given_to_another_evaluation_leaves_the_old_one_told_apart(
    engine: Engine, results: Path
) -> None:
    go(results, suite("a", a=WEAK))
    go(results, suite("a", a=STRONG))
    found = Results(results)
    means = pytest.approx(stored(found, STRONG, "tiny"))
    assert found.points("a.accuracy", sweep="tiny")["mean"].tolist() == means
    assert points(found, "tiny")["a.accuracy", "mean"].tolist() == means
    (group,) = groups(found, "tiny")
    assert group.points["a.accuracy"].tolist() == means
    (old,) = [name for name in found.frame("tiny") if name.startswith("a.accuracy[")]
    weak = stored(found, WEAK, "tiny")
    assert found.points(old, sweep="tiny")["mean"].tolist() == pytest.approx(weak)
    assert best_points(found, "tiny") == best(found, "a.accuracy", "tiny")


def test_a_label_with_a_new_meaning_has_no_number_before_the_first_new_one(
    engine: Engine, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go(results, suite("a", a=WEAK))
    engine.interrupt_after = engine.ended
    with pytest.raises(KeyboardInterrupt):
        go(results, suite("a", a=STRONG))
    found = Results(results)
    assert best_points(found, "tiny") == []
    (group,) = groups(found, "tiny")
    assert (group.best, group.leaders) == ([], [])
    for name in ("a.accuracy", "a"):
        assert name not in found.frame("tiny")
        assert name not in found.frame()
        assert name not in points(found, "tiny").columns.get_level_values(0)
    assert "a.accuracy" not in group.metrics
    assert "Evaluation a" not in dict(facts(group))
    assert all("a.accuracy" not in numbers for numbers in page_numbers(found, "tiny").values())
    assert found.robustness(where=[("label", "==", "a")], sweep="tiny").empty
    assert "*" not in printed(results, capsys)


def measure(results: Path, *listed: dict[str, Any]) -> None:
    """``kdray evaluate`` all trials under these."""
    parsed = tuple(parse(AnyEvaluation, each) for each in listed)
    evaluate(results, Suite(suite=parsed), progress=Progress(io.StringIO()))


@pytest.mark.parametrize("recorded", [True, False])
def test_an_evaluation_that_comes_later_takes_no_label_of_the_sweep(
    engine: Engine, results: Path, recorded: bool
) -> None:
    go(results, suite("pgd", pgd=WEAK))
    if not recorded:  # as an older version left them
        Results(results).store.delete(labels_file("tiny"))
    measure(results, pgd("pgd", STRONG), pgd("more", 0.1))
    found = Results(results)
    (other,) = [name for name in found.frame("tiny") if name.startswith("pgd.accuracy[")]
    means = {"pgd.accuracy": WEAK, "more.accuracy": 0.1, other: STRONG}
    for name, epsilon in means.items():
        expected = pytest.approx(stored(found, epsilon, "tiny"))
        assert found.points(name, sweep="tiny")["mean"].tolist() == expected
    assert best_points(found, "tiny") == best(found, "pgd.accuracy", "tiny")


def watched(label: str, sigma: Any = 0.1, **more: Any) -> dict[str, Any]:
    noise = {"name": "gaussian_noise", "split": "val", "sigmas": [sigma], "examples": 20}
    return {
        **suite(None, **more),
        "experiment.training.monitor": {"suite": [{**noise, "label": label}]},
    }


def test_what_is_measured_while_training_is_called_as_the_sweep_does_now(
    engine: Engine, results: Path
) -> None:
    go(results, watched("before", noisy=WEAK))
    trained = len(engine.trained)
    go(results, watched("noisy", noisy=WEAK))
    assert len(engine.trained) == trained
    rows = Results(results).robustness(sweep="tiny")
    while_training = rows["epoch"].notna()
    assert while_training.any()
    assert set(rows["label"]) == {"noisy"}
    measure(results, {"name": "clean", "label": "before"})
    go(results, watched("noisy", noisy=WEAK))
    assert "before.accuracy" in Results(results).frame("tiny")


def test_a_monitor_that_is_swept_has_the_labels_of_all_its_values() -> None:
    grid = {
        "grid": [
            {"suite": [{"name": "clean", "split": "val", "label": name, "seed": seed}]}
            for seed, name in enumerate("ab")
        ]
    }
    swept = sweep_of({**ALONE, "experiment.training.monitor": grid})
    assert sorted(monitored_labels(swept).values()) == ["a", "b"]
    teacher = {"suite": [{"name": "clean", "split": "val", "label": "t"}]}
    taught = sweep_of({"experiment.teacher.training": {"monitor": teacher}})
    assert list(monitored_labels(taught).values()) == ["t"]


def test_a_choice_by_the_test_split_is_warned_of_under_the_sweep_s_own_label(
    engine: Engine, results: Path
) -> None:
    go(results, {**ALONE, "evaluate.suite": [pgd("pgd", WEAK, "val")]})
    second = {"name": "second", "experiment.model.hidden": [4]}
    go(results, {**ALONE, **second, "evaluate.suite": [pgd("pgd", WEAK, "test")]})
    found = Results(results)
    with pytest.warns(SelectedOnTest):
        found.best("pgd.accuracy", sweep="second")
    found.best("pgd.accuracy", sweep="tiny")


def test_the_page_of_two_sweeps_names_each_number_as_its_sweep_does(
    engine: Engine, results: Path
) -> None:
    go(results, suite(None, a=WEAK, b=STRONG))
    go(results, suite(None, b=WEAK, a=STRONG), {"name": "second", "experiment.model.hidden": [4]})
    found = Results(results)
    assert_called(found, "tiny", {"a": WEAK, "b": STRONG})
    assert_called(found, "second", {"b": WEAK, "a": STRONG})
