"""Wilson's interval against scipy's and the equation that defines it, and where readers find it."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from kdray.results import TABLES, Results, Store, write_rows
from kdray.results.points.wilson import wilson, with_intervals

Z = NormalDist().inv_cdf(0.975)


def ends(correct: Any, examples: Any) -> Any:
    """Columns: low, high."""
    return np.stack(
        wilson(pd.Series(correct, dtype=float), pd.Series(examples, dtype=float)), axis=1
    )


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 1000, 10_000, 10**7])
def test_the_interval_is_scipys(n: int) -> None:
    counts = sorted({0, n, *np.linspace(0, n, 40).astype(int).tolist()})
    expected = [
        binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson") for k in counts
    ]
    np.testing.assert_allclose(
        ends(counts, n * np.ones(len(counts))), expected, rtol=1e-9, atol=1e-15
    )


def test_at_its_ends_the_share_is_z_standard_errors_away() -> None:
    n = np.repeat([5, 60, 700], 3)
    k = n * np.tile([0.2, 0.6, 0.8], 3)
    found = ends(k, n)
    assert (found[:, 0] < k / n).all()
    assert (found[:, 1] > k / n).all()
    errors = np.sqrt(found * (1 - found) / n[:, None])
    np.testing.assert_allclose(abs(found - (k / n)[:, None]) / errors, Z, rtol=1e-12)


def test_none_and_all_right_end_at_exactly_0_and_1_and_are_no_point() -> None:
    n = np.array([1, 7, 1000, 123_457])
    np.testing.assert_allclose(
        ends(0 * n, n), np.stack([0 * n, Z**2 / (n + Z**2)], axis=1), rtol=1e-9
    )
    assert (ends(0 * n, n)[:, 0] == 0).all()
    assert (ends(n, n)[:, 1] == 1).all()


def test_wrong_answers_have_the_mirrored_interval() -> None:
    k = np.arange(51)
    np.testing.assert_allclose(
        ends(50 - k, 50 + 0 * k), 1 - ends(k, 50 + 0 * k)[:, ::-1], rtol=0, atol=1e-15
    )


def test_a_million_rows_take_well_under_a_second() -> None:
    examples = np.random.default_rng(0).integers(1, 10_000, 1_000_000)
    frame = pd.DataFrame({"correct": examples // 2, "examples": examples})
    began = process_time()
    with_intervals(frame)
    assert process_time() - began < 1


# As readers see it


@pytest.fixture
def results(tmp_path: Path) -> Results:
    store = Store(tmp_path / "results")
    store.create()
    return Results(tmp_path / "results")


def write(results: Results, **numbers: Any) -> None:
    row = {"trial_id": "t", "evaluation_id": "e", "label": "clean", **numbers}
    name = f"{len(results.store.names('robustness', '.parquet'))}"
    write_rows(results.store, "robustness", name, [{**row, "evaluation_id": name}], {})


def test_rows_that_count_correct_ones_have_an_interval_and_others_none(results: Results) -> None:
    write(results, metric="accuracy", value=0.9, correct=90, examples=100)
    write(results, metric="loss", value=0.3, examples=100)
    write(results, error="OutOfMemoryError: ")
    read = results.robustness().set_index("evaluation_id")
    expected = binomtest(90, 100).proportion_ci(confidence_level=0.95, method="wilson")
    assert read.loc["0", ["low", "high"]].tolist() == pytest.approx([expected.low, expected.high])
    assert read.loc[["1", "2"], ["low", "high"]].isna().all(axis=None)


@pytest.mark.parametrize("rows", ["none", "none that counts", "some"])
def test_they_are_two_columns_of_numbers_after_examples(results: Results, rows: str) -> None:
    if rows != "none":
        write(
            results, metric="accuracy", value=0.5, examples=2, correct=1 if rows == "some" else None
        )
    read = results.robustness()
    stored = [column.name for column in TABLES["robustness"] if column.name != "written_at"]
    after = stored.index("examples") + 1
    assert list(read) == [*stored[:after], "low", "high", *stored[after:]]
    assert [str(kind) for kind in read[["low", "high"]].dtypes] == ["float64", "float64"]


def test_the_frame_of_trials_has_none_of_them(results: Results) -> None:
    write_rows(results.store, "trials", "t", [{"trial_id": "t", "status": "completed"}], {})
    write(results, metric="accuracy", value=0.5, correct=1, examples=2)
    assert set(results.frame()) - set(results.trials()) == {"clean.accuracy"}


def test_what_was_read_is_not_changed() -> None:
    frame = pd.DataFrame({"correct": [1], "examples": [2], "class": [0]}, index=[7])
    out = with_intervals(frame)
    assert list(frame) == ["correct", "examples", "class"]
    assert list(out.index) == [7]
