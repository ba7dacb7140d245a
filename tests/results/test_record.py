"""What a sweep calls its evaluations, what others may add to that, and whose record a file is."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations

import pandas as pd
import pytest

from kdray.results import DamagedFile, Results
from kdray.results.points.objective import Objective, Objectives
from kdray.results.record import (
    SweepLabels,
    add_labels,
    labels_file,
    monitored_labels_file,
    objectives_file,
    sweep_labels,
    sweep_objectives,
    write_labels,
    write_objectives,
)

E1, E2, E3, WATCHED, NEW, OLD, ONE, OTHER, CLEAN = (f"{number:016x}" for number in range(9))
"""Ids of evaluations."""
NAMES = ["evaluation_id", "label", "epoch"]


def rows(*measured: tuple[str, str, float | None]) -> pd.DataFrame:
    """Rows of robustness: evaluation, label, and the epoch of what was measured while training."""
    return pd.DataFrame(measured, columns=NAMES)


def said(results: Results, sweep: str) -> dict[str, str]:
    return dict(sweep_labels(results.store)[sweep].trained)


def test_a_label_that_is_added_later_leaves_what_the_sweep_says(empty: Results) -> None:
    write_labels(empty.store, "s", {E1: "strong"})
    added = {E1: "other", E2: "strong", E3: "weak"}
    add_labels(empty.store, added, {"s": rows(), "t": rows()})
    assert said(empty, "s") == {E1: "strong", E3: "weak"}
    assert said(empty, "t") == added


def test_a_label_that_a_sweep_without_a_record_has_for_another_evaluation_stays_there(
    empty: Results,
) -> None:
    add_labels(empty.store, {NEW: "pgd"}, {"s": rows((OLD, "pgd", None))})
    assert said(empty, "s") == {OLD: "pgd"}


def test_a_label_that_stands_for_two_evaluations_already_is_given_to_no_third(
    empty: Results,
) -> None:
    stored = rows((ONE, "pgd", None), (OTHER, "pgd", None), (CLEAN, "clean", None))
    add_labels(empty.store, {NEW: "pgd", OTHER: "pgd"}, {"s": stored})
    assert said(empty, "s") == {CLEAN: "clean"}


def test_a_label_of_what_is_measured_while_training_is_free(empty: Results) -> None:
    write_labels(empty.store, "s", {E1: "clean"}, {WATCHED: "noise"})
    add_labels(empty.store, {NEW: "noise"}, {"s": rows((WATCHED, "noise", 1))})
    write_labels(empty.store, "s", {E1: "clean"}, {WATCHED: "noise"})
    assert sweep_labels(empty.store) == {
        "s": SweepLabels({E1: "clean", NEW: "noise"}, {WATCHED: "noise"})
    }


SMALLEST = Objectives(objectives=(Objective(metric="parameters", mode="min"),), seeds=3)
FILES = [objectives_file, labels_file, monitored_labels_file]


@pytest.fixture
def recorded(empty: Results) -> Results:
    write_objectives(empty.store, "s", SMALLEST)
    write_labels(empty.store, "s", {E1: "clean"}, {WATCHED: "noise"})
    return empty


def test_the_record_of_another_sweep_is_left_out(recorded: Results) -> None:
    store = recorded.store
    for file in FILES:
        store.write(file("t"), store.read(file("s")))
    with pytest.warns(
        DamagedFile, match=r"t\.objectives\.json: damaged, left out \(it is of .*'s'"
    ):
        assert sweep_objectives(store, "t").metrics == ("val_accuracy",)
    with pytest.warns(DamagedFile, match="damaged, left out") as caught:
        assert sweep_labels(store) == {
            "s": SweepLabels({E1: "clean"}, {WATCHED: "noise"}),
            "t": SweepLabels({}, {}),
        }
    assert len(caught) == 2
    write_objectives(store, "t", SMALLEST)
    with pytest.warns(DamagedFile):
        write_labels(store, "t", {E2: "pgd"}, {WATCHED: "clean"})
    assert sweep_objectives(store, "t") == SMALLEST
    assert sweep_labels(store)["t"] == SweepLabels({E2: "pgd"}, {WATCHED: "clean"})


def test_a_record_of_before_it_said_whose_it_is_is_read(recorded: Results) -> None:
    store = recorded.store
    before = sweep_labels(store)
    for file in FILES:
        whole = json.loads(store.read(file("s")))
        assert whole.pop("sweep") == "s"
        assert file("") == f"sweeps/.{whole.pop('record')}.json"
        store.write(file("s"), json.dumps(whole).encode())
    assert sweep_objectives(store, "s") == SMALLEST
    assert sweep_labels(store) == before


def left_out(results: Results, file: Callable[[str], str]) -> str:
    """Why the file of the sweep s is left out, of which nothing is read then."""
    store = results.store
    with pytest.warns(DamagedFile) as caught:
        objectives, labels = sweep_objectives(store, "s"), sweep_labels(store)["s"]
    (warning,) = caught
    assert f"{file('s')}: damaged, left out" in str(warning.message)
    if file is objectives_file:
        assert objectives.metrics == ("val_accuracy",)
    else:
        assert not (labels.trained if file is labels_file else labels.monitored)
    return str(warning.message)


@pytest.mark.parametrize(("file", "other"), list(permutations(FILES, 2)))
def test_what_the_same_sweep_says_of_something_else_is_left_out(
    recorded: Results, file: Callable[[str], str], other: Callable[[str], str]
) -> None:
    recorded.store.write(file("s"), recorded.store.read(other("s")))
    assert "its name says otherwise" in left_out(recorded, file)


@pytest.mark.parametrize("file", [labels_file, monitored_labels_file])
@pytest.mark.parametrize(
    "held",
    [
        SMALLEST.model_dump(mode="json"),
        {E1: "pgd", "pgd": E1},
        {E1: 3},
        {E1: None, "sweep": "s"},
        {E1: ["pgd"], "sweep": "s", "record": None},
    ],
    ids=str,
)
def test_labels_that_are_none_are_left_out(
    recorded: Results, file: Callable[[str], str], held: dict[str, object]
) -> None:
    recorded.store.write(file("s"), json.dumps(held).encode())
    left_out(recorded, file)


def test_earlier_labels_in_the_place_of_objectives_are_left_out(recorded: Results) -> None:
    recorded.store.write(objectives_file("s"), json.dumps({E1: "pgd", "sweep": "s"}).encode())
    left_out(recorded, objectives_file)


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"\xff"])
def test_a_damaged_record_is_said_in_a_line(recorded: Results, damaged: bytes) -> None:
    store = recorded.store
    for file in FILES:
        store.write(file("s"), damaged)
    with pytest.warns(DamagedFile, match=r"s\.objectives\.json: damaged, left out \(it is no JSON"):
        assert sweep_objectives(store, "s").metrics == ("val_accuracy",)
    with pytest.warns(DamagedFile, match="damaged, left out") as caught:
        assert sweep_labels(store) == {"s": SweepLabels({}, {})}
    assert len(caught) == 2


def test_objectives_that_are_none_are_said_in_a_line(recorded: Results) -> None:
    recorded.store.write(objectives_file("s"), b'{"objectives": 3, "sweep": "s"}')
    with pytest.warns(DamagedFile, match="left out") as caught:
        assert sweep_objectives(recorded.store, "s").metrics == ("val_accuracy",)
    assert "\n" not in str(caught[0].message)
