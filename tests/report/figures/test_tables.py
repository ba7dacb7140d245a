"""One frame as text for people and numbers for programs."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest

from kdray.report import Spread, Table


def table(**columns: object) -> Table:
    return Table("t", "Title", "50 % of σ_1 & more", pd.DataFrame(columns))


def test_a_spread_is_the_mean_and_the_sample_deviation_of_what_is_there() -> None:
    spread = Spread.of(pd.Series([0.5, 0.7, math.nan]), 100)
    assert spread == (pytest.approx(60), pytest.approx(200**0.5), 2)
    assert math.isnan(Spread.of(pd.Series([0.5])).std)


def test_cells_are_shown_with_their_deviation_where_there_is_one_and_missing_ones_as_missing() -> (
    None
):
    shown = table(
        name=["a", "b", "c"],
        value=[Spread(60.123, 1.5, 2), Spread(3, math.nan, 1), None],
        n=[2, 1, 0],
    )
    assert shown.to_markdown().splitlines() == [
        "| name | value | n |",
        "| --- | ---: | ---: |",
        "| a | 60.12 ± 1.50 | 2 |",
        "| b | 3.00 | 1 |",
        "| c | – | 0 |",
    ]
    assert table(x=[math.nan, -0.001, np.float32(0.5)]).to_markdown().splitlines()[2:] == [
        "| – |",
        "| 0.00 |",
        "| 0.50 |",
    ]


def test_csv_holds_every_number_of_a_spread_at_full_precision() -> None:
    mean = 100 / 3
    text = table(name=["a", "b"], value=[Spread(mean, 1.5, 2), None]).to_csv()
    read = pd.read_csv(io.StringIO(text))
    assert list(read) == ["name", "value", "value std", "value n"]
    assert read["value"][0] == mean
    assert read["value n"][0] == 2
    assert read.loc[1, ["value", "value std", "value n"]].isna().all()


def test_what_latex_and_markdown_read_as_commands_is_escaped() -> None:
    odd = table(name=["a_b & 5 % {x} \\y|z"], value=[Spread(1, 0.5, 3)])
    assert r"a\_b \& 5 \% \{x\} \textbackslash{}y\textbar{}z & 1.00 $\pm$ 0.50 \\" in odd.to_latex()
    assert r"\caption{50 \% of $\sigma$\_1 \& more}" in odd.to_latex()
    assert "y\\|z |" in odd.to_markdown()
