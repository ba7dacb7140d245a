"""Sweeps without Ray, and no waiting for the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine as SqlEngine

from tests.sweep.fakes import Engine, go, instead_of_ray


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """What a test writes need not survive a power cut."""

    def hurry(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(SqlEngine, "connect", hurry)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
    event.remove(SqlEngine, "connect", hurry)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A fake engine for one test."""
    with instead_of_ray() as fake:
        yield fake


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder that is not there yet."""
    return tmp_path / "results"


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny sweep; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny") / "results"
    with instead_of_ray():
        assert go(folder).exit_status == 0
    return folder


@pytest.fixture
def finished(finished_once: Path, results: Path) -> Path:
    """A copy of the results of the tiny sweep."""
    shutil.copytree(finished_once, results)
    return results
