"""Data sets are told apart by what they are tested on, not by their name."""

from __future__ import annotations

import json

import pandas as pd

from kdray.results.points.data_sets import test_set_names as names_of
from kdray.results.points.data_sets import told_apart


def test_those_of_one_name_are_named_by_what_their_test_images_differ_in() -> None:
    described = [
        {"name": "arrays", "file": "a.npz"},
        {"name": "arrays", "file": "b.npz", "validation": 10},
        {"name": "arrays", "file": "b.npz", "augment": "flip"},
        {"name": "mnist"},
        None,
    ]
    trials = pd.DataFrame(
        {
            "experiment": [each and json.dumps({"data": each}) for each in described],
            "data.name": ["arrays", "arrays", "arrays", "mnist", "mnist"],
        }
    )
    assert names_of(trials).tolist() == [
        "arrays (file a.npz)",
        *["arrays (file b.npz)"] * 2,
        "mnist",
        "mnist",
    ]


def test_numbers_that_hardly_differ_are_written_in_full() -> None:
    kinds = [{"name": "mine", "scale": scale} for scale in (0.1, 0.10000001)]
    assert told_apart(kinds) == ["scale 0.1", "scale 0.10000001"]
