"""The Ray that a run works on: one that is there, or one of its own that is ready early."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

# Before ray is imported: Tune reads these once.
os.environ.setdefault(
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1"
)  # no CSV, JSON or TensorBoard files of its own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault(
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
)  # the future default; the old one warns
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

from kdray.core import InputError
from kdray.machine import hardware
from kdray.sweep.execution.resources import GIB, Node

TRIED = ("2.60.",)
"""Versions of Ray whose own business is touched, in what follows; others only take longer."""
MOST_PREPARED = 8
"""CPUs up to which Ray's first workers, one for each, import what a trial needs before there is a
trial. Where there are more, nobody knows whether so many will be used, and each takes some hundred
MB."""
IN_A_RUN = ("kdray.sweep.run", "kdray.sweep.scheduling.students")
"""What takes seconds to import, and does not import ray."""
OFTEN_FOR = 5.0
"""Seconds for which a new node is looked for often; after that as often as Ray does."""
Part = tuple[str, str, Callable[[Any], Any]]
"""One of Ray's: its module, its name, and what makes of it what stands in for it."""
DASHBOARD: Part = (
    "ray._private.services",
    "start_api_server",
    lambda _: lambda *_, **__: (None, None),
)
"""Without a page it is a process that reports usage, which is off. Ray waits for it, and does
without one that fails."""
MONITORS: Part = (
    "ray._private.parameter",
    "RayParams",
    lambda own: partial(own, no_monitor=True, include_log_monitor=False),
)
"""Two processes: one starts more nodes for a cluster, and one reads the workers' output for a
driver that wants it."""


def _when_it_is_there(own: Callable[[str, str], Any]) -> Callable[[str, str], Any]:
    """``own`` finds a node by its id; this one looks often whether there is such a node, and asks
    then."""

    def get_node(gcs_address: str, node_id: str) -> Any:
        state = ray._private.state.GlobalState()
        state._initialize_global_state(ray._private.services._get_gcs_client_options(gcs_address))
        until = time.monotonic() + OFTEN_FOR
        while time.monotonic() < until and not any(
            node["NodeID"] == node_id for node in state.node_table()
        ):
            time.sleep(0.02)
        return own(gcs_address, node_id)

    return get_node


NODE: Part = ("ray._private.services", "get_node", _when_it_is_there)
"""It looks for a new node once a second, which here is there after half of one."""


@contextmanager
def started_early(node: Node) -> Iterator[None]:
    """For the time of the block a local Ray, which starts while this process imports what a run
    needs."""
    importing = threading.Thread(target=lambda: [import_module(name) for name in IN_A_RUN])
    importing.start()
    try:
        # Here and not in the thread: Ray's processes end with the thread that started them.
        with cluster(None, node, {}):
            importing.join()
            yield
    finally:
        importing.join()


@contextmanager
def cluster(
    address: str | None, local: Node, runtime_env: Mapping[str, Any]
) -> Iterator[list[Node]]:
    """A Ray to run on: the one that is there or at ``address``, else a local one for the time of
    the block."""
    if ray.is_initialized():
        yield nodes_of_cluster()
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with quiet():
        if address is None:
            _start(local, runtime_env)
        else:
            _join(address, runtime_env)
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGTERM, on_sigterm
        )  # Ray put its own there, which prints a stack trace and dies
    try:
        yield nodes_of_cluster()
    finally:
        ray.shutdown()


def _join(address: str, runtime_env: Mapping[str, Any]) -> None:
    """:class:`InputError` if there is no cluster."""
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env=dict(runtime_env) or None,
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(
            f"--address {address}: no Ray cluster there ({str(error).splitlines()[0]})"
        ) from None


def _start(node: Node, runtime_env: Mapping[str, Any]) -> None:
    """A Ray of this machine's, with what ``node`` offers."""
    with standing_in(DASHBOARD, MONITORS, NODE):
        ray.init(
            address="local",  # even where RAY_ADDRESS names a cluster
            num_cpus=int(node.cpu),
            num_gpus=int(node.gpu),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=100 * 2**20,
            runtime_env=dict(runtime_env) or None,
            # Ray would offer less than there is, and so fewer trials at once than were planned.
            _memory=int(min(node.memory * GIB, hardware.memory())),
            _system_config=_settings(prepared=not runtime_env and node.cpu <= MOST_PREPARED),
        )


def _settings(*, prepared: bool) -> dict[str, Any]:
    """What is set inside Ray. ``prepared``: whether the workers that it starts unasked are of use,
    as they are to trials without a ``runtime_env``."""
    if not ray.__version__.startswith(TRIED):
        return {}
    # Its processes look for each other 500 times, every 20 ms: by default they do ten times, and
    # wait for a second in between.
    often = {
        "raylet_client_connect_timeout_milliseconds": 20,
        "raylet_client_num_connect_attempts": 500,
    }
    if not prepared:
        return {**often, "prestart_worker_first_driver": False}
    return {
        **often,
        "preload_python_modules": ["kdray.sweep.execution.preload"],
        "idle_worker_killing_time_threshold_ms": 600_000,
    }


@contextmanager
def standing_in(*parts: Part) -> Iterator[None]:
    """Parts of Ray that only take time, with something else in their place.

    They are Ray's own business, so that of another version than :data:`TRIED` they are left alone.
    """
    before = []
    try:
        for module, name, instead in parts if ray.__version__.startswith(TRIED) else ():
            home = import_module(module)
            own = getattr(home, name)
            before.append((home, name, own))
            setattr(home, name, instead(own))
        yield
    finally:
        for home, name, own in before:
            setattr(home, name, own)


@contextmanager
def quiet() -> Iterator[None]:
    """Ray's own banners, warnings and tables kept away from kdray's progress; its errors still
    show."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train", "ray.data")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def nodes_of_cluster() -> list[Node]:
    """What every living node of the cluster offers."""
    return [
        Node(
            str(node["NodeManagerHostname"]),
            float(node["Resources"].get("CPU", 0)),
            float(node["Resources"].get("GPU", 0)),
            float(node["Resources"].get("memory", math.inf)) / GIB,
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
