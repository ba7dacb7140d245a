"""A local Ray offers what it is asked for."""

from __future__ import annotations

import signal

import pytest
import ray

from kdray.core.wording import GIB
from kdray.machine import hardware
from kdray.sweep.execution.cluster import cluster, nodes_of_cluster
from kdray.sweep.execution.resources import Node, this_machine


@pytest.mark.ray
def test_a_local_ray_offers_what_it_is_given_and_leaves_signals_and_no_ray_behind() -> None:
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with cluster(None, Node("this machine", 2, 0), {}) as nodes:
        (node,) = nodes
        assert (node.cpu, node.gpu) == (2, 0)
        assert 0 < node.memory <= hardware.memory() / GIB
        # What a plan says, but for what others take and give back meanwhile.
        assert node.memory == pytest.approx(this_machine().memory, abs=2)
        assert signal.getsignal(signal.SIGTERM) == on_sigterm
        with cluster(None, Node("another", 1, 0), {}) as same:
            assert same == nodes == nodes_of_cluster()
        assert ray.is_initialized()
    assert not ray.is_initialized()
