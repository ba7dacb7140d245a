"""``value``: an instance of the member of a union that a test runs for."""

from __future__ import annotations

from typing import Any

import pytest

from kdray.core import Value
from tests.contracts.members import instance


@pytest.fixture
def value(kind: type[Value]) -> Any:
    return instance(kind)
