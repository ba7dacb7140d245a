"""Every evaluation keeps to the contracts of one, on a classifier of real digits."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from kdray.data import MNIST
from kdray.results import TABLES, Results, Store, write_rows
from kdray.results.files.compact import compact
from kdray.robustness import (
    AnyEvaluation,
    Evaluation,
    Measurement,
    OfficialCorruptions,
    Subject,
    measurements,
)
from kdray.robustness.suite import columns_of
from kdray.testing import EVALUATION_CONTRACTS, Contract, hold
from kdray.testing.evaluations import subject_of_digits
from tests.contracts.members import each, every
from tests.robustness.test_official_corruptions import write_mnist_c

_FOLDER = TemporaryDirectory()


@cache
def subject() -> Subject:
    """Digits, with a data folder that has them corrupted."""
    write_mnist_c(Path(_FOLDER.name))
    return subject_of_digits()._replace(data=MNIST(resize=8), root=Path(_FOLDER.name))


@every(AnyEvaluation)
@each(EVALUATION_CONTRACTS)
def test_evaluation(value: Evaluation, contract: Contract) -> None:
    hold(contract, value, subject())


@every(AnyEvaluation)
def test_yields_no_metric_that_it_does_not_say(value: Evaluation) -> None:
    found = Counter(
        measurement.metric
        for measurement in measurements(value, subject()._replace(others={}))
        if measurement.class_ is None
    )
    assert found.keys() == value.metrics().keys() or isinstance(value, OfficialCorruptions), (
        "which has those that its data have"
    )


@every(AnyEvaluation)
def test_all_rows_that_it_writes_come_back_before_and_after_compaction(
    value: Evaluation, tmp_path: Path
) -> None:
    """A column that tells its rows apart and is no axis of the schema would lose some."""
    store = Store(tmp_path)
    store.create()
    across = {"source_trial_id": "a"} if value.across else {}
    found = measurements(value, subject())
    rows = [{"trial_id": "a", **columns_of(value), **across, **m.row()} for m in found]
    assert rows
    for file in ("one", "copy"):  # a folder that was merged with itself
        write_rows(store, "robustness", file, rows, {})
    write_rows(store, "robustness", "other", [{**rows[0], "trial_id": "c"}], {})
    written = sorted(map(repr, (row["value"] for row in rows)))
    for _ in ("before", "after"):
        numbers = Results(tmp_path).robustness(where=[("trial_id", "!=", "c")])
        assert sorted(map(repr, numbers["value"].tolist())) == written
        compact(store)
    assert len(store.names("robustness", ".parquet")) == 1


@every(AnyEvaluation)
def test_says_which_paper_measures_it(value: Evaluation) -> None:
    assert value.paper


def test_what_a_measurement_says_are_columns_of_the_robustness_table() -> None:
    assert {field.name.rstrip("_") for field in fields(Measurement)} - {"axes"} <= {
        column.name for column in TABLES["robustness"]
    }
