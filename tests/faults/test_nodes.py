"""Nodes of a cluster that are lost and added while a sweep runs; each time the tables come out the
same.

The nodes are processes on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.support import (
    PATIENCE,
    Fault,
    Sweep,
    assert_as_undisturbed,
    descendants,
    undisturbed,
    wait_for,
)

pytestmark = [pytest.mark.ray, pytest.mark.faults]


class Cluster:
    """A Ray of several nodes, the head with ``head`` CPUs, the others with one each."""

    def __init__(self, head: int) -> None:
        from ray.cluster_utils import Cluster as Local

        self._local = Local(
            initialize_head=True,
            head_node_args={"num_cpus": head, "num_gpus": 0, "include_dashboard": False},
        )
        self.address: str = self._local.address
        self.head: str = self._local.head_node.node_id
        self._nodes: dict[str, Any] = {}

    def add(self) -> str:
        """A node more; its id."""
        node = self._local.add_node(num_cpus=1, num_gpus=0, wait=False)
        self._nodes[node.node_id] = node
        return str(node.node_id)

    def lose(self, node: str) -> None:
        """``kill -9`` for everything on a node, as if it had lost its power."""
        lost = self._nodes.pop(node)
        family = descendants(lost.all_processes["raylet"][0].process.pid)
        self._local.remove_node(lost, allow_graceful=False)
        for process in family:
            process.kill()

    def shut_down(self) -> None:
        self._local.shutdown()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    local = Cluster(request.param)
    yield local
    local.shut_down()


@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_with_every_node_lost_a_sweep_goes_on_where_one_is_added(
    tmp_path: Path, cluster: Cluster
) -> None:
    a, b, c, d = students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", students), address=cluster.address)
    first, second = cluster.add(), cluster.add()
    with sweep.driver() as driver:
        wait_for(lambda: {e.trial_id for e in sweep.at("epoch 2", students)} >= {a, b})
        assert {event.node for event in sweep.at("epoch 2", students)} == {first, second}
        before = len(sweep.events())
        cluster.lose(first)
        cluster.lose(second)
        third = cluster.add()
        wait_for(lambda: len(sweep.events()) > before)
        sweep.go_on()
        _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, errors
    assert {event.node for event in sweep.events()[before:]} == {third}
    for lost in (a, b):
        assert sweep.of(lost) == ["epoch 1", "epoch 2", "epoch 2", "epoch 3", "pgd2", "clean"]
        assert "training goes on after 1 of 3 epochs" in sweep.log(lost)
    assert sweep.of(c) == sweep.of(d) == ["epoch 1", "epoch 2", "epoch 3", "pgd2", "clean"]
    assert_as_undisturbed(sweep)


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_a_node_added_meanwhile_is_used_and_the_head_finishes_alone(
    tmp_path: Path, cluster: Cluster
) -> None:
    students = undisturbed().ids("student")
    sweep = Sweep(tmp_path, Fault("wait", "epoch 2", students), address=cluster.address)
    first = cluster.add()
    with sweep.driver() as driver:
        wait_for(
            lambda: {event.node for event in sweep.at("epoch 2", students)} >= {cluster.head, first}
        )
        second = cluster.add()
        wait_for(
            lambda: (
                {event.node for event in sweep.at("epoch 2", students)}
                >= {cluster.head, first, second}
            )
        )
        before = len(sweep.events())
        cluster.lose(first)
        cluster.lose(second)
        sweep.go_on()
        _, errors = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, errors
    assert {event.node for event in sweep.events()[before:]} == {cluster.head}
    gone_on = [
        trial_id
        for trial_id in students
        if "training goes on after 1 of 3 epochs" in sweep.log(trial_id)
    ]
    assert len(gone_on) == 2
    assert_as_undisturbed(sweep)
