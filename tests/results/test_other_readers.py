"""Other programs read the Parquet files with no help of ours: DuckDB, polars and pandas itself."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from kdray.results import Results, write_rows
from kdray.results.files.compact import compact
from tests.results.made import add_point

SIGMA = "noise.input.sigma"


@pytest.fixture(params=["a file per trial", "compacted"])
def folder(request: pytest.FixtureRequest, empty: Results) -> Path:
    """Two points of two seeds and their accuracy under attack."""
    for number, values in enumerate(([0.5, 0.7], [0.4, 0.2])):
        for trial_id, value in zip(
            add_point(empty, number, values, {SIGMA: number / 10}), values, strict=True
        ):
            row = {
                "trial_id": trial_id,
                "evaluation_id": "e",
                "label": "pgd20",
                "metric": "accuracy",
                "value": value / 2,
            }
            write_rows(empty.store, "robustness", f"{trial_id}-e", [row], {})
    if request.param == "compacted":
        compact(empty.store)
    assert empty.store.folder is not None
    return empty.store.folder


def test_duckdb_averages_over_seeds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    rows = duckdb.sql("""
        SELECT "noise.input.sigma" AS noise, count(*) AS n, avg(val_accuracy) AS mean, avg(r.value) AS robust
        FROM 'results/trials/*.parquet' JOIN 'results/robustness/*.parquet' r USING (trial_id)
        WHERE status = 'completed' AND r.label = 'pgd20' AND r.metric = 'accuracy'
        GROUP BY noise ORDER BY noise
    """).fetchall()
    assert [row[:2] for row in rows] == [(0.0, 2), (0.1, 2)]
    assert [row[2] for row in rows] == pytest.approx([0.6, 0.3])
    assert [row[3] for row in rows] == pytest.approx([0.3, 0.15])


def test_duckdb_takes_the_newest_of_several_rows(folder: Path) -> None:
    """As kdray does, where a trial was trained again or folders were merged."""
    trial_id = Results(folder).trials(["trial_id"])["trial_id"][0]
    row = {"trial_id": trial_id, "status": "completed", "val_accuracy": 0.9, SIGMA: 0.0}
    write_rows(Results(folder).store, "trials", "newer", [row], {SIGMA: float})
    newest = duckdb.sql(f"""
        SELECT val_accuracy FROM read_parquet('{folder}/trials/*.parquet', union_by_name = true)
        WHERE trial_id = '{trial_id}'
        QUALIFY row_number() OVER (PARTITION BY trial_id ORDER BY status = 'failed', written_at DESC) = 1
    """)
    assert newest.fetchall() == [(0.9,)]


def test_polars_reads_only_the_columns_and_rows_of_a_question(folder: Path) -> None:
    trials = pl.scan_parquet(folder / "trials" / "*.parquet")
    robustness = pl.scan_parquet(folder / "robustness" / "*.parquet")
    table = (
        trials.filter(pl.col("status") == "completed")
        .join(robustness.filter(pl.col("label") == "pgd20"), on="trial_id")
        .group_by(SIGMA)
        .agg(
            pl.len().alias("n"),
            pl.col("value").mean().alias("mean"),
            pl.col("value").std().alias("std"),
        )
        .sort(SIGMA)
        .collect()
    )
    assert table["n"].to_list() == [2, 2]
    assert table["mean"].to_list() == pytest.approx([0.3, 0.15])
    assert table["std"].to_list() == pytest.approx([0.1 / 2**0.5] * 2)


def test_pandas_reads_a_table_by_its_folder(folder: Path) -> None:
    table = pd.read_parquet(os.fspath(folder / "trials"), columns=["trial_id", "val_accuracy"])
    expected = Results(folder).trials(["trial_id", "val_accuracy"])
    pd.testing.assert_frame_equal(table.sort_values("trial_id").reset_index(drop=True), expected)
