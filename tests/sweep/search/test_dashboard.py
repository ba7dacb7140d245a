"""optuna-dashboard opens the study of a sweep and shows every metric that kdray stored, not only
the objective."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import optuna
import pytest

pytestmark = [
    pytest.mark.ray,  # not Ray, but seconds as well
    pytest.mark.skipif(
        find_spec("optuna_dashboard") is None, reason="optuna-dashboard is not installed"
    ),
]
METRICS = {"val_accuracy", "pgd1.accuracy", "clean.accuracy"}


@pytest.fixture(scope="module")
def address(finished_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where optuna-dashboard shows a copy of the study, from its own command."""
    study = tmp_path_factory.mktemp("dashboard") / "tiny.db"
    study.write_bytes((finished_once / "studies" / "tiny.db").read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from optuna_dashboard._cli import main; main()",
        f"sqlite:///{study}",
    ]
    log = study.with_suffix(".log")
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=out, stderr=out
        )
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                urlopen(f"{base}/api/meta", timeout=10).close()
                break
            except URLError:
                time.sleep(0.1)
        yield base
    finally:
        server.terminate()
        server.wait()


def read(address: str, path: str) -> bytes:
    with urlopen(f"{address}{path}", timeout=30) as answer:
        return bytes(answer.read())


@pytest.fixture(scope="module")
def study(address: str) -> Any:
    """The study as the page gets it."""
    (listed,) = json.loads(read(address, "/api/studies"))["study_summaries"]
    assert listed["study_name"] == "tiny"
    return json.loads(read(address, f"/api/studies/{listed['study_id']}?after=0"))


def test_the_page_opens(address: str) -> None:
    assert b"<title>Optuna Dashboard</title>" in read(address, "/dashboard/")


def test_every_metric_of_every_point_is_shown(study: Any, finished_once: Path) -> None:
    stored = optuna.load_study(
        study_name="tiny", storage=f"sqlite:///{finished_once}/studies/tiny.db"
    ).get_trials()
    assert len(stored) == len(study["trials"]) == 2
    for mine, shown in zip(stored, study["trials"], strict=True):
        attributes = {
            each["key"]: float(each["value"])
            for each in shown["user_attrs"]
            if each["key"] in METRICS
        }
        assert attributes == {name: pytest.approx(mine.user_attrs[name]) for name in METRICS}
        assert shown["state"] == "Complete"
        assert shown["values"] == mine.values


def test_every_metric_can_be_put_on_an_axis(study: Any) -> None:
    sortable = {each["key"] for each in study["union_user_attrs"] if each["sortable"]}
    assert sortable >= METRICS


def test_every_parameter_is_named_by_its_path(study: Any) -> None:
    for trial in study["trials"]:
        assert [each["name"] for each in trial["params"]] == ["noise.input.sigma"]
    assert {float(trial["params"][0]["param_external_value"]) for trial in study["trials"]} == {
        0,
        0.2,
    }
