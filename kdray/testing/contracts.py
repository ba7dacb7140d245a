"""How a contract is held against a member: a function that raises AssertionError with what it
found, named in the message that a user sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kdray.core import Value, describe

Contract = Callable[..., None]
"""Takes a member, and what else its kind of contract needs; raises AssertionError, with what was
found, where it is not kept to. Its name and docstring say what is kept to."""


def check(value: Value, contracts: Iterable[Contract], *given: Any) -> None:
    """Raise AssertionError at the first of ``contracts`` that ``value`` does not keep to."""
    __tracebackhide__ = True
    for contract in contracts:
        hold(contract, value, *given)


def hold(contract: Contract, value: Value, *given: Any) -> None:
    """Raise AssertionError, with the name of ``contract`` and what was found, unless ``value``
    keeps to it."""
    __tracebackhide__ = True
    broken = f"{type(value).__name__} breaks the contract {contract.__name__}"
    try:
        contract(value, *given)
    except AssertionError as found:
        if not found.args:  # an assertion of the member's own
            raise AssertionError(f"{broken}: an assertion of its own fails") from found
        raise AssertionError(f"{broken}: {found}") from None
    except Exception as error:
        raise AssertionError(f"{broken}: it raises {describe(error)}") from error
