from __future__ import annotations

import pytest

from kdray.exporting.markdown import code, described, table
from kdray.models import MLP
from kdray.perturbations.weight_noise import Independent


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("pgd20", "`pgd20`"),
        ("<script>alert(1)</script>", "`<script>alert(1)</script>`"),
        ("a|b", "`a\\|b`"),
        ("`a` [b](c)\n# d", "`'a' [b](c) # d`"),
        ("", ""),
    ],
)
def test_nothing_in_a_name_is_markup(text: str, span: str) -> None:
    assert code(text) == span


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert table(("a", "b"), []) == ""


def test_a_value_is_told_with_its_defaults() -> None:
    assert described(MLP(hidden=(8, 4))) == "mlp(input_sigma=0, hidden=[8, 4], dropout=0)"
    assert described(Independent()) == "pni(amplitude=0.25)"
