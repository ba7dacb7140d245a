"""A sweep whose results are on an object store that fails again and again, through the command
line."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from kdray.results import Results, Store
from kdray.results.files import store as store_module
from tests.results.s3 import S3, Fault
from tests.small_trials import TIMINGS
from tests.sweep.test_end_to_end import TINY, kdray

pytestmark = [pytest.mark.ray, pytest.mark.faults]

WAYS: list[Fault] = ["503", "drop", "lose answer", "cut answer", "500", "short answer"]
FEW = 22
"""The sweep makes some 170 requests."""


def tables(location: str | Path) -> dict[str, pd.DataFrame]:
    """What kdray reads of a results folder, without what is allowed to differ."""
    results = Results(location)
    frames = {
        "trials": results.trials(),
        "epochs": results.epochs(),
        "robustness": results.robustness(),
    }
    return {
        name: frame.drop(columns=[column for column in TIMINGS if column in frame]).reset_index(
            drop=True
        )
        for name, frame in frames.items()
    }


@pytest.fixture
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


def misbehave(s3: S3, over: threading.Event) -> None:
    """A bad second after every few requests, each way in turn; and some requests that are left
    without an answer for long."""
    s3.hang_seconds = 3.0
    for number, fault in enumerate(WAYS, 1):
        while len(s3.requests) < FEW * number:
            if over.wait(0.01):
                return
        with s3.failing(fault):
            over.wait(1.0)
        if fault in ("drop", "500"):
            s3.fail("hang", "hang")


def test_a_sweep_on_a_store_that_fails_ends_with_the_same_tables(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    kdray("run", "tiny.yaml", "--results", "local", cwd=tmp_path)
    over = threading.Event()
    chaos = threading.Thread(target=misbehave, args=(s3, over))
    chaos.start()
    try:
        command = [sys.executable, "-m", "kdray", "run", "tiny.yaml", "--results", s3.uri()]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
        )
    finally:
        over.set()
        chaos.join()
    assert done.returncode == 0, done.stderr
    assert len(s3.requests) > FEW * len(WAYS), "every way had its turn"
    assert "6 trials run" in done.stdout
    here, there = tables(tmp_path / "local"), tables(s3.uri())
    for name, frame in here.items():
        pd.testing.assert_frame_equal(frame, there[name], check_exact=True)
    assert not [
        key
        for key in s3.objects
        if key.startswith("results/checkpoints/") and not key.endswith("/")
    ]
    assert (
        "nothing left to do, 6 there already"
        in kdray("run", "tiny.yaml", "--results", s3.uri(), cwd=tmp_path).stdout
    )


def test_a_server_that_never_answers_does_not_hold_up_for_ever(
    monkeypatch: pytest.MonkeyPatch, s3: S3
) -> None:
    monkeypatch.setattr(store_module, "REQUEST_ATTEMPTS", 1)
    monkeypatch.setattr(store_module, "PATIENCE", 0.0)
    s3.hang_seconds = 600.0
    with s3.failing("hang"), pytest.raises(ConnectionError, match="results/trials/a"):
        Store(s3.uri(more="&request_timeout=1")).write("trials/a", b"a")
