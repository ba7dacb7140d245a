"""What a sweep calls its evaluations, and what others may add to that."""

from __future__ import annotations

import pandas as pd

from kdray.results import Results
from kdray.results.record import SweepLabels, add_labels, sweep_labels, write_labels

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
