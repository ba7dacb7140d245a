"""A Ray that lets in only who has its token: what a driver without it is told, by the real Ray."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.support import REPOSITORY, wait_for
from tests.sweep.execution.test_startup_failure import SWEEP

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody with an empty home folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    few = {"RAY_NUM_REDIS_GET_RETRIES": "2"}  # attempts to join, a second each; Ray makes 20
    return {**kept, **few, "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def address(home: dict[str, str]) -> Iterator[str]:
    """Of a Ray that was started with :data:`TOKEN`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *(f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats"),
    ]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with subprocess.Popen(command, env=home | token, stdout=subprocess.DEVNULL) as head:
        try:
            wait_for(lambda: answers(port), seconds=60)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.ray
def test_a_driver_without_the_clusters_token_is_told_what_to_set(
    address: str, home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(json.dumps(SWEEP))
    command = [sys.executable, "-m", "kdray", "run", "tiny.yaml", "--address", address]
    other = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "of another cluster"}
    for token in ({}, other):
        ended = subprocess.run(
            command, env=home | token, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2, ended.stderr
        # Ray's C++ warns once per attempt, on standard error itself.
        (line,) = (line for line in ended.stderr.splitlines() if "gcs_client.cc" not in line)
        assert line == (
            f"kdray: --address {address}: the cluster does not take this machine's token: set "
            "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token that the "
            "cluster was started with"
        )
    given = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    ended = subprocess.run(
        command, env=home | given, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
