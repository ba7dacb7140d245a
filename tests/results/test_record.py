"""What a sweep calls its evaluations, what others may add to that, and whose record a file is."""

from __future__ import annotations

import json

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

NAMES = ["evaluation_id", "label", "epoch"]


def rows(*measured: tuple[str, str, float | None]) -> pd.DataFrame:
    """Rows of robustness: evaluation, label, and the epoch of what was measured while training."""
    return pd.DataFrame(measured, columns=NAMES)


def said(results: Results, sweep: str) -> dict[str, str]:
    return dict(sweep_labels(results.store)[sweep].trained)


def test_a_label_that_is_added_later_leaves_what_the_sweep_says(empty: Results) -> None:
    write_labels(empty.store, "s", {"e1": "strong"})
    added = {"e1": "other", "e2": "strong", "e3": "weak"}
    add_labels(empty.store, added, {"s": rows(), "t": rows()})
    assert said(empty, "s") == {"e1": "strong", "e3": "weak"}
    assert said(empty, "t") == added


def test_a_label_that_a_sweep_without_a_record_has_for_another_evaluation_stays_there(
    empty: Results,
) -> None:
    add_labels(empty.store, {"new": "pgd"}, {"s": rows(("old", "pgd", None))})
    assert said(empty, "s") == {"old": "pgd"}


def test_a_label_that_stands_for_two_evaluations_already_is_given_to_no_third(
    empty: Results,
) -> None:
    stored = rows(("one", "pgd", None), ("other", "pgd", None), ("c", "clean", None))
    add_labels(empty.store, {"new": "pgd", "other": "pgd"}, {"s": stored})
    assert said(empty, "s") == {"c": "clean"}


def test_a_label_of_what_is_measured_while_training_is_free(empty: Results) -> None:
    write_labels(empty.store, "s", {"e1": "clean"}, {"watched": "noise"})
    add_labels(empty.store, {"new": "noise"}, {"s": rows(("watched", "noise", 1))})
    write_labels(empty.store, "s", {"e1": "clean"}, {"watched": "noise"})
    assert sweep_labels(empty.store) == {
        "s": SweepLabels({"e1": "clean", "new": "noise"}, {"watched": "noise"})
    }


SMALLEST = Objectives(objectives=(Objective(metric="parameters", mode="min"),), seeds=3)
FILES = [objectives_file, labels_file, monitored_labels_file]


@pytest.fixture
def recorded(empty: Results) -> Results:
    write_objectives(empty.store, "s", SMALLEST)
    write_labels(empty.store, "s", {"e1": "clean"}, {"watched": "noise"})
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
            "s": SweepLabels({"e1": "clean"}, {"watched": "noise"}),
            "t": SweepLabels({}, {}),
        }
    assert len(caught) == 2
    write_objectives(store, "t", SMALLEST)
    with pytest.warns(DamagedFile):
        write_labels(store, "t", {"e2": "pgd"}, {"watched": "clean"})
    assert sweep_objectives(store, "t") == SMALLEST
    assert sweep_labels(store)["t"] == SweepLabels({"e2": "pgd"}, {"watched": "clean"})


def test_a_record_of_before_it_said_whose_it_is_is_read(recorded: Results) -> None:
    store = recorded.store
    before = sweep_labels(store)
    for file in FILES:
        whole = json.loads(store.read(file("s")))
        assert whole.pop("sweep") == "s"
        store.write(file("s"), json.dumps(whole).encode())
    assert sweep_objectives(store, "s") == SMALLEST
    assert sweep_labels(store) == before


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
