"""A sweep over a plug-in's members on a Ray of two nodes, neither of which has the plug-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from kdray.cli import main
from kdray.sweep.definition.plugins import loaded_plugins, unload_plugin
from tests.faults.test_nodes import Cluster
from tests.shipped import PLUGINS

pytestmark = pytest.mark.ray
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    local = Cluster(1)
    local.add()
    yield local
    local.shut_down()


def test_workers_on_every_node_get_the_plugin_and_status_tells_when_it_has_changed(
    tmp_path: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, results = tmp_path / "lab" / "my_lab.py", tmp_path / "results"
    plugin.parent.mkdir()  # where no worker looks for modules
    shutil.copy(PLUGINS / "my_lab.py", plugin)
    command = [sys.executable, "-m", "kdray", "run", str(PLUGINS / "my_lab.yaml")]
    command += ["--plugin", "lab/my_lab.py", "--address", cluster.address]
    done = subprocess.run(
        [*command, "--results", str(results), "--set", "training.epochs=2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    trials = pd.read_parquet(results / "trials")
    assert (trials["status"] == "completed").all()
    assert len(trials) == 9
    students = trials[trials["method.name"] == "mean_squared_logits"]
    assert set(students["noise.input.rate"]) == {0.0, 0.2}
    assert pd.read_parquet(results / "epochs")["loss.logits"].notna().sum() == 16

    assert main(["status", str(results), "--plugin", str(plugin)]) == 0
    assert "has changed since" not in capsys.readouterr().out
    for loaded in loaded_plugins():
        unload_plugin(loaded)
    plugin.write_text(plugin.read_text() + "# a remark\n")
    assert main(["status", str(results), "--plugin", str(plugin)]) == 0
    assert (
        "my_lab.py: 9 trials made by code that has changed since (mean_squared_logits, "
        "one_hidden_layer, salt_and_pepper, stripes)" in capsys.readouterr().out
    )
    for loaded in loaded_plugins():
        unload_plugin(loaded)
