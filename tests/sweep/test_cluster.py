"""A local Ray: trials run in the workers that it starts first, and those know by then what trials need."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

from kdray.sweep.cluster import DASHBOARD, MONITORS, NODE, Part, cluster, standing_in  # isort: skip  # before ray, which it sets up

import ray
from ray.tune.execution.class_cache import _ActorClassCache

from kdray.sweep import cluster as cluster_module
from kdray.sweep.engine import COUNTED, MARK
from kdray.sweep.resources import Node


class Asked:
    """An actor, as Tune makes them for trials or plain."""

    def imported(self) -> set[str]:
        return {"kdray.sweep.trainable", "torch._dynamo"} & set(sys.modules)

    def collects(self) -> bool:
        """Whether Python looks for cycles that are garbage."""
        return gc.isenabled()

    def environment(self) -> str:
        """By which Ray tells whether a worker that is there will do."""
        return str(ray.get_runtime_context().get_runtime_env_string())


@pytest.fixture(scope="module")
def a_ray() -> Iterator[None]:
    with cluster(None, Node("this machine", 2, 0), {}):
        yield


@pytest.mark.ray
@pytest.mark.usefixtures("a_ray")
def test_trials_run_in_workers_that_ray_starts_unasked_and_that_have_imported_what_they_need() -> None:
    with standing_in(MARK):
        trial = _ActorClassCache().get(Asked).remote()
    plain = ray.remote(Asked).remote()
    assert ray.get(trial.imported.remote()) == {"kdray.sweep.trainable", "torch._dynamo"}
    assert ray.get(trial.collects.remote())
    assert ray.get(trial.environment.remote()) == ray.get(plain.environment.remote())


@pytest.mark.ray
@pytest.mark.usefixtures("a_ray")
def test_ray_starts_no_process_that_does_nothing_for_a_sweep() -> None:
    alive = {kind for kind, _ in ray._private.worker._global_node.live_processes()}
    assert alive - {"reaper"} == {"gcs_server", "raylet"}  # it is for systems that do not end a process with its parent


def test_what_stood_in_for_parts_of_ray_is_gone_afterwards() -> None:
    home, name, _ = MARK
    before = getattr(import_module(home), name)
    assert before != {}
    with standing_in(MARK):
        assert getattr(import_module(home), name) == {}
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
