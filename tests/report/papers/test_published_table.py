"""A paper's table: our numbers beside those that it prints."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from kdray.report.figures.tables import Spread
from kdray.report.papers.published_table import (
    Column,
    Line,
    mean_of_each,
    printed,
    published_table,
    remarks,
)

PRINTED = pd.DataFrame(
    [
        ("Table I", "KD", "Clean", 91.5, "%", ""),
        ("Table I", "KD", "Clean, std", 0.25, "%", ""),
        ("Table I", "KD", "Size", 2_500_000, "weights", "about"),
        ("Table I", "Other", "Clean", 0.981, "fraction", "the text says 0.99"),
    ],
    columns=["item", "row", "column", "value", "unit", "note"],
)
COLUMNS = [Column("Clean", "Clean, %"), Column("Size", "Weights", None)]


def trials(*accuracies: float, size: int = 1000) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "trial_id": [str(number) for number in range(len(accuracies))],
            "sweep": "a-sweep",
            "case": "kd",
            "seed": range(len(accuracies)),
            "data.name": "digits",
            "Clean": accuracies,
            "Size": size,
        }
    )


def table(*lines: Line, under: bool = False) -> pd.DataFrame:
    made = published_table(
        "Table I", PRINTED, COLUMNS, lines, title="t", what="What", source="a paper", under=under
    )
    return made.frame.set_index("Method")


def test_fractions_are_printed_as_percentages() -> None:
    assert printed(PRINTED, "Table I", "Other", "Clean") == 98.1
    assert printed(PRINTED, "Table I", "KD", "Clean") == 91.5
    assert math.isnan(printed(PRINTED, "Table I", "KD", "PGD"))


def test_columns_beside_ours() -> None:
    row = table(Line("KD", trials(0.8, 0.9))).loc["KD"]
    assert row["Clean, %"] == pytest.approx((85, 10 / 2**0.5, 2))
    assert row["Clean, % (published)"] == Spread(91.5, 0.25, 0)
    assert (row["Weights"], row["Weights (published)"], row["n"]) == (1000, 2_500_000, 2)
    assert row["Trials"] == "student, a-sweep, kd"


def test_rows_under_ours() -> None:
    frame = table(
        Line("KD", trials(0.8)),
        Line("Other", trials().iloc[:0]),
        Line("Ours alone", trials(0.5)),
        under=True,
    )
    assert list(frame.index) == ["KD", "KD (published)", "Other (published)", "Ours alone"]
    assert frame.loc["KD (published)", "Weights"] == 2_500_000
    assert frame.loc["Other (published)", "n"] is None


def test_networks_of_several_sizes_have_no_one_size() -> None:
    mixed = pd.concat([trials(0.8), trials(0.9, size=2000)])
    assert table(Line("KD", mixed))["Weights"].iloc[0] is None


def test_numbers_that_some_trials_lack_are_counted() -> None:
    some = trials(0.8, 0.9).assign(PGD=[0.5, math.nan])
    made = published_table(
        "Table I",
        PRINTED,
        [COLUMNS[0], Column("PGD", "PGD, %")],
        [Line("KD", some)],
        title="t",
        what="What",
        source="p",
    )
    assert made.frame["n"].iloc[0] == "1 to 2"


def test_the_caption_says_data_seeds_and_doubts() -> None:
    made = published_table(
        "Table I",
        PRINTED,
        COLUMNS,
        [Line("KD", trials(0.8, 0.9))],
        title="t",
        what="What",
        source="a paper",
    )
    assert made.name == "table_i"
    assert made.caption.startswith("What. digits (8 × 8, scikit-learn), 2 seeds.")
    assert "After table I of a paper" in made.caption
    assert remarks(PRINTED, "Table I") == [
        "Printed for KD in Size: about.",
        "Printed for Other in Clean: the text says 0.99.",
    ]


def test_a_trial_that_was_measured_twice_counts_with_the_mean() -> None:
    measured = pd.DataFrame({"trial_id": ["1", "1"], "value": [0.2, 0.4]})
    found = mean_of_each(trials(0.8, 0.9), measured)
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(0.3)


def test_means_are_over_what_models_of_one_cell_differ_in() -> None:
    both = trials(0.8, 0.9).assign(seed=0, **{"method.temperature": [1.0, 8.0]})
    made = published_table(
        "Table I", PRINTED, COLUMNS, [Line("KD", both)], title="t", what="What", source="p"
    )
    assert "1 seed. Means: ± one standard deviation over method.temperature." in made.caption
    # Each in a column of its own, they are not mixed.
    apart = both.assign(
        PGD=both["Clean"].where(both["method.temperature"].eq(1)), Clean=[math.nan, 0.9]
    )
    columns = [COLUMNS[0], Column("PGD", "PGD, %")]
    made = published_table(
        "Table I", PRINTED, columns, [Line("KD", apart)], title="t", what="What", source="p"
    )
    assert "one seed has no spread" in made.caption
