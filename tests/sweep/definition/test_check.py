"""Combinations that are gone through one by one are read before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from kdray.core import InputError
from kdray.sweep.definition import check
from kdray.sweep.definition.space import Point, matches
from tests.sweep.fakes import ALONE, sweep_of

DEPTH = {
    "experiment.data.examples": 100,
    "experiment.model": {"name": "cifar_resnet", "depth": {"randint": [8, 21]}},
    "experiment.noise": {},
    **ALONE,
}
"""9 to 13 are none."""
TEMPERATURE = {"experiment.method.temperature": {"uniform": [1, 4]}}
TEMPERATURE_BELOW = {"method.temperature": {"uniform": [1, 4]}}


def test_values_of_a_grid_between_its_edges_are_read() -> None:
    with pytest.raises(InputError, match=r"model.*depth.*\(at model.depth = 9\)"):
        sweep_of(DEPTH)


def test_two_values_that_do_not_go_together_are_refused_before_anything_starts() -> None:
    """Each of them goes with the first value of the other."""
    changes = {
        "experiment.noise.input": {"grid": [{"name": "gaussian", "sigma": 0.1}, None]},
        "experiment.noise.teacher_sees": {"grid": ["clean", "noisy"]},
    }
    with pytest.raises(InputError, match=r"noisy, but there is no noise.input \(at noise"):
        sweep_of(changes)
    with pytest.raises(InputError, match=r"noisy, but there is no noise.input"):
        sweep_of(changes, {"search": {"sampler": "random", "points": 2}}, TEMPERATURE)


def test_of_very_many_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_CHECKED", 5)
    read: list[dict[str, Any]] = []
    real = check._check_point
    monkeypatch.setattr(
        check, "_check_point", lambda sweep, point: (read.append(point.values), real(sweep, point))
    )
    sweep = sweep_of({"experiment.method.temperature": {"randint": [1, 1000]}})
    assert 5 < len(read) <= 10, "a sample and the edges"
    first = list(read)
    read.clear()
    assert len(list(sweep.grid())) == 1998
    sweep_of({"experiment.method.temperature": {"randint": [1, 1000]}})
    assert read == first, "the same sample every time"


def test_names_in_a_first_point_are_the_same_composed_and_decomposed() -> None:
    """As macOS writes names of files."""
    cafe, decomposed = "caf\u00e9", "cafe\u0301"
    search = {"sampler": "random", "points": 2, "first": [{"case": decomposed}]}
    cases = [{"name": name, "set": TEMPERATURE_BELOW} for name in (cafe, "other")]
    sweep = sweep_of({"search": search, "cases": cases})
    assert next(iter(sweep.choices)) == cafe
    assert [matches(space, {"case": decomposed}) for space in sweep.spaces] == [True, False]
    with pytest.raises(InputError, match=r"first\[0\].case: .* is no case"):
        sweep_of({"search": {**search, "first": [{"case": "cafe"}]}, "cases": cases})


def test_a_sample_has_no_combination_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """With replacement, 18 of 20 would."""
    monkeypatch.setattr(check, "MAX_CHECKED", 18)
    read: list[str] = []
    monkeypatch.setattr(check, "_check_edges", lambda sweep, space: None)
    monkeypatch.setattr(check, "_check_point", lambda sweep, point: read.append(point.text))
    sweep_of({"experiment.method.temperature": {"randint": [1, 11]}})
    assert len(read) == len(set(read)) == 18


def test_what_a_space_with_few_combinations_leaves_is_read_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check, "MAX_CHECKED", 10)
    read: list[str | None] = []
    monkeypatch.setattr(check, "_check_edges", lambda sweep, space: None)
    monkeypatch.setattr(check, "_check_point", lambda sweep, point: read.append(point.space.case))
    temperatures = {"method.temperature": {"randint": [1, 5]}}
    sweep_of({"cases": [{"name": "many", "set": temperatures}, {"name": "few"}]})
    assert read == ["many"] * 8 + ["few"] * 2


def test_every_combination_of_a_grid_of_thousands_is_read() -> None:
    suite = [{"name": "clean", "split": "val"}]
    changes = {
        "experiment.noise": {},
        "experiment.training.epochs": {
            "grid": [60, *range(54, 60), *range(61, 99), *range(49, 54)]
        },
        "experiment.training.monitor": {"suite": suite, "every": {"grid": list(range(1, 51))}},
    }
    with pytest.raises(InputError, match=r"training\.epochs = 49, training\.monitor\.every = 50"):
        sweep_of(changes, ALONE)


def test_what_lies_between_the_edges_of_a_search_is_a_problem_of_its_point() -> None:
    sweep = sweep_of({"search": {"sampler": "random", "points": 4}}, DEPTH)
    (space,) = sweep.spaces
    good, bad = (Point(0, space, {"model.depth": depth}) for depth in (14, 11))
    assert sweep.problem(good) is None
    problem = sweep.problem(bad)
    assert problem is not None
    assert problem.startswith("experiment.model")
    assert problem.endswith("(at model.depth = 11)")
    assert sweep.point_id(bad) not in (sweep.point_id(good), "")
