"""A paper's table: our numbers beside those that it prints."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from kdray.report.figures.tables import Spread
from kdray.report.papers.published_table import (
    Column,
    Line,
    number_of_each,
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
    assert made.frame["n"].iloc[0] == 2
    assert "| 85.00 ± 7.07 | 91.50 ± 0.25 | 50.00 (n = 1) |" in made.to_markdown()


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


def test_a_trial_has_one_number_under_one_name() -> None:
    measured = pd.DataFrame({"trial_id": ["1", "1"], "value": [0.2, 0.2]})
    found = number_of_each(trials(0.8, 0.9), measured)
    assert math.isnan(found[0])
    assert found[1] == 0.2
    with pytest.raises(AssertionError, match="several evaluations"):
        number_of_each(trials(0.8, 0.9), measured.assign(value=[0.2, 0.4]))


@pytest.mark.parametrize("seeds", [[0, 0], [0, 1]])
def test_each_point_of_a_line_has_a_row(seeds: list[int]) -> None:
    both = trials(0.8, 0.9).assign(seed=seeds, **{"method.temperature": [1.0, 8.0]})
    frame = table(Line("KD", both))
    assert list(frame.index) == ["KD, method.temperature = 1", "KD, method.temperature = 8"]
    assert [cell.mean for cell in frame["Clean, %"]] == pytest.approx([80, 90])
    assert [cell.mean for cell in frame["Clean, % (published)"]] == [91.5, 91.5]
    assert frame["n"].tolist() == [1, 1]
    under = table(Line("KD", both), under=True)
    assert list(under.index) == [*frame.index, "KD (published)"]


def test_each_case_of_a_line_has_a_row() -> None:
    both = trials(0.8, 0.9).assign(case=["kd", "kd hot"], **{"method.temperature": [1.0, 8.0]})
    assert list(table(Line("KD", both)).index) == ["KD, kd", "KD, kd hot"]


def test_points_that_only_teachers_tell_apart_have_rows() -> None:
    both = trials(0.8, 0.9).assign(point=[0, 1])
    assert list(table(Line("KD", both)).index) == ["KD, point 0", "KD, point 1"]


def test_points_that_a_path_does_not_tell_apart_have_rows_of_their_own() -> None:
    temperatures = {"method.temperature": [2.0, 2.0, 2.0, 2.0, 4.0, 4.0]}
    merged = trials(0.5, 0.52, 0.8, 0.82, 0.9, 0.92).assign(
        point=[0, 0, 2, 2, 1, 1], seed=3 * [0, 1], **temperatures
    )
    frame = table(Line("KD", merged))
    assert list(frame.index) == [
        "KD, method.temperature = 2, point 0",
        "KD, method.temperature = 2, point 2",
        "KD, method.temperature = 4",
    ]
    assert [cell.mean for cell in frame["Clean, %"]] == pytest.approx([51, 81, 91])
    assert frame["n"].tolist() == [2, 2, 2]


def test_points_whose_values_are_written_alike_have_rows_of_their_own() -> None:
    sigmas = {"noise.input.sigma": [0.1, 0.1 + 1e-12]}
    frame = table(Line("KD", trials(0.8, 0.9).assign(point=[0, 1], **sigmas)))
    assert list(frame.index) == [f"KD, noise.input.sigma = 0.1, point {point}" for point in (0, 1)]


def test_points_of_several_cases_in_one_cell_are_told_apart_within_their_case() -> None:
    both = trials(0.7, 0.8, 0.9).assign(case=["kd", "kd", "hot"], point=[0, 1, 2])
    assert list(table(Line("KD", both)).index) == ["KD, kd, point 0", "KD, kd, point 1", "KD, hot"]


def test_seeds_of_teachers_are_replicates_and_a_column_may_have_a_point_of_its_own() -> None:
    both = trials(0.8, 0.9).assign(**{"teacher.seed": [0, 1]})
    assert list(table(Line("KD", both)).index) == ["KD"]
    apart = both.assign(
        PGD=[0.8, math.nan], Clean=[math.nan, 0.9], **{"method.temperature": [1.0, 8.0]}
    )
    columns = [COLUMNS[0], Column("PGD", "PGD, %")]
    made = published_table(
        "Table I", PRINTED, columns, [Line("KD", apart)], title="t", what="What", source="p"
    )
    assert made.frame["Method"].tolist() == ["KD"]
    assert "one seed has no spread" in made.caption
