"""Times, speeds and memory are a mean, a rank and a difference within one machine only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from kdray.results import Results, SeveralMachines
from kdray.results.points.machines import MACHINE, machine_names, several_machines
from tests.results.made import add_point

pytestmark = pytest.mark.filterwarnings("ignore::kdray.results.files.warn.SeveralDevices")
"""Which compare adds where seeds cannot be paired."""

H200 = {"device": "NVIDIA H200", "cpu": "Xeon", "threads": 8, "gpu": 1.0}
H200 |= {"compiled": False, "channels_last": False}
ATOM = {"device": "cpu", "cpu": "Atom", "threads": 1}


def on(results: Results, number: int, seconds: float, **machine: Any) -> None:
    """A seed of a point that took ``seconds`` on this machine."""
    add_point(results, number, [0.5], {"a": number}, train_seconds=seconds, **machine)


ASKED: list[tuple[str, Callable[[Results], Any]]] = [
    ("averaged", lambda results: results.points("train_seconds")),
    ("ranked", lambda results: results.best("train_seconds", mode="min")),
    ("ranked", lambda results: results.pareto(["val_accuracy", "train_seconds"])),
    ("compared", lambda results: results.compare(0, "train_seconds")),
    ("ranked", lambda results: results.importance("train_seconds", sweep="s")),
]


@pytest.mark.parametrize(("what", "asked"), ASKED)
@pytest.mark.parametrize(
    ("other", "differing"),
    [
        (ATOM, "device, cpu, threads"),
        ({**H200, "threads": 1}, "threads"),
        ({**H200, "cpu": "EPYC"}, "cpu"),
        ({**H200, "gpu": 0.5}, "gpu"),
        ({**H200, "compiled": True}, "compiled"),
        ({**H200, "channels_last": True}, "channels_last"),
    ],
)
def test_what_is_of_several_machines_is_warned_of_in_one_line(
    empty: Results,
    what: str,
    asked: Callable[[Results], Any],
    other: dict[str, Any],
    differing: str,
) -> None:
    on(empty, 0, 100.0, **other)
    on(empty, 0, 10.0, **H200)
    on(empty, 1, 20.0, **H200)
    with pytest.warns(SeveralMachines) as caught:
        asked(empty)
    found = [each for each in caught if each.category is SeveralMachines]
    assert [str(each.message) for each in found] == [
        f"train_seconds: {what} across machines (which differ in {differing}), of which it says "
        "as much as of the points; choose one of them with where="
    ]
    assert [each.filename for each in found] == [__file__]


@pytest.mark.parametrize(("_", "asked"), ASKED)
def test_on_one_machine_or_one_that_nobody_stored_nothing_is_said(
    empty: Results, _: str, asked: Callable[[Results], Any]
) -> None:
    for number in range(2):
        on(empty, number, 10.0 + number, **H200)
        on(empty, number, 20.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeveralMachines)
        asked(empty)


def test_points_on_a_machine_each_have_a_mean_and_no_rank_without_a_word(empty: Results) -> None:
    on(empty, 0, 100.0, **ATOM)
    on(empty, 1, 20.0, **H200)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeveralMachines)
        assert empty.points("train_seconds")["mean"].tolist() == [100.0, 20.0]
        empty.best("val_accuracy")
    for _, asked in ASKED[1:]:
        with pytest.warns(SeveralMachines):
            asked(empty)


def test_one_of_them_is_chosen_with_where(empty: Results) -> None:
    on(empty, 0, 100.0, **ATOM)
    on(empty, 0, 10.0, **H200)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeveralMachines)
        where = [(name, "==", H200[name]) for name in MACHINE]
        assert empty.points("train_seconds", where=where)["mean"].tolist() == [10.0]
        empty.importance("train_seconds", sweep="s", where=where)


def test_what_an_earlier_file_did_not_say_is_as_usual(empty: Results) -> None:
    on(empty, 0, 10.0, device="NVIDIA H200", cpu="Xeon", threads=8)
    on(empty, 0, 20.0, **H200)
    on(empty, 1, 10.0, **ATOM)
    on(empty, 1, 20.0, **ATOM, gpu=0.0, compiled=False, channels_last=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeveralMachines)
        assert empty.points("train_seconds")["mean"].tolist() == [15.0, 15.0]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (H200, "NVIDIA H200, Xeon, 8 threads"),
        (ATOM, "Atom, 1 thread"),
        ({"device": "cpu"}, "cpu"),
        ({**H200, "gpu": 0.25}, "NVIDIA H200, Xeon, 8 threads, 0.25 of the GPU"),
        ({**ATOM, "compiled": True}, "Atom, 1 thread, compiled"),
        ({**H200, "channels_last": True}, "NVIDIA H200, Xeon, 8 threads, channels last"),
        ({**ATOM, "channels_last": True}, "Atom, 1 thread"),
        ({**ATOM, "channels_last": False}, "Atom, 1 thread, channels first"),
    ],
)
def test_a_machine_is_named_by_what_makes_it_one(machine: dict[str, Any], name: str) -> None:
    assert machine_names(pd.DataFrame([machine, {}], columns=MACHINE)).tolist() == [name, None]
    assert machine_names(pd.DataFrame([machine])).tolist() == [name]


def test_machines_of_a_metric_are_named_where_they_differ() -> None:
    rows = pd.DataFrame([{**ATOM, "train_seconds": 1.0}, {**H200, "train_seconds": 2.0}, H200])
    names = ["Atom, 1 thread", "NVIDIA H200, Xeon, 8 threads"]
    assert several_machines(rows, "train_seconds") == names
    assert several_machines(rows.iloc[1:], "train_seconds") == []
    assert several_machines(rows.assign(val_accuracy=0.5), "val_accuracy") == []
