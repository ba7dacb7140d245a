"""What the papers print, as analysis/published.csv has it: whole, in its units, and true to the
sums that the papers imply."""

from __future__ import annotations

import pandas as pd
import pytest

from kdray.report import published
from kdray.report.papers.published import PUBLISHED

ROWS = pd.read_csv(PUBLISHED, keep_default_na=False)
COUNTS = {
    "baselines": {"Table 1": 9},
    "noisy_collaboration": {"Figure 5": 7 * 19, "text, section 4.3": 2, "text, section 4.4": 2},
    "smoothed_models": {"Table 1": 4, "Table 2": 4 * 2, "Table 3": 6 * 2},
    "current_understanding": {
        "Table 1": 3 + 4,
        "Table 2": 2 * 4,
        "Table 3": 3 * 2,
        "Table 4": 3 * 2,
        "Table 5": 4 * 2,
        "text, Vanilla Distillation": 2,
        "text, Reversed Distillation": 1,
    },
    "robust_student": {
        "Table I": 4 * 7,
        "Table II": 2 * 4 * 5,
        "Table III": 4 * 4 - 1,
        "Table IV": 4 * 4 + 3 * 2,
        "Table V": 4 * 10,
        "Table VI": 5 * 2 + 3,
        "Table VII": 6 + 4 * 7,
        "text, section I": 2,
        "text, section V.B": 5,
        "text, section V.D": 8 + 3,
        "text, section V.E": 12,
        "text, section V.F": 3,
    },
}
NETWORKS = ("Teacher", "KD", "FitNet", "Robust")


def number(paper: str, item: str, row: str, column: str) -> float:
    """The one value of a cell; a fraction as a percentage."""
    cell = ROWS[
        ROWS["paper"].eq(paper)
        & ROWS["item"].eq(item)
        & ROWS["row"].eq(row)
        & ROWS["column"].eq(column)
    ]
    assert len(cell) == 1, (item, row, column)
    return float(cell["value"].iloc[0]) * (100 if cell["unit"].iloc[0] == "fraction" else 1)


def robust(item: str, row: str, column: str) -> float:
    return number("robust_student", item, row, column)


def test_every_table_is_whole() -> None:
    counted = {
        paper: items.value_counts().to_dict() for paper, items in ROWS.groupby("paper")["item"]
    }
    assert counted == COUNTS


def test_no_cell_stands_twice() -> None:
    assert not ROWS.duplicated(["paper", "item", "row", "column"]).any()


def test_values_lie_in_what_their_units_allow() -> None:
    most = {"%": 100, "percentage points": 100, "fraction": 1}
    assert set(ROWS["unit"]) == {*most, "weights", "multiplications", "layers", "times"}
    for unit, rows in ROWS.groupby("unit"):
        assert rows["value"].between(0, most.get(str(unit), 1e9)).all(), unit


def test_columns_that_begin_with_a_hash_are_read_whole() -> None:
    rows = published("robust_student")
    assert rows.loc[rows["column"].eq("#params"), "value"].notna().all()
    assert rows["column"].isin(["#params", "#mult", "#layers"]).sum() == 8 + 5 + 3 * 5 + 2


def test_what_the_text_says_of_a_table_stands_in_the_table() -> None:
    told = ROWS[
        ROWS["note"].str.contains("belongs to table") & ROWS["unit"].isin(["%", "fraction"])
    ]
    assert len(told) == 2 + 8 + 3 + 3
    for row in told.itertuples():
        item = "Table " + str(row.note).split("table ")[1].split()[0]
        assert number(row.paper, item, row.row, row.column) == pytest.approx(row.value), row


@pytest.mark.parametrize(
    "cell",
    [
        ("Table I", "Robust", "C/C"),
        ("Table IV", "Robust learning", "CIFAR-10"),
        ("Table VII", "Student 4", "Robust"),
    ],
)
def test_the_tables_count_where_the_text_contradicts_them(cell: tuple[str, str, str]) -> None:
    assert robust(*cell) == 91.93
    assert robust("text, section V.E", "Robust", "CIFAR-10") == 91.63
    noted = ROWS.loc[
        ROWS["paper"].eq("robust_student") & ROWS["item"].eq(cell[0]) & ROWS["row"].eq(cell[1]),
        ["column", "note"],
    ]
    assert "91.63 % in the text" in noted.set_index("column").loc[cell[2], "note"]


@pytest.mark.parametrize(("row", "text", "table"), [("KD", 99.46, 99.35), ("Robust", 99.51, 99.55)])
def test_mnist_contradictions_are_noted(row: str, text: float, table: float) -> None:
    assert robust("text, section V.E", row, "MNIST") == text
    assert robust("Table III", row, "MNIST2USPS, MNIST") == table
    notes = ROWS.loc[
        ROWS["item"].eq("text, section V.E") & ROWS["row"].eq(row) & ROWS["column"].eq("MNIST"),
        "note",
    ]
    assert f"contradicts tables III and VI ({table} %)" in notes.iloc[0]


@pytest.mark.parametrize("network", NETWORKS)
def test_classes_average_to_the_accuracy_of_all(network: str) -> None:
    """CIFAR-10's test set has as many images of every class, so table V checks its forty cells
    against table I."""
    classes = ROWS.loc[ROWS["item"].eq("Table V") & ROWS["row"].eq(network), "value"]
    assert classes.mean() == pytest.approx(robust("Table I", network, "C/C"))


@pytest.mark.parametrize("network", NETWORKS)
def test_errors_are_what_accuracies_leave(network: str) -> None:
    name = {"KD": "Knowledge Distillation"}.get(network, network)
    assert robust("Table VI", name, "Misclass") == pytest.approx(
        100 - robust("Table III", network, "MNIST2USPS, MNIST")
    )


@pytest.mark.parametrize("student", ["Student 1", "Student 2", "Student 3", "Student 4"])
def test_compression_is_a_quotient_of_the_rounded_counts(student: str) -> None:
    weights = [robust("Table VII", row, "#params") for row in ("Teacher", student)]
    assert robust("Table VII", student, "Compression Ratio") == pytest.approx(
        weights[0] / weights[1], abs=0.006
    )


def test_the_robust_student_is_trained_on_clean_images_only() -> None:
    under = {noise: robust("Table I", "Robust", f"C/{noise}") for noise in "GP"}
    for setting in ("G/G", "P/P", "P/G", "G/P"):
        assert robust("Table I", "Robust", setting) == under[setting[2]]


def test_the_gain_of_reversed_distillation() -> None:
    paper = "current_understanding"
    gain = number(paper, "Table 3", "Re-KD (S → T)", "Accuracy") - number(
        paper, "Table 3", "Teacher: baseline", "Accuracy"
    )
    assert gain == pytest.approx(
        number(paper, "text, Reversed Distillation", "Re-KD (S → T)", "gain over the baseline")
    )


def test_corruptions_are_named_as_the_text_describes_them() -> None:
    """Figure 5's labels are damaged: noise and blur gain by noise, fog, contrast and saturation
    lose, frost does both."""
    heat = ROWS[ROWS["item"].eq("Figure 5")].pivot(index="row", columns="column", values="value")
    gained = heat.loc["sigma=0.5"] - heat.loc["sigma=0"]
    assert (gained.filter(regex="_(noise|blur)$") > 0).all()
    assert (gained[["elastic_transform", "jpeg_compression", "pixelate", "snow"]] > 0).all()
    assert (gained[["fog", "contrast", "saturate"]] < 0).all()
    assert (
        heat.loc["sigma=0.05", "frost"]
        > heat.loc["sigma=0", "frost"]
        > heat.loc["sigma=0.5", "frost"]
    )
    assert heat.shape == (7, 19)
