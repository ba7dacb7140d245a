"""A point of a search whose values do not fit together fails with its reason, and the search goes
on."""

from __future__ import annotations

import json
from pathlib import Path

from kdray.results import Results
from kdray.sweep.definition.space import Point
from tests.sweep.fakes import ALONE, Engine, go, sweep_of

DEPTHS = {
    "seeds": 1,
    "search": {"sampler": "random", "points": 4, "seed": 1, "first": [{"model.depth": 11}]},
    "experiment.data.examples": 100,
    "experiment.model": {"name": "cifar_resnet", "depth": {"randint": [8, 21]}},
    "experiment.noise": {},
    "experiment.training": {"epochs": 1, "batch_size": 50},
    "evaluate": {},
    **ALONE,
}
"""Of the depths 8, 14 and 20 there is a network."""


def fits(depth: int) -> bool:
    return (depth - 2) % 6 == 0


def test_a_point_that_cannot_be_built_fails_and_the_search_goes_on(
    engine: Engine, results: Path
) -> None:
    summary = go(results, DEPTHS)
    members = Results(results).members().sort_values("point")
    swept = [json.loads(text)["model.depth"] for text in members["swept"]]
    assert len(swept) == 4
    assert not fits(swept[0])
    assert [outcome == "completed" for outcome in members["outcome"]] == [*map(fits, swept)]
    failed = members[members["outcome"] == "failed"]
    assert failed["trial_id"].isna().all()
    assert failed["error"].iloc[0].startswith("experiment.model")
    assert failed["error"].iloc[0].endswith("(at model.depth = 11)")
    assert set(summary.failures) == {f"point {point}" for point in failed["point"]}
    assert len(engine.ran) == sum(map(fits, swept))


def test_it_is_told_again_and_nothing_is_tried_in_its_place(engine: Engine, results: Path) -> None:
    first = go(results, DEPTHS)
    before = Results(results).members()
    engine.ran.clear()
    again = go(results, DEPTHS)
    assert again.failures == first.failures
    assert engine.ran == []
    after = Results(results).members()
    assert sorted(after["swept"]) == sorted(before["swept"])
    assert sorted(after["point_id"]) == sorted(before["point_id"])


def test_what_was_built_keeps_the_point_of_its_experiment() -> None:
    sweep = sweep_of(DEPTHS)
    point = Point(0, sweep.spaces[0], {"model.depth": 14})
    assert sweep.point_id(point) == sweep.student(point, 0, None).point_id
