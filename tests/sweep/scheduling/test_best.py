"""Which points are measured further: the same that tables and reports call the best."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kdray.results.points.objective import Objective, Objectives
from kdray.sweep.scheduling.best import best_points


def complete(*values: float) -> list[Any]:
    return [
        (
            SimpleNamespace(point=SimpleNamespace(number=number)),
            SimpleNamespace(feasible=True, values=[value]),
        )
        for number, value in enumerate(values)
    ]


@pytest.mark.parametrize("mode", ["max", "min"])
def test_of_points_that_differ_by_rounding_only_the_lower_number_is_the_best(mode: Any) -> None:
    objectives = Objectives(objectives=(Objective(mode=mode),), seeds=2)
    for values in ((0.3, 0.1 + 0.2), (0.1 + 0.2, 0.3)):
        (best,) = best_points(complete(*values), objectives, 1)
        assert best.point.number == 0


def test_the_best_come_first_and_those_that_miss_a_constraint_never() -> None:
    objectives = Objectives(objectives=(Objective(mode="max"),), seeds=2)
    points = complete(0.5, 0.9, 0.7)
    points[1][1].feasible = False
    assert [state.point.number for state in best_points(points, objectives, 3)] == [2, 0]
