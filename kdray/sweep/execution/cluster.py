"""A run works on a Ray cluster that exists already, or on a local Ray that kdray starts and stops.

kdray uses Ray's public API only: parameters of ``ray.init`` and environment variables.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# Before Ray and Tune start, which read these.
os.environ.setdefault(
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1"
)  # no CSV, JSON or TensorBoard files of its own
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
# Tune takes snapshots for Tuner.restore, which kdray never uses: one, at the end, must do.
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(10 * 365 * 86_400))
# How many trials may wait for a worker is our searcher's to say.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault(
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
)  # the future default; the old one warns
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Workers inherit it: wandb reports its own errors, even when it is offline.
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

import ray

from kdray.core import InputError
from kdray.core.wording import GIB
from kdray.sweep.execution.resources import OBJECT_STORE_BYTES, Node
from kdray.sweep.execution.startup_failure import why_not_started

SLOW_IMPORTS = ("kdray.sweep.run", "kdray.sweep.scheduling.students")
"""Modules that a run needs, take seconds to import, and do not import ray."""


@contextmanager
def started_early(node: Node) -> Iterator[None]:
    """Keep a local Ray up for the block; it starts while this process imports what a run needs."""
    importing = threading.Thread(target=lambda: [import_module(name) for name in SLOW_IMPORTS])
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
    """Yield the nodes of the Ray that is initialized or at ``address``, else of a local one that
    lives as long as the block."""
    if ray.is_initialized():
        yield nodes_of_cluster()
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with quiet():
            if address is None:
                _start(local, runtime_env)
            else:
                _join(address, runtime_env)
        if _in_main_thread():
            # Ray put its own there, which prints a stack trace and dies
            signal.signal(signal.SIGTERM, on_sigterm)
        yield nodes_of_cluster()
    finally:
        with _signals_ignored():
            ray.shutdown()


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM in the block, which takes a few seconds: a Ray that is interrupted
    while it stops ends the process at once, with status 1 and without a word."""
    numbers = (signal.SIGINT, signal.SIGTERM) if _in_main_thread() else ()
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _join(address: str, runtime_env: Mapping[str, Any]) -> None:
    """Join the cluster at ``address``; :class:`InputError` if there is none or it refuses."""
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env=dict(runtime_env) or None,
        )
    except (ConnectionError, ValueError, ray.exceptions.AuthenticationError) as error:
        raise InputError(f"--address {address}: {_why_not_joined(error)}") from None


def _why_not_joined(error: Exception) -> str:
    """Return in one line why ``ray.init`` raised ``error``, and what to set if it is a token."""
    refusal = ray.exceptions.AuthenticationError
    # A head that refuses is tried again as one that is not there yet; the error of the last attempt
    # is then in the text of the cause only.
    if isinstance(error, refusal) or refusal.__name__ in str(error.__cause__ or error.__context__):
        return (
            "the cluster does not take this machine's token: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the token that the cluster was started with"
        )
    return f"no Ray cluster there ({str(error).splitlines()[0]})"


def _start(node: Node, runtime_env: Mapping[str, Any]) -> None:
    """Start a Ray on this machine with the CPUs and GPUs of ``node``. Its memory is Ray's choice:
    what is free now beside the object store, as ``node`` has it but for what has changed since;
    :func:`nodes_of_cluster` reads it back. :class:`InputError` if it does not start."""
    try:
        ray.init(
            address="local",  # even where RAY_ADDRESS names a cluster
            num_cpus=int(node.cpu),
            num_gpus=int(node.gpu),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            object_store_memory=OBJECT_STORE_BYTES,
            runtime_env=dict(runtime_env) or None,
        )
    except Exception as error:  # of many kinds, plain Exception among them
        raise InputError(why_not_started(error)) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray's banners, warnings and tables out of kdray's progress; its errors still show."""
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
    """Return what every living node of the cluster offers."""
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
