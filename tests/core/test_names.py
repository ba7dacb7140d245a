"""A name is the same however its accents are written."""

from __future__ import annotations

import pytest

from kdray.core.names import composed

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED])
def test_accents_are_one_character_with_their_letter(name: str) -> None:
    assert composed(name) == COMPOSED


@pytest.mark.parametrize("name", ["", "plain", "β = 0.5", "\u212b2", "\ufb01ne"])
def test_what_only_looks_alike_stays_what_it_is(name: str) -> None:
    """A ligature, say; but a sign that Unicode calls another name of a letter is that letter."""
    assert composed(name) == name.replace("\u212b", "\u00c5")
