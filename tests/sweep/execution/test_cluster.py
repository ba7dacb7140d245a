"""A local Ray offers what it is asked for, and kdray uses Ray's public API only."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import ray

import kdray
from kdray.core.wording import GIB
from kdray.machine import hardware
from kdray.sweep.execution.cluster import cluster, nodes_of_cluster
from kdray.sweep.execution.resources import Node, this_machine

PRIVATE = re.compile(
    r"ray\._|ray\.\w+(\.\w+)*\._|\bfrom ray[\w.]* import .*\b_\w"  # modules and names
    r"|_private\b|_internal\b|_system_config\b|\b_memory=|_logger_actor_cls"
)


def test_nothing_private_of_ray_is_used_anywhere_in_the_package() -> None:
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in Path(kdray.__file__).parent.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if PRIVATE.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [
        "ray._private.services",
        "from ray.air._internal.usage import tag_callbacks",
        "from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor",
        "ray.init(_memory=1, _system_config={})",
        "callback._logger_actor_cls = Logging",
    ],
)
def test_the_search_for_private_names_finds_those_that_were_used(line: str) -> None:
    assert PRIVATE.search(line)


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
