"""Pages that several tests look at; each is made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kdray.report.page.html import render
from tests.report.synthetic import Made, write_made

Page = Callable[..., Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Writes results of the given sweeps, renders them, and gives the page's file."""

    def write(*sweeps: Made) -> Path:
        folder = tmp_path_factory.mktemp("report")
        page = folder / "report.html"
        page.write_text(render(write_made(folder / "results", *sweeps)), encoding="utf-8")
        return page

    return write


@pytest.fixture(scope="session")
def small(made: Page) -> Path:
    """Six points of three seeds, with a failed and a diverged trial and doubtful numbers."""
    return made(Made(failed=1, diverged=1))
