"""Hosts of a network on this machine: network namespaces, each with an address, a Ray of its own,
and a link that can be cut.

A process on a host whose link is cut runs on; nothing that it sends arrives anywhere, and nothing
answers it, as behind a switch that has failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.faults.support import REPOSITORY, wait_for

SUBNET = "198.18.77"
"""Of the range that is kept for tests of networks (RFC 2544)."""
SWITCH, PORT = f"{SUBNET}.254", 6379
SOON_DEAD = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "4000",
    "RAY_health_check_failure_threshold": "4",
}
"""The head takes a host that does not answer for dead after some 20 seconds; by itself after a minute."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@cache
def why_not() -> str:
    """Why no namespaces can be made here; empty if they can."""
    if shutil.which("ip") is None:
        return "there is no ip (iproute2)"
    name = f"kdray-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
        ip("link", "add", interface("x"), "type", "bridge")
        ip("link", "delete", interface("x"))
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {error.stderr.strip()}"
    return ""


def interface(name: str) -> str:
    """A name of at most 15 characters, this process's own."""
    return f"kd{os.getpid() % 10**8}{name}"


class Host(NamedTuple):
    name: str
    address: str
    folder: Path
    """What only this host has: Ray's sessions, the cache of the node."""

    @property
    def within(self) -> list[str]:
        """The command that runs another on this host, as its arguments say."""
        token = ["RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=that all hosts share"]
        variables = [f"KDRAY_CACHE={self.folder / 'cache'}", *token]
        alone = 'mkdir -p /tmp/ray && mount --bind "$0" /tmp/ray && exec "$@"'
        sessions = self.folder / "ray"
        return [
            *("ip", "netns", "exec", self.name),
            *("env", *variables, "sh", "-c", alone, str(sessions)),
        ]

    @contextmanager
    def ray(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A node of Ray on this host."""
        command = [
            *(*self.within, sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(f"--node-ip-address={self.address}", "--num-gpus=0", "--disable-usage-stats"),
            *arguments,
        ]
        variables = os.environ | SOON_DEAD | {"PYTHONPATH": str(REPOSITORY)}
        with (self.folder / "ray.log").open("wb") as log:
            node = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            yield node
        finally:
            node.terminate()
            node.wait(60)

    def processes(self) -> set[int]:
        """All that run on this host."""
        listed = subprocess.run(
            ["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True
        )
        return {int(pid) for pid in listed.stdout.split()}


class Network:
    """Hosts at one switch, which has an address too: :data:`SWITCH`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = ExitStack()
        self._links: dict[str, str] = {}

    def __enter__(self) -> Network:
        switch = interface("s")
        self._make(["link", "add", switch, "type", "bridge"], ["link", "delete", switch])
        ip("address", "add", f"{SWITCH}/24", "dev", switch)
        ip("link", "set", switch, "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def host(self, name: str) -> Host:
        """A new host."""
        number = len(self._links) + 1
        space, link = f"kdray-{os.getpid()}-{name}", interface(str(number))
        host = Host(space, f"{SUBNET}.{number}", self._folder / name)
        (host.folder / "ray").mkdir(parents=True)
        self._make(["netns", "add", space], ["netns", "delete", space])
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", link, "master", interface("s"), "up")
        for command in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{host.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            ip("-netns", space, *command)
        self._links[space] = link
        self._made.callback(self._end_processes, host)
        return host

    def cut(self, host: Host) -> None:
        """From now on nothing arrives at ``host`` or comes from it."""
        ip("link", "set", self._links[host.name], "nomaster")

    def mend(self, host: Host) -> None:
        ip("link", "set", self._links[host.name], "master", interface("s"))

    def _make(self, how: list[str], undo: list[str]) -> None:
        ip(*how)
        self._made.callback(ip, *undo)

    def _end_processes(self, host: Host) -> None:
        for pid in host.processes():
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)
        wait_for(lambda: not host.processes(), seconds=30)
