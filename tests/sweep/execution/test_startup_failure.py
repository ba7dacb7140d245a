"""A Ray that cannot start, or be joined, says in one line what helps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from kdray.core import InputError
from kdray.sweep.execution.cluster import cluster
from kdray.sweep.execution.resources import Node

SWEEP = {
    "name": "tiny",
    "seeds": 1,
    "experiment": {
        "data": {"name": "digits", "examples": 100},
        "model": {"name": "mlp", "hidden": [1]},
        "training": {"epochs": 1, "batch_size": 1000},
    },
    "resources": {"student": {"cpu": 1}},
}


@pytest.mark.ray
def test_a_temporary_folder_with_a_long_path_is_named_and_nothing_is_said_to_go_on(
    tmp_path: Path,
) -> None:
    long = tmp_path / ("long" * 20)
    long.mkdir()
    (tmp_path / "tiny.yaml").write_text(json.dumps(SWEEP))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
    ended = subprocess.run(
        [sys.executable, "-m", "kdray", "run", "tiny.yaml", "--results", "results"],
        env={**environment, "TMPDIR": str(long), "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "Ray does not start" in line]
    assert re.search(r"set TMPDIR to one of at most \d+ bytes, such as /tmp", line)
    assert "goes on" not in ended.stderr
    assert "Traceback" not in ended.stderr


def raising(error: Exception) -> Callable[..., None]:
    def init(**_: Any) -> None:
        raise error

    return init


def reason(monkeypatch: pytest.MonkeyPatch, error: Exception, address: str | None = None) -> str:
    monkeypatch.setattr(ray, "init", raising(error))
    with pytest.raises(InputError) as caught, cluster(address, Node("this machine", 1, 0), {}):
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, which nothing is wrong with but for the length of pytest's names."""
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("kdray.sweep.execution.startup_failure.SOCKET_PATH_BYTES", 4096)
    return tmp_path


def disk(full: str) -> Callable[[Path], Any]:
    return lambda place: SimpleNamespace(free=2**20 if str(place) == full else 2**40)


def test_the_reason_and_the_log_of_the_session_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = folder / "ray" / f"session_2026-11-30_15-00-00_000000_{os.getpid()}" / "logs"
    logs.mkdir(parents=True)
    (folder / "ray" / "session_2026-11-30_16-00-00_000000_1" / "logs").mkdir(parents=True)
    error = RuntimeError("The GCS\ndid not start")
    assert "its log" not in reason(monkeypatch, error), "an empty one tells nothing"
    (logs / "gcs_server.out").write_text("why")
    text = reason(monkeypatch, error)
    assert text.startswith("Ray does not start: RuntimeError: The GCS did not start")
    assert text.endswith(f"its log is in {logs}")


def test_a_full_folder_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", disk(str(folder)))
    text = reason(monkeypatch, OSError("No space left"))
    assert f"{folder} has 1 MiB free: make room, or set TMPDIR to a folder with more" in text
    assert "/dev/shm" not in text


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
def test_full_shared_memory_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", disk("/dev/shm"))
    text = reason(monkeypatch, RuntimeError("no plasma store"))
    assert "/dev/shm has 1 MiB free, Ray needs 128: make room, or docker run --shm-size=1g" in text
    assert str(folder) not in text


@pytest.mark.usefixtures("folder")
def test_too_few_file_handles_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    assert "a process may open 256 files: ulimit -n 8192" in reason(monkeypatch, OSError(24, "x"))


def test_a_folder_that_is_not_ascii_is_told_by_the_variable_that_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = folder / "mémoire"
    other.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(other))
    text = reason(monkeypatch, ValueError("ordinal not in range(128)"))
    assert f"{other} is not ASCII: set RAY_TMPDIR to one that is" in text


def test_a_folder_that_is_not_there_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(folder / "gone"))
    text = reason(monkeypatch, FileNotFoundError("gone"))
    assert f"{folder / 'gone'} cannot be written: set TMPDIR to one that can" in text


def test_a_cluster_that_wants_a_token_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ray.exceptions.AuthenticationError("Unauthenticated:\n wrong token")
    text = reason(monkeypatch, refused, "10.0.0.1:6379")
    assert text.startswith(
        "--address 10.0.0.1:6379: the cluster does not take this machine's token"
    )
    assert "RAY_AUTH_MODE=token" in text
    assert "RAY_AUTH_TOKEN_PATH" in text
