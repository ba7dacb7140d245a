"""Text for LaTeX: no command by accident, and no sign that its default fonts lack."""

from __future__ import annotations

import unicodedata

import pandas as pd
import pytest

from kdray.report import Table
from kdray.report.figures.latex import latex, latex_label

GREEK = [
    sign
    for sign in map(chr, range(0x391, 0x3CA))
    if unicodedata.name(sign, "").startswith("GREEK") and " WITH " not in unicodedata.name(sign)
]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("β = 0.5", r"$\beta$ = 0.5"),
        ("Δλ, Ω and ο", r"$\Delta$$\lambda$, $\Omega$ and $\mathrm{o}$"),
        ("Α", r"$\mathrm{A}$"),
        ("x² + y₁ ≈ 10⁻³", r"x$^{2}$ + y$_{1}$ $\approx$ 10$^{-}$$^{3}$"),
        ("a → b … µ", r"a $\to$ b \ldots{} $\mu$"),
        ("café, cafe\u0301", "café, café"),
        ("[8] *", r"{[}8] {*}"),
        ("two\nlines", "two lines"),
        ("漢", "漢"),
    ],
)
def test_signs_are_written_as_latex_has_them(text: str, written: str) -> None:
    assert latex(text) == written


@pytest.mark.parametrize("sign", GREEK)
def test_no_greek_letter_is_left_as_it_is(sign: str) -> None:
    assert latex(sign).isascii()


def test_a_reference_has_plain_letters_only() -> None:
    assert latex_label("β-50 % of_é#{1}-points") == "-50-of_e-1--points"
    table = Table("a_b%", "t", "c", pd.DataFrame({"x": [1]}))
    assert r"\label{tab:a_b-}" in table.to_latex()
