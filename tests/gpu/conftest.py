"""``value``: an instance of the member of a union that a test runs for."""

from __future__ import annotations

from tests.contracts.conftest import value

__all__ = ["value"]
