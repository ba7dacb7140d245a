"""Points and trials that are given up because they do badly, and what becomes of them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

from kdray.results import Results
from kdray.results.points.objective import Objective
from kdray.results.points.table import points
from kdray.sweep.definition.stopping import EarlyStopping, Racing
from kdray.sweep.inventory.verdicts import Judges
from kdray.sweep.plan import plan
from kdray.sweep.search.early_stopping import Race, Stopper, _bracket, _pruners, _shares
from kdray.sweep.status import sweeps
from tests.sweep.fakes import ALONE, Engine, assert_same_bits, go, sweep_of, tables

MAX, MIN = Objective(), Objective(metric="clean.loss", mode="min")


def members(results: Path) -> pd.DataFrame:
    frame = Results(results).members()
    return frame[frame["role"] == "student"].sort_values(["point", "order"])


def states(results: Path) -> list[str]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{results}/studies/tiny.db")
    return [trial.state.name for trial in study.trials]


# The rules alone.


def test_a_race_is_lost_by_who_is_worse_seed_by_seed() -> None:
    race = Race(Racing(p=0.1), MAX)
    assert race.lost([0.1, 0.1]) is None, "there is nobody to lose against"
    race.complete([0.9, 0.8, 0.85, 0.9, 0.7], 3)
    # One-sided signed-rank test of n differences that all point one way: p = 2 ** -n.
    assert race.lost([0.5, 0.5, 0.5]) is None, "0.125"
    assert (
        race.lost([0.5, 0.5, 0.5, 0.4])
        == "worse than point 3 over 4 seeds (Wilcoxon's signed-rank test, p = 0.062)"
    )
    assert race.lost([0.5, 0.5, 0.5, 0.95]) is None, "not in every seed"
    assert Race(Racing(p=0.1), MAX).lost([0.5]) is None


def test_seeds_on_two_kinds_of_device_decide_no_race() -> None:
    race = Race(Racing(p=0.2), MAX)
    race.complete([0.9, 0.8, 0.85, 0.9], 3, ["cpu", "cpu", "cpu", "NVIDIA L4"])
    worse = [0.5, 0.5, 0.5, 0.4]
    assert race.lost(worse, ["NVIDIA L4"] * 4) is None, "one pair"
    assert race.lost(worse[:3], ["NVIDIA L4", "cpu", "cpu"]) is None, "0.25 of two pairs"
    found = race.lost(worse, ["cpu", "cpu", "cpu", "cpu"])
    assert found is not None
    assert "over 3 seeds" in found
    assert race.lost([0.5, 0.5, 0.5]) is not None, "of kinds that nobody stored"


def test_the_best_of_a_race_is_the_best_by_the_objective() -> None:
    race = Race(Racing(p=0.2), MIN)
    race.complete([2.0, 2.0, 2.0], 0)
    race.complete([1.0, 1.1, 1.2], 1)
    race.complete([3.0, 3.0, 3.0], 2)
    lost = race.lost([1.5, 1.6, 1.7])
    assert lost is not None
    assert lost.startswith("worse than point 1 ")
    assert race.lost([0.5, 0.6, 0.7]) is None
    worst = Race(Racing(p=0.2), Objective(over_seeds="worst"))
    worst.complete([0.9, 0.9, 0.1], 0)
    worst.complete([0.6, 0.6, 0.6], 1)
    assert worst.lost([0.5, 0.5, 0.5]) is not None, "the second is the best by its worst seed"


def test_of_points_that_differ_by_rounding_only_the_first_is_the_one_to_beat() -> None:
    race = Race(Racing(p=0.2), MAX)
    race.complete([0.3, 0.3, 0.3], 0)
    race.complete([0.1 + 0.2, 0.1 + 0.2, 0.1 + 0.2], 1)
    lost = race.lost([0.1, 0.1, 0.1])
    assert lost is not None
    assert lost.startswith("worse than point 0 ")


def test_whose_mean_is_better_than_the_best_ones_never_loses() -> None:
    race = Race(Racing(p=0.2), MAX)
    race.complete([0.9, 0.9, 0.9, 0.1], 0)
    assert race.lost([0.8, 0.8, 0.8]) is None, "all worse, but 0.8 is above 0.7"


def curve(stopper: Stopper, trial: str, values: list[float]) -> str | None:
    """Report all epochs of a trial, as far as it comes."""
    for epoch, value in enumerate(values, 1):
        reason = stopper.report(trial, epoch / len(values), value)
        if reason:
            stopper.ended(trial, completed=False)
            return reason
    stopper.ended(trial, completed=True)
    return None


def test_asha_lets_the_best_third_through_at_each_rung() -> None:
    stopper = Stopper(EarlyStopping(grace=0.1, reduction=3))
    assert curve(stopper, "good", [0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]) is None
    assert curve(stopper, "bad", [0.1] * 10) == "val_accuracy 0.1 after 10% of its schedule (asha)"
    assert curve(stopper, "better", [0.6, 0.7, 0.8, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]) is None
    # Through the first rung (at a tenth), not through the second (at 3/10).
    assert curve(stopper, "fades", [0.65, 0.65, 0.65, 0.65, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]) == (
        "val_accuracy 0.65 after 30% of its schedule (asha)"
    )


def test_the_median_needs_points_that_are_complete() -> None:
    stopper = Stopper(EarlyStopping(pruner="median", startup=2, grace=0.2))
    assert curve(stopper, "a", [0.5] * 5) is None
    assert curve(stopper, "b", [0.7] * 5) is None
    assert curve(stopper, "c", [0.55] * 5) == "val_accuracy 0.55 after 20% of its schedule (median)"
    assert curve(stopper, "d", [0.65] * 5) is None


def test_a_loss_is_better_where_it_is_lower() -> None:
    stopper = Stopper(EarlyStopping(metric="val_loss", mode="min", pruner="median", startup=1))
    assert curve(stopper, "a", [1.0] * 4) is None
    assert curve(stopper, "b", [2.0] * 4) is not None
    assert curve(stopper, "c", [0.5] * 4) is None


def test_time_is_a_fraction_of_each_trials_own_schedule() -> None:
    stopper = Stopper(EarlyStopping(pruner="median", startup=1, grace=0.5))
    assert curve(stopper, "short", [0.2, 0.8]) is None
    # After 10 of 20 epochs it stands where the other did after 1 of 2, and is better than that.
    assert curve(stopper, "long", [0.0] * 9 + [0.3] * 11) is None
    assert curve(stopper, "slow", [0.0] * 20) == "val_accuracy 0 after 50% of its schedule (median)"


def test_an_earlier_run_counts() -> None:
    stopper = Stopper(EarlyStopping(pruner="median", startup=1))
    stopper.replay("a", [(0.25, 0.5), (0.5, 0.6), (0.75, 0.7), (1.0, 0.7)], completed=True)
    assert curve(stopper, "b", [0.1] * 4) is not None


HYPERBAND = EarlyStopping(pruner="hyperband", grace=0.1, reduction=3)


def bracket_of(trial: str) -> int:
    return _bracket(trial, _shares(3, 3))


def test_hyperband_is_successive_halving_in_brackets_of_algorithm_1() -> None:
    # First rungs 2, 6 and 18 of 20: s_max = 2, n = 9, 3·3/2 = 4.5 and 3 trials of a round (eq.).
    assert len(_pruners(HYPERBAND)) == 3
    assert _shares(3, 3) == pytest.approx([3 / 5.5, 1.5 / 5.5, 1 / 5.5])
    drawn = [bracket_of(f"{number:016x}") for number in range(3000)]
    for bracket, share in enumerate(_shares(3, 3)):
        assert drawn.count(bracket) / 3000 == pytest.approx(share, abs=0.03)


def test_who_is_in_a_later_bracket_is_given_more_time_before_it_is_stopped() -> None:
    names = [f"trial{number}" for number in range(60)]
    for bracket, first in enumerate(("10%", "30%", "90%")):
        mine = [name for name in names if bracket_of(name) == bracket]
        stopper = Stopper(HYPERBAND)
        assert curve(stopper, mine[0], [0.9] * 10) is None
        reason = curve(stopper, mine[1], [0.1] * 10)
        assert reason == f"val_accuracy 0.1 after {first} of its schedule (hyperband)"
        other = next(name for name in names if bracket_of(name) != bracket)
        assert curve(stopper, other, [0.1] * 10) is None, "it competes with its bracket alone"


def test_hyperband_goes_on_after_an_interruption_as_it_would_have() -> None:
    names = [f"trial{number}" for number in range(40)]
    curves = {name: [n * 7 % 40 / 40] * 10 for n, name in enumerate(names)}
    whole = Stopper(HYPERBAND)
    said = {name: curve(whole, name, curves[name]) for name in names}
    assert any(said.values())
    assert not all(said.values())
    continued = Stopper(HYPERBAND)
    for name in names[:20]:
        reason = said[name]
        epochs = 10 if reason is None else int(reason.split("%")[0].split()[-1]) // 10
        seen = [((n + 1) / 10, value) for n, value in enumerate(curves[name][:epochs])]
        continued.replay(name, seen, completed=reason is None)
    assert {name: curve(continued, name, curves[name]) for name in names[20:]} == {
        name: said[name] for name in names[20:]
    }


# In a sweep.

RACE: dict[str, Any] = {
    "seeds": 5,
    "search": {"racing": {"p": 0.1}},
    "experiment.noise.input": None,
    "experiment.training.optimizer": {
        "name": "sgd",
        "learning_rate": {"grid": [0.1, 0.05, 0.00001]},
    },
    **ALONE,
}
"""The last point learns nothing."""


@pytest.fixture(scope="module")
def raced_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sweep.fakes import instead_of_ray

    folder = tmp_path_factory.mktemp("raced") / "results"
    with instead_of_ray() as engine:
        said = io.StringIO()
        summary = go(folder, RACE, {"seeds": 5}, said=said)
        assert len(engine.trained) < 15
        assert summary.saved == 15 - len(engine.trained)
        assert len(summary.given_up) == summary.saved
        counts = f"students: {len(engine.trained)} done, {len(summary.given_up)} pruned | "
        assert counts in said.getvalue()
    return folder


def test_a_point_that_is_clearly_worse_is_not_given_its_other_seeds(raced_once: Path) -> None:
    table = members(raced_once)
    assert (table.loc[table["outcome"] == "pruned", "point"] == 2).sum() == 1
    (reason,) = set(table.loc[(table["outcome"] == "pruned") & (table["point"] == 2), "error"])
    assert "over 4 seeds (Wilcoxon's signed-rank test, p = 0.062)" in reason
    assert states(raced_once)[2] == "PRUNED"
    assert states(raced_once).count("FAIL") == 0


def test_what_was_given_up_stays_so_until_there_is_no_race(
    raced_once: Path, tmp_path: Path, engine: Engine
) -> None:
    results = tmp_path / "results"
    shutil.copytree(raced_once, results)
    assert go(results, RACE, {"seeds": 5}).exit_status == 0
    assert engine.ran == []
    go(results, RACE, {"seeds": 5, "search": {}})
    assert {a.task.experiment.seed for a in engine.ran} == {4}
    assert set(members(results)["outcome"]) == {"completed"}
    alone = tmp_path / "alone"
    go(alone, RACE, {"seeds": 5, "search": {}})
    assert_same_bits(tables(alone), tables(results))


@pytest.mark.parametrize("others", [{}, {"seeds": 1}])
def test_a_sweep_under_hyperband_is_done_once(
    engine: Engine, results: Path, others: dict[str, Any]
) -> None:
    rates = {"grid": [0.1, 0.05, 0.001, 0.0001, 0.00001]}
    search = {"early_stopping": {"pruner": "hyperband", "grace": 0.2, "reduction": 2}}
    changes = {"search": search, "experiment.training.optimizer.learning_rate": rates, **others}
    summary = go(results, EARLY, changes)
    assert summary.given_up
    assert all(reason.endswith("(hyperband)") for reason in summary.given_up.values())
    before = members(results)
    engine.ran.clear()
    assert go(results, EARLY, changes).given_up == summary.given_up
    assert engine.ran == []
    pd.testing.assert_frame_equal(before, members(results))


def test_what_was_given_up_stays_so_when_the_file_asks_for_it_again(
    raced_once: Path, tmp_path: Path, engine: Engine
) -> None:
    results = tmp_path / "results"
    shutil.copytree(raced_once, results)
    before = members(results)[["trial_id", "outcome", "error"]].to_dict("records")
    fewer = {"experiment.training.optimizer.learning_rate": {"grid": [0.1]}}
    go(results, RACE, {"seeds": 5}, fewer)
    assert set(members(results)["outcome"]) == {"completed", "not needed"}
    go(results, RACE, {"seeds": 5}, fewer)
    assert plan(sweep_of(RACE, {"seeds": 5}), results, cpus=2).students.train == 0
    summary = go(results, RACE, {"seeds": 5})
    assert engine.ran == []
    assert len(summary.given_up) == sum(row["outcome"] == "pruned" for row in before)
    assert members(results)[["trial_id", "outcome", "error"]].to_dict("records") == before


LABELS: dict[str, Any] = {
    "objective": {"metric": "a.accuracy"},
    "evaluate": {
        "suite": [
            {"name": "clean", "label": "a", "split": "val"},
            {"name": "fgsm", "label": "b", "split": "val", "epsilon": 0.05},
        ]
    },
}


def relabelled(*labels: str) -> dict[str, Any]:
    suite = zip(LABELS["evaluate"]["suite"], labels, strict=True)
    return {"evaluate": {"suite": [each | {"label": label} for each, label in suite]}}


EXCHANGED = relabelled("b", "a")
RENAMED: dict[str, Any] = {"objective": {"metric": "x.accuracy"}, **relabelled("x", "y")}
NO_LONGER = (
    "1 trial of 'tiny' is no longer given up: the objective, or the settings of racing or early "
    "stopping, have changed"
)


@pytest.fixture(scope="module")
def raced_by_label_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.sweep.fakes import instead_of_ray

    folder = tmp_path_factory.mktemp("raced_by_label") / "results"
    with instead_of_ray():
        assert len(go(folder, RACE, LABELS).given_up) == 1
    return folder


SMALLEST: dict[str, Any] = {"objective": {"metric": "a.accuracy", "mode": "min"}}
LIMITED: dict[str, Any] = {"constraints": ["b.accuracy >= 0.01"]}
MORE_CAUTIOUS: dict[str, Any] = {"search": {"racing": {"p": 0.07}}}
STOPPING_ALONE: dict[str, Any] = {"search": {"early_stopping": {"pruner": "median"}}}


@pytest.mark.parametrize("change", [EXCHANGED, LIMITED, MORE_CAUTIOUS])
def test_who_was_given_up_by_something_else_is_judged_anew(
    raced_by_label_once: Path, results: Path, engine: Engine, change: dict[str, Any]
) -> None:
    shutil.copytree(raced_by_label_once, results)
    assert NO_LONGER in plan(sweep_of(RACE, LABELS, change), results, cpus=2).notes
    said = io.StringIO()
    for _ in range(2):
        assert len(go(results, RACE, LABELS, change, said=said).given_up) == 1
        assert engine.trained == [], "it loses again by the seeds that are there"
    assert said.getvalue().count(NO_LONGER) == 1
    (before,), (after,) = (
        its.loc[its["outcome"] == "pruned", "judged_by"]
        for its in (members(raced_by_label_once), members(results))
    )
    assert before != after


@pytest.mark.parametrize("change", [SMALLEST, STOPPING_ALONE, {"search": {}}])
def test_a_verdict_on_something_else_does_not_count(
    raced_by_label_once: Path, results: Path, engine: Engine, change: dict[str, Any]
) -> None:
    shutil.copytree(raced_by_label_once, results)
    planned = plan(sweep_of(RACE, LABELS, change), results, cpus=2)
    assert NO_LONGER in planned.notes
    assert planned.students.train == 1
    said = io.StringIO()
    engine.interrupt_after = 0
    with pytest.raises(KeyboardInterrupt):
        go(results, RACE, LABELS, change, said=said)
    (status,) = sweeps(Results(results))
    assert status.given_up == {}
    assert set(points(Results(results), "tiny")["n"]) == {4, 5}
    engine.interrupt_after = None
    assert go(results, RACE, LABELS, change, said=said).given_up == {}
    assert said.getvalue().count(NO_LONGER) == 1
    assert set(members(results)["outcome"]) == {"completed"}


def test_a_verdict_goes_on_counting_while_it_is_about_the_same(
    raced_by_label_once: Path, results: Path, engine: Engine
) -> None:
    shutil.copytree(raced_by_label_once, results)
    before = members(results)
    said = io.StringIO()
    go(results, RACE, LABELS, RENAMED, said=said)
    engine.interrupt_after = 0
    with pytest.raises(KeyboardInterrupt):
        go(results, RACE, LABELS, SMALLEST)
    engine.interrupt_after = None
    engine.ran.clear()
    go(results, RACE, LABELS, said=said)  # the file as it was takes its verdicts back
    assert engine.ran == []
    assert "no longer" not in said.getvalue()
    columns = ["trial_id", "outcome", "error", "judged_by"]
    assert members(results)[columns].to_dict("records") == before[columns].to_dict("records")


def test_a_verdict_of_before_there_were_records_of_it_counts(
    results: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(Judges, "of", lambda *_, **__: None)
        go(results, RACE, LABELS)
    assert members(results)["judged_by"].isna().all()
    engine.ran.clear()
    assert len(go(results, RACE, LABELS, EXCHANGED).given_up) == 1
    assert engine.trained == []


EARLY: dict[str, Any] = {
    "search": {"early_stopping": {"pruner": "median", "startup": 1, "grace": 0.2}},
    "experiment.noise.input": None,
    "experiment.training": {
        "epochs": 5,
        "batch_size": 10,
        "optimizer": {"name": "sgd", "learning_rate": {"grid": [0.1, 0.00001]}},
    },
    **ALONE,
}


def test_the_first_seed_competes_and_the_others_start_when_it_survives(
    engine: Engine, results: Path
) -> None:
    said = io.StringIO()
    summary = go(results, EARLY, said=said)
    assert [
        (a.task.experiment.training.optimizer.learning_rate, a.task.experiment.seed)
        for a in engine.ran
    ] == [(0.1, 0), (0.1, 1), (0.00001, 0)]
    assert summary.exit_status == 0
    ((trial_id, reason),) = summary.given_up.items()
    assert reason.endswith("after 20% of its schedule (median)")
    assert summary.saved == pytest.approx(0.8 + 1)
    assert "students: 2 done, 2 pruned | " in said.getvalue()
    table = members(results)
    assert table["outcome"].tolist() == ["completed", "completed", "pruned"]
    assert table["error"].tolist()[-1] == reason
    assert states(results) == ["COMPLETE", "PRUNED"]
    assert trial_id not in set(Results(results).trials()["trial_id"])
    assert (Results(results).epochs()["trial_id"] == trial_id).sum() == 1, (
        "its curve as far as it goes"
    )
    planned = plan(sweep_of(EARLY), results).students
    assert (planned.train, planned.there) == (0, 4), "its later seed is not begun either"
    # The same command leaves it so; without early stopping it goes on from its checkpoint, to the
    # numbers of a whole training.
    engine.ran.clear()
    assert go(results, EARLY).exit_status == 0
    assert engine.ran == []
    assert (results / "checkpoints" / f"{trial_id}.safetensors").exists()
    go(results, EARLY, {"search": {}})
    assert len(engine.ran) == 2
    assert set(members(results)["outcome"]) == {"completed"}


def test_a_trial_stopped_in_one_sweep_goes_on_in_another_to_the_same_bits(
    engine: Engine, tmp_path: Path
) -> None:
    go(tmp_path / "one", EARLY)
    go(tmp_path / "one", EARLY, {"search": {}, "name": "other"})
    go(tmp_path / "two", EARLY, {"search": {}, "name": "other"})
    assert_same_bits(tables(tmp_path / "one"), tables(tmp_path / "two"))
    assert len(engine.ran) == 3 + 2 + 4


def test_who_breaks_a_constraint_wins_no_race(engine: Engine, results: Path) -> None:
    sizes = {
        "experiment.training.optimizer.learning_rate": 0.05,
        "experiment.model.hidden": {"grid": [[32], [1]]},
    }
    go(results, RACE, {"seeds": 5, "constraints": ["parameters <= 200"]}, sizes)
    assert set(members(results)["outcome"]) == {"completed"}


def test_a_race_takes_nothing_away_that_is_there(engine: Engine, results: Path) -> None:
    go(results, RACE, {"seeds": 5, "search": {}})
    before = members(results)
    engine.ran.clear()
    for _ in range(2):
        summary = go(results, RACE, {"seeds": 5})
        assert (engine.ran, summary.given_up, summary.saved) == ([], {}, 0)
    pd.testing.assert_frame_equal(before, members(results))


@pytest.mark.parametrize("width", [1, 4])
def test_equal_points_that_compete_are_given_up_together_and_once(
    engine: Engine, results: Path, width: int
) -> None:
    engine.width = width
    # The good one completes first: cases come in order.
    rates = [
        {"name": name, "set": {"training.optimizer.learning_rate": rate}}
        for name, rate in (("good", 0.1), ("bad", 0.00001), ("again", 0.00001))
    ]
    go(
        results,
        EARLY,
        {"cases": rates[:1], "experiment.training.optimizer.learning_rate": 0.1, "seeds": 1},
    )
    engine.ran.clear()
    summary = go(
        results,
        EARLY,
        {"cases": rates, "experiment.training.optimizer.learning_rate": 0.1, "seeds": 1},
    )
    assert len(engine.ran) == 1
    assert len(summary.given_up) == 1
    table = members(results)
    assert table["outcome"].tolist() == ["completed", "pruned", "pruned"]
    assert table["error"].nunique() == 1
    assert states(results)[-2:] == ["PRUNED"] * 2


def test_a_search_competes_with_itself_only(engine: Engine, results: Path) -> None:
    """Every point that learns nothing is in a stratum of its own."""
    strata = {
        "experiment.training.optimizer.learning_rate": {"grid": [0.1, 0.00001]},
        "experiment.model.hidden": {"choice": [[8], [16]]},
    }
    search = {"sampler": "random", "points": 2, "racing": {"p": 0.1}}
    go(results, RACE, strata, {"search": search})
    table = members(results)
    for _, stratum in table.groupby(table["swept"].str.contains("1e-05")):
        assert (stratum.groupby("point")["outcome"].apply(lambda o: (o == "completed").all())).any()


@pytest.mark.parametrize(
    "search", [{"racing": {"p": 0.1}}, {"sampler": "random", "points": 2, "racing": {"p": 0.1}}]
)
def test_points_on_other_images_do_not_race(
    engine: Engine, results: Path, search: dict[str, Any]
) -> None:
    """The point that learns nothing is alone on its images."""
    cases = [
        {"name": "learns", "set": {"experiment.data.examples": 200}},
        {
            "name": "learns nothing",
            "set": {
                "experiment.data.examples": 240,
                "experiment.training.optimizer.learning_rate": 0.00001,
            },
        },
    ]
    rate = {"experiment.training.optimizer": {"name": "sgd", "learning_rate": 0.1}}
    summary = go(results, RACE, rate, {"search": search, "cases": cases})
    assert summary.given_up == {}
    assert set(members(results)["outcome"]) == {"completed"}
    assert engine.trained


def watching(label: str) -> dict[str, Any]:
    return {
        "search.early_stopping.metric": f"{label}.accuracy",
        "experiment.training.monitor.suite": [{"label": label, "name": "clean", "split": "val"}],
    }


@pytest.mark.parametrize("before", ["seen", "another"])
def test_a_monitored_metric_of_an_earlier_run_counts_too_whatever_it_was_called(
    engine: Engine, results: Path, before: str
) -> None:
    rate = "experiment.training.optimizer.learning_rate"
    go(results, EARLY, watching(before), {rate: {"grid": [0.1]}})
    engine.ran.clear()
    summary = go(results, EARLY, watching("seen"))
    assert len(engine.ran) == 1
    ((_, reason),) = summary.given_up.items()
    assert reason.startswith("seen.accuracy 0.")
