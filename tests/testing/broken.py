"""Which contracts a member breaks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kdray.core import Value
from kdray.testing import Contract, hold


def broken_by(value: Value, contracts: Iterable[Contract], *given: Any) -> dict[str, str]:
    """What is said of each contract that ``value`` breaks, by its name."""
    said = {}
    for contract in contracts:
        try:
            hold(contract, value, *given)
        except AssertionError as error:
            said[contract.__name__] = str(error)
    return said


def assert_breaks_only(said: dict[str, str], value: Value, name: str, found: str) -> None:
    """One contract is broken, and the message is one sentence with ``found`` in it."""
    assert list(said) == [name], said
    assert said[name].startswith(f"{type(value).__name__} breaks the contract {name}: ")
    assert found in said[name]
    assert "\n" not in said[name]
