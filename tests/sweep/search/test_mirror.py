"""The file for optuna-dashboard: written where it must be, never read, and never in the way."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from kdray.results import Store
from kdray.results.points.objective import Objective, Objectives
from kdray.sweep.search.mirror import Mirror

OBJECTIVES = Objectives(objectives=(Objective(),))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "results")
    found.create()
    return found


def trial(value: float) -> FrozenTrial:
    leaf = optuna.distributions.FloatDistribution(0, 1)
    return optuna.trial.create_trial(value=value, params={"x": value}, distributions={"x": leaf})


def show(store: Store, *values: float, warn: list[str] | None = None) -> None:
    with Mirror(store, "tiny", OBJECTIVES, [].append if warn is None else warn.append) as mirror:
        mirror.begin("tiny")
        for value in values:
            mirror.tell("tiny", trial(value))


def path(store: Store) -> Path:
    assert store.folder is not None
    return store.folder / "studies" / "tiny.db"


def shown(store: Store) -> list[float | None]:
    study = optuna.load_study(study_name="tiny", storage=f"sqlite:///{path(store)}")
    return [trial.value for trial in study.trials]


def test_what_is_told_is_shown_at_once_where_there_is_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.search.mirror.MAX_SHARE", 1)
    with Mirror(store, "tiny", OBJECTIVES) as mirror:
        mirror.begin("tiny")
        for number in range(3):
            mirror.tell("tiny", trial(number / 4))
            assert shown(store) == [n / 4 for n in range(number + 1)]


def test_what_there_is_no_time_for_is_shown_when_the_sweep_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.search.mirror.MAX_SHARE", 1e-9)
    with Mirror(store, "tiny", OBJECTIVES) as mirror:
        for number in range(3):
            mirror.tell("tiny", trial(number / 4))
        assert shown(store) == [0]
    assert shown(store) == [0, 0.25, 0.5]


def test_what_an_interrupted_run_had_no_time_for_is_shown_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdray.sweep.search.mirror.MAX_SHARE", 1e-9)
    with pytest.raises(KeyboardInterrupt), Mirror(store, "tiny", OBJECTIVES) as mirror:  # noqa: PT012
        for number in range(3):
            mirror.tell("tiny", trial(number / 4))
        raise KeyboardInterrupt
    assert shown(store) == [0]
    show(store, 0, 0.25, 0.5)
    assert shown(store) == [0, 0.25, 0.5]


def test_a_run_with_nothing_new_leaves_the_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(store, 0.25, 0.5)
    before = path(store).stat().st_mtime_ns
    monkeypatch.setattr("kdray.sweep.search.mirror._opened", None)
    show(store, 0.5, 0.25)
    assert path(store).stat().st_mtime_ns == before


def test_a_run_with_more_adds_to_it_and_one_with_others_writes_it_anew(store: Store) -> None:
    show(store, 0.25, 0.5)
    show(store, 0.5, 0.25, 0.75)
    assert shown(store) == [0.25, 0.5, 0.75]
    show(store, 0.25, 0.75)
    assert shown(store) == [0.25, 0.75]
    show(store, 0.5)
    assert shown(store) == [0.5]


@pytest.mark.parametrize("harm", ["missing", "garbage", "touched", "of another version"])
def test_whatever_happened_to_it_it_is_written_anew(store: Store, harm: str) -> None:
    show(store, 0.25, 0.5)
    if harm == "missing":
        path(store).unlink()
    elif harm == "garbage":
        path(store).write_bytes(b"not a database" * 1000)
    elif harm == "touched":
        os.utime(path(store), (1, 1))
    else:
        path(store).with_suffix(".written").unlink()
    show(store, 0.5, 0.25)
    assert shown(store) == [0.5, 0.25]


def test_an_interrupted_run_that_showed_nothing_new_leaves_it(store: Store) -> None:
    show(store, 0.25, 0.5)
    with pytest.raises(KeyboardInterrupt), Mirror(store, "tiny", OBJECTIVES) as mirror:  # noqa: PT012
        mirror.begin("tiny")
        mirror.tell("tiny", trial(0.25))
        raise KeyboardInterrupt
    assert shown(store) == [0.25, 0.5]


def test_that_it_cannot_be_written_is_told_once(store: Store) -> None:
    path(store).mkdir(parents=True)
    told: list[str] = []
    show(store, 0.25, 0.5, warn=told)
    assert len(told) == 1
    assert "tiny.db, for optuna-dashboard only, cannot be written: " in told[0]
