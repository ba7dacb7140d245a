from __future__ import annotations

from pathlib import Path

import pytest

from kdray.results import Results, Store


@pytest.fixture
def empty(tmp_path: Path) -> Results:
    """Results without a row."""
    store = Store(tmp_path / "results")
    store.create()
    return Results(store.location)
