"""A local Ray: trials run in the workers that it starts first, and those know by then what trials
need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest
import ray
from ray.tune.execution.class_cache import _ActorClassCache

from kdray.sweep.execution import cluster as cluster_module

# isort: skip  # before ray, which it sets up
from kdray.sweep.execution.cluster import DASHBOARD, MONITORS, NODE, Part, cluster, standing_in
from kdray.sweep.execution.resources import Node
from kdray.sweep.execution.runner import COUNTED, MARK


class Asked:
    """An actor, as Tune makes them for trials or plain."""

    def imported(self) -> bool:
        return "kdray.sweep.execution.preload" in sys.modules

    def environment(self) -> str:
        """By which Ray tells whether a worker that is there will do."""
        return str(ray.get_runtime_context().get_runtime_env_string())


@pytest.fixture(scope="module")
def a_ray() -> Iterator[None]:
    with cluster(None, Node("this machine", 2, 0), {}):
        yield


@pytest.mark.ray
@pytest.mark.usefixtures("a_ray")
def test_trials_run_in_workers_that_ray_starts_unasked_and_that_have_imported_what_they_need() -> (
    None
):
    with standing_in(MARK):
        trial = _ActorClassCache().get(Asked).remote()
    plain = ray.remote(Asked).remote()
    assert ray.get(trial.imported.remote())
    assert ray.get(trial.environment.remote()) == ray.get(plain.environment.remote())


@pytest.mark.ray
@pytest.mark.usefixtures("a_ray")
def test_ray_starts_no_process_that_does_nothing_for_a_sweep() -> None:
    alive = {kind for kind, _ in ray._private.worker._global_node.live_processes()}
    assert alive - {"reaper"} == {
        "gcs_server",
        "raylet",
    }  # it is for systems that do not end a process with its parent


def test_a_worker_imports_what_the_first_step_of_a_trial_would() -> None:
    code = (
        "import sys, gc, kdray.sweep.execution.preload; before = set(sys.modules)\n"
        "assert {'kdray.sweep.execution.actor', 'torch._dynamo'} <= before and gc.isenabled()\n"
        "import torch; at = torch.nn.Parameter(torch.ones(1)); at.grad = at.data; "
        "torch.optim.SGD([at], lr=1.0).step()\n"
        "print(len(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 10  # torch._dynamo alone brings hundreds


class Later:
    """Nodes of a cluster, the second of which comes a little later."""

    def __init__(self) -> None:
        self.looks = 0

    def _initialize_global_state(self, options: Any) -> None:
        pass

    def node_table(self) -> list[dict[str, str]]:
        self.looks += 1
        return [{"NodeID": "first"}, *([{"NodeID": "second"}] if self.looks > 3 else [])]


@pytest.mark.parametrize(("node", "looks"), [("first", 1), ("second", 4)])
def test_a_node_is_asked_for_as_soon_as_it_is_there(
    node: str, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Later()
    monkeypatch.setattr(ray._private.state, "GlobalState", lambda: nodes)
    monkeypatch.setattr(ray._private.services, "_get_gcs_client_options", lambda _: None)
    assert NODE[2](lambda *asked: (asked, nodes.looks))("address", node) == (
        ("address", node),
        looks,
    )


def test_a_node_that_does_not_come_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray._private.state, "GlobalState", Later)
    monkeypatch.setattr(ray._private.services, "_get_gcs_client_options", lambda _: None)
    monkeypatch.setattr(cluster_module, "OFTEN_FOR", 0.1)
    assert (
        NODE[2](lambda address, node: f"{node} at {address}")("address", "third")
        == "third at address"
    )


def test_its_processes_look_for_each_other_as_long_as_by_default_and_more_often() -> None:
    for prepared in (True, False):
        settings = cluster_module._settings(prepared=prepared)
        wait = settings["raylet_client_connect_timeout_milliseconds"]
        attempts = settings["raylet_client_num_connect_attempts"]
        assert wait * attempts == 10_000
        assert wait <= 50


def test_what_stood_in_for_parts_of_ray_is_gone_afterwards() -> None:
    home, name, _ = MARK
    before = getattr(import_module(home), name)
    assert before != {}
    with standing_in(MARK):
        assert getattr(import_module(home), name) == {}
    assert getattr(import_module(home), name) is before
    with pytest.raises(AttributeError), standing_in(MARK, (home, "nothing", lambda _: None)):
        pass
    assert getattr(import_module(home), name) is before


@pytest.mark.parametrize("part", [DASHBOARD, MONITORS, NODE, MARK, COUNTED])
def test_this_ray_has_the_parts_that_are_stood_in_for(part: Part) -> None:
    assert hasattr(import_module(part[0]), part[1])


def test_a_ray_of_another_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    home, name, _ = MARK
    before = getattr(import_module(home), name)
    monkeypatch.setattr(ray, "__version__", "3.1.0")
    with standing_in(MARK, ("ray.nowhere", "nothing", lambda _: None)):
        assert getattr(import_module(home), name) is before
    assert cluster_module._settings(prepared=True) == {}
